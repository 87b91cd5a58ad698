"""Cells read all at once come out as the parser has them, to the bit, and the types of columns too."""

import datetime as dt
import sys
import tracemalloc
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.columns import Column
from chalicelib.conversion import encode
from chalicelib.warehouse import copy_text

COLUMNS = (
    Column("small", "smallint"),
    Column("id", "bigint"),
    Column("amount", "double precision"),
    Column("price", "numeric"),
    Column("paid", "boolean"),
    Column("status", "text"),
    Column("note", "text"),
    Column("day", "date"),
    Column("at", "timestamptz"),
    Column("data", "jsonb"),
)
PLACES = {column.name: place for place, column in enumerate(COLUMNS)}

_TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=40)
# what is read at once, and then what is not: a column of the one kind alone must not hide the other
PLAIN = (
    st.integers(-(2**15) + 1, 2**15 - 1),
    st.integers(-(10**15) + 1, 10**15 - 1),
    st.integers(-(10**8), 10**8).map(lambda number: number / 1000),
    st.decimals(-(10**9), 10**9, places=4),
    st.booleans(),
    st.sampled_from(["", "new", "sent", "returned", "ordered", "back\\slash", "\\N", "ten-letter", "é", "e", "\t"]),
    _TEXTS,
    st.dates().map(str),
    st.datetimes().map(lambda moment: moment.replace(tzinfo=dt.UTC).isoformat()),
    st.dictionaries(_TEXTS, st.none() | st.integers() | _TEXTS, max_size=2),
)
ODD = (
    st.none(),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=12),
    st.none(),
    st.none() | _TEXTS,
    st.none(),
    st.none(),
    st.none(),
    st.none(),
)


def rows_of(records):
    columns = [encode(list(values), column) for values, column in zip(zip(*records, strict=True), COLUMNS, strict=True)]
    assert not any(problems for _, problems in columns)
    return copy_text.write([texts for texts, _ in columns], range(1, len(records) + 1))


def assert_same(found: pd.DataFrame, expected: pd.DataFrame):
    assert list(found.columns) == list(expected.columns)
    for name in expected:
        assert found[name].dtype == expected[name].dtype, name
        if expected[name].dtype == object:
            assert [(type(value), value) for value in found[name] if value == value] == [
                (type(value), value) for value in expected[name] if value == value
            ]
            assert found[name].isna().tolist() == expected[name].isna().tolist()
        else:
            assert found[name].to_numpy().tobytes() == expected[name].to_numpy().tobytes(), name


def assert_read_as_parsed(rows: bytes):
    cells = copy_text.cells(rows, COLUMNS)
    assert_same(copy_text.read_frame(cells, COLUMNS, PLACES), copy_text.parse_frame(cells, COLUMNS, COLUMNS))


@given(st.lists(st.tuples(*PLAIN), min_size=1, max_size=8), st.data())
def test_cells_are_read_as_they_are_parsed(records, data):
    odd = data.draw(st.sets(st.sampled_from(list(PLACES.values()))))
    records = [
        tuple(
            data.draw(ODD[place]) if place in odd and data.draw(st.booleans()) else value
            for place, value in enumerate(record)
        )
        for record in records
    ]
    assert_read_as_parsed(rows_of(records))


def test_many_rows_are_read_as_they_are_parsed():
    """More than are looked at together, of kinds that appear late, of all lengths."""
    random = np.random.default_rng(7)
    rows = 20_000
    statuses = ["", "a", "sent", "returned", "returned!", "sixteen-letters.", "sixteen-letters!", "x" * 32, "é" * 16]
    records = [
        (
            int(random.integers(-99, 99)),
            int(random.integers(-(10**15), 10**15) // 10 ** random.integers(0, 15)),
            float(random.integers(-(10**15), 10**15) // 10 ** random.integers(0, 15)) / 10.0 ** random.integers(0, 5),
            Decimal(int(random.integers(-(10**9), 10**9))).scaleb(-int(random.integers(0, 10))),
            bool(random.integers(0, 2)),
            statuses[min(int(random.geometric(0.5)) - 1, len(statuses) - 1)],
            f"order {number} é" if number % 3 else None,
            f"2024-02-{number % 29 + 1:02}",
            f"2024-02-29T10:{number // 60 % 60:02}:{number % 60:02}Z",
            {"number": number},
        )
        for number in range(rows)
    ]
    written = rows_of(records)
    assert_read_as_parsed(written)
    cells = copy_text.cells(written, COLUMNS)
    assert len(set(map(id, cells.texts(PLACES["status"])))) == len(statuses)  # one object per kind, not per row
    assert cells.seqs_at([19_999, 0, 7]) == [20_000, 1, 8] and cells.seqs_at([]) == []


@pytest.mark.parametrize("size", [20, 5_000])
def test_reading_texts_takes_little_more_memory_than_they_do(size):
    """A chunk of 16 MB may be a few texts: eight bytes for each of theirs would fill a Lambda's memory."""
    texts = ["é" * (size // 2) + str(number) for number in range(2_000_000 // size)]
    cells = cells_of("note", texts)
    tracemalloc.start()
    try:
        found = cells.texts(PLACES["note"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.tolist() == texts
    assert peak < 3 * sum(map(sys.getsizeof, texts))


def cells_of(name, texts):
    columns = [texts if column.name == name else ["\\N"] * len(texts) for column in COLUMNS]
    return copy_text.cells(copy_text.write(columns, range(len(texts))), COLUMNS)


@pytest.mark.parametrize(
    "text, number",
    [("0", 0), ("-1", -1), ("12345678", 12345678), ("123456789", 123456789), ("-999999999999999", -(10**15 - 1))],
)
def test_an_integer_of_15_digits_at_most_is_read(text, number):
    assert cells_of("id", [text, "7"]).integers(PLACES["id"]).tolist() == [number, 7]


@pytest.mark.parametrize("text", ["", "-", "1000000000000000", "1.0", "1e3", "+1", " 1", "1/", "1:", "\uff11", "--1"])
def test_what_is_no_such_integer_is_left_to_the_parser(text):
    assert cells_of("id", [text, "7"]).integers(PLACES["id"]) is None


@pytest.mark.parametrize(
    "text", ["0.0", "-0.0", "0.1", "12", "-79.65", "0.00001", "12345678.1234567", "1.00000000000000"]
)
def test_a_decimal_of_15_digits_at_most_is_read(text):
    found = cells_of("amount", [text, "\\N"]).decimals(PLACES["amount"])
    assert found[0].tobytes() == np.float64(text).tobytes() and np.isnan(found[1])


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".5", "1.2.3", "1e5", "1.5e-07", "NaN", "0.30000000000000004", "-", "1.:"]
)
def test_what_is_no_such_decimal_is_left_to_the_parser(text):
    assert cells_of("amount", [text, "1.5"]).decimals(PLACES["amount"]) is None


@pytest.mark.parametrize("text", ["\\N", "", "true", "T", "tt"])
def test_what_is_no_boolean_is_left_to_the_parser(text):
    assert cells_of("paid", [text, "t"]).booleans(PLACES["paid"]) is None


def test_no_rows_have_no_cells():
    cells = copy_text.cells(b"", COLUMNS)
    assert len(cells) == 0
    assert list(copy_text.read_frame(cells, COLUMNS, {"id", "note"}).columns) == ["id", "note"]
