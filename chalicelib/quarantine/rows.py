"""The rows of `pipeline.quarantine`: which there are, why, and in which state."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chalicelib import personal, sources
from chalicelib.errors import NotFound
from chalicelib.lake import Lake
from chalicelib.warehouse import ledger, queries
from chalicelib.warehouse.queries import statement

FILE = "quarantine"
STATES = ("open", "replaying", "published", "duplicate", "discarded")
REASONS = 50  # that a count of reasons lists
NAMED = 10  # numbers in a message, of the 1,000 that a request may have
NEWEST = 20_000  # rows that it looks at: of 1,000,000 it took 17 s, of these 0.3

# declarations of runs, an object each, of which a page of 1,000 rows may need as many; a client has 10 connections
READ_AT_ONCE = 10


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


def check(cursor, wanted: Filter) -> None:
    """Raises NotFound for a row or a run that is not there, UnknownSource: a name that was mistyped means no rows at
    all, which is not to look like rows that are settled."""
    cursor.execute(statement(FILE, "unknown"), wanted.values())
    numbers, no_run, no_run_of_source = cursor.fetchone()
    if numbers:
        raise _no_row(numbers)
    if no_run:
        raise ledger.no_run(wanted.run_id)
    if no_run_of_source:  # a source that is gone may have rows; one that has none must be there
        sources.get(wanted.source)


def _no_row(numbers: list[int]) -> NotFound:
    named = ", ".join(map(str, numbers[:NAMED])) + (f" and {len(numbers) - NAMED} others" if numbers[NAMED:] else "")
    words = f"number {named}" if len(numbers) == 1 else f"numbers {named}"
    return NotFound(f"no quarantined row has the {words}", next_step="`sluice quarantine list` shows them")


def page(cursor, wanted: Filter, limit: int, before: int | None = None) -> tuple[list[dict], int | None]:
    """The newest rows first, those with an id below `before`, and the last one's id where others follow.

    Their records are not masked.
    """
    values = {**wanted.values(), "limit": limit + 1, "before": before}
    found = queries.rows(cursor, FILE, "list_rows", identifiers={"matching": matching()}, **values)
    return found[:limit], found[limit - 1]["id"] if len(found) > limit else None


def reasons(cursor, wanted: Filter, found: list[dict] | None = None) -> list[dict]:
    """Why the NEWEST rows that are meant were set aside: kind, column, expectation, example and rows, most first.

    `found` are these rows where they are known to be all that there are: looking for a reason takes seconds in a
    million rows, and is not done twice.
    """
    if found is not None:
        wanted = Filter(ids=tuple(row["id"] for row in found))
    values = {**wanted.values(), "limit": REASONS, "newest": NEWEST}
    return queries.rows(cursor, FILE, "count_reasons", identifiers={"matching": matching()}, **values)


def one(cursor, number: int) -> dict:
    """One row, with `attempts`: what it failed for each time it was replayed. Raises NotFound."""
    found, _ = page(cursor, Filter(ids=(number,)), limit=1)
    if not found:
        raise _no_row([number])
    return {**found[0], "attempts": queries.rows(cursor, FILE, "attempts", id=number)}


def states(cursor, run_id: str) -> dict[str, int]:
    """How many of the run's rows are in which state, every one of STATES named."""
    cursor.execute(statement(FILE, "count_states"), {"run_id": run_id})
    return {**dict.fromkeys(STATES, 0), **dict(cursor.fetchall())}


def masked(rows: Iterable[dict], lake: Lake) -> list[dict]:
    """The rows as they may be shown: reasons were masked when they were stored, records are here."""
    shown = list(rows)
    runs = list(dict.fromkeys((row["source"], row["run_id"]) for row in shown))
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        known = dict(zip(runs, pool.map(lambda run: sources.shown(*run, lake), runs), strict=True))
    return [{**row, "record": personal.record(known[row["source"], row["run_id"]], row["record"])} for row in shown]
