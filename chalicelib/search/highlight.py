"""What in a text answers a query, as offsets, as HTML, and which part of a long text shows most of it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chalicelib.embeddings import passages

EXCERPT_CHARACTERS = 500  # of a text that was found by its words

_WORD = re.compile(r"[^\W_]+")
# what has more than letters and digits, an address for instance, may be one word of the full text's
_RUN = re.compile(r"\w\S*\w")


@dataclass(frozen=True)
class Excerpt:
    """A part of a row's text. `marks` are (start, end) in it, in characters, in order and apart from each other."""

    text: str
    start: int  # where in the row's trimmed text it begins
    marks: tuple[tuple[int, int], ...] = ()

    def pieces(self) -> Iterator[tuple[str, bool]]:
        """The text in pieces, each with whether it is marked."""
        done = 0
        for start, end in self.marks:
            if start > done:
                yield self.text[done:start], False
            yield self.text[start:end], True
            done = end
        if done < len(self.text):
            yield self.text[done:], False

    @property
    def html(self) -> str:
        """The text, escaped, with its marks as <mark>: safe to put into a page."""
        return "".join(
            f"<mark>{html.escape(piece)}</mark>" if marked else html.escape(piece) for piece, marked in self.pieces()
        )


def words(text: str) -> set[str]:
    """The words that may be marked in `text`."""
    return {found[0] for pattern in (_WORD, _RUN) for found in pattern.finditer(text)}


def excerpt(part: str, start: int, asked: Iterable[str]) -> Excerpt:
    """`part`, which begins at `start` of a text, with the words marked that are `asked` for."""
    return Excerpt(part, start, tuple(_marks(part, set(asked))))


def best(text: str, asked: Iterable[str]) -> Excerpt:
    """The part of `text` that has most of the words asked for, the first of those that have as many."""
    asked = set(asked)
    parts = [excerpt(part.of(text), part.start, asked) for part in passages.by_characters(text, EXCERPT_CHARACTERS)]
    return max(parts, key=_richness, default=Excerpt("", 0))


def _richness(part: Excerpt) -> tuple[int, int]:
    marked = [part.text[start:end].casefold() for start, end in part.marks]
    return len(set(marked)), len(marked)


def _marks(text: str, asked: set[str]) -> Iterator[tuple[int, int]]:
    whole = [found.span() for found in _RUN.finditer(text) if found[0] in asked]
    position = 0
    for found in _WORD.finditer(text):
        while position < len(whole) and whole[position][1] <= found.start():
            yield whole[position]
            position += 1
        inside = position < len(whole) and whole[position][0] <= found.start()
        if not inside and found[0] in asked:
            yield found.span()
    yield from whole[position:]
