"""What is known of a partition that was fetched: its raw objects, and the chunks that they were cut into."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.contracts import Chunk


@dataclass(frozen=True)
class RawObject:
    """One page as it was stored. `lines` counts the physical lines of its text where it has lines."""

    part: int
    key: str
    bytes: int
    sha256: str
    lines: int | None = None


@dataclass(frozen=True)
class Listing:
    """What one Fetch wrote. `part` and `chunk` are numbered from 0 within the partition.

    `request` and `live` are those of the partition. `kept_of` is the failed run whose fetch it was, where a redriven
    run fetched nothing.
    """

    objects: tuple[RawObject, ...]
    chunks: tuple[Chunk, ...]
    request: dict | None = None
    live: bool = False
    kept_of: str | None = None
