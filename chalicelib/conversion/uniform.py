"""Lines of JSON that are made alike, as COPY text: the bytes of their values copied, none of them made an object.

What a program writes line by line has the same fields in the same order. Where the quotes of a line stand tells where
its values are, and most values are COPY text as they stand: numbers, plain texts, dates. So lines are compared with a
`Shape`, that of one of them, all at once with numpy; whatever is not certain to come out as `encode` would have it is
left to the parser, line by line: an escape, a number of another form, a fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from chalicelib.columns import Column
from chalicelib.conversion import spans
from chalicelib.conversion.spans import Span, Spans
from chalicelib.conversion.words import Words

_NEWLINE, _QUOTE, _BACKSLASH, _CLOSE, _BLANK, _TAB = b'\n"\\} \t'

# a null in place of a text makes another shape, so the lines of one file have several
_SHAPES = 8
_TRIED = 5_000  # lines
# at a time: positions take eight times as much, and stay in the processor's cache (1 MB takes half as long again)
_BLOCK_BYTES = 512 * 1024

_FIELD = re.compile(rb'([{,])( ?)"([^"]+)":( ?)(?:("[^"]*")|[^",{}\[\]\s]+)')


@dataclass(frozen=True)
class Shape:
    """The fields of a line: their names, which values are in quotes, and the blanks after each `:` and `,`."""

    names: tuple[bytes, ...]
    quoted: tuple[bool, ...]
    after_colon: int
    after_comma: int

    @classmethod
    def of(cls, line: bytes) -> Shape | None:
        """None for a line that is no object, or holds more than plain values."""
        fields, at = [], 0
        while found := _FIELD.match(line, at):
            fields.append(found)
            at = found.end()
        names = tuple(found[3] for found in fields)
        after_comma = {len(found[2]) for found in fields[1:]} or {0}
        after_colon = {len(found[4]) for found in fields}
        if (
            line[at:] != b"}"
            or b"".join(found[1] for found in fields) != b"{" + b"," * (len(fields) - 1)
            or fields[0][2]
            or len(set(names)) < len(names)
            or len(after_comma) > 1
            or len(after_colon) > 1
        ):
            return None
        return cls(names, tuple(found[5] is not None for found in fields), after_colon.pop(), after_comma.pop())

    @property
    def quotes(self) -> int:
        return 2 * len(self.names) + 2 * sum(self.quoted)


def convert(
    data: bytes,
    columns: Sequence[Column],
    rename: Mapping[str, str] = MappingProxyType({}),
    longest: Mapping[str, int] = MappingProxyType({}),
) -> tuple[np.ndarray, list[bytes]]:
    """The lines of `data`, from 0, that are made alike, in order, and each one's columns as COPY text.

    `rename` are the columns of fields that are called otherwise. A line with a field that is no column is not among
    them, nor is one with a text of more bytes than `longest` says. The text of a column is that which `encode` gives.
    """
    if not all(spans.takes(column) for column in columns) or not _is_utf8(data):
        return np.empty(0, dtype=np.int64), []
    places, rows, begin, lines = [np.empty(0, dtype=np.int64)], [], 0, 0
    while begin < len(data):
        end = data.rfind(b"\n", begin, begin + _BLOCK_BYTES) + 1 or data.find(b"\n", begin) + 1 or len(data)
        found, converted, seen = _convert(data[begin:end], columns, rename, longest)
        places.append(found + lines)
        rows += converted
        begin, lines = end, lines + seen
        if lines >= _TRIED and len(rows) * 20 < lines:
            break  # these are of other kinds: looking at them would only be in the parser's way
    return np.concatenate(places), rows


def _convert(
    data: bytes, columns: Sequence[Column], rename: Mapping[str, str], longest: Mapping[str, int]
) -> tuple[np.ndarray, list[bytes], int]:
    """As `convert`, and how many lines there are."""
    text = np.frombuffer(data + spans.BEYOND, np.uint8).copy()
    words = Words(text)
    within = text[: len(data)]
    ends = np.flatnonzero(within == _NEWLINE)
    if data and data[-1] != _NEWLINE:
        ends = np.append(ends, len(data))
    starts = np.concatenate(([0], ends[:-1] + 1))
    quotes = np.flatnonzero(within == _QUOTE)
    first_quote = np.searchsorted(quotes, np.append(starts, len(data)))
    left = np.flatnonzero(_are_plain(within, starts, ends))
    found: list[tuple[np.ndarray, list[bytes]]] = []
    shapes, looked_at, enough = 0, 0, 2 * len(left)
    while len(left) and shapes < _SHAPES and looked_at < enough:
        taken = np.zeros(len(left), dtype=bool)
        shape = Shape.of(data[starts[left[0]] : ends[left[0]]])
        order = None if shape is None else _places(shape, columns, rename)
        if order is not None:
            taken = first_quote[left + 1] - first_quote[left] == shape.quotes
            some = left[taken]
            at = quotes[first_quote[some] + np.arange(shape.quotes)[:, None]]
            values, alike = _values(words, shape, at, starts[some], ends[some])
            converted = [
                spans.of(words, values[place], column, len(data))
                if place is not None
                else spans.absent(column, len(some), len(data))
                for place, column in zip(order, columns, strict=True)
            ]
            for value, column in zip(converted, columns, strict=True):
                alike &= value.fits
                if column.name in longest:
                    alike &= value.length <= longest[column.name]
            taken[taken] = alike
            found.append((some[alike], _joined(text, converted, np.flatnonzero(alike))))
            looked_at += len(some)
        shapes += 1
        taken[0] = True  # if its own shape does not take it, no other will
        left = left[~taken]
    lines = np.concatenate([np.empty(0, dtype=np.int64), *(places for places, _ in found)])
    rows = [row for _, some in found for row in some]
    if len(found) > 1:
        order = np.argsort(lines)
        lines, rows = lines[order], [rows[place] for place in order.tolist()]
    return lines, rows, len(ends)


def _is_utf8(data: bytes) -> bool:
    try:
        data.isascii() or data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _are_plain(text: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Lines with no backslash and no control character, of which a string may hold none, that are not empty."""
    plain = ends > starts
    odd = np.flatnonzero(((text < _BLANK) & (text != _NEWLINE)) | (text == _BACKSLASH))
    plain[np.searchsorted(ends, odd)] = False
    return plain


def _places(shape: Shape, columns: Sequence[Column], rename: Mapping[str, str]) -> list[int | None] | None:
    """Which field each column is, None where it is none; None in all where a field is no column of its own."""
    names = [name.decode() for name in shape.names]
    fields = [rename.get(name, name) for name in names]
    if len(set(fields)) < len(fields) or not set(fields) <= {column.name for column in columns}:
        return None
    return [fields.index(column.name) if column.name in fields else None for column in columns]


def _values(
    words: Words, shape: Shape, at: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[list[Span], np.ndarray]:
    """The values by field in lines with as many quotes as the shape, `at` (quotes, lines); which lines are alike."""
    alike = (words.text[ends - 1] == _CLOSE) & (at[0] == starts + 1)
    values: list[Span] = []
    quote = 0
    for number, (name, quoted) in enumerate(zip(shape.names, shape.quoted, strict=True)):
        before = b"," + b" " * shape.after_comma if number else b"{"
        said = before + b'"' + name + b'":' + b" " * shape.after_colon
        begin = at[quote] - len(before)
        alike &= words.are(begin, said)
        if number:
            _end(values, begin, alike)
        value = begin + len(said)
        if quoted:
            alike &= at[quote + 2] == value
            values.append(Span(value + 1, at[quote + 3] - value - 1, True))
        else:
            values.append(Span(value, None, False))
        quote += 4 if quoted else 2
    _end(values, ends - 1, alike)
    return values, alike


def _end(values: list[Span], end: np.ndarray, alike: np.ndarray) -> None:
    """The last of `values` reaches to `end`."""
    start, length, quoted = values[-1]
    if quoted:
        alike &= start + length + 1 == end
    else:
        values[-1] = Span(start, end - start, False)


def _joined(text: np.ndarray, values: Sequence[Spans], lines: np.ndarray) -> list[bytes]:
    """The values of these `lines` as lines of COPY text. `text` is changed: no other line may need those bytes."""
    if not len(lines):
        return []
    for value in values:
        for offset, byte in value.edits:
            text[value.start[lines] + offset] = byte
    starts = np.stack([value.start[lines] for value in values], axis=1).ravel()
    lengths = np.stack([value.length[lines] for value in values], axis=1).ravel() + 1  # and what parts them
    stops = np.cumsum(lengths)
    joined = text[np.repeat(starts - stops + lengths, lengths) + np.arange(stops[-1])]
    joined[stops - 1] = _TAB
    joined[stops[len(values) - 1 :: len(values)] - 1] = _NEWLINE
    return joined.tobytes().split(b"\n")[:-1]
