"""Counting a curated table that has rows, while others write to it, so that its totals are exact.

The triggers are made, and a snapshot taken, in one short transaction that keeps writers away: what was committed before
is in the snapshot, what comes after is counted by the triggers, nothing is in both. The rows are counted in that
snapshot by another connection, which keeps nobody from writing, and are added at the end to what the triggers kept.
A count that does not come to its end leaves the totals unknown, and nothing wrong; the next one begins anew.
https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
"""

from __future__ import annotations

from psycopg2 import sql

from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, publishing, tables, totals
from chalicelib.warehouse.deadline import Deadline
from chalicelib.warehouse.queries import statement

# how long for a statement that somebody left open at a prompt: who wants to write waits behind us
_LOCK_WAIT = "5s"


def count(cursor, source: Source, deadline: Deadline, database_url: str | None = None) -> None:
    """Count the source's table, by the days of its `day` if it has one, unless its totals are exact.

    `cursor` is that of a connection of its own, outside of transactions. Raises WarehouseUnavailable and
    psycopg2's errors.
    """
    with connection.transaction(database_url) as opened, opened.cursor() as short:
        _take_turn(short, source, deadline)
        day, is_exact = totals.state(short, source)
        started = None if is_exact else totals.start(short, source, day)
        if started is None:
            return
        short.execute(statement("upkeep", "export_snapshot"))
        cursor.execute(statement("upkeep", "begin_at", snapshot=sql.Literal(short.fetchone()[0])))
    try:
        deadline.limit(cursor)
        of_day = sql.SQL("{}::date").format(sql.Identifier(day)) if day else sql.SQL("NULL")
        cursor.execute(statement("totals", "count_by_day", day=of_day, curated=tables.curated(source)))
        by_day = dict(cursor.fetchall())
    finally:
        cursor.execute(statement("upkeep", "end"))
    with connection.transaction(database_url) as opened, opened.cursor() as short:
        _take_turn(short, source, deadline)
        short.execute(statement("totals", "keep_writers_away", curated=tables.curated(source)))
        totals.add(short, source, started, by_day)


def _take_turn(cursor, source: Source, deadline: Deadline) -> None:
    """Publishes queue here, where nobody else has to wait behind us; for others who write, shortly, at the table."""
    cursor.execute(statement("upkeep", "limit_wait"), {"wait": deadline.wait})
    publishing.lock(cursor, source)
    cursor.execute(statement("upkeep", "limit_wait"), {"wait": _LOCK_WAIT})
