"""The cells of COPY text and their values, of all rows at once with numpy.

A chunk of 100,000 rows of eight columns has a million tabs and newlines: finding them takes 0.08 microseconds per row,
a column of numbers 0.02 to 0.04 more, one of texts 0.02 where they repeat and 0.1 where each is another. Eight bytes
from wherever a cell begins are read as one 64-bit word, which holds eight digits or a short text.

Conservative: a column is read here only if each of its cells certainly comes out as `pandas.read_csv` has it.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np

_TAB, _NEWLINE, _BACKSLASH, _MINUS, _DOT = b"\t\n\\-."
_NULL = b"\\N"
_TRUE, _FALSE = b"tf"

_BLOCK_BYTES = 256 * 1024  # what is made of so many stays in the processor's cache
_BLOCK_ROWS = 8192

# of so many digits 64-bit floats hold each number, and a quotient by a power of ten is the float nearest to the decimal
_DIGITS = 15
_POWERS = 10 ** np.arange(_DIGITS + 1)

# bytes of texts that may be told apart word by word, and the rows among which half or less must be different
_KIND_BYTES = 32
_SAMPLE = 1_000

_ONES = np.uint64(0x0101010101010101)  # a word with 1 in each byte
_HIGH = np.uint64(0x80) * _ONES
_ZEROS = np.uint64(ord("0")) * _ONES
_OVER_NINE = np.uint64(0x76) * _ONES  # added to a digit leaves the high bit alone, to anything else does not
_BELOW = np.array([2 ** (8 * size) - 1 for size in range(9)], dtype=np.uint64)  # the first bytes of a word

_UNESCAPED = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r", "\\b": "\b", "\\f": "\f", "\\v": "\v"}
_ESCAPE = re.compile(r"\\[\\tnrbfv]")


class Cells:
    """The cells of `rows`, lines of `fields` cells each. Its columns are numbered from 0."""

    def __init__(self, rows: bytes, fields: int):
        self.rows = rows
        self._text = np.frombuffer(rows, np.uint8)
        self._words = np.ndarray(max(len(rows) - 7, 0), "<u8", rows, strides=(1,))
        self._ends = _breaks(self._text).reshape(-1, fields)
        escapes = np.flatnonzero(self._text == _BACKSLASH) if b"\\" in rows else np.empty(0, dtype=np.int64)
        nulls = np.count_nonzero(self._text[escapes + 1] == _NULL[1])
        self.holds_nulls, self.holds_escapes = nulls > 0, len(escapes) > nulls

    def __len__(self) -> int:
        return len(self._ends)

    def seqs_at(self, positions: Collection[int]) -> list[int]:
        """The `_seq`, which is the last cell, of the rows at `positions`, in the order of `positions`."""
        bounds = self._ends[np.array(positions, dtype=np.int64), -2:]
        return [int(self.rows[tab + 1 : end]) for tab, end in bounds.tolist()]

    def integers(self, column: int) -> np.ndarray | None:
        """int64, or float64 with NaN where some are null; None unless all have at most 15 digits."""
        start, length = self._span(column)
        nulls = self._nulls(start, length)
        negative = self._text[start] == _MINUS
        values, fits = self._digits(start + negative, length - negative)
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
        whole = np.minimum(self._until(_DOT, start), length)
        decimals = np.maximum(length - whole - 1, 0)
        values, fits = self._digits(start, whole)
        parts, digits = self._digits(start + whole + 1, decimals)
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

    def _word(self, start: np.ndarray) -> np.ndarray:
        """The eight bytes from each `start` on, the first one lowest; zeros for those beyond the last row."""
        within = np.minimum(start, len(self._words) - 1)
        return self._words[within] >> (8 * (start - within)).astype(np.uint64)

    def _digits(self, start: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers (int64) that stand there, and which of them are 1 to 15 digits; the others are any numbers."""
        last = np.minimum(length, 8)
        values, fits = self._eight_digits(start + length - last, last)
        fits &= (length >= 1) & (length <= _DIGITS)
        if length.max(initial=0) > 8:
            higher, are_digits = self._eight_digits(start, np.clip(length - 8, 0, 8))
            values, fits = values + higher * 10**8, fits & are_digits
        return values, fits

    def _eight_digits(self, start: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `_digits`, of at most eight; no digit is 0.

        Neighbours are added up in pairs, pairs in fours, fours in eights:
        https://lemire.me/blog/2022/01/21/swar-explained-parsing-eight-digits/
        """
        missing = (8 * (8 - length)).astype(np.uint64)
        word = (self._word(start) << missing) ^ (_ZEROS << missing)
        fits = ((word + _OVER_NINE) | word) & _HIGH == 0
        pairs = word * np.uint64(10) + (word >> np.uint64(8))
        every_other = np.uint64(0x000000FF000000FF)
        fours = (pairs & every_other) * np.uint64(100 + (1_000_000 << 32))
        fours += ((pairs >> np.uint64(16)) & every_other) * np.uint64(1 + (10_000 << 32))
        return (fours >> np.uint64(32)).astype(np.int64), fits

    def _until(self, byte: int, start: np.ndarray) -> np.ndarray:
        """How many bytes come before the first `byte`, 16 where it is not among so many."""
        found = np.zeros(len(start), dtype=np.int64)
        for looked_at in (0, 8):
            word = self._word(start + found) ^ (np.uint64(byte) * _ONES)
            matches = (word - _ONES) & ~word & _HIGH
            # the lowest match is exact, and the bits below it are eight for each byte before it, and seven
            before = np.bitwise_count((matches & -matches) - np.uint64(1)) >> 3
            found += np.where(found == looked_at, before, 0)
            if (found < looked_at + 8).all():
                break
        return found

    def _kinds(self, start: np.ndarray, length: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
        """The number of each cell's kind, and a row that has it by number; cells of one kind are the same."""
        import pandas as pd  # here, because Load takes rows apart and needs no frame

        numbers = np.zeros(len(start), dtype=np.int64)
        for offset in range(0, max(longest, 1), 8):
            word = self._word(start + offset) & _BELOW[np.clip(length - offset, 0, 8)]
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
            bytes_of_cells = self._text[np.repeat(start[some] - stops + sizes, sizes) + np.arange(stops[-1])]
            found += bytes_of_cells.tobytes().decode().split("\t")
            found.pop()
        if self.holds_escapes:
            found = [unescaped(text) for text in found]
        for row in np.flatnonzero(nulls).tolist() if nulls is not None else ():
            found[row] = None
        return found


def _breaks(text: np.ndarray) -> np.ndarray:
    """Where each cell ends, at its tab or newline."""
    found = [np.empty(0, dtype=np.int64)]
    for begin in range(0, len(text), _BLOCK_BYTES):
        # both in one comparison: what is below a tab becomes more than it
        found.append(np.flatnonzero(text[begin : begin + _BLOCK_BYTES] - np.uint8(_TAB) <= _NEWLINE - _TAB) + begin)
    return np.concatenate(found)


def _objects(values: list) -> np.ndarray:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def unescaped(text: str) -> str:
    """A text without COPY's escapes."""
    return _ESCAPE.sub(lambda found: _UNESCAPED[found[0]], text) if "\\" in text else text
