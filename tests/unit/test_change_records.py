"""DMS's records are read strictly: what is none is refused with its reason, and quoted."""

import datetime as dt
import json
from decimal import Decimal

import pytest
from change_events import change, control
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.changes import position
from chalicelib.changes.record import Control, Data, read
from chalicelib.errors import ChangeError

# as AWS DMS 3.5 wrote them for a table of PostgreSQL
UPDATE_OF_A_KEY = b"""{
    "before-image": {"id": 46},
    "data": {"age": 31, "attributes": "{\\"baz\\": \\"qux\\"}", "id": 45, "name": "Jane"},
    "metadata": {
        "commit-timestamp": "2024-07-29T00:59:07.678294Z", "operation": "update",
        "partition-key-type": "schema-table", "prev-transaction-id": 1140, "prev-transaction-record-id": 1,
        "record-type": "data", "schema-name": "public", "stream-position": "00000002/7C0073F8.2.00000002/7C0073F8",
        "table-name": "foo", "timestamp": "2024-07-29T00:59:07.686557Z", "transaction-id": 1141,
        "transaction-record-id": 1
    }
}"""


def test_a_data_record_is_read_with_its_transaction_and_its_before_image():
    found = read(UPDATE_OF_A_KEY)
    assert isinstance(found, Data)
    assert (found.operation, found.schema, found.table) == ("update", "public", "foo")
    assert found.data["id"] == 45 and found.before == {"id": 46}
    assert found.timestamp == dt.datetime(2024, 7, 29, 0, 59, 7, 678294, tzinfo=dt.UTC)
    assert found.identity == ("1141@2024-07-29T00:59:07.678294+00:00", 1)


def test_numbers_keep_all_their_digits():
    found = read(
        json.dumps(change("insert", {"id": 1, "amount": 0})).replace(": 0}", ": 12345678901234567.891}").encode()
    )
    assert found.data["amount"] == Decimal("12345678901234567.891")


def test_a_control_record_is_read_with_what_it_says_of_the_table():
    found = read(json.dumps(control("create-table", id={"nullable": False, "type": "INT32"})).encode())
    assert isinstance(found, Control) and found.operation == "create-table"
    assert found.control["table-def"]["columns"]["id"]["type"] == "INT32"


def test_loaded_rows_and_streams_without_transaction_details_have_no_order_and_no_identity():
    assert read(json.dumps(change("load", {"id": 1})).encode()).order == ""
    plain = read(json.dumps(change("insert", {"id": 1}, details=False)).encode())
    assert plain.order == "" and plain.identity is None


def without(*path):
    document = change("update", {"id": 1})
    holder = document
    for name in path[:-1]:
        holder = holder[name]
    del holder[path[-1]]
    return document


def having(name, value):
    document = change("update", {"id": 1})
    document["metadata"][name] = value
    return document


def nested(levels):
    return json.loads("[" * levels + "]" * levels)


def test_what_is_nested_as_documents_are_is_read_and_brackets_in_a_text_are_no_levels():
    document = {"deep": nested(90), "text": "[{" * 500, "wide": [[], {}] * 500}
    assert read(json.dumps(change("insert", document)).encode()).data == document


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b'{"data": ', "no JSON"),
        (b'{"data": {"id": NaN}}', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (change("insert", {"id": 1, "deep": nested(600)}), "nested more than 100 levels deep"),
        (b'{"data": {"id": 1e999999999}}', "more than 131072 digits"),
        (b'{"data": {"id": 1e99999999999999999999}}', "an exponent that no computer has room for"),
        (having("table-name", "\u00e4" * 300), "too long for a key of the lake"),
        (b"[]", "no metadata"),
        (b"{}", "no metadata"),
        (b'{"Records": []}', "no metadata"),
        (having("record-type", "dat"), "record-type is neither data nor control: 'dat'"),
        (having("operation", "upsert"), "operation is none of load, insert, update, delete: 'upsert'"),
        (having("timestamp", "yesterday"), "timestamp is no time as YYYY-MM-DDTHH:MM:SS.ffffffZ: 'yesterday'"),
        (having("commit-timestamp", 17), "commit-timestamp is no time as YYYY-MM-DDTHH:MM:SS.ffffffZ: '17'"),
        (having("table-name", ""), "table-name is empty"),
        (having("schema-name", None), "schema-name is missing"),
        (having("transaction-record-id", "one"), "transaction-record-id is no number: 'one'"),
        (having("transaction-id", True), "transaction-id is no number: 'True'"),
        (having("stream-position", 4), "stream-position is no text: '4'"),
        (without("metadata", "timestamp"), "timestamp is missing"),
        (without("metadata", "operation"), "operation is missing"),
        (without("data"), "data is empty or missing"),
        (change("insert", {}), "data is empty or missing"),
        (change("insert", [1]), "data is no object: '[1]'"),
        (change("update", {"id": 1}, before="x"), "before-image is no object: 'x'"),
        (change("insert", {"name": "\ud800"}), "half a surrogate pair"),
        (control("explode-table"), "operation that is none: 'explode-table'"),
    ],
)
def test_what_is_no_record_of_dms_is_refused_with_its_reason(record, reason):
    payload = record if isinstance(record, bytes) else json.dumps(record).encode()
    with pytest.raises(ChangeError) as refused:
        read(payload)
    assert reason in str(refused.value)


def test_an_error_quotes_the_beginning_of_the_record():
    with pytest.raises(ChangeError, match=r"it begins '\{\"hello\""):
        read(b'{"hello": "world"}')


@pytest.mark.parametrize(
    "record",
    [
        b'{"name": "Marker-4711"',
        b'{"name": "Marker-4711"}',
        change("insert", "Marker-4711"),
        change("Marker-4711", {"id": 1}),
        control("Marker-4711"),
        *(
            having(name, "Marker-4711")
            for name in ("record-type", "operation", "timestamp", "commit-timestamp", "transaction-record-id")
        ),
        *(having(name, ["Marker-4711"]) for name in ("table-name", "stream-position", "transaction-id")),
    ],
)
def test_nothing_but_the_quote_of_an_error_has_anything_of_the_record(record):
    with pytest.raises(ChangeError) as refused:
        read(record if isinstance(record, bytes) else json.dumps(record).encode())
    assert "Marker-4711" in str(refused.value)
    assert "Marker-4711" not in str(refused.value.without_quote())


@given(st.binary(max_size=200))
def test_no_bytes_whatever_raise_anything_else(payload):
    with pytest.raises(ChangeError):
        read(payload)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2, unique=True))
def test_positions_of_postgres_sort_as_its_log_does(places):
    texts = [f"{p >> 32:08X}/{p & 0xFFFFFFFF:08X}.2.00000000/00000001" for p in sorted(places)]
    assert position.order(texts[0], 9) < position.order(texts[1], 1)


def test_positions_of_mysql_sort_by_number_and_the_record_comes_last():
    first = position.order("mysql-bin-changelog.002171:36912271:0", 1)
    assert first < position.order("mysql-bin-changelog.002171:36912271:0", 2)
    assert first < position.order("mysql-bin-changelog.002171:136912271:0", 1)
    assert position.order(None, 1) == ""
