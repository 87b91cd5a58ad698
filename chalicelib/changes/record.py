"""A change record as AWS DMS writes it to Kinesis, read strictly.

The format is that of "Using Amazon Kinesis Data Streams as a target for AWS Database Migration Service"
(https://docs.aws.amazon.com/dms/latest/userguide/CHAP_Target.Kinesis.html), with transaction details and
before-images where the task writes them:

    {"data": {"id": 1, "name": "x"}, "before-image": {"id": 2},
     "metadata": {"timestamp": "2024-07-29T00:59:07.686557Z", "record-type": "data", "operation": "update",
                  "partition-key-type": "primary-key", "schema-name": "public", "table-name": "people",
                  "transaction-id": 1141, "transaction-record-id": 1, "commit-timestamp": "2024-07-29T00:59:07.678294Z",
                  "stream-position": "00000002/7C0073F8.2.00000002/7C0073F8"}}
    {"control": {"table-def": {…}}, "metadata": {"record-type": "control", "operation": "create-table", …}}

`metadata` may have further fields: DMS adds some from version to version.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from chalicelib.changes import position
from chalicelib.errors import ChangeError

LOAD, INSERT, UPDATE, DELETE = "load", "insert", "update", "delete"
OPERATIONS = (LOAD, INSERT, UPDATE, DELETE)
CONTROL_OPERATIONS = (
    "create-table",
    "drop-table",
    "rename-table",
    "truncate-table",
    "add-column",
    "drop-column",
    "rename-column",
    "change-columns",
    "column-type-change",
)
_QUOTED = 200  # characters of a record that its error quotes


@dataclass(frozen=True)
class Data:
    """One row's change. `data` is the row after it, or the key of a deleted one; numbers with fractions are Decimals.

    `order` compares two changes of one source database, "" where the task writes no transaction details
    and for loaded rows. `transaction` tells transactions apart, None where unknown.
    """

    operation: str
    schema: str
    table: str
    data: dict[str, Any]
    before: dict[str, Any]
    timestamp: dt.datetime  # of the commit; where the task does not write it, of the record
    transaction: str | None
    record_id: int | None
    stream_position: str | None
    order: str

    @property
    def identity(self) -> tuple[str, int] | None:
        """The same for a record that DMS delivers twice; None where it cannot be known."""
        if self.operation == LOAD or self.transaction is None or self.record_id is None:
            return None
        return self.transaction, self.record_id


@dataclass(frozen=True)
class Control:
    """What happened to a table."""

    operation: str
    schema: str
    table: str
    control: dict[str, Any]
    timestamp: dt.datetime


def read(payload: bytes | None) -> Data | Control:
    """One record; raises ChangeError, which says what is wrong and quotes it."""
    if payload is None:
        raise ChangeError("the record's base64 is damaged")
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise ChangeError(f"the record is not UTF-8: {error}") from None
    try:
        document = json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ChangeError(f"the record is no JSON: {error}", quote=f"it begins {text[:_QUOTED]!r}") from None
    if "\\ud" in text.lower():
        _check_surrogates(document)
    try:
        return _record(document)
    except ChangeError as error:
        raise ChangeError(error.message, quote=f"it begins {text[:_QUOTED]!r}") from None


def _record(document: Any) -> Data | Control:
    if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
        raise ChangeError("the record has no metadata: DMS did not write it")
    metadata = document["metadata"]
    kind = metadata.get("record-type")
    schema, table = _text(metadata, "schema-name"), _text(metadata, "table-name")
    operation = _text(metadata, "operation")
    if not table:
        raise ChangeError("table-name is empty")
    written = _moment(metadata, "timestamp")
    if written is None:
        raise ChangeError("timestamp is missing")
    if kind == "control":
        if operation not in CONTROL_OPERATIONS:
            raise ChangeError(f"a control record has the operation {operation!r}")
        return Control(operation, schema, table, _object(document, "control"), written)
    if kind != "data":
        raise ChangeError(f"record-type is {kind!r}, expected data or control")
    if operation not in OPERATIONS:
        raise ChangeError(f"a data record has the operation {operation!r}, expected one of {', '.join(OPERATIONS)}")
    data, before = _object(document, "data"), _object(document, "before-image")
    if not data and not (operation == DELETE and before):
        raise ChangeError("data is empty or missing")
    committed = _moment(metadata, "commit-timestamp")
    stream_position = metadata.get("stream-position")
    if stream_position is not None and not isinstance(stream_position, str):
        raise ChangeError(f"stream-position is {stream_position!r}, expected text")
    transaction = metadata.get("transaction-id")
    if transaction is not None and (isinstance(transaction, bool) or not isinstance(transaction, int | str)):
        raise ChangeError(f"transaction-id is {transaction!r}, expected a number")
    record_id = metadata.get("transaction-record-id")
    if record_id is not None and (
        isinstance(record_id, bool) or not isinstance(record_id, int) or not 0 <= record_id < 2**62
    ):
        raise ChangeError(f"transaction-record-id is {record_id!r}, expected a number")
    if transaction is not None:
        # transaction numbers of Postgres come around; the commit's time tells them apart
        transaction = f"{transaction}@{committed.isoformat()}" if committed else str(transaction)
    return Data(
        operation=operation,
        schema=schema,
        table=table,
        data=data,
        before=before,
        timestamp=committed or written,
        transaction=transaction,
        record_id=record_id,
        stream_position=stream_position,
        order="" if operation == LOAD else position.order(stream_position, record_id),
    )


def _text(metadata: dict, name: str) -> str:
    value = metadata.get(name)
    if not isinstance(value, str):
        raise ChangeError(f"{name} is missing" if value is None else f"{name} is {value!r}, expected text")
    return value


def _object(document: dict, name: str) -> dict:
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ChangeError(f"{name} is {str(value)[:40]!r}, expected an object")
    return value


def _moment(metadata: dict, name: str) -> dt.datetime | None:
    value = metadata.get(name)
    if value is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(value)
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except (TypeError, ValueError, OverflowError):
        raise ChangeError(f"{name} is {str(value)[:40]!r}, expected a time as YYYY-MM-DDTHH:MM:SS.ffffffZ") from None


def _no_constant(name: str):
    raise ValueError(f"{name} is no JSON")


def _check_surrogates(document: Any) -> None:
    try:
        json.dumps(document, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise ChangeError("the record has half a surrogate pair, which is no Unicode character") from None
