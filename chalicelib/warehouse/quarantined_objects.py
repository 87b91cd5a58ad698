"""Objects of the inbox of which nothing was published, unreadable or rejected: `pipeline.quarantined_objects`."""

from __future__ import annotations

from psycopg2.extras import RealDictCursor

from chalicelib.triggers.inbox import Arrival
from chalicelib.warehouse.queries import statement

FILE = "quarantined_objects"


def add(cursor, arrival: Arrival, reason: str, run_id: str | None = None) -> bool:
    """Record the object; False where this version of it was recorded before."""
    values = {"bucket": arrival.bucket, "key": arrival.key, "version": arrival.version, "bytes": arrival.bytes}
    values |= {"source": arrival.source or "", "reason": reason.replace("\0", "\\x00"), "run_id": run_id}
    cursor.execute(statement(FILE, "add_object"), values)
    return cursor.fetchone()[0]


def was_told(cursor, arrival: Arrival) -> bool:
    """Whether an object of the same folder, for which no run was started, was recorded in the last hour.

    Until the transaction ends, nobody else gets an answer about that folder.
    """
    values = {"bucket": arrival.bucket, "key": arrival.key, "version": arrival.version, "source": arrival.source or ""}
    cursor.execute(statement(FILE, "take_turns"), values)
    cursor.execute(statement(FILE, "was_told"), values)
    return cursor.fetchone()[0]


def listed(connection, limit: int, source: str | None = None) -> list[dict]:
    """Newest first; `loaded_by` is the run that published an object of the same address since, or None."""
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(statement(FILE, "list_objects"), {"limit": limit, "source": source})
        return [dict(row) for row in cursor.fetchall()]
