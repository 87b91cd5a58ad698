"""Parse CSV without its header (RFC 4180, `csv.reader` in strict mode)."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Iterable, Iterator

import numpy as np

from chalicelib.lake.ndjson import Bad, Parsed

# the cutter has bounded the records already; Python's own limit of 131,072 characters would be a second one
csv.field_size_limit(2**31 - 1)

_UNDECODED = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of invalid UTF-8


def parse(data: bytes, header: tuple[str, ...], delimiter: str) -> Parsed:
    """The rows of `data` as lists of strings, each as long as the header. Blank lines are no records."""
    lines, suspect = _text_lines(data)
    rows: list[list[str]] = []
    at: list[int] = []
    bad: list[Bad] = []
    width = len(header)
    begin = 0  # the line where the record begins that comes next
    while begin < len(lines):
        base = begin
        reader = csv.reader(_from(lines, base), delimiter=delimiter, strict=True)
        try:
            for row in reader:
                if len(row) == width and not suspect:
                    rows.append(row)
                    at.append(begin)
                elif row and (reason := _fault(row, header)):
                    bad.append(Bad(begin, reason, _raw(lines, begin, base + reader.line_num)))
                elif row:
                    rows.append(row)
                    at.append(begin)
                begin = base + reader.line_num
        except csv.Error as error:
            end = _record_end(lines, begin, delimiter)
            bad.append(Bad(begin, f"not valid CSV: {error}", _raw(lines, begin, end)))
            begin = end
    return Parsed(rows, np.array(at, dtype=np.int64), bad)


def raw_records(data: bytes, delimiter: str, wanted: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """(line, raw text) of the records that begin at the lines `wanted`, from 0."""
    lines, _ = _text_lines(data)
    for line in wanted:
        yield line, _raw(lines, line, _record_end(lines, line, delimiter))


def columns(rows: list[list[str]], header: tuple[str, ...], nulls: Iterable[str]) -> dict[str, list[str | None]]:
    """The rows by field; an empty field, or one of the tokens `nulls`, is None."""
    absent = frozenset(("", *nulls))
    if not rows:
        return {name: [] for name in header}
    return {
        name: list(values) if absent.isdisjoint(values) else [None if v in absent else v for v in values]
        for name, values in zip(header, zip(*rows, strict=True), strict=True)
    }


def _text_lines(data: bytes) -> tuple[list[str], bool]:
    """Physical lines with their ends, and whether some may hold NUL or invalid UTF-8."""
    try:
        text, valid = data.decode(), True
    except UnicodeDecodeError:
        text, valid = data.decode(errors="surrogateescape"), False
    # newline="\n": lines end at LF alone, as the cutter counts them
    return list(io.StringIO(text, newline="\n")), not valid or "\0" in text


def _fault(row: list[str], header: tuple[str, ...]) -> str | None:
    for number, value in enumerate(row):
        column = header[number] if number < len(header) else str(number + 1)
        if "\0" in value:
            return f"column {column} contains a NUL character"
        if not value.isascii() and _UNDECODED.search(value):
            return f"column {column} is not valid UTF-8"
    if len(row) != len(header):
        return f"{len(row)} fields where the header has {len(header)}"
    return None


def _record_end(lines: list[str], begin: int, delimiter: str) -> int:
    """The line after the record that begins at line `begin`, as the cutter sees it: quotes matter, faults do not."""
    lenient = csv.reader(_from(lines, begin), delimiter=delimiter)
    with contextlib.suppress(csv.Error):  # a bare CR; what it interrupts ends with the line
        next(lenient)
    return begin + lenient.line_num


def _from(lines: list[str], begin: int) -> Iterator[str]:
    return (lines[i] for i in range(begin, len(lines))) if begin else iter(lines)


def _raw(lines: list[str], begin: int, end: int) -> bytes:
    return "".join(lines[begin:end]).rstrip("\r\n").encode(errors="surrogateescape")
