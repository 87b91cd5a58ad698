"""Drop the rows of a staging table whose key comes again later in raw order: the last in raw order stays.

Postgres runs no part of a DELETE in parallel, but it does so what fills a new table. Where rows are many and keys
hardly come again, the superseded rows are found first, by all processes that Postgres gives a statement, and deleted
by their place. Of a million orders, 2% of them superseded, on a busy machine with 2 cores: 0.6 of the time by the
clock, and as much CPU (1.3 s). Where keys are few, the one statement that groups by them is far less work: 0.6 s of
CPU for a thousand keys, where a list of nearly all rows took more than 3.
"""

from __future__ import annotations

from psycopg2 import errors, sql

from chalicelib.sources.base import Source
from chalicelib.warehouse import tables
from chalicelib.warehouse.queries import statement

# below, the one statement takes a tenth of a second
ROWS = 100_000

# what a small /dev/shm says, 64 MB in many containers: hash tables that processes share are made there
_NO_SHARED_MEMORY = (errors.DiskFull, errors.OutOfMemory)


def drop(cursor, source: Source, run_id: str) -> int:
    """Drop the superseded rows of the run's staging table, which was analysed; returns how many were."""
    staging = tables.staging(source.table, run_id)
    identifiers = {
        "staging": staging,
        "key": sql.SQL(", ").join(map(sql.Identifier, source.key)),
        "same_key": tables.equal("s", "d", source.key),
    }
    if _keys_hardly_come_again(cursor, source, run_id):
        found = tables.staging(source.table, f"{run_id} superseded")
        if _find(cursor, identifiers, found):
            cursor.execute(statement("publish", "drop_found", staging=staging, found=found))
            dropped = cursor.rowcount
            cursor.execute(statement("publish", "forget_found", found=found))
            return dropped
    cursor.execute(statement("publish", "drop_superseded", **identifiers))
    return cursor.rowcount


def _keys_hardly_come_again(cursor, source: Source, run_id: str) -> bool:
    table = f'{tables.STAGING}."{tables.staging_name(source.table, run_id)}"'
    cursor.execute(statement("publish", "estimated_keys"), {"table": table, "key": list(source.key)})
    rows, keys = cursor.fetchone() or (0, 0)
    return rows >= ROWS and keys > rows / 2


def _find(cursor, identifiers: dict[str, sql.Composable], found: sql.Composable) -> bool:
    """Make the table `found` of the superseded rows' places; False where Postgres has no memory to share.

    What follows in the transaction then does without it too.
    """
    # places are those of the rows until nobody else can move them; who wrote to a run's table ended before this stage
    cursor.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(identifiers["staging"]))
    cursor.execute("SELECT current_setting('work_mem'), current_setting('parallel_tuple_cost')")
    before = cursor.fetchone()
    cursor.execute("SAVEPOINT finding")
    try:
        cursor.execute(statement("publish", "share_memory"))
        cursor.execute(statement("publish", "find_superseded", found=found, **identifiers))
    except _NO_SHARED_MEMORY:
        cursor.execute("ROLLBACK TO SAVEPOINT finding; SET LOCAL max_parallel_workers_per_gather = 0")
        return False
    cursor.execute("SELECT set_config('work_mem', %s, true), set_config('parallel_tuple_cost', %s, true)", before)
    return True
