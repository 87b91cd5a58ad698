"""The lake's files of change records: which file a record goes to, and what is in it.

    cdc/schema=<schema>/table=<table>/date=YYYY-MM-DD/hour=HH/<shard>-<batch>.parquet
    cdc/controls/date=YYYY-MM-DD/hour=HH/<shard>-<batch>.parquet

The hour is that of the commit (of the record, where DMS does not write the commit), in UTC: a late record lands in
its own hour. A file has the table's columns, under their own names, and those of META. All files of a table can be
read together: a column's type is fixed when it is first written, from the declaration of the source that the table is
mapped to, else it is text. A value that its type cannot hold is null there and stands in `_unfit`.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import orjson

from chalicelib.changes.arrival import Arrival
from chalicelib.changes.record import Control, Data
from chalicelib.changes.values import json_text
from chalicelib.columns import Column
from chalicelib.lake import parquet

PREFIX = "cdc"
PARQUET, JSON = "parquet", "json"

META = (
    "_operation",  # load, insert, update, delete
    "_timestamp",  # of the commit, else of the record; UTC
    "_transaction_id",
    "_record_id",  # within its transaction
    "_position",  # DMS's stream-position
    "_arrived",  # in the stream; UTC
    "_shard",
    "_sequence",
    "_before",  # the before-image, JSON
    "_columns",  # the columns that the record names, a JSON array: others are not NULL but unknown
    "_unfit",  # values that their column's type cannot hold, JSON
)
_TIMES = ("_timestamp", "_arrived")

# types in the lake; decimals and JSON stay text, which keeps every digit
TEXT, BIGINT, DOUBLE, BOOLEAN, TIMESTAMP = "string", "bigint", "double", "boolean", "timestamp"
_OF_COLUMN = {
    "smallint": BIGINT,
    "integer": BIGINT,
    "bigint": BIGINT,
    "double precision": DOUBLE,
    "boolean": BOOLEAN,
    "timestamp": TIMESTAMP,
    "timestamptz": TIMESTAMP,
}
_DTYPES = {TEXT: object, BIGINT: "Int64", DOUBLE: "Float64", BOOLEAN: "boolean"}


@dataclass
class File:
    """One file to be: its rows in the shard's order."""

    schema: str
    table: str
    hour: dt.datetime
    rows: list[tuple[Arrival, Data]] = field(default_factory=list)


@dataclass
class ControlFile:
    """One file to be of control records, of whatever tables: they have none of the columns that rows have."""

    hour: dt.datetime
    rows: list[tuple[Arrival, Control]] = field(default_factory=list)


def files(changes: Iterable[tuple[Arrival, Data]]) -> list[File]:
    """The changes by table and hour."""
    found: dict[tuple, File] = {}
    for arrival, change in changes:
        hour = change.timestamp.replace(minute=0, second=0, microsecond=0)
        file = found.setdefault((change.schema, change.table, hour), File(change.schema, change.table, hour))
        file.rows.append((arrival, change))
    return list(found.values())


def control_files(controls: Iterable[tuple[Arrival, Control]]) -> list[ControlFile]:
    """The control records by hour."""
    found: dict[dt.datetime, ControlFile] = {}
    for arrival, control in controls:
        hour = control.timestamp.replace(minute=0, second=0, microsecond=0)
        found.setdefault(hour, ControlFile(hour)).rows.append((arrival, control))
    return list(found.values())


def prefix(schema: str, table: str) -> str:
    """Where a table's files are; names are percent-encoded, as Hive does."""
    return f"{PREFIX}/schema={quote(schema, safe=' ')}/table={quote(table, safe=' ')}/"


def key(file: File | ControlFile, shard: str, batch: int, format: str) -> str:
    suffix = "parquet" if format == PARQUET else "ndjson"
    folder = f"{PREFIX}/controls/" if isinstance(file, ControlFile) else prefix(file.schema, file.table)
    return f"{folder}{file.hour:date=%Y-%m-%d/hour=%H}/{shard}-{batch:012d}.{suffix}"


def types(names: Iterable[str], columns: Iterable[Column]) -> dict[str, str]:
    """What type new columns get; `columns` are the mapped source's, none where there is none."""
    declared = {column.name: _OF_COLUMN.get(column.base, TEXT) for column in columns}
    return {name: declared.get(name, TEXT) for name in names}


def names(file: File) -> list[str]:
    """The columns that a file's records name, in the order in which they come."""
    return list(dict.fromkeys(name for _, change in file.rows for name in change.data))


def body(file: File, columns: Mapping[str, str], format: str) -> bytes:
    """The file itself. `columns` has the type of every column of the table, those of the file among them."""
    rows = [_row(arrival, change, columns) for arrival, change in file.rows]
    if format == JSON:
        return b"".join(orjson.dumps(row, default=_iso) + b"\n" for row in rows)
    import pandas as pd

    made = {}
    for name, kind in columns.items():
        values = [row[stored(name)] for row in rows]
        made[stored(name)] = _times(values) if kind == TIMESTAMP else pd.Series(values, dtype=_DTYPES[kind])
    for name in META:
        values = [row[name] for row in rows]
        kind = _DTYPES[BIGINT] if name == "_record_id" else object
        made[name] = _times(values) if name in _TIMES else pd.Series(values, dtype=kind)
    return parquet.write(pd.DataFrame(made))


def control_body(file: ControlFile, format: str) -> bytes:
    """The file itself: of each record where it was in the stream, the table, and what happened to it."""
    rows = [
        {
            "_operation": control.operation,
            "_timestamp": control.timestamp,
            "_arrived": arrival.arrived,
            "_shard": arrival.shard,
            "_sequence": str(arrival.sequence),
            "schema_name": control.schema,
            "table_name": control.table,
            "control": json_text(control.control),
        }
        for arrival, control in file.rows
    ]
    if format == JSON:
        return b"".join(orjson.dumps(row, default=_iso) + b"\n" for row in rows)
    import pandas as pd

    columns = {name: [row[name] for row in rows] for name in rows[0]}
    made = {name: pd.Series(found, dtype=object) for name, found in columns.items() if name not in _TIMES}
    times = {name: _times(columns[name]) for name in _TIMES}
    return parquet.write(pd.DataFrame(made | times)[list(columns)])


def stored(name: str) -> str:
    """What a column is called in the files: its own name, unless ours has it."""
    return f"data{name}" if name in META else name


def original(name: str) -> str:
    """The reverse of `stored`."""
    return name[len("data") :] if name.startswith("data_") and name[len("data") :] in META else name


def _row(arrival: Arrival, change: Data, columns: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    unfit = {}
    for name, kind in columns.items():
        value = change.data.get(name)
        found = None if value is None else _CONVERTERS[kind](value)
        if found is None and value is not None:
            unfit[name] = value
        row[stored(name)] = found
    row["_operation"] = change.operation
    row["_timestamp"] = change.timestamp
    row["_transaction_id"] = None if change.transaction is None else change.transaction.partition("@")[0]
    row["_record_id"] = change.record_id
    row["_position"] = change.stream_position
    row["_arrived"] = arrival.arrived
    row["_shard"] = arrival.shard
    row["_sequence"] = str(arrival.sequence)
    row["_before"] = json_text(change.before) if change.before else None
    row["_columns"] = json_text(list(change.data))
    row["_unfit"] = json_text(unfit) if unfit else None
    return row


def text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def _bigint(value: Any) -> int | None:
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63 else None


def _double(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _boolean(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value)
    return value if isinstance(value, bool) else None


def _timestamp(value: Any) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(value)
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except (TypeError, ValueError, OverflowError):
        return None


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    TEXT: text,
    BIGINT: _bigint,
    DOUBLE: _double,
    BOOLEAN: _boolean,
    TIMESTAMP: _timestamp,
}


def _times(values: list[dt.datetime | None]):
    import numpy as np
    import pandas as pd

    moments = [None if value is None else value.replace(tzinfo=None) for value in values]
    return pd.Series(np.array(moments, dtype="datetime64[us]")).dt.tz_localize("UTC")


def _iso(value: Any) -> str:
    return value.isoformat()
