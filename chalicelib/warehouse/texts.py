"""Which texts Postgres takes."""

from __future__ import annotations


def is_encodable(text: str) -> bool:
    """Whether it has no half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_storable(text: str) -> bool:
    """Whether it is encodable and has no NUL."""
    return "\x00" not in text and is_encodable(text)
