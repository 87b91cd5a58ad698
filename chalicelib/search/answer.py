"""What a search answers: rows with their scores and excerpts, and what is to be said of the search itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chalicelib.search.highlight import Excerpt

SEMANTIC, TEXT, HYBRID = "semantic", "text", "hybrid"
MODES = (SEMANTIC, TEXT, HYBRID)


@dataclass(frozen=True)
class Part:
    """A row's place in one ranking: `score` is a cosine similarity, or what the full text says of the words."""

    rank: int
    score: float


@dataclass(frozen=True)
class Result:
    """A row that was found. `key` are its key columns, as JSON has them; `parts` is by SEMANTIC and TEXT.

    Of a personal key the columns are masked, and there is no `id`, the one by which the API gives the record.
    """

    source: str
    id: str | None
    key: dict[str, Any]
    score: float
    parts: dict[str, Part]
    excerpt: Excerpt

    def to_json(self) -> dict:
        return {
            "source": self.source,
            "id": self.id,
            "key": self.key,
            "score": round(self.score, 6),
            "parts": {
                name: {"rank": part.rank, "score": round(part.score, 6)} for name, part in sorted(self.parts.items())
            },
            "passage": {
                "text": self.excerpt.text,
                "start": self.excerpt.start,
                "marks": [list(mark) for mark in self.excerpt.marks],
                "html": self.excerpt.html,
            },
        }


@dataclass(frozen=True)
class Answer:
    """The rows, best first. `notes` say what was not searched, or not in the way that was asked for, and why."""

    query: str
    mode: str
    results: tuple[Result, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict:
        return {
            "query": self.query,
            "mode": self.mode,
            "results": [result.to_json() for result in self.results],
            "notes": list(self.notes),
        }
