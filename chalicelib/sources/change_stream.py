"""The base class of sources that are fed by a change stream alone."""

from __future__ import annotations

from chalicelib.contracts import Window
from chalicelib.errors import SourceError
from chalicelib.settings import Settings
from chalicelib.sources.base import Source


class ChangeStream(Source):
    """A source without runs: `changes`, `columns` and `key` are all that it declares.

    class Orders(ChangeStream):
        name = "orders"
        changes = ("public", "orders")
        key = ("id",)
        columns = (Column("id", "bigint"), Column("amount", "numeric(10,2)"))
    """

    def partitions(self, window: Window, given: str | None, settings: Settings) -> list[dict]:
        raise SourceError(
            "its rows come from a change stream, there is nothing to fetch",
            source=self.name,
            next_step="start the stream's replication; see docs/change-data-capture.md",
        )
