"""What came by each shard of the change streams, and what became of it."""

from __future__ import annotations

from chalicelib.warehouse.queries import rows


def of_shards(cursor) -> list[dict]:
    """By stream and shard: when it was read last, and counts of records."""
    return rows(cursor, "changes", "change_summary")


def of_sources(cursor) -> list[dict]:
    """By mapped source: the row account over all batches."""
    return rows(cursor, "changes", "change_account_summary")
