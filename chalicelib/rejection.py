"""Rows that are set aside: why, and what they were.

Written by Transform (records that are malformed, values that do not fit their column) and Validate
(rows that fail a critical expectation) as NDJSON, copied by Load into `pipeline.quarantine`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from chalicelib.lake.parts import PartWriter

if TYPE_CHECKING:
    from chalicelib.lake import Lake

_BLOCK_BYTES = 256 * 1024

RECORD = "record"  # not a record at all: broken JSON, wrong number of fields
TYPE = "type"  # a value that its column cannot hold
EXPECTATION = "expectation"  # a critical expectation of the suite


@dataclass(frozen=True)
class Reason:
    """One of the reasons why a row was set aside. `expectation` is the id of the suite's item."""

    kind: str
    message: str
    column: str | None = None
    value: str | None = None
    expectation: str | None = None


@dataclass(frozen=True)
class Rejected:
    """A row with all its reasons; `record` is its raw text, control characters escaped."""

    part: int
    line: int
    reasons: tuple[Reason, ...]
    record: str


def store(lake: Lake, key: str, rejected: Iterable[Rejected]) -> str:
    """Write `rejected` under `key`, row by row: a chunk may be rejected whole, with eight reasons a row."""
    with PartWriter(lake, key) as out:
        for row in rejected:
            out.write(orjson.dumps(row) + b"\n")
    return key


def read(lake: Lake, keys: Iterable[str]) -> Iterator[dict]:
    """What `store` wrote under `keys`, row by row: a dict with the fields of `Rejected`, its reasons as dicts."""
    for key in keys:
        rest = b""
        with contextlib.closing(lake.open(key)) as stream:
            while block := stream.read(_BLOCK_BYTES):
                *lines, rest = (rest + block).split(b"\n")
                yield from map(orjson.loads, lines)
