"""A value that repeats is judged once, and each of its rows counts."""

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
        }
    )
    numbered = rows.check(frame, SUITE)
    asked = []
    monkeypatch.setattr(distinct, "of", lambda part, items: asked.append(part))
    assert rows.check(frame, SUITE) == numbered
    assert len(asked) == 6
    assert 0 < len(numbered.failing) < ROWS


def kinds(values, **of_item):
    items = [type("Item", (), {"kwargs": {"column": "x", **of_item}})]
    return distinct.of(pd.DataFrame({"x": values}), items)


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
