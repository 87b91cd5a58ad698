"""What a backfill was asked for and how far it is: `pipeline.backfills`, `pipeline.backfill_windows`.

It is all in Postgres, so that the same command goes on with it on another machine, and two of them at once
start no more runs together than each was told to.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from psycopg2.extras import execute_values

from chalicelib.warehouse import queries
from chalicelib.warehouse.queries import statement

WAITING, RUNNING, DONE, SKIPPED = "waiting", "running", "done", "skipped"
REJECTED, FAILED = "rejected", "failed"


@dataclass(frozen=True)
class Asked:
    """What a backfill is known by; `every` as in `windows.split`, `input` as in a run's, or empty."""

    source: str
    first: dt.date
    last: dt.date
    every: str
    input: str = ""


@dataclass(frozen=True)
class Backfill:
    id: int
    generation: int  # above 1 it does days again that were published before
    started_at: dt.datetime


@dataclass(frozen=True)
class BackfillWindow:
    """Both days included. `run_id` and `attempt` are those of its last run, `rows` what that fetched."""

    number: int
    first: dt.date
    last: dt.date
    status: str
    attempt: int
    run_id: str | None
    rows: int | None
    error: str | None


def latest(cursor, asked: Asked) -> Backfill | None:
    cursor.execute(statement("backfills", "latest"), asdict(asked))
    row = cursor.fetchone()
    return Backfill(*row) if row else None


def create(cursor, asked: Asked, generation: int, days: Iterable[tuple[dt.date, dt.date]], started_by: str) -> Backfill:
    """Enter it with its windows, all waiting; the one that somebody else entered at the same time, if so."""
    values = {**asdict(asked), "generation": generation, "started_by": started_by}
    cursor.execute(statement("backfills", "add"), values)
    if (row := cursor.fetchone()) is None:
        return latest(cursor, asked)
    made = Backfill(*row)
    execute_values(
        cursor,
        statement("backfills", "add_window").as_string(cursor),
        [(made.id, number, *window) for number, window in enumerate(days)],
        page_size=1000,
    )
    return made


def settle_published(cursor, backfill: Backfill) -> None:
    """Mark the windows that were published already, by whatever run of the same source, days and input."""
    cursor.execute(statement("backfills", "settle_published"), {"id": backfill.id})


def wait_again(cursor, backfill: Backfill) -> None:
    """Let the windows that failed or were rejected be taken once more."""
    cursor.execute(statement("backfills", "wait_again"), {"id": backfill.id})


def take(
    cursor, backfill: Backfill, concurrency: int, named: Callable[[dt.date, dt.date, int], str]
) -> BackfillWindow | None:
    """The next window that waits, now running; None where there is none, or where `concurrency` are running.

    `named` gives the name of a window's run from its first day, its last day and the attempt.
    """
    cursor.execute(statement("backfills", "hold"), {"id": backfill.id})
    if count(cursor, backfill).get(RUNNING, (0, 0))[0] >= concurrency:
        return None
    cursor.execute(statement("backfills", "next_waiting"), {"id": backfill.id})
    if (row := cursor.fetchone()) is None:
        return None
    number, first, last, attempt = row
    run_id = named(first, last, attempt + 1)
    values = {"id": backfill.id, "number": number, "attempt": attempt + 1, "run_id": run_id}
    cursor.execute(statement("backfills", "take"), values)
    return BackfillWindow(number, first, last, RUNNING, attempt + 1, run_id, None, None)


def finish(
    cursor, backfill: Backfill, window: BackfillWindow, status: str, rows: int | None, error: str | None
) -> bool:
    """Note how a window's run ended; False where somebody else has."""
    ended = {"status": status, "rows": rows, "error": error}
    values = {"id": backfill.id, "number": window.number, "run_id": window.run_id, **ended}
    cursor.execute(statement("backfills", "finish"), values)
    return cursor.rowcount == 1


def windows(cursor, backfill: Backfill, *status: str) -> list[BackfillWindow]:
    """Its windows in order, of these statuses if any are named."""
    cursor.execute(statement("backfills", "windows"), {"id": backfill.id, "status": list(status) or None})
    return [BackfillWindow(*row) for row in cursor.fetchall()]


def count(cursor, backfill: Backfill) -> dict[str, tuple[int, int]]:
    """(windows, rows) by status; of those under way the rows that they have loaded so far."""
    cursor.execute(statement("backfills", "count_windows"), {"id": backfill.id})
    return {status: (number, rows) for status, number, rows in cursor.fetchall()}


def list_backfills(cursor, source: str | None, limit: int) -> list[dict]:
    return queries.rows(cursor, "backfills", "list_backfills", source=source, limit=limit)


def untold_warnings(cursor, backfill: Backfill) -> list[dict]:
    """Its windows whose runs passed with warnings that no email told of: number, first, last, run_id, fetched,
    quarantined, and `found`, the titles of the expectations that were not kept.

    Until the transaction ends they are nobody else's to tell of.
    """
    return queries.rows(cursor, "backfills", "untold_warnings", id=backfill.id)


def told_warnings(cursor, backfill: Backfill, numbers: Iterable[int]) -> None:
    cursor.execute(statement("backfills", "told_warnings"), {"id": backfill.id, "numbers": list(numbers)})
