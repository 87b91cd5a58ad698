"""Rows of Postgres as AWS DMS writes them to Kinesis.

The format is in `chalicelib.changes.record`; what becomes of which type, as with the endpoint settings of our
template (IncludeNullAndEmpty, IncludeTransactionDetails, MapBooleanAsBoolean, UseLargeIntegerValue):
https://docs.aws.amazon.com/dms/latest/userguide/CHAP_Source.PostgreSQL.html#CHAP_Source-PostgreSQL-DataTypes
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from chalicelib.changes.values import json_text
from local.dms.pgoutput import UNCHANGED, Begin, Column, Relation, Values

# pg_type.dat
_BOOLEAN, _BYTEA, _TIMESTAMP, _TIMESTAMPTZ = 16, 17, 1114, 1184
_INTEGERS = (20, 21, 23, 26)
_FRACTIONS = (700, 701, 1700)

# what DMS calls the types in the control record of a table
_NAMES = {
    16: "BOOLEAN",
    17: "BYTES",
    20: "INT64",
    21: "INT16",
    23: "INT32",
    700: "REAL4",
    701: "REAL8",
    1700: "NUMERIC",
    1082: "DATE",
    1083: "TIME",
    1114: "DATETIME",
    1184: "DATETIME",
}


@dataclass(frozen=True)
class Shaped:
    """One record for the stream: its JSON, and the keys of the rows that it is about, the stream's key first."""

    data: bytes
    keys: tuple[str, ...]

    @property
    def partition_key(self) -> str:
        # Kinesis takes 256 characters
        return self.keys[0][:256]


def value(text: object, oid: int) -> Any:
    """A column's value, from the text that Postgres has for it, in UTC."""
    if text is None:
        return None
    if oid == _BOOLEAN:
        return text[0] == "t"
    if oid in _INTEGERS:
        return int(text)
    if oid in _FRACTIONS:
        try:
            number = Decimal(text)
        except InvalidOperation:
            return text
        return number if number.is_finite() else text
    if oid in (_TIMESTAMP, _TIMESTAMPTZ):
        try:
            moment = dt.datetime.fromisoformat(text)
        except ValueError:  # infinity, a year before Christ or after 9999
            return text
        if moment.tzinfo is not None:
            moment = moment.astimezone(dt.UTC)
        return moment.replace(tzinfo=None).isoformat() + "Z"
    return "0x" + text[2:] if oid == _BYTEA and text.startswith("\\x") else text


def row(values: Values, columns: Sequence[Column]) -> dict[str, Any]:
    """The columns of a row by name; those that the server did not send are absent."""
    return {c.name: value(values[c.name], c.oid) for c in columns if values.get(c.name, UNCHANGED) is not UNCHANGED}


def key(relation: Relation, values: dict[str, Any]) -> str:
    """The stream's key of a row: its table and its primary key."""
    parts = [json_text(values.get(c.name)) for c in relation.columns if c.key]
    return f"{relation.schema}.{relation.table}." + ".".join(parts)


def loaded(relation: Relation, values: Values, read_at: dt.datetime) -> Shaped:
    data = row(values, relation.columns)
    return _record(relation, "load", data, None, {}, read_at)


class Transaction:
    """The records of a transaction that commits; `previous` is the one before, None for the first."""

    def __init__(self, begin: Begin, previous: Transaction | None):
        self._begin, self._records = begin, 0
        self._previous = (previous._begin.xid, previous._records) if previous and previous._records else None

    def insert(self, relation: Relation, new: Values, lsn: int) -> Shaped:
        return self._change(relation, "insert", row(new, relation.columns), None, lsn)

    def update(self, relation: Relation, new: Values, old: Values | None, lsn: int, before_images: bool) -> Shaped:
        """The before-image has the old key where it changed; with `before_images` the whole old row."""
        data, before = row(new, relation.columns), {}
        if old is not None:
            was = row(old, relation.columns)
            changed = {c.name: was[c.name] for c in relation.columns if c.key and was.get(c.name) != data.get(c.name)}
            before = was if before_images else changed
        return self._change(relation, "update", data, before, lsn)

    def delete(self, relation: Relation, old: Values, lsn: int) -> Shaped:
        return self._change(relation, "delete", row(old, relation.columns), None, lsn)

    def _change(self, relation: Relation, operation: str, data: dict, before: dict | None, lsn: int) -> Shaped:
        self._records += 1
        details: dict[str, Any] = {"transaction-id": self._begin.xid, "transaction-record-id": self._records}
        if self._previous:
            details |= dict(zip(("prev-transaction-id", "prev-transaction-record-id"), self._previous, strict=True))
        details["commit-timestamp"] = iso(self._begin.committed)
        details["stream-position"] = f"{_lsn(self._begin.commit_lsn)}.{self._records}.{_lsn(lsn)}"
        return _record(relation, operation, data, before, details, dt.datetime.now(dt.UTC))


def created(relation: Relation) -> Shaped:
    columns = {c.name: {"type": _NAMES.get(c.oid, "STRING"), "nullable": not c.key} for c in relation.columns}
    definition = {"columns": columns, "primary-key": [c.name for c in relation.columns if c.key]}
    return control(relation, "create-table", {"table-def": definition})


def altered(before: Relation, now: Relation) -> list[Shaped]:
    """The control records that lead from one form of a table to another."""
    had, has = ({c.name: c for c in relation.columns} for relation in (before, now))
    found = []
    if (before.schema, before.table) != (now.schema, now.table):
        found.append(control(now, "rename-table", {"old-name": f"{before.schema}.{before.table}"}))
    for name in has.keys() - had.keys():
        found.append(control(now, "add-column", _columns([has[name]])))
    for name in had.keys() - has.keys():
        found.append(control(now, "drop-column", _columns([had[name]])))
    retyped = [has[name] for name in has.keys() & had.keys() if has[name].oid != had[name].oid]
    return [*found, *([control(now, "column-type-change", _columns(retyped))] if retyped else [])]


def control(relation: Relation, operation: str, details: dict) -> Shaped:
    metadata = {
        "timestamp": iso(dt.datetime.now(dt.UTC)),
        "record-type": "control",
        "operation": operation,
        "partition-key-type": "task-id",
        "partition-key-value": "local",
        "schema-name": relation.schema,
        "table-name": relation.table,
    }
    return Shaped(json_text({"control": details, "metadata": metadata}).encode(), ("local",))


def iso(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _columns(columns: Sequence[Column]) -> dict:
    return {"table-def": {"columns": {c.name: {"type": _NAMES.get(c.oid, "STRING")} for c in columns}}}


def _lsn(number: int) -> str:
    return f"{number >> 32:08X}/{number & 0xFFFFFFFF:08X}"


def _record(
    relation: Relation, operation: str, data: dict, before: dict | None, details: dict, at: dt.datetime
) -> Shaped:
    metadata = {
        "timestamp": iso(at),
        "record-type": "data",
        "operation": operation,
        "partition-key-type": "primary-key",
        "partition-key-value": key(relation, data),
        "schema-name": relation.schema,
        "table-name": relation.table,
        **details,
    }
    record = {"data": data, "metadata": metadata}
    keys = [key(relation, data)]
    if before is not None:
        record = {"data": data, "before-image": before, "metadata": metadata}
        if any(c.key and c.name in before and before[c.name] != data[c.name] for c in relation.columns):
            keys.append(key(relation, {**data, **before}))
    return Shaped(json_text(record).encode(), tuple(keys))
