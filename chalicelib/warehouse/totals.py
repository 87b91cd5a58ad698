"""How many rows a curated table has, in all and by day, kept by triggers in the transaction that changes them.

Triggers, not the statements that publish: whoever changes rows is counted, a change stream, somebody's own DELETE and
TRUNCATE too. What they cost a publish is in docs/reading.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.warehouse.queries import statement

if TYPE_CHECKING:
    from chalicelib.sources.base import Source

_CURATED = "curated"


def ensure(cursor, source: Source) -> None:
    """Keep the totals of the source's table from now on, by the days of its `day` where it has that column.

    The table is counted where nothing is kept yet, or by another column; whoever writes to it waits meanwhile.
    """
    table = {"regclass": f'{_CURATED}."{source.table}"', "table": source.table}
    cursor.execute(statement("totals", "day_and_state"), {**table, "day": source.day})
    day, kept = cursor.fetchone()
    if not kept:
        cursor.execute(statement("totals", "begin_totals"), {**table, "source": source.name, "day": day})
