"""Values that are COPY text as they stand, or but for some bytes: which of a field's values are, by the column's type.

Conservative: what `fits` comes out to the byte as `encode` has it; what does not may come out so all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from chalicelib.columns import Column
from chalicelib.conversion.values import BOUNDS

# stands behind the text: what is in no line as COPY wants it, and room to look some bytes beyond a value
BEYOND = b"\\N t f " + bytes(64)
_NULL, _TRUE, _FALSE = 0, 3, 5  # where

_MINUS, _DOT, _ZERO, _BLANK = b"-.0 "

_DIGITS = 18  # every integer of so many fits 64 bits
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


def of(text: np.ndarray, span: Span, column: Column, beyond: int) -> Spans:
    """One field's values for `column`."""
    if not span.quoted:
        return _with_nulls(text, span, column, beyond)
    match column.base:
        case "text":
            return Spans(span.start, span.length, np.ones(len(span.start), dtype=bool))
        case "date":
            return Spans(span.start, span.length, (span.length == 10) & _are_days(text, span.start))
        case "timestamp":
            fits = (span.length == 19) & _are_times(text, span.start)
            return Spans(span.start, span.length, fits, ((10, _BLANK),))
        case "timestamptz":  # the quote and what follows it give way
            fits = (span.length == 20) & _are_times(text, span.start) & (text[span.start + 19] == ord("Z"))
            edits = ((10, _BLANK), *enumerate(b"+00", start=19))
            return Spans(span.start, np.full(len(span.length), 22), fits, edits)
    return Spans(span.start, span.length, np.zeros(len(span.start), dtype=bool))


def _with_nulls(text: np.ndarray, span: Span, column: Column, beyond: int) -> Spans:
    """Values without quotes: numbers, true, false, null."""
    start, length, _ = span
    if column.base in BOUNDS:
        fits = _are_integers(text, start, length, BOUNDS[column.base])
    elif column.base == "double precision":
        fits = _are_decimals(text, start, length)
    else:
        fits = np.zeros(len(start), dtype=bool)
    if fits.all():
        return Spans(start, length, fits)
    start, length = start.copy(), length.copy()
    words = ((b"null", _NULL, 2), (b"true", _TRUE, 1), (b"false", _FALSE, 1)) if column.base == "boolean" else ()
    for word, place, size in words or ((b"null", _NULL, 2),):
        said = _say(text, span, word)
        start[said], length[said] = beyond + place, size
        fits |= said if place != _NULL or column.nullable else False
    return Spans(start, length, fits)


def _say(text: np.ndarray, span: Span, word: bytes) -> np.ndarray:
    said = span.length == len(word)
    for place, character in enumerate(word):
        said &= text[span.start + place] == character
    return said


def _are_integers(text: np.ndarray, start: np.ndarray, length: np.ndarray, bound: int) -> np.ndarray:
    negative = text[start] == _MINUS
    start, length = start + negative, length - negative
    fits = (length >= 1) & (length <= _DIGITS) & ((text[start] != _ZERO) | ((length == 1) & ~negative))
    value = np.zeros(len(start), dtype=np.int64)
    for place in range(min(int(length.max(initial=0)), _DIGITS)):
        digit = text[start + place] - np.uint8(_ZERO)
        inside = place < length
        fits &= (digit <= 9) | ~inside
        value = np.where(inside, value * 10 + digit, value)
    return fits & (value < bound)


def _are_decimals(text: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Numbers with a point that a float's shortest text would be written as."""
    negative = text[start] == _MINUS
    start, length = start + negative, length - negative
    fits = (length >= 3) & (length <= _FLOAT_DIGITS + 1)
    point = np.zeros(len(start), dtype=np.int64)
    points = np.zeros(len(start), dtype=np.int64)
    for place in range(min(int(length.max(initial=0)), _FLOAT_DIGITS + 1)):
        character = text[start + place]
        inside = place < length
        is_point = (character == _DOT) & inside
        fits &= is_point | ~inside | (character - np.uint8(_ZERO) <= 9)
        point[is_point] = place
        points += is_point
    decimals = length - point - 1
    fits &= (points == 1) & (point >= 1) & (decimals >= 1)
    fits &= (text[start] != _ZERO) | (point == 1)
    fits &= (text[start + np.maximum(length, 1) - 1] != _ZERO) | (decimals == 1)
    small = (text[start] == _ZERO) & (decimals > _PLAIN_DECIMALS)
    for place in range(_PLAIN_DECIMALS):
        small &= text[start + 2 + place] == _ZERO
    return fits & ~small


def _are_days(text: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Whether `YYYY-MM-DD` stands there, a day that exists."""
    fits = (text[start + 4] == _MINUS) & (text[start + 7] == _MINUS)
    year = _number(text, start, 4, fits)
    month = _number(text, start + 5, 2, fits)
    day = _number(text, start + 8, 2, fits)
    leap = (month == 2) & (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    fits &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    return fits & (day <= _DAYS[np.clip(month, 0, 12)] + leap)


def _are_times(text: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Whether `YYYY-MM-DDTHH:MM:SS` stands there, a time that exists."""
    fits = _are_days(text, start) & (text[start + 10] == ord("T"))
    fits &= (text[start + 13] == ord(":")) & (text[start + 16] == ord(":"))
    hour = _number(text, start + 11, 2, fits)
    minute, second = _number(text, start + 14, 2, fits), _number(text, start + 17, 2, fits)
    return fits & (hour <= 23) & (minute <= 59) & (second <= 59)


def _number(text: np.ndarray, start: np.ndarray, digits: int, fits: np.ndarray) -> np.ndarray:
    """The number of so many digits; `fits` becomes false where others stand there."""
    value = np.zeros(len(start), dtype=np.int64)
    for place in range(digits):
        digit = text[start + place] - np.uint8(_ZERO)
        fits &= digit <= 9
        value = value * 10 + digit
    return value
