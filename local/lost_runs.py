"""Runs that a killed stack left under way: its state machine forgets its executions, the ledger does not."""

from __future__ import annotations

import contextlib

import psycopg2
from psycopg2 import sql

from chalicelib.warehouse import tables

_CLOSE = """
UPDATE pipeline.runs
SET status = 'failed', finished_at = now(),
    error = '{"state": "unknown", "error": "RunLost", "reason": "the local stack ended in the middle of the run"}'
WHERE status IN ('running', 'published')
"""
_STAGING = "SELECT tablename FROM pg_tables WHERE schemaname = %s"


def close(database_url: str) -> int:
    """Fail the runs that are under way and drop their staging tables; to be called while none can be. How many."""
    with (
        contextlib.closing(psycopg2.connect(database_url)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(_CLOSE)
        closed = cursor.rowcount
        cursor.execute(_STAGING, (tables.STAGING,))
        for (name,) in cursor.fetchall():
            cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(tables.STAGING, name)))
        return closed
