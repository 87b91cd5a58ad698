"""Records of a stream that were set aside: those that could not be read, and changes that do not fit their table."""

from __future__ import annotations

import json
from collections.abc import Sequence

from psycopg2.extras import execute_values

from chalicelib.changes.arrival import Arrival
from chalicelib.errors import NotFound
from chalicelib.warehouse.queries import rows, statement

Quarantined = tuple[Arrival, str | None, list[tuple[str | None, str]]]  # a record, its source, (column, reason)


def add(cursor, batch: int, quarantined: Sequence[Quarantined]) -> None:
    """Set records aside with their reasons; those without a source could not be read."""
    if not quarantined:
        return
    found = [
        (
            arrival.stream,
            arrival.shard,
            arrival.sequence,
            batch,
            source,
            json.dumps([{"column": column, "message": _storable(message)} for column, message in reasons]),
            _readable(arrival),
            arrival.arrived,
        )
        for arrival, source, reasons in quarantined
    ]
    execute_values(cursor, statement("changes", "quarantine_change").as_string(cursor), found)


def listed(cursor, limit: int, source: str | None = None, malformed: bool = False) -> list[dict]:
    """What was set aside, without the records, the newest first; of one source, or what could not be read."""
    return rows(cursor, "changes", "quarantine_list", limit=limit, source=source, malformed=malformed)


def found(cursor, number: int) -> dict:
    """One of them with its record, whole. Raises NotFound."""
    if of_number := rows(cursor, "changes", "quarantined_change", id=number):
        return of_number[0]
    raise NotFound(f"no change is quarantined as {number}", next_step="see `sluice changes quarantine`")


def _readable(arrival: Arrival) -> str:
    """A record as text that Postgres and a person can take; whole, since the lake may not have it."""
    return _storable((arrival.payload or b"").decode(errors="backslashreplace"))


def _storable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\0")
