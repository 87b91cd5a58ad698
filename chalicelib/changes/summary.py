"""What came by each shard of the change streams, and what became of it."""

from __future__ import annotations

from chalicelib.warehouse.queries import statement


def of_shards(cursor) -> list[dict]:
    """By stream and shard: when it was read last, and counts of records."""
    return _rows(cursor, "change_summary")


def of_sources(cursor) -> list[dict]:
    """By mapped source: the row account over all batches."""
    return _rows(cursor, "change_account_summary")


def _rows(cursor, name: str) -> list[dict]:
    cursor.execute(statement("changes", name))
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
