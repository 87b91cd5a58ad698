"""Which of two changes of a database came first.

DMS gives a `stream-position` whose form is that of the source: `00000002/7C0073F8.2.00000002/7C0073F8` of
Postgres, `mysql-bin-changelog.002171:36912271:…` of MySQL. Within one source its parts rise from left to right,
so they are compared part by part, numbers as numbers. The record's number within its transaction comes last.
"""

from __future__ import annotations

import re

# a log sequence number of Postgres, hexadecimal; a number; anything else but the separators
_PART = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})|([0-9]+)|([^0-9./:]+)")
_DIGITS = 20  # of 64 bits


def order(stream_position: str | None, record_id: int | None) -> str:
    """A text that sorts as the changes do; "" where the position is not known."""
    if not stream_position:
        return ""
    parts = []
    for high, low, number, word in _PART.findall(stream_position):
        if high:
            parts.append(f"{int(high, 16) << 32 | int(low, 16):0{_DIGITS}d}")
        else:
            parts.append(number.zfill(_DIGITS) if number else word)
    parts.append(f"{record_id or 0:0{_DIGITS}d}")
    return " ".join(parts)
