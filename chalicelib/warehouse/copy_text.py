"""Rows between stages: Postgres' COPY text format, one row a line.

The same bytes are what Transform writes, Validate reads a few columns of, and Load hands to COPY.
A line is: the source's columns, `_fingerprint`, `_seq`. COPY's escapes guarantee that a row never
contains a line break, so rows can be picked by splitting lines.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import orjson

from chalicelib.columns import FINGERPRINT, SEQ, Column
from chalicelib.conversion import NULL

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {"double precision": np.float64, "numeric": np.float64}
_FLOAT64 = 2**53  # from here on, it does not hold every integer
_INFERRED = ("smallint", "integer", "bigint", "boolean")
_UNESCAPED = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r", "\\b": "\b", "\\f": "\f", "\\v": "\v"}
_ESCAPE = re.compile(r"\\[\\tnrbfv]")


def write(columns: Sequence[Sequence[str]], seqs: Sequence[int], late: Mapping[int, str] | None = None) -> bytes:
    """Encoded columns (see `conversion.encode`) and each row's `seq` as lines.

    The fingerprint is the first 8 bytes of blake2b over the row's text, as a signed bigint. It is
    only ever compared with the fingerprint of the same key, so 64 bits are plenty.

    `late` are the positions and names of columns that the table got after it was made. They count
    by name, and only where they are not null: a row without them keeps the fingerprint that it had.
    """
    rows = encoded(columns)
    return with_seqs(rows, seqs, _without_late(columns, late) if late and rows else rows)


def encoded(columns: Sequence[Sequence[str]]) -> list[bytes]:
    """Encoded columns as rows."""
    return [line.encode() for line in map("\t".join, zip(*columns, strict=True))]


def with_seqs(rows: Sequence[bytes], seqs: Sequence[int], known_by: Sequence[bytes] | None = None) -> bytes:
    """Encoded rows as `write` has them. `known_by`: what fingerprints are taken of, where not of the rows."""
    if not rows:
        return b""
    blake2b = hashlib.blake2b
    digests = b"".join([blake2b(row, digest_size=8).digest() for row in (rows if known_by is None else known_by)])
    fingerprints = _numbers(np.frombuffer(digests, "<i8").tolist())
    lines = map(b"\t".join, zip(rows, fingerprints, _numbers(list(seqs)), strict=True))
    return b"\n".join(lines) + b"\n"


def _without_late(columns: Sequence[Sequence[str]], late: Mapping[int, str]) -> list[bytes]:
    """What rows are known by: their texts but for late columns, of which those follow that have a value."""
    rows = list(map("\t".join, zip(*(texts for at, texts in enumerate(columns) if at not in late), strict=True)))
    for place, name in sorted(late.items(), key=lambda pair: pair[1]):
        texts = columns[place]
        if texts.count(NULL) < len(texts):
            rows = [row if text == NULL else f"{row}\t{name}={text}" for row, text in zip(rows, texts, strict=True)]
    return [row.encode() for row in rows]


def _numbers(values: list[int]) -> list[bytes]:
    return orjson.dumps(values)[1:-1].split(b",")


def without(rows: bytes, positions: Collection[int]) -> bytes:
    """The lines of `rows` except those at `positions` (from 0)."""
    bounds = _bounds(rows)
    kept, start = [], 0
    for position in sorted(positions):
        kept.append(rows[start : bounds[position]])
        start = bounds[position + 1]
    kept.append(rows[start:])
    return b"".join(kept)


def seqs_at(rows: bytes, positions: Collection[int]) -> list[int]:
    """The `_seq` of the lines at `positions`, in the order of `positions`."""
    bounds = _bounds(rows)
    return [int(rows[bounds[p] : bounds[p + 1]].rsplit(b"\t", 1)[1]) for p in positions]


def _bounds(rows: bytes) -> np.ndarray:
    """Where each line begins, and where the last one ends; a tenth of the time of splitting into lines."""
    ends = np.flatnonzero(np.frombuffer(rows, np.uint8) == ord("\n")) + 1
    return np.concatenate(([0], ends))


def read_frame(rows: bytes, columns: Sequence[Column], wanted: Collection[str]) -> pd.DataFrame:
    """The `wanted` columns as a frame: numbers as int64 or float64, booleans as bool, all else as text.

    Nulls are None in text columns and NaN in numeric ones, which are float64 then; a boolean column
    with nulls is of objects. So is a bigint column with values of 2**53 and beyond, of Python's integers:
    beside nulls float64 does not hold them, and without nulls Great Expectations compares int64 as floats
    (100,000 rows between bounds: 46 ms, where float64 takes 16).
    """
    import pandas as pd  # here, because Transform and Load use this module and need no frame

    used = [column for column in columns if column.name in wanted]
    frame = pd.read_csv(
        io.BytesIO(rows),
        sep="\t",
        header=None,
        names=[*(column.name for column in columns), FINGERPRINT, SEQ],
        usecols=[column.name for column in used],
        # left out of `dtype`: pandas finds out whether integers and booleans have nulls among them
        dtype={column.name: _DTYPES.get(column.base, object) for column in used if column.base not in _INFERRED},
        true_values=["t"],
        false_values=["f"],
        na_values=["\\N"],
        keep_default_na=False,
        quoting=csv.QUOTE_NONE,
        engine="c",
    )
    holds_nulls = b"\\N" in rows
    if rows.count(b"\\") > (rows.count(b"\\N") if holds_nulls else 0):
        for column in used:
            if column.base in ("text", "jsonb"):
                frame[column.name] = frame[column.name].map(_unescape, na_action="ignore")
    for column in used if holds_nulls else ():
        if frame[column.name].dtype == object:
            frame[column.name] = frame[column.name].where(frame[column.name].notna(), None)
    for column in used:
        if column.base == "bigint" and _beyond_float64(frame[column.name]):
            frame[column.name] = _integers(rows, columns, column.name)
    return frame


def _beyond_float64(values: pd.Series) -> bool:
    return bool(((values >= _FLOAT64) | (values <= -_FLOAT64)).any())


def _integers(rows: bytes, columns: Sequence[Column], name: str) -> pd.Series:
    """The column `name`, integers as Python's, nulls as NaN: it compares with numbers, which None does not."""
    import pandas as pd

    place = [column.name for column in columns].index(name)
    texts = (line.split(b"\t", place + 1)[place] for line in rows.removesuffix(b"\n").split(b"\n"))
    return pd.Series([np.nan if text == b"\\N" else int(text) for text in texts], dtype=object)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: _UNESCAPED[found[0]], text) if "\\" in text else text
