"""Values that are COPY text as they stand, or but for some bytes: which of a field's values are, by the column's type.

Conservative: what `fits` comes out to the byte as `encode` has it; what does not may come out so all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from chalicelib.columns import Column
from chalicelib.conversion.values import BOUNDS
from chalicelib.conversion.words import Words, number_at

# stands behind the text: what is in no line as COPY wants it, and room to look some bytes beyond a value
BEYOND = b"\\N t f " + bytes(64)
_NULL, _TRUE, _FALSE = 0, 3, 5  # where

_MINUS, _DOT, _ZERO, _BLANK = b"-.0 "

_FLOAT_DIGITS = 15  # every decimal of so many is the shortest text of its float
_PLAIN_DECIMALS = 4  # from 0.0001 down floats are written with an exponent

_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


class Span(NamedTuple):
    """The values of one field in many lines: where they begin, how many bytes they are, whether they are in quotes."""

    start: np.ndarray
    length: np.ndarray
    quoted: bool


class Spans(NamedTuple):
    """COPY text: `length` bytes from `start` where it `fits`, after `edits`, (offset, byte), were made."""

    start: np.ndarray
    length: np.ndarray
    fits: np.ndarray
    edits: Sequence[tuple[int, int]] = ()


def takes(column: Column) -> bool:
    """Whether there is a reading here for the column's type."""
    return column.base in (*BOUNDS, "double precision", "boolean", "text", "date", "timestamp", "timestamptz")


def absent(column: Column, lines: int, beyond: int) -> Spans:
    """A field that the lines lack; `beyond` is where BEYOND stands."""
    return Spans(np.full(lines, beyond + _NULL), np.full(lines, 2), np.full(lines, column.nullable))


def of(words: Words, span: Span, column: Column, beyond: int) -> Spans:
    """One field's values for `column`."""
    if not span.quoted:
        return _with_nulls(words, span, column, beyond)
    match column.base:
        case "text":
            return Spans(span.start, span.length, np.ones(len(span.start), dtype=bool))
        case "date":
            return Spans(span.start, span.length, (span.length == 10) & _are_days(words, span.start))
        case "timestamp":
            fits = (span.length == 19) & _are_times(words, span.start)
            return Spans(span.start, span.length, fits, ((10, _BLANK),))
        case "timestamptz":  # the quote and what follows it give way
            fits = (span.length == 20) & _are_times(words, span.start) & (words.text[span.start + 19] == ord("Z"))
            edits = ((10, _BLANK), *enumerate(b"+00", start=19))
            return Spans(span.start, np.full(len(span.length), 22), fits, edits)
    return Spans(span.start, span.length, np.zeros(len(span.start), dtype=bool))


def _with_nulls(words: Words, span: Span, column: Column, beyond: int) -> Spans:
    """Values without quotes: numbers, true, false, null."""
    start, length, _ = span
    if column.base in BOUNDS:
        fits = _are_integers(words, start, length, BOUNDS[column.base])
    elif column.base == "double precision":
        fits = _are_decimals(words, start, length)
    else:
        fits = np.zeros(len(start), dtype=bool)
    if fits.all():
        return Spans(start, length, fits)
    start, length = start.copy(), length.copy()
    known = [(b"null", _NULL, 2)]
    if column.base == "boolean":
        known += [(b"true", _TRUE, 1), (b"false", _FALSE, 1)]
    for word, place, size in known:
        said = (span.length == len(word)) & words.are(span.start, word)
        start[said], length[said] = beyond + place, size
        fits |= said if place != _NULL or column.nullable else False
    return Spans(start, length, fits)


def _are_integers(words: Words, start: np.ndarray, length: np.ndarray, bound: int) -> np.ndarray:
    negative = words.text[start] == _MINUS
    start, length = start + negative, length - negative
    value, fits = words.digits(start, length)
    fits &= (words.text[start] != _ZERO) | ((length == 1) & ~negative)
    return fits & (value < bound)


def _are_decimals(words: Words, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Numbers with a point that a float's shortest text would be written as."""
    text = words.text
    negative = text[start] == _MINUS
    start, length = start + negative, length - negative
    whole = words.until(_DOT, start)
    decimals = length - whole - 1
    _, fits = words.digits(start, whole)
    _, are_digits = words.digits(start + whole + 1, decimals)
    fits &= are_digits & (length <= _FLOAT_DIGITS + 1)
    first = text[start]
    fits &= (first != _ZERO) | (whole == 1)
    fits &= (text[start + np.maximum(length, 1) - 1] != _ZERO) | (decimals == 1)
    small = (first == _ZERO) & (decimals > _PLAIN_DECIMALS)
    return fits & ~(small & words.are(start + 2, b"0" * _PLAIN_DECIMALS))


def _are_days(words: Words, start: np.ndarray) -> np.ndarray:
    """Whether `YYYY-MM-DD` stands there, a day that exists."""
    pairs, fits = words.pairs(start, b"0000-00-")
    day, are_digits = words.pairs(start + 8, b"00")
    return fits & are_digits & _exist(pairs, day)


def _are_times(words: Words, start: np.ndarray) -> np.ndarray:
    """Whether `YYYY-MM-DDTHH:MM:SS` stands there, a time that exists."""
    pairs, fits = words.pairs(start, b"0000-00-")
    rest, are_digits = words.pairs(start + 8, b"00T00:00")
    seconds, are_seconds = words.pairs(start + 16, b":00")
    fits &= are_digits & are_seconds & _exist(pairs, rest)
    return fits & (number_at(rest, 3) <= 23) & (number_at(rest, 6) <= 59) & (number_at(seconds, 1) <= 59)


def _exist(pairs: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Which days exist, of years and months and of days of the month as `Words.pairs` has them."""
    year = number_at(pairs, 0) * 100 + number_at(pairs, 2)
    month, day = number_at(pairs, 5), number_at(day, 0)
    leap = (month == 2) & (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    fits = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    return fits & (day <= _DAYS[np.clip(month, 0, 12)] + leap)
