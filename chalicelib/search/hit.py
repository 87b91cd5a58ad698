"""What one way of searching takes and finds: which rows count; a row by its key, how well it matches, and where."""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg2 import sql

from chalicelib.embeddings.passages import Passage


@dataclass(frozen=True)
class Filter:
    """Which rows count: a condition on the curated table `t`, and the values of its placeholders."""

    text: sql.Composable
    values: dict[str, object] = field(default_factory=dict)


EVERY_ROW = Filter(sql.SQL("TRUE"))


@dataclass(frozen=True)
class Hit:
    """A row of a source; `key` as `embeddings.expressions` writes it, `passage` where the match has a place."""

    source: str
    key: str
    score: float
    passage: Passage | None = None

    @property
    def row(self) -> tuple[str, str]:
        """What tells it from all other rows."""
        return self.source, self.key
