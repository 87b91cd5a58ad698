"""Objects of the inbox of which nothing was published, unreadable or rejected: `pipeline.quarantined_objects`."""

from __future__ import annotations

from psycopg2.extras import RealDictCursor

from chalicelib.lake.inbox_object import InboxObject
from chalicelib.warehouse.queries import statement

FILE = "quarantined_objects"
OWED = "owed"


def add(cursor, found: InboxObject, reason: str, run_id: str) -> None:
    """Record an object that a run could not read; the run's email tells of it."""
    _add(cursor, found, reason, run_id, None)


def add_without_run(cursor, found: InboxObject, reason: str) -> bool:
    """Record an object that no run was started for; whether its email is owed.

    An email tells of it unless one tells of another object of the same folder in the last hour. It is owed until
    `told` says that it was sent. Until the transaction ends, nobody else gets an answer about that folder: nothing is
    to be waited for in it.
    """
    cursor.execute(statement(FILE, "take_turns"), _place(found))
    cursor.execute(statement(FILE, "is_told_of"), _place(found))
    return _add(cursor, found, reason, None, None if cursor.fetchone()[0] else OWED) == OWED


def told(cursor, found: InboxObject) -> None:
    """Note that the email which was owed is sent."""
    cursor.execute(statement(FILE, "told_object"), _place(found))


def _add(cursor, found: InboxObject, reason: str, run_id: str | None, email: str | None) -> str | None:
    values = {"bytes": found.bytes, "reason": reason.replace("\0", "\\x00"), "run_id": run_id, "email": email}
    cursor.execute(statement(FILE, "add_object"), _place(found) | values)
    return cursor.fetchone()[0]


def _place(found: InboxObject) -> dict:
    return {"bucket": found.bucket, "key": found.key, "version": found.version, "source": found.source or ""}


def listed(connection, limit: int, source: str | None = None) -> list[dict]:
    """Newest first; `loaded_by` is the run that published an object of the same address since, or None."""
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(statement(FILE, "list_objects"), {"limit": limit, "source": source})
        return [dict(row) for row in cursor.fetchall()]
