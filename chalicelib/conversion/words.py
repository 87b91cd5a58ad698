"""Text read eight bytes at a time: wherever a value begins, eight bytes are one 64-bit word.

A word holds eight digits, a short text, most of a date. Numpy takes one of each of a million values in 4 ms, where six
bytes of each take 19, and a few operations on words do what a loop over bytes does.
"""

from __future__ import annotations

import numpy as np

DIGITS = 18  # every integer of so many fits 64 bits

_ONES = np.uint64(0x0101010101010101)  # a word with 1 in each byte
_HIGH = np.uint64(0x80) * _ONES
_BELOW = np.array([2 ** (8 * size) - 1 for size in range(9)], dtype=np.uint64)  # the first bytes of a word
# added to a digit, less "0", and to what has to be 0: they leave the high bit alone, anything more does not
_OVER_NINE, _OVER_ZERO = 0x76, 0x7F
_ZEROS = np.uint64(ord("0")) * _ONES


class Words:
    """The words of `text`, bytes or an array of uint8, at least eight of them where anything is asked."""

    def __init__(self, text: bytes | np.ndarray):
        self.text = np.frombuffer(text, np.uint8)
        self._words = np.ndarray(max(len(self.text) - 7, 0), "<u8", text, strides=(1,))

    def at(self, start: np.ndarray, length: np.ndarray | int = 8) -> np.ndarray:
        """`length` bytes, eight at most, from each `start` on, the first one lowest; all beyond are zeros."""
        last = len(self._words) - 1
        if start.max(initial=0) <= last:
            words = self._words[start]
        else:
            within = np.minimum(start, last)
            words = self._words[within] >> (8 * (start - within)).astype(np.uint64)
        return words if isinstance(length, int) and length == 8 else words & _BELOW[length]

    def are(self, start: np.ndarray, said: bytes) -> np.ndarray:
        """Whether `said` stands there."""
        fits = np.ones(len(start), dtype=bool)
        for offset in range(0, len(said), 8):
            part = said[offset : offset + 8]
            fits &= self.at(start + offset, len(part)) == np.uint64(int.from_bytes(part, "little"))
        return fits

    def until(self, byte: int, start: np.ndarray) -> np.ndarray:
        """How many bytes come before the first `byte`, 16 where it is not among so many."""
        found = np.zeros(len(start), dtype=np.int64)
        for looked_at in (0, 8):
            word = self.at(start + found) ^ (np.uint64(byte) * _ONES)
            matches = (word - _ONES) & ~word & _HIGH
            # the lowest match is exact, and the bits below it are eight for each byte before it, and seven
            before = np.bitwise_count((matches & -matches) - np.uint64(1)) >> 3
            found += np.where(found == looked_at, before, 0)
            if (found < looked_at + 8).all():
                break
        return found

    def digits(self, start: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers (int64) that stand there, and which of them are 1 to 18 digits; the others are any numbers."""
        fits = (length >= 1) & (length <= DIGITS)
        values = np.zeros(len(start), dtype=np.int64)
        for done in range(0, min(int(length.max(initial=0)), DIGITS), 8):
            left = np.maximum(length - done, 0)
            some = np.minimum(left, 8)
            number, are_digits = self._eight_digits(start + left - some, some)
            values, fits = values + number * 10**done, fits & are_digits
        return values, fits

    def pairs(self, start: np.ndarray, form: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Texts of a `form` of at most eight bytes, where 0 stands for any digit and anything else for itself.

        Returned are words, of which byte i is the number of the digits i and i + 1, and which texts are such.
        """
        digits = bytes(_OVER_NINE if byte == ord("0") else _OVER_ZERO for byte in form)
        word = self.at(start, len(form)) ^ np.uint64(int.from_bytes(form, "little"))
        fits = ((word + np.uint64(int.from_bytes(digits, "little"))) | word) & _HIGH == 0
        return word * np.uint64(10) + (word >> np.uint64(8)), fits

    def _eight_digits(self, start: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `digits`, of at most eight; no digit is 0.

        Neighbours are added up in pairs, pairs in fours, fours in eights:
        https://lemire.me/blog/2022/01/21/swar-explained-parsing-eight-digits/
        """
        missing = (8 * (8 - length)).astype(np.uint64)
        word = (self.at(start) << missing) ^ (_ZEROS << missing)
        fits = ((word + np.uint64(_OVER_NINE) * _ONES) | word) & _HIGH == 0
        pairs = word * np.uint64(10) + (word >> np.uint64(8))
        every_other = np.uint64(0x000000FF000000FF)
        fours = (pairs & every_other) * np.uint64(100 + (1_000_000 << 32))
        fours += ((pairs >> np.uint64(16)) & every_other) * np.uint64(1 + (10_000 << 32))
        return (fours >> np.uint64(32)).astype(np.int64), fits


def number_at(pairs: np.ndarray, place: int) -> np.ndarray:
    """The number (int64) of two digits of which the first is byte `place` of a text, of what `Words.pairs` returns."""
    return ((pairs >> np.uint64(8 * place)) & np.uint64(0xFF)).astype(np.int64)
