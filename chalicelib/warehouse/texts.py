"""Which texts Postgres takes."""

from __future__ import annotations


def is_storable(text: str) -> bool:
    """Whether it has neither NUL nor half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
