"""How many rows a curated table has, in all and by day, kept by triggers in the transaction that changes them.

Triggers, not the statements that publish: whoever changes rows is counted, a change stream, somebody's own DELETE and
TRUNCATE too. What they cost a publish is in docs/reading.md. A table that has rows when this begins is counted aside,
by `counting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.warehouse.queries import statement

if TYPE_CHECKING:
    from chalicelib.sources.base import Source

_CURATED = "curated"


def begin(cursor, source: Source) -> None:
    """Keep the totals of the source's table, which was just made, by the days of its `day` if it has one."""
    day, _ = state(cursor, source)
    cursor.execute(statement("totals", "begin_totals"), {**_table(source), "source": source.name, "day": day})


def forget_lost_day(cursor, source: Source) -> None:
    """Count by day no more where the day's column is gone, or none any more: its triggers would fail who writes."""
    cursor.execute(statement("totals", "has_lost_day"), _table(source))
    if cursor.fetchone()[0]:
        start(cursor, source, None)


def state(cursor, source: Source) -> tuple[str | None, bool]:
    """(the day's column, where the table has it as a date or a time; whether the totals by it, or none, are exact)."""
    cursor.execute(statement("totals", "day_and_state"), {**_table(source), "day": source.day})
    return cursor.fetchone()


def start(cursor, source: Source, day: str | None) -> str | None:
    """Keep what changes from now on; returns the count that is to be added (`add`), None where there is none.

    Waits for whoever writes to the table.
    """
    cursor.execute(statement("totals", "start_totals"), {**_table(source), "source": source.name, "day": day})
    return cursor.fetchone()[0]


def add(cursor, source: Source, count: str, by_day: dict) -> bool:
    """Add what was counted, rows by day, to what was kept since; False where the count is not wanted any more.

    The caller keeps writers away. `by_day` has the day None for rows without one, or where the table has none.
    """
    counted = {"count": count, "days": list(by_day), "counts": list(by_day.values())}
    cursor.execute(statement("totals", "add_count"), {**_table(source), **counted})
    return cursor.fetchone()[0]


def _table(source: Source) -> dict[str, str]:
    return {"regclass": f'{_CURATED}."{source.table}"', "table": source.table}
