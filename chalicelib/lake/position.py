"""Where a row came from, as one number that sorts in raw order.

A run's raw objects are numbered (`part`), their lines too (from 1). `seq = part << 40 | line`
fits a Postgres bigint for 8 million raw objects of a million million lines.
"""

from __future__ import annotations

LINE_BITS = 40
_LINE_MASK = (1 << LINE_BITS) - 1


def seq(part: int, line: int) -> int:
    return part << LINE_BITS | line


def part_and_line(seq: int) -> tuple[int, int]:
    return seq >> LINE_BITS, seq & _LINE_MASK
