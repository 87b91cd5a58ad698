"""What is prepared for one chunk serves the next, and changes no outcome."""

import gc
import json
import weakref

import numpy as np
import pandas as pd
import pytest

from chalicelib.columns import Column
from chalicelib.quality import engine, prepared, rows
from chalicelib.quality import suite as suites

COLUMNS = (
    Column("id", "integer", nullable=False),
    Column("high", "double precision"),
    Column("low", "double precision"),
    Column("count", "integer"),
    Column("name", "text"),
)


def expect(kind, **kwargs):
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": "critical"}


SUITE = suites.parse(
    json.dumps(
        {
            "name": "things",
            "expectations": [
                expect("column_values_to_be_between", column="high", min_value=0, max_value=9, mostly=0.5),
                expect("column_values_to_not_be_null", column="high"),
                expect("column_values_to_be_between", column="count", min_value=1),
                expect("column_values_to_be_in_set", column="name", value_set=["a", "b"]),
                expect("column_values_to_match_regex", column="name", regex="^[a-z]$"),
                expect(
                    "column_pair_values_a_to_be_greater_than_b",
                    column_A="high",
                    column_B="low",
                    ignore_row_if="either_value_is_missing",
                ),
                expect("column_values_to_be_of_type", column="count", type_="int64"),
            ],
        }
    ),
    "expectations/things.json",
    COLUMNS,
    ("id",),
)

FRAMES = {
    "some fail": {"high": [1.0, 12.0, np.nan], "low": [0.0, 13.0, 1.0], "count": [1, 0, 5], "name": ["a", "C", None]},
    "all are fine": {"high": [1.0, 2.0], "low": [0.0, 0.0], "count": [1, 2], "name": ["a", "b"]},
    "integers with nulls": {"high": [1.0, 2.0], "low": [0.0, 9.0], "count": [np.nan, 0.0], "name": ["b", "!"]},
    "nothing but nulls": {"high": [np.nan], "low": [np.nan], "count": [np.nan], "name": [None]},
    "no rows": {"high": [], "low": [], "count": [], "name": []},
}


def groups():
    found = {}
    for item in SUITE.row_items:
        found.setdefault(item.read_columns, []).append(item)
    return found.items()


@pytest.mark.parametrize("described", FRAMES, ids=lambda name: name)
def test_outcomes_are_those_of_great_expectations_whatever_came_before(described):
    for before in (*FRAMES, described):
        frame = pd.DataFrame(FRAMES[before])
        for columns, items in groups():
            part = frame[list(columns)]
            plain = engine.evaluate(engine.on_frame(part), SUITE, items, rows._FORMAT)
            assert prepared.evaluate(part, SUITE, items, rows._FORMAT) == plain


def test_a_group_is_prepared_once_for_columns_of_the_same_types(monkeypatch):
    monkeypatch.setattr(prepared, "_groups", {})
    [item] = [item for item in SUITE.row_items if item.columns == ("count",) and "between" in item.type]
    for counts in ([1, 2], [0, 7], [1.5, np.nan], [3, 4]):
        prepared.evaluate(pd.DataFrame({"count": counts}), SUITE, [item], rows._FORMAT)
    assert len(prepared._groups) == 2


def test_what_raises_is_told_in_the_words_of_great_expectations(monkeypatch):
    monkeypatch.setattr(prepared, "_groups", {})
    items = [item for item in SUITE.row_items if item.columns == ("high",)]
    told = []
    for values in ([1.0, 2.0], [{"a": 1}, 2.0]):
        part = pd.DataFrame({"high": pd.Series(values, dtype=object)})
        found = prepared.evaluate(part, SUITE, items, rows._FORMAT)
        assert found == engine.evaluate(engine.on_frame(part), SUITE, items, rows._FORMAT)
        told.append([bool(outcome.error) for outcome in found.values()])
    assert not any(told[0])
    assert any(told[1])


def test_no_chunk_is_kept():
    frame = pd.DataFrame(FRAMES["some fail"])[["name"]]
    items = [item for item in SUITE.row_items if item.columns == ("name",)]
    prepared.evaluate(frame, SUITE, items, rows._FORMAT)
    kept = weakref.ref(frame)
    del frame
    gc.collect()
    assert kept() is None
