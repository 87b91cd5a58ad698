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
from urllib.parse import quote

from chalicelib.changes import position
from chalicelib.errors import ChangeError

LOAD, INSERT, UPDATE, DELETE = "load", "insert", "update", "delete"
OPERATIONS = (LOAD, INSERT, UPDATE, DELETE)
TRUNCATE = "truncate-table"
CONTROL_OPERATIONS = (
    "create-table",
    "drop-table",
    "rename-table",
    TRUNCATE,
    "add-column",
    "drop-column",
    "rename-column",
    "change-columns",
    "column-type-change",
)
_QUOTED = 200  # characters of a record that its error quotes
_DEPTH = 100  # levels of objects and arrays; DMS writes four, encoders end at 254
_DIGITS = 131_072  # those of Postgres' numeric; written out, 1e999999999 takes a gigabyte
_NAMES = 800  # bytes of schema and table in a key of S3, which takes 1,024


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
    """What happened to a table. DMS writes no position of the log and no commit into it, only its own time."""

    operation: str
    schema: str
    table: str
    control: dict[str, Any]
    timestamp: dt.datetime


def read(payload: bytes | None) -> Data | Control:
    """One record; raises ChangeError, which says what is wrong. What it quotes of the record is its `quote` alone."""
    if payload is None:
        raise ChangeError("the record's base64 is damaged")
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise ChangeError(f"the record is not UTF-8: {error}") from None
    try:
        document = json.loads(text, parse_float=number, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ChangeError(f"the record is no JSON: {error}", quote=f"it begins {text[:_QUOTED]!r}") from None
    if text.count("{") + text.count("[") > _DEPTH:
        _check_depth(document)
    if "\\ud" in text.lower():
        _check_surrogates(document)
    try:
        return _record(document)
    except ChangeError as error:
        said = "" if error.quote is None else f"{error.quote}; "
        raise ChangeError(error.message, quote=f"{said}it begins {text[:_QUOTED]!r}") from None


def _record(document: Any) -> Data | Control:
    if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
        raise ChangeError("the record has no metadata: DMS did not write it")
    metadata = document["metadata"]
    kind = metadata.get("record-type")
    schema, table = _text(metadata, "schema-name"), _text(metadata, "table-name")
    operation = _text(metadata, "operation")
    if not table:
        raise ChangeError("table-name is empty")
    if len(quote(schema)) + len(quote(table)) > _NAMES:
        raise ChangeError("schema-name and table-name are too long for a key of the lake")
    written = _moment(metadata, "timestamp")
    if written is None:
        raise ChangeError("timestamp is missing")
    if kind == "control":
        if operation not in CONTROL_OPERATIONS:
            raise ChangeError("a control record has an operation that is none", quote=_short(operation))
        return Control(operation, schema, table, _object(document, "control"), written)
    if kind != "data":
        raise ChangeError("record-type is neither data nor control", quote=_short(kind))
    if operation not in OPERATIONS:
        raise ChangeError(f"a data record's operation is none of {', '.join(OPERATIONS)}", quote=_short(operation))
    data, before = _object(document, "data"), _object(document, "before-image")
    if not data and not (operation == DELETE and before):
        raise ChangeError("data is empty or missing")
    committed = _moment(metadata, "commit-timestamp")
    stream_position = metadata.get("stream-position")
    if stream_position is not None and not isinstance(stream_position, str):
        raise ChangeError("stream-position is no text", quote=_short(stream_position))
    transaction = metadata.get("transaction-id")
    if transaction is not None and (isinstance(transaction, bool) or not isinstance(transaction, int | str)):
        raise ChangeError("transaction-id is no number", quote=_short(transaction))
    record_id = metadata.get("transaction-record-id")
    if record_id is not None and (
        isinstance(record_id, bool) or not isinstance(record_id, int) or not 0 <= record_id < 2**62
    ):
        raise ChangeError("transaction-record-id is no number", quote=_short(record_id))
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
    if value is None:
        raise ChangeError(f"{name} is missing")
    if not isinstance(value, str):
        raise ChangeError(f"{name} is no text", quote=_short(value))
    return value


def _object(document: dict, name: str) -> dict:
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ChangeError(f"{name} is no object", quote=_short(value))
    return value


def _moment(metadata: dict, name: str) -> dt.datetime | None:
    value = metadata.get(name)
    if value is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(value)
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except (TypeError, ValueError, OverflowError):
        raise ChangeError(f"{name} is no time as YYYY-MM-DDTHH:MM:SS.ffffffZ", quote=_short(value)) from None


def _short(value: Any) -> str:
    return repr(str(value)[:40])


def number(text: str) -> Decimal:
    """A number of JSON with a fraction or an exponent; raises ValueError for one that Postgres has no room for."""
    try:
        found = Decimal(text)
    except ArithmeticError:
        raise ValueError("a number has an exponent that no computer has room for") from None
    if abs(found.adjusted()) > _DIGITS:
        raise ValueError(f"a number has more than {_DIGITS} digits")
    return found


def _check_depth(document: Any) -> None:
    level = [document]
    for _ in range(_DEPTH):
        values = (value for holder in level for value in (holder.values() if isinstance(holder, dict) else holder))
        level = [value for value in values if isinstance(value, dict | list)]
        if not level:
            return
    raise ChangeError(f"the record is nested more than {_DEPTH} levels deep")


def _no_constant(name: str):
    raise ValueError(f"{name} is no JSON")


def _check_surrogates(document: Any) -> None:
    try:
        json.dumps(document, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise ChangeError("the record has half a surrogate pair, which is no Unicode character") from None
