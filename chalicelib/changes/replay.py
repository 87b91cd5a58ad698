"""A table of the lake, replayed to its current state.

Changes count in the order of the source's log, whatever the order in which they came; a loaded row counts as it came,
unless a change that was committed later came before it. Where DMS writes no positions, all count as they came.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import orjson

from chalicelib.changes import position, stored
from chalicelib.changes.mapping import UNCHANGED
from chalicelib.changes.record import DELETE, LOAD, UPDATE
from chalicelib.errors import NotFound
from chalicelib.lake import Lake, parquet
from chalicelib.warehouse import connection
from chalicelib.warehouse.queries import statement

Row = dict[str, Any]
Unfinished = Callable[[list[str]], Collection[str]]  # which of the keys are of batches that are not finished


def unfinished(database_url: str | None = None) -> Unfinished:
    """What the ledger says: files that an invocation still writes, or was killed over, are not the table's yet."""

    def ask(keys: list[str]) -> set[str]:
        with connection.transaction(database_url) as open_connection, open_connection.cursor() as cursor:
            cursor.execute(statement("changes", "unfinished_files"), {"keys": keys})
            return {key for (key,) in cursor.fetchall()}

    return ask


def replay(
    lake: Lake,
    schema: str,
    table: str,
    key: Sequence[str],
    absent: str = UNCHANGED,
    unfinished: Unfinished | None = None,
    truncated_at: dt.datetime | None = None,
) -> dict[tuple, Row]:
    """The rows of a table by key, as the lake's files give them, a value as the files have it (mostly as text).

    `absent` as in `mapping.Changes`, `unfinished` as in `records`. What was committed before `truncated_at` does not
    count, see `holds`. Raises NotFound where the lake has no such table.
    """
    rows: dict[tuple, Row] = {}
    found = [
        record
        for record in records(lake, schema, table, unfinished)
        if truncated_at is None or _moment(record["_timestamp"]) >= truncated_at
    ]
    for record in _ordered(found, key):
        now = _key(record, key, {})
        if record["_operation"] == DELETE:
            rows.pop(now if None not in now else _key({}, key, record["_before"]), None)
            continue
        old = rows.pop(_key(record, key, record["_before"]), {}) if record["_operation"] == UPDATE else {}
        if absent == UNCHANGED:  # what a before-image has of a column that the update does not name is its value
            old = {**old, **{name: _as_stored(value) for name, value in record["_before"].items()}}
        else:
            old = {}
        rows[now] = {**old, **{name: record[name] for name in record["_columns"]}}
    return rows


def records(lake: Lake, schema: str, table: str, unfinished: Unfinished | None = None) -> Iterator[Row]:
    """Every record of a table as the files have it; `_columns` and `_before` are read, `_unfit` is put in its place.

    While the function writes, the ledger knows which files count: `unfinished` is asked after they were listed. Without
    it all do. Raises NotFound where the lake has no such table.
    """
    keys = [key for key in lake.keys(stored.prefix(schema, table)) if key.endswith((".parquet", ".ndjson"))]
    left_out = unfinished(keys) if unfinished and keys else ()
    keys = [key for key in keys if key not in left_out]
    if not keys:
        raise NotFound(f"the lake has no changes of {schema}.{table}", next_step="see `sluice changes status`")
    for key in keys:
        body = lake.get(key)
        if key.endswith(".ndjson"):
            found = [orjson.loads(line) for line in body.splitlines()]
        else:
            frame = parquet.read(body)
            found = frame.astype(object).where(frame.notna(), None).to_dict("records")
        for row in found:
            yield _read(row)


def _read(row: Row) -> Row:
    row = {stored.original(name): value for name, value in row.items()}
    row["_columns"] = json.loads(row["_columns"])
    row["_before"] = json.loads(row["_before"]) if row["_before"] else {}
    for name, value in (json.loads(row["_unfit"]) if row["_unfit"] else {}).items():
        row[name] = value
    return row


def _moment(value: dt.datetime | str) -> dt.datetime:
    return dt.datetime.fromisoformat(value) if isinstance(value, str) else value


def _ordered(found: list[Row], key: Sequence[str]) -> list[Row]:
    """The records in the order in which they count."""
    found.sort(key=lambda row: (str(row["_arrived"]), row["_shard"], int(row["_sequence"])))
    last: dict[tuple, tuple[str, str]] = {}  # by key: order and time of the last change that came
    placed = []
    for row in found:
        now = _key(row, key, {})
        if row["_operation"] != LOAD:
            order = position.order(row["_position"], row["_record_id"])
            last[now] = max(last.get(now, ("", "")), (order, str(row["_timestamp"])))
            placed.append((order, 0, row))
            continue
        order, committed = last.get(now, ("", ""))
        if not order or committed < str(row["_timestamp"]):
            placed.append((order, 1, row))
    placed.sort(key=lambda item: item[:2])  # stable: what has no position stays as it came
    return [row for _, _, row in placed]


def _key(row: Row, key: Sequence[str], before: Row) -> tuple:
    """A row's key as text, as before its change where `before` names it."""
    values = [before[name] if name in before else row.get(name) for name in key]
    return tuple(None if value is None else str(value) for value in values)


def _as_stored(value: Any) -> Any:
    return None if value is None else stored.text(value)
