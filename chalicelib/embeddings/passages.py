"""Where a long text is divided, so that a model reads all of it and a search shows the part that matched.

A passage ends with a paragraph, else with a sentence or a line, else with a word, whichever is found
in the second half of what the window holds; a text without any is cut where the window ends. It begins
up to an eighth of the one before it earlier than that one ended, with a sentence if there is one, so
that what stands across a cut is read in one piece too. White space around a passage is left out.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import NamedTuple

OVERLAP = 8  # the part of a passage that the next one may repeat

# with those of Chinese and Japanese, which write no space between sentences
_WIDE = "\u3002\uff01\uff1f"
_TERMINATORS = frozenset(".!?\u2026" + _WIDE)
_CLOSING = frozenset("\"')]}\u201d\u2019\u00bb\u300d\u300f")
_BETWEEN_WORDS = re.compile(rf"\s+|(?<=[{_WIDE}])(?=\S)")


class Passage(NamedTuple):
    """A part of a text, in characters: `text[start : start + length]`."""

    start: int
    length: int

    def of(self, text: str) -> str:
        return text[self.start : self.start + self.length]


def split(text: str, reach: Callable[[int], int]) -> list[Passage]:
    """The passages of `text`, in order; none where it is blank.

    `reach(start)` says where the longest passage that begins at `start` ends: behind `start`, at most at the end.
    """
    places = _Places(text)
    found: list[Passage] = []
    end_of_all = len(text.rstrip())
    start, done = 0, 0
    while done < end_of_all:
        start = _skip_blanks(text, start)
        window = reach(start)
        done = end_of_all if window >= end_of_all else places.cut(start, window, done)
        length = len(text[start:done].rstrip())
        found.append(Passage(start, length))
        again = places.overlap(start, done)
        # where the repeated part alone fills the window, nothing is repeated
        start = again if reach(again) > done else done
    return found


def by_characters(text: str, window: int) -> list[Passage]:
    """Passages of at most `window` characters."""
    return split(text, lambda start: min(start + window, len(text)))


class _Places:
    """Where the paragraphs, sentences and words of a text end, and where sentences and words begin."""

    def __init__(self, text: str):
        self.paragraphs: list[int] = []
        self.sentences: list[int] = []
        self.words: list[int] = []
        self.sentence_starts: list[int] = []
        self.word_starts: list[int] = []
        for blank in _BETWEEN_WORDS.finditer(text):
            lines = blank[0].count("\n")
            self.words.append(blank.start())
            self.word_starts.append(blank.end())
            if lines > 1:
                self.paragraphs.append(blank.start())
            if lines or _ends_sentence(text, blank.start()):
                self.sentences.append(blank.start())
                self.sentence_starts.append(blank.end())

    def cut(self, start: int, window: int, done: int) -> int:
        """The best end between the middle of `start` and `window`, and behind `done`."""
        lowest = max(start + (window - start) // 2, done)
        for ends in (self.paragraphs, self.sentences, self.words):
            position = bisect_right(ends, window) - 1
            if position >= 0 and ends[position] > lowest:
                return ends[position]
        return window

    def overlap(self, start: int, done: int) -> int:
        """Where the passage begins that follows the one from `start` to `done`."""
        earliest = done - (done - start) // OVERLAP
        for starts in (self.sentence_starts, self.word_starts):
            position = bisect_left(starts, earliest)
            if position < len(starts) and starts[position] < done:
                return starts[position]
        return done


def _ends_sentence(text: str, end: int) -> bool:
    while end and text[end - 1] in _CLOSING:
        end -= 1
    return bool(end) and text[end - 1] in _TERMINATORS


def _skip_blanks(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start
