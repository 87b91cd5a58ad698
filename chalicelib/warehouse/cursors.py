"""Up to which day each source was read, and who moved that: `pipeline.cursors`, `pipeline.cursor_moves`."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from chalicelib.warehouse.queries import statement


@dataclass(frozen=True)
class Move:
    """One move of a cursor: by a run (`run_id`), or by a person (`moved_by`, and `why`). Days are ISO dates."""

    before: str | None
    after: str
    run_id: str | None
    moved_by: str | None
    why: str | None
    moved_at: dt.datetime


def position(cursor, source: str) -> str | None:
    """Where the source was read to: an ISO date, or None."""
    cursor.execute(statement("cursors", "get"), {"source": source})
    row = cursor.fetchone()
    return row[0] if row else None


def advance(cursor, source: str, window: tuple[dt.date, dt.date], run_id: str, allow_gap: bool = False) -> bool:
    """Move the cursor to the end of a published window, in the caller's transaction; False where it stays.

    It moves forwards only. It stays, too, where days lie between the cursor and the window that no run has asked
    for: somebody set the cursor back while the run was under way.
    """
    first, last = window
    cursor.execute(statement("cursors", "hold"), {"source": source})
    row = cursor.fetchone()
    before = row[0] if row else None
    if before is not None and not allow_gap and first > dt.date.fromisoformat(before) + dt.timedelta(days=1):
        return False
    values = {"source": source, "position": last.isoformat(), "run_id": run_id}
    cursor.execute(statement("cursors", "advance"), values)
    if not cursor.rowcount:
        return False
    _record(cursor, source, before, last, run_id=run_id)
    return True


def put(cursor, source: str, day: dt.date, moved_by: str, why: str) -> str | None:
    """Set the cursor to any day, also backwards; returns where it was."""
    cursor.execute(statement("cursors", "hold"), {"source": source})
    row = cursor.fetchone()
    before = row[0] if row else None
    cursor.execute(statement("cursors", "put"), {"source": source, "position": day.isoformat()})
    _record(cursor, source, before, day, moved_by=moved_by, why=why)
    return before


def moves(cursor, source: str, limit: int = 10) -> list[Move]:
    """The newest moves first."""
    cursor.execute(statement("cursors", "moves"), {"source": source, "limit": limit})
    return [Move(*row) for row in cursor.fetchall()]


def _record(cursor, source: str, before: str | None, after: dt.date, run_id=None, moved_by=None, why=None) -> None:
    values = {"source": source, "before": before, "after": after.isoformat()}
    cursor.execute(statement("cursors", "record_move"), {**values, "run_id": run_id, "moved_by": moved_by, "why": why})
