"""The cells of COPY text and their values, of all rows at once with numpy.

A chunk of 100,000 rows of eight columns has a million tabs and newlines: finding them takes 0.08 microseconds per row,
a column of numbers 0.02 to 0.04 more, one of texts 0.02 where they repeat and 0.1 where each is another.

Conservative: a column is read here only if each of its cells certainly comes out as `pandas.read_csv` has it.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np

from chalicelib.conversion.words import Words
from chalicelib.lake.lines import places

_TAB, _NEWLINE, _BACKSLASH, _MINUS, _DOT = b"\t\n\\-."
_NULL = b"\\N"
_TRUE, _FALSE = b"tf"

_BLOCK_ROWS = 8192
# of longer texts, on average, the places of all bytes take longer than a slice of each text, and 24 times the memory
_SHORT_BYTES = 64

# of so many digits 64-bit floats hold each number, and a quotient by a power of ten is the float nearest to the decimal
_DIGITS = 15
_POWERS = 10 ** np.arange(_DIGITS + 1)

# bytes of texts that may be told apart word by word, and the rows among which half or less must be different
_KIND_BYTES = 32
_SAMPLE = 1_000

_UNESCAPED = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r", "\\b": "\b", "\\f": "\f", "\\v": "\v"}
_ESCAPE = re.compile(r"\\[\\tnrbfv]")


class Cells:
    """The cells of `rows`, lines of `fields` cells each. Its columns are numbered from 0."""

    def __init__(self, rows: bytes, fields: int):
        self.rows = rows
        self._words = Words(rows)
        self._text = self._words.text
        self._ends = places(self._text, _are_breaks).reshape(-1, fields)
        escapes = np.flatnonzero(self._text == _BACKSLASH) if b"\\" in rows else np.empty(0, dtype=np.int64)
        nulls = np.count_nonzero(self._text[escapes + 1] == _NULL[1])
        self.holds_nulls, self.holds_escapes = nulls > 0, len(escapes) > nulls

    def __len__(self) -> int:
        return len(self._ends)

    def seqs_at(self, positions: Collection[int]) -> list[int]:
        """The `_seq`, which is the last cell, of the rows at `positions`, in the order of `positions`."""
        bounds = self._ends[np.array(positions, dtype=np.int64), -2:]
        return [int(self.rows[tab + 1 : end]) for tab, end in bounds.tolist()]

    def texts_at(self, positions: Collection[int], column: int) -> list[str | None]:
        """The texts of a column at `positions`, in their order; None where null."""
        at = np.array(positions, dtype=np.int64)
        start, length = self._span(column)
        return self._strings(start[at], length[at])

    def integers(self, column: int) -> np.ndarray | None:
        """int64, or float64 with NaN where some are null; None unless all have at most 15 digits."""
        start, length = self._span(column)
        nulls = self._nulls(start, length)
        negative = self._text[start] == _MINUS
        values, fits = self._words.digits(start + negative, length - negative)
        fits &= length - negative <= _DIGITS
        if not (fits if nulls is None else fits | nulls).all():
            return None
        values = np.where(negative, -values, values)
        return values if nulls is None else np.where(nulls, np.nan, values)

    def decimals(self, column: int) -> np.ndarray | None:
        """float64, null is NaN; None unless all have at most 15 digits and none has an exponent."""
        start, length = self._span(column)
        nulls = self._nulls(start, length)
        negative = self._text[start] == _MINUS
        start, length = start + negative, length - negative
        whole = np.minimum(self._words.until(_DOT, start), length)
        decimals = np.maximum(length - whole - 1, 0)
        values, fits = self._words.digits(start, whole)
        parts, digits = self._words.digits(start + whole + 1, decimals)
        fits &= (whole == length) | digits
        fits &= whole + decimals <= _DIGITS
        if not (fits if nulls is None else fits | nulls).all():
            return None
        power = _POWERS[np.minimum(decimals, _DIGITS)]
        found = (values * power + parts) / power
        np.negative(found, out=found, where=negative)
        return found if nulls is None else np.where(nulls, np.nan, found)

    def booleans(self, column: int) -> np.ndarray | None:
        """bool; None where some are null."""
        start, length = self._span(column)
        first = self._text[start]
        fits = (length == 1) & ((first == _TRUE) | (first == _FALSE))
        return first == _TRUE if fits.all() else None

    def texts(self, column: int) -> np.ndarray:
        """Objects: str, None where null."""
        start, length = self._span(column)
        longest = int(length.max(initial=0))
        if longest > _KIND_BYTES or 2 * len(set(self._strings(start[:_SAMPLE], length[:_SAMPLE]))) > min(
            len(self), _SAMPLE
        ):
            return _objects(self._strings(start, length))
        numbers, first = self._kinds(start, length, longest)
        return _objects(self._strings(start[first], length[first]))[numbers]

    def _span(self, column: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the cells of a column begin, and how many bytes each has."""
        before = self._ends[:, column - 1] if column else np.concatenate(([-1], self._ends[:-1, -1]))
        return before + 1, self._ends[:, column] - before - 1

    def _nulls(self, start: np.ndarray, length: np.ndarray) -> np.ndarray | None:
        if not self.holds_nulls:
            return None
        nulls = (length == len(_NULL)) & (self._text[start] == _BACKSLASH) & (self._text[start + 1] == _NULL[1])
        return nulls if nulls.any() else None

    def _kinds(self, start: np.ndarray, length: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
        """The number of each cell's kind, and a row that has it by number; cells of one kind are the same."""
        import pandas as pd  # here, because Load takes rows apart and needs no frame

        numbers = np.zeros(len(start), dtype=np.int64)
        for offset in range(0, max(longest, 1), 8):
            word = self._words.at(start + offset, np.clip(length - offset, 0, 8))
            of_word, words = pd.factorize(word)
            numbers = pd.factorize(numbers * len(words) + of_word)[0] if offset else of_word
        first = np.zeros(int(numbers.max(initial=0)) + 1, dtype=np.int64)
        first[numbers] = np.arange(len(numbers))
        return numbers, first

    def _strings(self, start: np.ndarray, length: np.ndarray) -> list[str | None]:
        nulls = self._nulls(start, length)
        found: list[str | None] = []
        for begin in range(0, len(start), _BLOCK_ROWS):
            some = slice(begin, begin + _BLOCK_ROWS)
            sizes = length[some] + 1  # and the tab
            stops = np.cumsum(sizes)
            if stops[-1] > _SHORT_BYTES * len(sizes):
                ends = (start[some] + length[some]).tolist()
                found += [self.rows[at:end].decode() for at, end in zip(start[some].tolist(), ends, strict=True)]
                continue
            bytes_of_cells = self._text[np.repeat(start[some] - stops + sizes, sizes) + np.arange(stops[-1])]
            found += bytes_of_cells.tobytes().decode().split("\t")
            found.pop()
        if self.holds_escapes:
            found = [unescaped(text) for text in found]
        for row in np.flatnonzero(nulls).tolist() if nulls is not None else ():
            found[row] = None
        return found


def _are_breaks(text: np.ndarray) -> np.ndarray:
    """Which bytes end a cell, tabs and newlines, in one comparison: what is below a tab becomes more than it."""
    return text - np.uint8(_TAB) <= _NEWLINE - _TAB


def _objects(values: list) -> np.ndarray:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def unescaped(text: str) -> str:
    """A text without COPY's escapes."""
    return _ESCAPE.sub(lambda found: _UNESCAPED[found[0]], text) if "\\" in text else text
