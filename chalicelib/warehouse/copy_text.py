"""Rows between stages: Postgres' COPY text format, one row a line.

The same bytes are what Transform writes, Validate reads a few columns of, and Load hands to COPY.
A line is: the source's columns, `_fingerprint`, `_seq`. COPY's escapes guarantee that a row never
contains a line break, so rows can be picked by splitting lines.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import orjson

from chalicelib.columns import FINGERPRINT, SEQ, Column
from chalicelib.conversion import NULL
from chalicelib.conversion.values import BOUNDS
from chalicelib.lake.lines import newlines
from chalicelib.warehouse.cells import Cells, unescaped

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {"double precision": np.float64, "numeric": np.float64}
_FLOAT64 = 2**53  # from here on, it does not hold every integer
_INFERRED = (*BOUNDS, "boolean")


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


def with_seqs(
    rows: Sequence[bytes], seqs: Sequence[int] | np.ndarray, known_by: Sequence[bytes] | None = None
) -> bytes:
    """Encoded rows as `write` has them. `known_by`: what fingerprints are taken of, where not of the rows."""
    if not rows:
        return b""
    blake2b = hashlib.blake2b
    digests = b"".join([blake2b(row, digest_size=8).digest() for row in (rows if known_by is None else known_by)])
    numbers = np.stack([np.frombuffer(digests, "<i8"), np.asarray(seqs, dtype=np.int64)], axis=1)
    # orjson writes them fastest, as [[1,2],[3,4]]
    pairs = orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2]
    ends = b"\t" + pairs.replace(b"],[", b"\n\t").replace(b",", b"\t") + b"\n"
    parts = [b""] * (2 * len(rows))
    parts[::2] = rows
    parts[1::2] = ends.splitlines(keepends=True)
    return b"".join(parts)


def _without_late(columns: Sequence[Sequence[str]], late: Mapping[int, str]) -> list[bytes]:
    """What rows are known by: their texts but for late columns, of which those follow that have a value."""
    rows = list(map("\t".join, zip(*(texts for at, texts in enumerate(columns) if at not in late), strict=True)))
    for place, name in sorted(late.items(), key=lambda pair: pair[1]):
        texts = columns[place]
        if texts.count(NULL) < len(texts):
            rows = [row if text == NULL else f"{row}\t{name}={text}" for row, text in zip(rows, texts, strict=True)]
    return [row.encode() for row in rows]


def without(rows: bytes, positions: Collection[int]) -> bytes:
    """The lines of `rows` except those at `positions` (from 0)."""
    bounds = _bounds(rows)
    kept, start = [], 0
    for position in sorted(positions):
        kept.append(rows[start : bounds[position]])
        start = bounds[position + 1]
    kept.append(rows[start:])
    return b"".join(kept)


def _bounds(rows: bytes) -> np.ndarray:
    """Where each line begins, and where the last one ends; a tenth of the time of splitting into lines."""
    return np.concatenate(([0], newlines(rows) + 1))


def cells(rows: bytes, columns: Sequence[Column]) -> Cells:
    """The cells of rows as `write` has them, the source's `columns` first."""
    return Cells(rows, len(columns) + 2)


def read_frame(found: Cells, columns: Sequence[Column], wanted: Collection[str]) -> pd.DataFrame:
    """The `wanted` columns as a frame: numbers as int64 or float64, booleans as bool, all else as text.

    Nulls are None in text columns and NaN in numeric ones, which are float64 then; a boolean column
    with nulls is of objects. So is a bigint column with values of 2**53 and beyond, of Python's integers:
    beside nulls float64 does not hold them, and without nulls Great Expectations compares int64 as floats
    (100,000 rows between bounds: 46 ms, where float64 takes 16).
    """
    import pandas as pd  # here, because Transform and Load use this module and need no frame

    values = {
        column.name: _values(found, place, column) if len(found) else None
        for place, column in enumerate(columns)
        if column.name in wanted
    }
    left = [column for column in columns if column.name in values and values[column.name] is None]
    if left:
        parsed = parse_frame(found, columns, left)
        values |= {column.name: parsed[column.name] for column in left}
    return pd.DataFrame(values, copy=False)


def _values(found: Cells, place: int, column: Column) -> np.ndarray | None:
    """None where only the parser says what they are."""
    if column.base in BOUNDS:
        return found.integers(place)
    if column.base in _DTYPES:
        return found.decimals(place)
    return found.booleans(place) if column.base == "boolean" else found.texts(place)


def parse_frame(found: Cells, columns: Sequence[Column], used: Sequence[Column]) -> pd.DataFrame:
    """The `used` columns as `read_frame` has them, whatever stands in their cells: 0.2 microseconds a cell."""
    import pandas as pd

    frame = pd.read_csv(
        io.BytesIO(found.rows),
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
    for column in used:
        if frame[column.name].dtype == object:
            if found.holds_escapes and column.base in ("text", "jsonb"):
                frame[column.name] = frame[column.name].map(unescaped, na_action="ignore").astype(object)
            if found.holds_nulls:
                frame[column.name] = frame[column.name].where(frame[column.name].notna(), None)
        if column.base == "bigint" and _beyond_float64(frame[column.name]):
            frame[column.name] = _integers(found.rows, columns, column.name)
    return frame


def _beyond_float64(values: pd.Series) -> bool:
    return bool(((values >= _FLOAT64) | (values <= -_FLOAT64)).any())


def _integers(rows: bytes, columns: Sequence[Column], name: str) -> pd.Series:
    """The column `name`, integers as Python's, nulls as NaN: it compares with numbers, which None does not."""
    import pandas as pd

    place = [column.name for column in columns].index(name)
    texts = (line.split(b"\t", place + 1)[place] for line in rows.removesuffix(b"\n").split(b"\n"))
    return pd.Series([np.nan if text == b"\\N" else int(text) for text in texts], dtype=object)
