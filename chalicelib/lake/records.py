"""Read a chunk: slices of raw bytes into columns of Python values.

The hot path of the pipeline. Microseconds per row for 100,000 records of 8 fields, the GET from S3
aside, one core:

    NDJSON, 150 bytes: 1.6, of which splitting lines 0.1, orjson 0.9, rows to columns 0.4; lines that are made
                       alike 1.2, and with that they are COPY text already
    CSV, 80 bytes:     1.7 to 2.5, of which csv.reader 0.8, rows to columns 0.5
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import orjson

from chalicelib import collector
from chalicelib.columns import Column
from chalicelib.contracts import Chunk, Slice
from chalicelib.conversion import indexed, uniform
from chalicelib.conversion.values import BOUNDS
from chalicelib.errors import ContractError, SluiceError, SourceError
from chalicelib.lake import csv_rows, formats, ndjson, position
from chalicelib.lake.cutting import too_long
from chalicelib.lake.lines import newlines
from chalicelib.lake.ndjson import Bad, Parsed
from chalicelib.lake.store import Lake
from chalicelib.settings import Settings

if TYPE_CHECKING:
    from chalicelib.sources.base import Source

# what the quarantine keeps of a record
TEXT_CHARACTERS = 10_000

_NO_SEQS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Malformed:
    """A record that cannot be parsed. `record` is its raw text as `shown` gives it."""

    part: int
    line: int
    reason: str
    record: str


@dataclass(frozen=True)
class ReadRecords:
    """The records of a chunk. Row i is `[values[i] for values in fields.values()]`.

    `fields` is the union of the fields seen, in order of appearance; a value is None where it is
    null or absent. `seqs` (int64) says where each row came from, see `lake.position`. Rows that are COPY text
    already are in `uniform`, with the `seqs` of theirs.
    """

    fields: dict[str, list]
    seqs: np.ndarray
    malformed: list[Malformed]
    uniform: Sequence[bytes] = ()
    uniform_seqs: np.ndarray = field(default_factory=lambda: _NO_SEQS)

    @property
    def records(self) -> int:
        return len(self.seqs) + len(self.malformed) + len(self.uniform)


def read(
    chunk: Chunk, source: Source, lake: Lake, settings: Settings, *, columns: Sequence[Column] = ()
) -> ReadRecords:
    """All records of `chunk`; what cannot be parsed is in `malformed`, and nothing is left out.

    With `columns`, lines of NDJSON that are made alike come as COPY text of these, see `conversion.uniform`.

    Of a field that appears twice in one JSON object, the last one counts. An integer is exact
    whatever its size, and so is a number for a numeric or an integer column, a Decimal where no float is it
    (but not in a response, which is the source's to read). Raises SourceError where the source cannot
    make records of a response.
    """
    # records hold no cycles, but Python walks over all of them again and again: CSV takes 1.7 times as long
    with collector.paused():
        return _read(chunk, source, lake, settings, columns)


def _read(chunk: Chunk, source: Source, lake: Lake, settings: Settings, columns: Sequence[Column] = ()) -> ReadRecords:
    records: list = []
    seqs = [_NO_SEQS]
    alike: list[bytes] = []
    alike_seqs = [_NO_SEQS]
    malformed: list[Malformed] = []
    only = lake.get_json(chunk.only) if chunk.only else None
    for piece in chunk.slices:
        if columns and only is None and chunk.format == formats.NDJSON and not too_long(piece, settings):
            lines, rows, parsed = _uniform(lake.get(piece.key, piece.start, piece.end), source, columns)
            alike += rows
            alike_seqs.append(position.seq(piece.part, lines + piece.first_line))
        else:
            parsed = _parsed(piece, chunk, source, lake, settings)
        if only is not None:
            parsed = _those(parsed, piece, only.get(str(piece.part), ()))
        records += parsed.records
        seqs.append(position.seq(piece.part, parsed.lines + piece.first_line))
        malformed += [
            Malformed(piece.part, piece.first_line + bad.line, bad.reason, shown(bad.text)) for bad in parsed.bad
        ]
    places = np.concatenate(seqs)
    if chunk.format == formats.CSV:
        return ReadRecords(_renamed(csv_rows.columns(records, chunk.header, source.nulls), source), places, malformed)
    fields, torn = _merged(ndjson.columns(records), source)
    if torn:
        texts = raw_texts(chunk, source, lake, settings, [int(places[row]) for row in torn])
        for row, reason in torn.items():
            part, line = position.part_and_line(int(places[row]))
            malformed.append(Malformed(part, line, reason, texts[int(places[row])]))
        kept = [row for row in range(len(places)) if row not in torn]
        fields = {name: [values[row] for row in kept] for name, values in fields.items()}
        places = places[kept]
    return ReadRecords(fields, places, malformed, alike, np.concatenate(alike_seqs))


def _uniform(data: bytes, source: Source, columns: Sequence[Column]) -> tuple[np.ndarray, list[bytes], Parsed]:
    """Lines that are made alike, from 0, their rows as COPY text, and the other lines parsed."""
    lines, rows = uniform.convert(data, columns, source.rename, indexed.shares(columns, source.sorted_by))
    if not rows:
        return lines, rows, ndjson.parse(data, **_exact_fields(source))
    if len(rows) == data.count(b"\n") + (not data.endswith(b"\n")):
        return lines, rows, Parsed([], _NO_SEQS, [])  # the commonest case spares splitting the lines: 0.2 µs per row
    others = data.split(b"\n")
    if not others[-1]:
        others.pop()
    left = np.delete(np.arange(len(others)), lines)
    parsed = ndjson.parse(b"\n".join([others[line] for line in left.tolist()]), **_exact_fields(source))
    bad = [replace(each, line=int(left[each.line])) for each in parsed.bad]
    return lines, rows, Parsed(parsed.records, left[parsed.lines], bad)


def raw_texts(chunk: Chunk, source: Source, lake: Lake, settings: Settings, seqs: Iterable[int]) -> dict[int, str]:
    """The raw text, as `shown`, of those rows of `chunk`, by seq. Reads the slices concerned again."""
    wanted: dict[int, list[int]] = {}
    for seq in seqs:
        part, line = position.part_and_line(int(seq))
        wanted.setdefault(part, []).append(line)
    texts: dict[int, str] = {}
    for piece in chunk.slices:
        lines = [
            line - piece.first_line
            for line in wanted.get(piece.part, ())
            if line >= piece.first_line and (piece.lines is None or line < piece.first_line + piece.lines)
        ]
        if lines and not too_long(piece, settings):
            for line, text in _raw_records(piece, chunk, source, lake, lines):
                texts[position.seq(piece.part, piece.first_line + line)] = shown(text)
    return texts


def shown(record: bytes) -> str:
    """A record as text that Postgres can store: NUL and invalid UTF-8 escaped, at most TEXT_CHARACTERS."""
    return record.decode("utf-8", "backslashreplace").replace("\0", "\\x00")[:TEXT_CHARACTERS]


def _parsed(piece: Slice, chunk: Chunk, source: Source, lake: Lake, settings: Settings) -> Parsed:
    if too_long(piece, settings):
        beginning = lake.get(piece.key, piece.start, piece.start + TEXT_CHARACTERS)
        reason = (
            f"the record is {piece.end - piece.start} bytes long (bytes {piece.start} to {piece.end}), "
            f"at most {settings.record_bytes} are accepted"
        )
        return Parsed([], np.empty(0, dtype=np.int64), [Bad(0, reason, beginning)])
    data = lake.get(piece.key, piece.start, piece.end)
    match chunk.format:
        case formats.NDJSON:
            return ndjson.parse(data, **_exact_fields(source))
        case formats.JSON:
            return ndjson.parse(data, blank_is_bad=True, **_exact_fields(source))
        case formats.CSV:
            return csv_rows.parse(data, chunk.header, chunk.delimiter)
        case formats.RESPONSE:
            return _response(data, piece, chunk, source)
    raise ContractError(f"chunk {chunk.chunk} has the unknown format {chunk.format!r}")


def _those(parsed: Parsed, piece: Slice, lines: Collection[int]) -> Parsed:
    """What of `parsed` begins at one of the `lines` of the raw object."""
    wanted = set(lines)
    kept = [place for place, line in enumerate(parsed.lines.tolist()) if line + piece.first_line in wanted]
    bad = [each for each in parsed.bad if each.line + piece.first_line in wanted]
    return Parsed([parsed.records[place] for place in kept], parsed.lines[kept], bad)


def _exact_fields(source: Source) -> dict[str, frozenset[str]]:
    """The fields that become numeric columns and those that become integers, as `ndjson.parse` takes them."""
    return {"exact": _fields_of(source, ("numeric",)), "whole": _fields_of(source, BOUNDS)}


def _fields_of(source: Source, types: Collection[str]) -> frozenset[str]:
    """The fields that become columns of these types; none where the source has not been given its columns."""
    columns = {column.name for column in getattr(source, "columns", ()) if column.base in types}
    named_otherwise = (field for field, column in source.rename.items() if column in columns)
    return frozenset(columns.union(named_otherwise, (source.late[name] for name in columns & set(source.late))))


def _raw_records(
    piece: Slice, chunk: Chunk, source: Source, lake: Lake, lines: list[int]
) -> Iterator[tuple[int, bytes]]:
    data = lake.get(piece.key, piece.start, piece.end)
    if chunk.format == formats.CSV:
        yield from csv_rows.raw_records(data, chunk.delimiter, lines)
        return
    if chunk.format == formats.RESPONSE:
        texts = [_compact(record) for record in _source_records(data, piece, chunk, source)]
        for line in lines:
            yield line, texts[line].strip()
        return
    # a quarter of the time of splitting all lines, where a few are wanted
    bounds = np.concatenate(([0], newlines(data) + 1, [len(data) + 1]))
    for line in lines:
        yield line, data[bounds[line] : bounds[line + 1] - 1].strip()


def _merged(fields: dict[str, list], source: Source) -> tuple[dict[str, list], dict[int, str]]:
    """The fields by column, and the rows that have values in two fields of one column, each with the reason.

    Each record is mapped by itself: one may have the one field, another the other.
    """
    of_column: dict[str, list[str]] = {}
    for name in fields:
        of_column.setdefault(source.rename.get(name, name), []).append(name)
    merged: dict[str, list] = {}
    torn: dict[int, str] = {}
    for column, several in of_column.items():
        merged[column] = fields[several[0]]
        for name in several[1:]:
            one, other = merged[column], fields[name]
            for row, values in enumerate(zip(one, other, strict=True)):
                if None not in values:
                    torn[row] = f"two fields of the record become column {column}: {', '.join(several)}"
            merged[column] = [b if a is None else a for a, b in zip(one, other, strict=True)]
    return merged, torn


def _renamed(fields: dict[str, list], source: Source) -> dict[str, list]:
    renamed: dict[str, list] = {}
    for name, values in fields.items():
        column = source.rename.get(name, name)
        if column in renamed:
            raise SourceError(
                f"two fields of the header become column {column!r}, one of them is {name!r}",
                source=source.name,
                next_step="rename one of them to another name, or to one that no column has, which drops it",
            )
        renamed[column] = values
    return renamed


# --- a response, which only the source can read ----------------------------------------------


def _response(data: bytes, piece: Slice, chunk: Chunk, source: Source) -> Parsed:
    """The records of one document; the line of a record is its ordinal."""
    records, lines, bad = [], [], []
    suspect = ndjson.NUL in data
    for i, record in enumerate(_source_records(data, piece, chunk, source)):
        if suspect or type(record) is not dict:
            text = _compact(record)
            try:
                record = ndjson.checked(record, text)
            except ValueError as error:
                bad.append(Bad(i, str(error), text))
                continue
        records.append(record)
        lines.append(i)
    return Parsed(records, np.array(lines, dtype=np.int64), bad)


def _source_records(data: bytes, piece: Slice, chunk: Chunk, source: Source) -> list:
    where = {"source": source.name, "file": piece.raw_key}
    beginning = f"begins {data[:200].decode(errors='replace')!r}"
    try:
        document = json.loads(data) if ndjson.LONG_NUMBER.search(data) else orjson.loads(data)
    except ValueError as error:
        raise SourceError(
            f"the response is not JSON ({error})",
            quote=f"it {beginning}",
            next_step="open the address by hand; if it serves something else, change the source's pages()",
            **where,
        ) from None
    try:
        return list(source.records(document, chunk.request))
    except SluiceError:
        raise
    except Exception as error:
        raise SourceError(
            f"records() raised {type(error).__name__}",
            quote=f"{error}; the response {beginning}",
            next_step=f"compare the response with records() in chalicelib/sources/{source.name}.py",
            **where,
        ) from error


def _compact(record) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=str).encode(errors="backslashreplace")
