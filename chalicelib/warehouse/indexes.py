"""Indexes of a curated table besides its key's: those its source declares, and those that its anomalies need."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2 import sql

from chalicelib.sources.base import Source
from chalicelib.warehouse import tables
from chalicelib.warehouse.queries import statement


def ensure(cursor, source: Source) -> None:
    """Make the indexes that there are not yet; who writes to the table waits meanwhile.

    Of a declared column, and of the day's, the rest of the key comes behind it: so pages that are sorted by it, whose
    ties are broken by the key, are read in its order. A column that the table does not have yet is left out.
    """
    known = _columns(cursor, source)
    for column in dict.fromkeys((*source.indexes, *((source.day,) if source.day else ()))):
        if column in known:
            _ensure(cursor, source, (column, *(name for name in source.key if name != column)))
    for anomaly in source.anomalies:
        _ensure(cursor, source, (*anomaly.by, anomaly.time))


def _columns(cursor, source: Source) -> set[str]:
    cursor.execute(statement("indexes", "columns"), {"table": f'{tables.CURATED}."{source.table}"'})
    return {name for (name,) in cursor.fetchall()}


def _ensure(cursor, source: Source, columns: Sequence[str]) -> None:
    """Unless an index, such as the key's, begins with these columns."""
    values = {"table": f'{tables.CURATED}."{source.table}"', "columns": list(columns), "count": len(columns)}
    cursor.execute(statement("indexes", "find"), values)
    if not cursor.fetchone()[0]:
        name = tables.staging_name(f"{source.table}_by_", "_".join(columns))  # within 63 bytes, always the same
        cursor.execute(
            statement(
                "indexes",
                "create",
                index=sql.Identifier(name),
                curated=tables.curated(source),
                columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            )
        )
