"""The rows of `pipeline.quarantine`: which there are, in which state, and who discarded them."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib import personal, sources
from chalicelib.errors import NotFound
from chalicelib.lake import Lake
from chalicelib.sources import Source
from chalicelib.warehouse import queries
from chalicelib.warehouse.queries import statement

FILE = "quarantine"
STATES = ("open", "replaying", "published", "duplicate", "discarded")
REASONS = 50  # that a count of reasons lists


@dataclass(frozen=True)
class Filter:
    """Which rows are meant: all that is given must hold.

    `reason` is the id of an expectation, a kind of reason, a column, or a part of the message. `since` is the day
    on which a row was set aside, or a later one, by the clock of Postgres.
    """

    ids: tuple[int, ...] | None = None
    run_id: str | None = None
    source: str | None = None
    reason: str | None = None
    since: dt.date | None = None
    state: str | None = None

    @property
    def is_empty(self) -> bool:
        return all(value is None for value in self.values().values())

    def values(self) -> dict:
        return {**dataclasses.asdict(self), "ids": None if self.ids is None else list(self.ids)}


def matching():
    """The filter's part of a statement; its values are `Filter.values()`."""
    return statement(FILE, "matching")


def page(cursor, wanted: Filter, limit: int, before: int | None = None) -> list[dict]:
    """The newest rows first, those with an id below `before`; their records are not masked."""
    values = {**wanted.values(), "limit": limit, "before": before}
    return queries.rows(cursor, FILE, "list_rows", identifiers={"matching": matching()}, **values)


def reasons(cursor, wanted: Filter) -> list[dict]:
    """Why the rows were set aside: kind, column, expectation, an example of the message and how many, most first."""
    values = {**wanted.values(), "limit": REASONS}
    return queries.rows(cursor, FILE, "count_reasons", identifiers={"matching": matching()}, **values)


def one(cursor, number: int) -> dict:
    """One row, with `attempts`: what it failed for each time it was replayed. Raises NotFound."""
    found = page(cursor, Filter(ids=(number,)), limit=1)
    if not found:
        raise NotFound(f"no quarantined row has the number {number}", next_step="`sluice quarantine list` shows them")
    return {**found[0], "attempts": queries.rows(cursor, FILE, "attempts", id=number)}


def states(cursor, run_id: str) -> dict[str, int]:
    """How many of the run's rows are in which state, every one of STATES named."""
    cursor.execute(statement(FILE, "count_states"), {"run_id": run_id})
    return {**dict.fromkeys(STATES, 0), **dict(cursor.fetchall())}


def discard(cursor, wanted: Filter, who: str, why: str) -> int:
    """Mark the open rows as discarded; how many there were. Those that are being replayed stay as they are."""
    values = {**wanted.values(), "who": who, "why": why}
    cursor.execute(statement(FILE, "discard", matching=matching()), values)
    return cursor.rowcount


def masked(rows: Iterable[dict], lake: Lake) -> list[dict]:
    """The rows as they may be shown: reasons were masked when they were stored, records are here."""
    known: dict[tuple[str, str], Source | None] = {}
    shown = []
    for row in rows:
        name = (row["source"], row["run_id"])
        if name not in known:
            known[name] = sources.shown(*name, lake)
        shown.append({**row, "record": personal.record(known[name], row["record"])})
    return shown
