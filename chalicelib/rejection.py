"""Rows that are set aside: why, and what they were.

Written by Transform (records that are malformed, values that do not fit their column) and Validate
(rows that fail a critical expectation) as NDJSON, copied by Load into `pipeline.quarantine`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import orjson

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


def dump(rejected: Iterable[Rejected]) -> bytes:
    return b"".join(orjson.dumps(asdict(row)) + b"\n" for row in rejected)


def load(text: bytes) -> list[Rejected]:
    rows = []
    for line in text.splitlines():
        values = orjson.loads(line)
        values["reasons"] = tuple(Reason(**reason) for reason in values["reasons"])
        rows.append(Rejected(**values))
    return rows
