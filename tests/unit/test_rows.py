"""Row-wise expectations on a chunk: exactly the rows that fail, with every reason."""

import json

import numpy as np
import pandas as pd
import pytest

from chalicelib.columns import Column
from chalicelib.errors import GateError
from chalicelib.quality import engine, rows
from chalicelib.quality import suite as suites

COLUMNS = (
    Column("id", "integer", nullable=False),
    Column("low", "double precision"),
    Column("high", "double precision"),
    Column("count", "integer"),
    Column("name", "text"),
    Column("day", "date"),
    Column("seen", "timestamp"),
    Column("sent", "timestamptz"),
    Column("valid", "boolean"),
    Column("extra", "jsonb"),
)


def suite_of(*items):
    text = json.dumps({"name": "things", "expectations": list(items)})
    return suites.parse(text, "expectations/things.json", COLUMNS, ("id",))


def expect(kind, severity="critical", **kwargs):
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity}


def messages(check):
    return {position: [reason.message for reason in reasons] for position, reasons in check.failing.items()}


def test_a_row_carries_all_its_reasons_and_a_clean_row_none():
    suite = suite_of(
        expect("column_values_to_be_between", column="high", min_value=-90, max_value=60),
        expect(
            "column_pair_values_a_to_be_greater_than_b",
            column_A="high",
            column_B="low",
            or_equal=True,
            ignore_row_if="either_value_is_missing",
        ),
        expect("column_values_to_not_be_null", column="name"),
    )
    frame = pd.DataFrame(
        {"low": [1.0, 2.0, 100.0, np.nan], "high": [5.0, 99.0, 99.0, 3.0], "name": ["a", "b", None, "d"]}
    )
    assert messages(rows.check(frame, suite)) == {
        1: ["high is 99, expected between -90 and 60"],
        2: [
            "high is 99, expected between -90 and 60",
            "high is 99 and low is 100, expected high at or above low",
            "name is null, expected not null",
        ],
    }


def test_severity_decides_about_rows():
    for severity, failing in (("critical", {1}), ("warning", set()), ("info", set())):
        suite = suite_of(expect("column_values_to_not_be_null", severity, column="name"))
        check = rows.check(pd.DataFrame({"name": ["a", None]}), suite)
        assert set(check.failing) == failing
        assert (check.counts[0].evaluated, check.counts[0].unexpected) == (2, 1)


def test_mostly_plays_no_part_in_a_chunk():
    suite = suite_of(expect("column_values_to_be_between", column="low", min_value=0, mostly=0.1))
    check = rows.check(pd.DataFrame({"low": [1.0, -1.0, 2.0]}), suite)
    assert set(check.failing) == {1}
    assert check.counts[0].unexpected == 1


def test_counts_tell_evaluated_rows_nulls_and_examples():
    suite = suite_of(expect("column_values_to_be_between", column="count", max_value=3))
    check = rows.check(pd.DataFrame({"count": [1, None, 7, 8, 9, 10]}), suite)
    count = check.counts[0]
    assert (count.id, count.evaluated, count.unexpected, count.nulls) == (suite.items[0].id, 5, 4, 1)
    assert [(example.position, example.value) for example in count.examples] == [(2, "7"), (3, "8"), (4, "9")]


def test_counts_come_in_the_order_of_the_suite():
    suite = suite_of(
        expect("column_values_to_not_be_null", column="name"),
        expect("column_values_to_not_be_null", column="id"),
        expect("column_value_lengths_to_be_between", column="name", max_value=3),
    )
    check = rows.check(pd.DataFrame({"id": [1], "name": ["abcd"]}), suite)
    assert [count.id for count in check.counts] == [item.id for item in suite.items]


EVERY_KIND = [
    (expect("column_values_to_be_between", column="day", min_value="2020-01-01", max_value="2020-12-31"), [1]),
    (expect("column_values_to_be_between", column="day", min_value="2020-01-01", strict_min=True), [0, 1]),
    (expect("column_values_to_be_between", column="seen", min_value="2020-01-01"), [1]),
    (expect("column_values_to_be_between", column="sent", min_value="2020-01-01T02:00:00+02:00"), [1]),
    (expect("column_values_to_be_in_set", column="day", value_set=["2020-01-01"]), [1]),
    (expect("column_values_to_be_in_set", column="count", value_set=[1]), [1]),
    (expect("column_values_to_be_in_set", column="valid", value_set=[True]), [1]),
    (expect("column_values_to_not_be_in_set", column="name", value_set=["zz"]), [1]),
    (expect("column_values_to_match_regex", column="name", regex="^a"), [1]),
    (expect("column_values_to_not_match_regex", column="name", regex="z"), [1]),
    (expect("column_values_to_match_regex_list", column="name", regex_list=["^a", "b$"]), [1]),
    (expect("column_values_to_not_match_regex_list", column="name", regex_list=["z"]), [1]),
    (expect("column_value_lengths_to_equal", column="name", value=1), [1]),
    (expect("column_values_to_match_strftime_format", column="day", strftime_format="%Y-%m-01"), [1]),
    (expect("column_values_to_be_dateutil_parseable", column="name"), [0, 1]),
    (expect("column_values_to_be_json_parseable", column="name"), [0, 1]),
    (expect("column_values_to_match_json_schema", column="extra", json_schema={"type": "object"}), [1]),
    (expect("column_values_to_be_null", column="name"), [0, 1]),
    (expect("column_pair_values_to_be_equal", column_A="low", column_B="high"), [1]),
    (expect("column_pair_values_to_be_in_set", column_A="id", column_B="name", value_pairs_set=[[1, "a"]]), [1, 2]),
    (expect("multicolumn_sum_to_equal", column_list=["low", "high"], sum_total=2), [1]),
    (expect("multicolumn_values_to_be_equal", column_list=["low", "high"]), [1]),
    (expect("select_column_values_to_be_unique_within_record", column_list=["low", "high"]), [0]),
]
FRAME = pd.DataFrame(
    {
        "id": [1, 2, 3],
        "low": [1.0, 5.0, np.nan],
        "high": [1.0, 6.0, np.nan],
        "count": [1.0, 2.0, np.nan],
        "name": ["a", "zz", None],
        "day": ["2020-01-01", "0001-12-31", None],
        "seen": ["2020-01-01 00:00:00", "2019-12-31 23:59:59.5", None],
        "sent": ["2020-01-01 00:00:00+00", "2019-12-31 23:59:59+00", None],
        "valid": [True, False, None],
        "extra": ["{}", "[]", None],
    }
)


@pytest.mark.parametrize(("item", "failing"), EVERY_KIND, ids=[item["type"] for item, _ in EVERY_KIND])
def test_every_kind_names_the_rows_that_fail(item, failing):
    suite = suite_of(item)
    check = rows.check(FRAME[list(suite.row_columns)], suite)
    assert sorted(check.failing) == failing
    for reasons in check.failing.values():
        assert reasons[0].expectation == suite.items[0].id
        assert "expected" in reasons[0].message and reasons[0].column


@pytest.mark.parametrize("emptied", ["no rows", "all None", "all NaN"])
def test_a_chunk_with_nothing_to_judge_passes(emptied):
    items = [item for item, _ in EVERY_KIND if "pair" not in item["type"] and "multi" not in item["type"]]
    suite = suite_of(*items)
    frame = FRAME[list(suite.row_columns)]
    if emptied == "no rows":
        frame = frame[:0]
    else:
        empty = None if emptied == "all None" else np.nan
        frame = pd.DataFrame({name: [empty] * 3 for name in frame})
    check = rows.check(frame, suite)
    assert check.failing == {}
    assert all(count.unexpected == 0 for count in check.counts)


def test_a_row_condition_leaves_other_rows_alone():
    condition = {"type": "comparison", "column": {"name": "name"}, "operator": "==", "parameter": "a"}
    suite = suite_of(expect("column_values_to_not_be_null", column="count", row_condition=condition))
    frame = pd.DataFrame({"count": [None, None, 1.0], "name": ["a", "b", "a"]})
    check = rows.check(frame, suite)
    assert messages(check) == {0: ["count is null, expected not null where name == 'a'"]}
    assert check.counts[0].evaluated == 2


def test_positions_are_right_in_a_large_chunk_where_most_rows_fail():
    rows_in_chunk = 5_000
    values = np.where(np.arange(rows_in_chunk) % 3 == 0, -1.0, 1.0)
    suite = suite_of(expect("column_values_to_be_between", column="low", min_value=0))
    check = rows.check(pd.DataFrame({"low": values}), suite)
    assert sorted(check.failing) == list(range(0, rows_in_chunk, 3))
    assert len(check.counts[0].examples) == 3


def test_a_long_value_is_shortened_in_its_reason():
    suite = suite_of(expect("column_value_lengths_to_be_between", column="name", max_value=3))
    check = rows.check(pd.DataFrame({"name": ["x" * 10_000]}), suite)
    assert len(check.failing[0][0].message) < 300


def test_an_expectation_that_cannot_be_evaluated_is_no_verdict():
    suite = suite_of(expect("column_values_to_be_between", column="day", min_value="2020-01-01"))
    with pytest.raises(GateError) as error:
        rows.check(pd.DataFrame({"day": ["yesterday"]}), suite)
    told = str(error.value)
    assert "expectations/things.json" in told and "expectations[0]" in told and "'yesterday'" in told


def test_a_chunk_without_a_judged_column_is_an_error():
    with pytest.raises(GateError, match="has no column name"):
        rows.check(pd.DataFrame({"id": [1]}), suite_of(expect("column_values_to_not_be_null", column="name")))


def test_both_shapes_of_an_exception_are_read():
    flat = {"raised_exception": True, "exception_message": "flat\ntrace", "exception_traceback": ""}
    keyed = {"('column_values.x', 'y')": {"raised_exception": True, "exception_message": "keyed"}}
    assert engine._error(flat) == "flat"
    assert engine._error(keyed) == "keyed"
    assert engine._error({"raised_exception": False, "exception_message": None}) is None


def test_examples_can_be_told_where_they_came_from():
    suite = suite_of(expect("column_values_to_not_be_null", column="name"))
    counts = rows.check(pd.DataFrame({"name": ["a", None, None]}), suite).counts
    (count,) = rows.located(counts, lambda positions: [("raw/part-0.csv", position + 2) for position in positions])
    assert [(example.raw, example.line) for example in count.examples] == [("raw/part-0.csv", 3), ("raw/part-0.csv", 4)]
    assert rows.located((), lambda positions: []) == ()
