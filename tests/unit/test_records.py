import gc
import io
import json
import time
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_s3 import MemoryS3

from chalicelib import conversion
from chalicelib.columns import Column
from chalicelib.contracts import Partition
from chalicelib.errors import SourceError
from chalicelib.lake import csv_rows, cutting, ndjson, position, records
from chalicelib.lake.records import ReadRecords
from chalicelib.lake.store import Lake
from chalicelib.settings import Settings
from chalicelib.sources.base import Page, Source


class Orders(Source):
    name = "orders"
    key = ("a",)
    columns = (Column("a", "bigint"),)
    nulls = ("NA",)
    rename = {"Order ID": "order_id"}  # noqa: RUF012

    def records(self, document, request):
        return document["items"]


def prepare(data: bytes, format: str, **settings):
    settings = Settings(**settings)
    lake = Lake("lake", MemoryS3())
    partition = Partition(0, {})
    listing = cutting.store(
        "orders", "r", "2026-01-02", partition, iter([Page(io.BytesIO(data), format)]), lake, settings
    )
    return listing.chunks, lake, settings


def read(data: bytes, format: str, **settings) -> ReadRecords:
    """The only chunk of `data`."""
    [chunk], lake, settings = prepare(data, format, **settings)
    return records.read(chunk, Orders(), lake, settings)


def lines(batch: ReadRecords) -> list[int]:
    return [position.part_and_line(int(seq))[1] for seq in batch.seqs]


def faults(batch: ReadRecords) -> list[tuple[int, str]]:
    return [(bad.line, bad.reason) for bad in batch.malformed]


# --- NDJSON --------------------------------------------------------------------------------------


def test_fields_are_the_union_of_all_and_absent_is_none():
    batch = read(b'{"a":1,"b":null}\n{"c":[1],"a":"x"}\n{}\n', "ndjson")
    assert batch.fields == {"a": [1, "x", None], "b": [None] * 3, "c": [None, [1], None]}
    assert list(batch.fields) == ["a", "b", "c"]
    assert batch.seqs.dtype == np.int64
    assert lines(batch) == [1, 2, 3]


def test_a_blank_line_is_no_record_but_counts_as_a_line():
    batch = read(b'\xef\xbb\xbf{"a":1}\r\n\r\n   \n{"a":2}', "ndjson")
    assert (batch.fields, lines(batch), batch.records) == ({"a": [1, 2]}, [1, 4], 2)


@pytest.mark.parametrize(
    ("line", "reason", "shown"),
    [
        (b'{"a":1', "not valid JSON: unexpected end of data", '{"a":1'),
        (b'{"a":"\xff\xfe"}', "not valid JSON: str is not valid UTF-8", '{"a":"\\xff\\xfe"}'),
        (b'{"a":"x\0y"}', "not valid JSON: unexpected control character", '{"a":"x\\x00y"}'),
        (b'{"a":NaN}', "not valid JSON", '{"a":NaN}'),
        (b"<html>", "not valid JSON", "<html>"),
        (b"[1]", "not a JSON object but an array", "[1]"),
        (b"7", "not a JSON object but a number", "7"),
        (b"null", "not a JSON object but null", "null"),
        (rb'{"title":"a\u0000b"}', "column title contains a NUL character", r'{"title":"a\u0000b"}'),
        (rb'{"t":[{"\u0000":1}]}', "column t contains a NUL character", r'{"t":[{"\u0000":1}]}'),
        (rb'{"t\u0000":1}', r"the name of column 't\x00' contains a NUL character", r'{"t\u0000":1}'),
        (b'{"a":' + b"9" * 5000 + b"}", "number is infinity", '{"a":' + "9" * 5000 + "}"),
    ],
)
def test_a_malformed_line_is_set_aside_alone_with_reason_and_text(line, reason, shown):
    batch = read(b'{"a":1}\n' + line + b'\n{"a":2}\n', "ndjson")
    assert batch.fields == {"a": [1, 2]}
    assert lines(batch) == [1, 3]
    [bad] = batch.malformed
    assert (bad.part, bad.line) == (0, 2)
    assert reason in bad.reason
    assert bad.record == shown
    assert batch.records == 3


def test_an_escaped_backslash_before_u0000_is_no_nul():
    assert read(rb'{"a":"\\u0000"}', "ndjson").fields == {"a": ["\\u0000"]}


@given(st.lists(st.integers(-(10**25), 10**25), min_size=1))
def test_integers_are_exact_whatever_their_size(numbers):
    data = b"".join(b'{"padding":"%s","a":%d}\n' % (b"x" * (i % 5), n) for i, n in enumerate(numbers))
    assert ndjson.parse(data).records == [{"padding": "x" * (i % 5), "a": n} for i, n in enumerate(numbers)]


def test_the_last_of_two_fields_of_one_name_counts():
    assert read(b'{"a":1,"a":2}', "ndjson").fields == {"a": [2]}


def test_the_text_of_a_malformed_record_is_limited():
    [bad] = read(b'{"a":"' + b"x" * 20_000 + b"\n", "ndjson").malformed
    assert len(bad.record) == records.TEXT_CHARACTERS


def test_nothing_between_two_commas_of_an_array_is_a_malformed_record():
    batch = read(b'[{"a":1},,{"a":2},]', "json")
    assert batch.fields == {"a": [1, 2]}
    assert faults(batch) == [(2, "there is nothing between two commas"), (4, "there is nothing between two commas")]


# --- CSV -----------------------------------------------------------------------------------------


def test_csv_values_are_text_and_empty_or_null_tokens_are_none():
    batch = read(b'Order ID,b\r\n1,NA\r\n"",x\r\n007,\r\n', "csv")
    assert batch.fields == {"order_id": ["1", None, "007"], "b": [None, "x", None]}
    assert lines(batch) == [2, 3, 4]


def test_a_csv_row_is_at_the_line_where_it_begins():
    batch = read(b'a,b\n1,"x\ny\nz"\n\n2,w\n', "csv")
    assert batch.fields == {"a": ["1", "2"], "b": ["x\ny\nz", "w"]}
    assert lines(batch) == [2, 6]


def test_faulty_csv_rows_are_set_aside_alone():
    data = (
        b'a,b\n1,2\n1,2,3\n4\n\xff,5\n6,7\0\n"x"y,8\n"p"q,"long\nlong"\n9,10\rx\n11,"\xc3\xa9, \xe2\x80\xa8 and \x0b"\n'
    )
    batch = read(data, "csv")
    assert batch.fields == {"a": ["1", "11"], "b": ["2", "é, \u2028 and \x0b"]}
    assert lines(batch) == [2, 11]
    assert [line for line, _ in faults(batch)] == [3, 4, 5, 6, 7, 8, 10]
    expected = [
        "3 fields where the header has 2",
        "1 fields where the header has 2",
        "column a is not valid UTF-8",
        "column b contains a NUL character",
        "not valid CSV: ',' expected after '\"'",
        "not valid CSV: ',' expected after '\"'",
        "not valid CSV: new-line character seen in unquoted field",
    ]
    for (_, reason), start in zip(faults(batch), expected, strict=True):
        assert reason.startswith(start)
    assert [bad.record for bad in batch.malformed][2:6] == ["\\xff,5", "6,7\\x00", '"x"y,8', '"p"q,"long\nlong"']


def test_quotes_within_an_unquoted_field_are_kept():
    assert read(b'a,b\n5" pipe,6" pipe\n', "csv").fields == {"a": ['5" pipe'], "b": ['6" pipe']}


def test_a_field_may_be_longer_than_pythons_csv_limit():
    assert read(b'a,b\n"' + b"x" * 200_000 + b'",1\n', "csv").fields["a"] == ["x" * 200_000]


def test_a_csv_without_rows_still_has_its_columns():
    assert csv_rows.columns([], ("a", "b"), ()) == {"a": [], "b": []}


# --- responses -----------------------------------------------------------------------------------


def test_the_source_makes_records_of_a_response():
    batch = read(rb'{"items": [{"a":1}, 5, {"a":"\u0000"}, {"a":36893488147419103232}]}', "response")
    assert batch.fields == {"a": [1, 2**65]}
    assert lines(batch) == [1, 4]
    assert faults(batch) == [(2, "not a JSON object but a number"), (3, "column a contains a NUL character")]
    assert batch.malformed[1].record == r'{"a":"\u0000"}'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"Service unavailable", "the response is not JSON"),
        (b"[]", "records() raised TypeError"),
        (b'{"error":"no such day"}', "records() raised KeyError: 'items'; the response begins '{\"error\""),
    ],
)
def test_a_response_that_the_source_cannot_read_is_quoted(data, message):
    with pytest.raises(SourceError) as caught:
        read(data, "response")
    assert message in str(caught.value)
    assert caught.value.where["file"].startswith("raw/source=orders/")


# --- all formats ---------------------------------------------------------------------------------

ROWS = {
    "ndjson": (b'{"a":1}\n  {"a":2} \n\n{"a":"\xc3\xa9"}\n', {1: '{"a":1}', 2: '{"a":2}', 4: '{"a":"é"}'}),
    "json": (b'[{"a":1},\n {"a" : 2}]', {1: '{"a":1}', 2: '{"a" : 2}'}),
    "csv": (b'a,b\n1,2\n3,"x\ny"\n5,6\n', {2: "1,2", 3: '3,"x\ny"', 5: "5,6"}),
    "response": (b'{"items":[{"a": 1},{"a":2}]}', {1: '{"a":1}', 2: '{"a":2}'}),
}


@pytest.mark.parametrize("format", ROWS)
@pytest.mark.parametrize("chunk_bytes", [1, 10**6])
def test_the_raw_text_of_any_row_can_be_had_again(format, chunk_bytes):
    data, expected = ROWS[format]
    chunks, lake, settings = prepare(data, format, chunk_bytes=chunk_bytes)
    found = {}
    for chunk in chunks:
        batch = records.read(chunk, Orders(), lake, settings)
        found |= records.raw_texts(chunk, Orders(), lake, settings, batch.seqs)
    assert found == {position.seq(0, line): text for line, text in expected.items()}


@pytest.mark.parametrize(("format", "text"), [("ndjson", b"%b\n%b\n%b\n%b\n%b"), ("json", b"[%b,%b,%b,%b,%b]")])
def test_a_record_with_two_fields_that_become_one_column_is_set_aside_and_no_other(format, text):
    torn = b'{"order_id":2,"Order ID":3}'
    other = [b'{"order_id":1}', b'{"Order ID":4,"a":5}', b'{"order_id":null,"Order ID":6}', b'{"a":7}']
    batch = read(text % (other[0], torn, *other[1:]), format)
    assert batch.fields == {"order_id": [1, 4, 6, None], "a": [None, 5, None, 7]}
    assert lines(batch) == [1, 3, 4, 5]
    assert faults(batch) == [(2, "two fields of the record become column order_id: order_id, Order ID")]
    assert [bad.record for bad in batch.malformed] == [torn.decode()]
    assert batch.records == 5


def test_where_every_record_has_two_fields_for_a_column_all_are_set_aside():
    batch = read(b'{"order_id":2,"Order ID":3}\n' * 3, "ndjson")
    assert (lines(batch), batch.records) == ([], 3)


def test_two_names_of_a_header_that_become_one_column_are_refused():
    with pytest.raises(SourceError, match="two fields of the header become column 'order_id'"):
        read(b"order_id,Order ID\n1,2\n", "csv")


def test_the_garbage_collector_runs_again_afterwards():
    read(b'{"a":1}', "ndjson")
    assert gc.isenabled()


# --- numbers for numeric columns -----------------------------------------------------------------


class Invoices(Source):
    columns = (Column("total", "numeric(20,2)"), Column("share", "double precision"), Column("note", "jsonb"))
    rename = {"Grand Total": "total"}  # noqa: RUF012


@pytest.mark.parametrize(("format", "text"), [("ndjson", b"%b\n%b"), ("json", b"[%b,%b]")])
def test_money_is_not_rounded_to_what_a_float_holds(format, text):
    first = b'{"Grand Total":12345678901234567.89,"share":12345678901234567.89,"note":{"x":12345678901234567.89}}'
    chunks, lake, settings = prepare(text % (first, b'{"Grand Total":1.5}'), format)
    fields = records.read(chunks[0], Invoices(), lake, settings).fields
    assert fields["total"] == [Decimal("12345678901234567.89"), 1.5]
    assert conversion.encode(fields["total"], Invoices.columns[0]) == (["12345678901234567.89", "1.50"], {})
    assert [type(value) for value in (fields["share"][0], fields["note"][0]["x"])] == [float, float]


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 30), st.sampled_from(["", "-"]))
def test_every_number_of_an_exact_field_is_that_number(number, padding, sign):
    text = sign + f"{abs(number)}".replace("E+", "e")
    data = b" " * padding + b'{"x":%b}' % text.encode()
    for record in ndjson.parse(data, exact=("x",)).records:
        value = record["x"]
        assert (Decimal(repr(value)) if type(value) is float else value) == Decimal(text)


def test_a_number_that_a_float_holds_stays_one_and_odd_ones_stop_nothing():
    texts = ["0.30000000000000004", "1.2345678901234567e-99999999999999999999", '"1.23456789012345678"']
    read = [ndjson.parse(b'{"x":%b}' % text.encode(), exact=("x",)).records[0]["x"] for text in texts]
    assert read == [0.30000000000000004, 0.0, "1.23456789012345678"]


def test_a_long_text_of_digits_is_searched_once():
    data = b'{"x":"%b"}' % (b"1" * 900_000)
    began = time.perf_counter()
    assert len(ndjson.parse(data, exact=("x",)).records) == 1
    assert time.perf_counter() - began < 1


# --- whole numbers with a point or an exponent ---------------------------------------------------


class Counts(Source):
    columns = (Column("id", "bigint", nullable=False), Column("v", "smallint"))
    rename = {"ID": "id"}  # noqa: RUF012


@pytest.mark.parametrize("field", ["id", "ID"])
@pytest.mark.parametrize(("format", "text"), [("ndjson", b"%b\n%b\n%b\n"), ("json", b"[%b,%b,%b]")])
def test_a_whole_number_with_a_point_is_no_other_rows_key(format, text, field):
    ids = (b"9007199254740993", b"9007199254740992", b"9007199254740993.0")
    rows = tuple(b'{"%b":%b,"v":%d.0}' % (field.encode(), id, v) for v, id in enumerate(ids))
    chunks, lake, settings = prepare(text % rows, format)
    fields = records.read(chunks[0], Counts(), lake, settings).fields
    assert conversion.encode(fields["id"], Counts.columns[0]) == (
        ["9007199254740993", "9007199254740992", "9007199254740993"],
        {},
    )
    assert conversion.encode(fields["v"], Counts.columns[1]) == (["0", "1", "2"], {})


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3), st.integers(0, 2), st.integers(0, 30))
def test_a_whole_number_is_itself_however_it_is_written(number, shift, zeros, padding):
    written = f"{Decimal(number).scaleb(-shift):f}"
    written += "" if "." in written else ".0"
    data = b" " * padding + b'{"x":%b%be%d,"y":0.30000000000000004}' % (written.encode(), b"0" * zeros, shift)
    [record] = ndjson.parse(data, whole=("x",)).records
    assert conversion.encode([record["x"]], Column("x", "bigint")) == ([str(number)], {})
    assert type(record["y"]) is float


@pytest.mark.parametrize(
    "text", ["999999999999999.97", "4503599627370496.3", "1.00000000000000000001", "9007199254740993.5", "1e300"]
)
def test_a_number_that_only_a_float_would_make_whole_fits_no_integer(text):
    data = b'{"x":%b,"y":1.2345678901234567e-99999999999999999999}' % text.encode()
    [record] = ndjson.parse(data, whole=("x",)).records
    assert conversion.encode([record["x"]], Column("x", "bigint"))[1]


def test_a_whole_number_with_a_point_in_a_response_is_refused_where_it_may_be_another():
    rows = [{"id": 9007199254740991.0}, {"id": 9007199254740992.0}]
    texts, problems = conversion.encode([row["id"] for row in rows], Counts.columns[0])
    assert texts == ["9007199254740991", "\\N"]
    assert "may stand for another number" in problems[1]


# --- any bytes -----------------------------------------------------------------------------------

# mostly JSON with something wrong in it: bytes at random would hardly ever get past the first brace
_MEMBERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_WRITTEN = _MEMBERS.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
_RECORDS = st.dictionaries(st.sampled_from("abc"), _MEMBERS, max_size=3).map(lambda value: json.dumps(value).encode())
_SCRAPS = st.sampled_from(
    [b"{", b"}", b'"', b",", b":", b"\\u0000", b"\\ud800", b"\xff", b"\x00", b"\r", b" ", b"1e999"]
)


def _spoilt(record: bytes, place: int, scrap: bytes) -> bytes:
    place %= len(record) + 1
    return record[:place] + scrap + record[place:]


_LINES = st.one_of(
    _RECORDS, _WRITTEN, st.binary(max_size=8), st.builds(_spoilt, _RECORDS, st.integers(0, 99), _SCRAPS)
).filter(lambda line: b"\n" not in line)


@settings(deadline=None)
@given(st.lists(_LINES, max_size=6), st.integers(1, 60), st.integers(1, 4))
def test_of_any_bytes_each_line_is_read_once_or_set_aside_with_a_reason(given_lines, chunk_bytes, chunk_rows):
    """Whatever the chunks: nothing is lost, nothing is there twice, nothing raises."""
    data = b"{}\n" + b"".join(line + b"\n" for line in given_lines)  # a file without a line is refused as empty
    chunks, lake, its_settings = prepare(data, "ndjson", chunk_bytes=chunk_bytes, chunk_rows=chunk_rows)
    batches = [records.read(chunk, Orders(), lake, its_settings) for chunk in chunks]
    read_lines = [line for batch in batches for line in lines(batch)]
    set_aside = [line for batch in batches for line, _ in faults(batch)]
    wanted = [number for number, line in enumerate([b"{}", *given_lines], 1) if line.strip()]
    assert sorted(read_lines + set_aside) == wanted
    assert all(reason for batch in batches for _, reason in faults(batch))
    for batch in batches:
        assert {len(values) for values in batch.fields.values()} <= {len(batch.seqs)}
        assert batch.records == len(batch.seqs) + len(batch.malformed)
