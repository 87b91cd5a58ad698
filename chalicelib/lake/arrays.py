"""A JSON array of records as lines, one record per line, as it streams by.

The text is rewritten byte for byte: a comma between two records becomes a newline, a newline
becomes a carriage return (white space between tokens, and as forbidden inside a string as the
newline was, so what was no JSON stays none), the outer brackets become blanks. So nothing is parsed
or buffered, an element may be longer than the memory, and a position in the lines is the position
in the array. 200 to 250 MB/s on compact records of 150 bytes, one core; the parser ijson (C backend)
reads 75, and the records would have to be written anew.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chalicelib.errors import RawError
from chalicelib.lake.formats import UTF8_BOM

_QUOTE, _BACKSLASH, _COMMA = b'"\\,'
_STRUCTURE = bytes(1 if byte in b'"\\[]{},' else 0 for byte in range(256))
_DEPTH = np.zeros(256, dtype=np.int8)
_DEPTH[list(b"[{")] = 1
_DEPTH[list(b"]}")] = -1
_NEWLINE_TO_CR = bytes.maketrans(b"\n", b"\r")


def lines(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The elements of the array, a line each; nothing at all for an empty array.

    Raises RawError where the text is no array, the array does not close, or something follows it.
    """
    array = _Array(name)
    blank = b""  # what came before the first element; dropped if there is none
    for block in blocks:
        text = array.feed(block)
        if not array.elements and (array.closed or not text.strip()):
            blank += text
        elif text:
            yield blank + text
            blank = b""
    array.finish()
    if array.elements:
        yield b"\n"


class _Array:
    """Where in the array the text is, between two blocks."""

    def __init__(self, name: str):
        self.name = name
        self.elements = 0
        self.closed = False
        self._at = 0  # bytes seen
        self._depth = 0
        self._in_string = False
        self._escaped = False  # the next byte follows a backslash

    def feed(self, block: bytes) -> bytes:
        """`block` as lines, of the same length up to the closing bracket."""
        start = self._at
        self._at += len(block)
        if start == 0 and block.startswith(UTF8_BOM):
            block = block.replace(UTF8_BOM, b"   ", 1)
        if self.closed:
            self._expect_blank(block, start)
            return b""
        if self._depth == 0:
            opening = len(block) - len(block.lstrip())
            if opening == len(block):
                return block.translate(_NEWLINE_TO_CR)
            if block[opening] != ord("["):
                raise RawError(
                    "expected a JSON array",
                    quote=f"it begins {block[opening : opening + 80].decode(errors='replace')!r}",
                    file=self.name,
                    byte=start + opening,
                    next_step="set the format to ndjson or csv if that is what it is",
                )
        return self._rewrite(block, start)

    def finish(self) -> None:
        if not self.closed:
            raise RawError(
                f"the JSON array ends early: no closing ] after element {self.elements}",
                file=self.name,
                byte=self._at,
                next_step="the file was not transferred or written completely; fetch it again",
            )

    def _rewrite(self, block: bytes, start: int) -> bytes:
        where, found = self._structure(block)
        quotes = found == _QUOTE
        # counted with its own quote, a closing quote is outside the string: harmless, it has no depth
        inside = (np.cumsum(quotes) + self._in_string) % 2 == 1
        steps = _DEPTH[found]
        steps[inside] = 0
        depth = np.cumsum(steps, dtype=np.int64) + self._depth
        between = where[(found == _COMMA) & (depth == 1) & ~inside]
        closings = where[(depth == 0) & (steps < 0)]
        opened = self._depth == 0 and len(where) > 0

        text = bytearray(block.translate(_NEWLINE_TO_CR))
        view = np.frombuffer(text, np.uint8)
        if opened:
            view[where[0]] = ord(" ")
        if len(closings):
            end = int(closings[0])
            self.closed = True
            self._expect_blank(block[end + 1 :], start + end + 1)
            between = between[between < end]
        view[between] = ord("\n")
        self._in_string = bool(inside[-1]) if len(inside) else self._in_string
        self._depth = int(depth[-1]) if len(depth) else self._depth
        del view  # it would hold the bytearray's length fixed
        if self.closed:
            del text[end:]
        if not self.elements and text.strip():
            self.elements = 1
        self.elements += len(between)
        return bytes(text)

    def _structure(self, block: bytes) -> tuple[np.ndarray, np.ndarray]:
        """(indices, bytes) of all quotes, brackets, braces and commas that no backslash precedes."""
        # bytes.translate is twice as fast as a lookup by numpy
        where = np.flatnonzero(np.frombuffer(block.translate(_STRUCTURE), np.bool_))
        found = np.frombuffer(block, np.uint8)[where]
        escaped = self._escaped
        self._escaped = False
        if b"\\" in block:
            slashes = where[found == _BACKSLASH]
            if escaped:  # the first byte is escaped, be it a backslash or not
                slashes = slashes[slashes != 0]
            first = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)
            lengths = np.diff(first, append=len(slashes))
            after = slashes[first] + lengths
            hidden = after[lengths % 2 == 1]
            self._escaped = bool(len(hidden)) and hidden[-1] == len(block)
            keep = (found != _BACKSLASH) & ~np.isin(where, hidden, assume_unique=True)
        else:
            keep = np.ones(len(where), dtype=bool)
        if escaped and len(where) and where[0] == 0:
            keep[0] = False
        return where[keep], found[keep]

    def _expect_blank(self, rest: bytes, at: int) -> None:
        if rest.strip():
            byte = at + len(rest) - len(rest.lstrip())
            raise RawError(
                "something follows the JSON array",
                quote=repr(rest.strip()[:80].decode(errors="replace")),
                file=self.name,
                byte=byte,
                next_step="one file holds one array; for one array or object per line use NDJSON",
            )
