"""A value that repeats is judged once, and each of its rows counts."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from chalicelib.columns import Column
from chalicelib.quality import distinct, rows
from chalicelib.quality import suite as suites

COLUMNS = (
    Column("id", "integer", nullable=False),
    Column("count", "integer"),
    Column("big", "bigint"),
    Column("price", "double precision"),
    Column("name", "text"),
    Column("day", "date"),
    Column("valid", "boolean"),
    Column("note", "text"),
    Column("written", "timestamp"),
)


def expect(kind, severity="critical", **kwargs):
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity}


SUITE = suites.parse(
    json.dumps(
        {
            "name": "things",
            "expectations": [
                expect("column_values_to_be_between", column="count", min_value=2, max_value=5),
                expect("column_values_to_not_be_null", column="count"),
                expect("column_values_to_be_null", "warning", column="count"),
                expect("column_values_to_be_between", column="big", max_value=2**60),
                expect("column_values_to_be_in_set", column="price", value_set=[0.5, 1.5]),
                expect("column_values_to_be_in_set", column="name", value_set=["a", "b"]),
                expect("column_values_to_match_regex", "warning", column="name", regex="^[a-c]$"),
                expect("column_value_lengths_to_equal", column="name", value=1),
                expect("column_values_to_be_between", column="day", min_value="2024-01-02"),
                expect("column_values_to_not_be_null", column="note"),
                expect("column_values_to_match_regex", "warning", column="note", regex="[02468]$"),
                expect("column_value_lengths_to_be_between", column="note", min_value=2, max_value=3),
                expect("column_value_lengths_to_equal", "warning", column="note", value=4),
                expect("column_values_to_be_null", "info", column="note"),
                expect("column_values_to_not_be_null", column="written"),
                expect("column_values_to_be_in_set", column="valid", value_set=[True]),
            ],
        }
    ),
    "expectations/things.json",
    COLUMNS,
    ("id",),
)

ROWS = 5_000


def drawn(values, random):
    return pd.Series([values[i] for i in random.integers(0, len(values), ROWS)], dtype=pd.Series(values).dtype)


@pytest.mark.parametrize("with_nulls", [False, True], ids=["no nulls", "nulls"])
def test_counts_and_rows_are_those_of_judging_every_row(with_nulls, monkeypatch):
    random = np.random.default_rng(7)
    null, none = ([np.nan], [None]) if with_nulls else ([], [])
    frame = pd.DataFrame(
        {
            "count": drawn([1, 2, 3, 6, *null], random),
            "big": pd.Series([[3, 2**62, *null][i % (2 + len(null))] for i in range(ROWS)], dtype=object),
            "price": drawn([0.5, 1.5, -2.5, *null], random),
            "name": drawn(["a", "b", "c", "long", "", *none], random),
            "day": drawn(["2024-01-01", "2024-01-02", "2025-01-01", *none], random),
            "valid": drawn([True, False, *none], random),
            "note": pd.Series([None if with_nulls and i % 7 == 3 else f"é{i}" for i in range(ROWS)], dtype=object),
            "written": pd.Series([None if with_nulls and i == 9 else str(i) for i in range(ROWS)], dtype=object),
        }
    )
    numbered = rows.check(frame, SUITE)
    asked = []

    def row_by_row(part, items):
        asked.append(part)
        return [(None, items)]

    monkeypatch.setattr(distinct, "parts", row_by_row)
    assert rows.check(frame, SUITE) == numbered
    assert len(asked) == 8
    assert 0 < len(numbered.failing) < ROWS


def item(kind):
    return next(item for item in SUITE.items if item.type == f"expect_{kind}")


def kinds(values, **of_item):
    items = [dataclasses.replace(item("column_values_to_be_in_set"), kwargs={"column": "x", **of_item})]
    ((found, judging),) = distinct.parts(pd.DataFrame({"x": values}), items)
    assert judging == items
    return found


def test_kinds_are_numbered_with_null_as_one_of_them():
    found = kinds(["a", None, "b", "a"] * 1000)
    assert found.values.tolist() == ["a", "b", None]
    assert found.numbers[:4].tolist() == [0, 2, 1, 0]
    assert found.nulls == 1000


@pytest.mark.parametrize(
    ("values", "of_item"),
    [
        (["a"] * 1999, {}),
        ([str(number) for number in range(4000)], {}),
        (["a"] * 1000 + [str(number) for number in range(4000)], {}),
        (["a"] * 4000, {"row_condition": 'col("x").notnull()'}),
    ],
    ids=["few rows", "all different", "all different further on", "a condition on rows"],
)
def test_rows_are_judged_where_numbering_them_is_of_no_use(values, of_item):
    assert kinds(values, **of_item) is None


def lengths(values, *types):
    items = [item(kind) for kind in types]
    return distinct.parts(pd.DataFrame({"note": pd.Series(values, dtype=object)}), items)


def test_what_looks_at_lengths_alone_judges_a_text_of_each_length():
    texts = [f"é{number}" for number in range(4000)]
    judged, others = lengths([None, *texts], "column_value_lengths_to_equal", "column_values_to_match_regex")
    assert [item.type for item in judged[1]] == ["expect_column_value_lengths_to_equal"]
    assert [None if text is None else len(text) for text in judged[0].values] == [None, 2, 3, 4, 5]
    assert judged[0].numbers[[0, 1, 10, 11, 4000]].tolist() == [0, 1, 1, 2, 4] and judged[0].nulls == 1
    assert others[0] is None and [item.type for item in others[1]] == ["expect_column_values_to_match_regex"]


def test_integers_that_no_float_holds_have_no_length():
    """They are objects as texts are."""
    (whole,) = lengths([2**60 + number for number in range(4000)], "column_values_to_not_be_null")
    assert whole[0] is None
