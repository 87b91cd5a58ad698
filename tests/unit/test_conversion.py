"""Values keep their meaning or are a problem; nothing is rounded, cut or guessed."""

import datetime as dt
import math
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.columns import Column
from chalicelib.conversion import encode


def text(value, kind):
    texts, problems = encode([value], Column("c", kind))
    assert not problems, problems
    return texts[0]


def problem(value, kind, **more):
    texts, problems = encode([value], Column("c", kind, **more))
    assert texts == ["\\N"]
    return problems[0]


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (12, "integer", "12"),
        ("12", "integer", "12"),
        (" -12 ", "integer", "-12"),
        ("+7", "bigint", "7"),
        ("8.0", "integer", "8"),
        ("007", "integer", "7"),
        (12.0, "integer", "12"),
        (2.0**53 - 1, "bigint", "9007199254740991"),
        (Decimal("9007199254740993.0"), "bigint", "9007199254740993"),
        (Decimal("9.2e18"), "bigint", "9200000000000000000"),
        (Decimal("0.5"), "double precision", "0.5"),
        (2**63 - 1, "bigint", str(2**63 - 1)),
        (-(2**15), "smallint", "-32768"),
        (3, "double precision", "3.0"),
        ("1e3", "double precision", "1000.0"),
        (0.1, "double precision", "0.1"),
        ("12.50", "numeric", "12.50"),
        ("12.340", "numeric(6,2)", "12.34"),
        ("1234567890123456789012345678.25", "numeric(38,2)", "1234567890123456789012345678.25"),
        (99.99, "numeric(4,2)", "99.99"),
        (True, "boolean", "t"),
        ("No", "boolean", "f"),
        (0, "boolean", "f"),
        ("a\tb\\", "text", "a\\tb\\\\"),
        (1234, "text", "1234"),
        ("2024-02-29", "date", "2024-02-29"),
        ("2024-02-29T00:00:00", "date", "2024-02-29"),
        (dt.date(2024, 2, 29), "date", "2024-02-29"),
        (pd.Timestamp("2024-02-29"), "date", "2024-02-29"),
        ("2024-02-29T10:00:00Z", "timestamptz", "2024-02-29 10:00:00+00"),
        ("2024-02-29T10:00:00+02:00", "timestamptz", "2024-02-29 08:00:00+00"),
        ("2024-02-29 10:00:00.5", "timestamptz", "2024-02-29 10:00:00.500000+00"),
        ("2024-02-29T10:00:00", "timestamp", "2024-02-29 10:00:00"),
        ("2024-02-29T23:59:59.999999999Z", "timestamptz", "2024-02-29 23:59:59.999999+00"),
        ("2024-12-31 23:59:59.9999995", "timestamp", "2024-12-31 23:59:59.999999"),
        ("2024-02-29T23:59:59.9999999-01:00", "timestamptz", "2024-03-01 00:59:59.999999+00"),
        (pd.Timestamp("2024-02-29T23:59:59.999999999Z"), "timestamptz", "2024-02-29 23:59:59.999999+00"),
        (pd.Timestamp("2024-02-29T23:59:59.999999999"), "timestamp", "2024-02-29 23:59:59.999999"),
        (pd.Timestamp("2024-02-29T10:00:00", tz="Europe/Lisbon"), "timestamptz", "2024-02-29 10:00:00+00"),
        (dt.datetime(2024, 10, 27, 1, 30, fold=1), "timestamp", "2024-10-27 01:30:00"),
        ({"b": 1, "a": [1]}, "jsonb", '{"a":[1],"b":1}'),
        ('{"a": "x\\ny"}', "jsonb", '{"a":"x\\\\ny"}'),
        ("plain", "jsonb", '"plain"'),
    ],
)
def test_a_value_that_fits_is_written_canonically(value, kind, expected):
    assert text(value, kind) == expected


@pytest.mark.parametrize(
    ("value", "kind", "part"),
    [
        ("twelve", "integer", "expected integer"),
        (12.5, "integer", "whole number"),
        (2.0**53, "bigint", "may stand for another number"),
        (-(2.0**53), "bigint", "may stand for another number"),
        (Decimal("9007199254740993.5"), "bigint", "whole number"),
        (Decimal("1e99999"), "bigint", "beyond the range"),
        ("1_000", "integer", "expected integer"),
        ("8.5", "integer", "expected integer"),
        (True, "integer", "expected integer"),
        (2**31, "integer", "beyond the range"),
        ("9" * 5000, "bigint", "beyond the range"),
        (2**63, "bigint", "beyond the range"),
        ("", "integer", "expected integer"),
        ("nan", "double precision", "expected a number"),
        ("1e999", "double precision", "beyond the range"),
        (10**400, "double precision", "beyond the range"),
        (math.inf, "double precision", "beyond the range"),
        ([1], "double precision", "expected a number"),
        ("100", "numeric(4,2)", "beyond the range"),
        ("1e30", "numeric(10,2)", "beyond the range"),
        (1e300, "numeric(10,2)", "beyond the range"),
        ("12.345", "numeric(6,2)", "at most 2 decimals"),
        ("1_000", "numeric", "expected a number"),
        ("٣", "numeric", "expected a number"),
        ("NaN", "numeric", "expected a number"),
        ("0000-01-01T00:00:00Z", "timestamptz", "that exists"),
        ("-024-01-01T00:00:00Z", "timestamptz", "that exists"),
        ("2024-01-01T24:00:01Z", "timestamptz", "that exists"),
        ("1e99999", "numeric", "beyond the range"),
        ("maybe", "boolean", "true or false"),
        ("a\x00b", "text", "NUL"),
        ("\ud800", "text", "surrogate"),
        ({"a": 1}, "text", "jsonb"),
        ("2023-02-29", "date", "that exists"),
        ("20240229", "date", "YYYY-MM-DD"),
        ("2024-02-29T10:00:00", "date", "time of day"),
        (20240229, "date", "YYYY-MM-DD"),
        ("2024-02-30T10:00:00Z", "timestamptz", "that exists"),
        ("2024-02-29T25:00:00Z", "timestamptz", "that exists"),
        ("0001-01-01T00:00:00+14:00", "timestamptz", "beyond the range"),
        ("2024-02-29T10:00:00Z", "timestamp", "timestamptz"),
        ({"a": "\x00"}, "jsonb", "NUL"),
    ],
)
def test_a_value_that_does_not_fit_is_a_problem_that_says_why(value, kind, part):
    assert part in problem(value, kind)


@pytest.mark.parametrize("null", [None, math.nan, pd.NaT, pd.NA])
def test_nulls_of_json_and_pandas_are_null(null):
    assert encode([null, "x"], Column("c", "text")) == (["\\N", "x"], {})


def test_a_null_in_a_column_that_must_not_have_one_is_a_problem():
    assert problem(None, "text", nullable=False) == "c is null or missing"


def test_one_bad_value_leaves_its_neighbours_alone():
    texts, problems = encode([1, "2", "x", None, 2**40], Column("c", "integer"))
    assert texts == ["1", "2", "\\N", "\\N", "\\N"]
    assert sorted(problems) == [2, 4]


@pytest.mark.parametrize("kind", ["smallint", "integer", "bigint", "double precision", "text", "date", "timestamptz"])
def test_a_whole_column_and_single_values_are_written_alike(kind):
    values = {
        "text": ["a\tb", "", "\\N", "ü"],
        "date": ["2024-01-01", "2024-02-29", "2024-01-01"],
        "timestamptz": ["2024-01-01T00:00:00Z", "2024-02-29T23:59:59Z"],
    }.get(kind, ["1", "22", "333"])
    column = Column("c", kind)
    together, problems = encode(values, column)
    assert not problems
    assert together == [encode([value, None], column)[0][0] for value in values]
    # a stray value sends the column down the careful way; the others come out the same
    assert encode([*values, object()], column)[0][:-1] == together


def test_an_empty_column_is_empty():
    for kind in ("integer", "double precision", "text", "boolean", "date", "timestamptz", "numeric", "jsonb"):
        assert encode([], Column("c", kind)) == ([], {})


_MOMENTS = st.from_regex(r"[-+ 0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}Z?", fullmatch=True)
_NUMBERS = st.one_of(st.text("0123456789+-._e ", max_size=12), st.integers().map(str), st.floats().map(repr))


@given(st.lists(_MOMENTS | st.datetimes().map(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S}Z"), max_size=4))
def test_moments_as_a_column_and_one_by_one_are_judged_alike(values):
    assert_judged_alike(values, Column("c", "timestamptz"))


@given(st.lists(_NUMBERS, max_size=4), st.sampled_from(["smallint", "bigint", "double precision", "numeric(10,2)"]))
def test_numbers_as_a_column_and_one_by_one_are_judged_alike(values, kind):
    assert_judged_alike(values, Column("c", kind))


def assert_judged_alike(values, column):
    together = encode(values, column)
    # an object of no known type sends the whole column down the careful way
    careful = encode([*values, object()], column)
    assert together[0] == careful[0][:-1]
    assert set(together[1]) == set(careful[1]) - {len(values)}
