"""The header of a CSV: where it ends, its names, and the delimiter it gives away."""

from __future__ import annotations

import csv
from collections.abc import Callable

import numpy as np

from chalicelib.errors import RawError
from chalicelib.lake.formats import DELIMITERS, UTF8_BOM
from chalicelib.schema.names import listed

_NEWLINE, _QUOTE = b'\n"'
_OR_A_RECORD = "where the first line is a record, put the names above it"


# called with the names of a header, its delimiter, and what errors call the page
Expect = Callable[[tuple[str, ...], str, str], None]


def parse(head: bytes, delimiter: str | None, name: str, expect: Expect | None = None) -> tuple[tuple[str, ...], str]:
    """(field names, delimiter) of a CSV header; the delimiter that gives most fields where none is given.

    Raises RawError for names that are empty, repeated or not UTF-8, and lets `expect` raise for a header that is not
    the source's: the values of a record that is taken for one are also empty or repeated, which is not their fault.
    """

    def refused(problem: str, next_step: str, quote: str | None = None) -> RawError:
        return RawError(problem, quote=quote, file=name, line=1, byte=0, next_step=next_step)

    try:
        text = head.removeprefix(UTF8_BOM).decode()
    except UnicodeDecodeError as error:
        raise refused(f"the header is not UTF-8 ({error})", "convert the file to UTF-8") from None
    if "\r" in text.rstrip("\r\n"):
        raise refused("the header contains a bare CR; lines must end in LF or CRLF", "convert the line ends")

    if "\0" in text:
        raise refused("the header contains a NUL character", "check that the file is CSV in UTF-8")

    def fields(candidate: str) -> list[str]:
        try:
            return next(csv.reader([text], delimiter=candidate), [])
        except csv.Error:  # a quoted newline that is no longer quoted under this delimiter
            return []

    chosen = delimiter or max(DELIMITERS, key=lambda candidate: len(fields(candidate)))
    names = tuple(field.strip() for field in fields(chosen))
    if not any(names):
        raise refused("the first line is blank, expected a CSV header", "put the column names in the first line")
    if expect:
        expect(names, chosen, name)
    if empty := [str(i) for i, field in enumerate(names, 1) if not field]:
        raise refused(f"the header has no name for column {', '.join(empty)}", f"name every column; {_OR_A_RECORD}")
    if twice := sorted({field for field in names if names.count(field) > 1}):
        raise refused(
            "the header names columns twice", f"give each column a name of its own; {_OR_A_RECORD}", listed(twice)
        )
    return names, chosen


def openers(delimiters: str) -> np.ndarray:
    """Which bytes a quote may follow to open a field; `"` is for the second half of `""`. Shape (256,)."""
    table = np.zeros(256, dtype=bool)
    table[[*delimiters.encode(), _NEWLINE, _QUOTE]] = True
    return table


def end_of(head: bytes, opens: np.ndarray) -> int | None:
    """The byte after the header record, None where `head` does not hold all of it."""
    inside, before, closed_at = False, _NEWLINE, -2
    for i, byte in enumerate(head[len(UTF8_BOM) :] if head.startswith(UTF8_BOM) else head):
        if byte == _QUOTE:
            if inside:
                inside, closed_at = False, i
            else:
                inside = closed_at == i - 1 or (before != _QUOTE and bool(opens[before]))
        elif byte == _NEWLINE and not inside:
            return i + 1 + (len(UTF8_BOM) if head.startswith(UTF8_BOM) else 0)
        before = byte
    return None
