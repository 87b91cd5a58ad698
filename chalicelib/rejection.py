"""Rows that are set aside: why, and what they were.

Written by Transform (records that are malformed, values that do not fit their column) and Validate
(rows that fail a critical expectation) as NDJSON, copied by Load into `pipeline.quarantine`. The last line is
`{"checksum": …}`, the CRC-32 of those before it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from chalicelib.errors import CHUNK_ANEW, AccountError
from chalicelib.lake.parts import PartWriter

if TYPE_CHECKING:
    from chalicelib.lake import Lake

_BLOCK_BYTES = 256 * 1024
_CHECKSUM = "checksum"

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
    """A row with all its reasons; `record` is its raw text, control characters escaped.

    `key` are the texts of the values that the row has in the key's columns, None where one is not known.
    """

    part: int
    line: int
    reasons: tuple[Reason, ...]
    record: str
    key: tuple[str, ...] | None = None


_FIELDS = {field.name for field in dataclasses.fields(Rejected)}


def store(lake: Lake, key: str, rejected: Iterable[Rejected]) -> str:
    """Write `rejected` under `key`, row by row: a chunk may be rejected whole, with eight reasons a row."""
    checksum = 0
    with PartWriter(lake, key) as out:
        for row in rejected:
            line = orjson.dumps(row)
            checksum = zlib.crc32(line, checksum)
            out.write(line + b"\n")
        out.write(orjson.dumps({_CHECKSUM: checksum}) + b"\n")
    return key


def read(lake: Lake, keys: Iterable[str], **where) -> Iterator[dict]:
    """What `store` wrote under `keys`, row by row: a dict with the fields of `Rejected`, its reasons as dicts.

    Raises AccountError, behind the last row at the latest, for an object that is not as `store` wrote it; `where` are
    the attributes that say which chunk's it is.
    """
    for key in keys:
        rest, checksum, told = b"", 0, None
        with contextlib.closing(lake.open(key)) as stream:
            while block := stream.read(_BLOCK_BYTES):
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    row = _parsed(line)
                    if row.keys() == _FIELDS:
                        checksum = zlib.crc32(line, checksum)
                        yield row
                    elif row.keys() == {_CHECKSUM}:
                        told = row[_CHECKSUM]
                    else:
                        raise _altered(key, where)
        if rest or checksum != told:
            raise _altered(key, where)


def _parsed(line: bytes) -> dict:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return row if isinstance(row, dict) else {}


def _altered(key: str, where: dict) -> AccountError:
    return AccountError(
        f"{key} is not as it was written",
        **where,
        next_step=CHUNK_ANEW,
    )
