"""What the counts of a run mean: pass, warn or fail, and the reasons, worst first."""

import json

import pytest

from chalicelib.columns import Column
from chalicelib.errors import GateError
from chalicelib.quality import results, verdict
from chalicelib.quality import suite as suites
from chalicelib.quality.rows import Example, ItemCount
from chalicelib.quality.verdict import RejectionCount

COLUMNS = (Column("id", "integer"), Column("price", "double precision"))


def suite_of(*items, warn=1.0, fail=1.0):
    meta = {"sluice": {"quarantine": {"warn": warn, "fail": fail}}}
    text = json.dumps({"name": "things", "expectations": list(items), "meta": meta})
    return suites.parse(text, "expectations/things.json", COLUMNS, ("id",))


def price(severity="critical", **more):
    kwargs = {"column": "price", "min_value": 0, **more}
    return {"type": "expect_column_values_to_be_between", "kwargs": kwargs, "severity": severity}


def row_count(severity="critical"):
    return {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}, "severity": severity}


def counts(suite, *unexpected, evaluated=1000, examples=()):
    items = zip(suite.row_items, unexpected, strict=True)
    return [ItemCount(item.id, evaluated, count, 0, examples) for item, count in items]


def judge(suite, unexpected=0, kept=True, fetched=1000, quarantined=0, rejections=()):
    chunk = counts(suite, *[unexpected] * len(suite.row_items))
    answers = [results.of(item, kept, "row count: 0 (expected at least 1)") for item in suite.dataset_items]
    return verdict.judge(suite, [chunk], answers, fetched, quarantined, rejections)


@pytest.mark.parametrize(
    ("item", "unexpected", "expected"),
    [
        (price(), 0, "pass"),
        (price(), 500, "pass"),  # the rows are in quarantine; only the tolerance could object
        (price(mostly=0.9), 100, "pass"),
        (price(mostly=0.9), 101, "fail"),
        (price(mostly=1.0), 1, "fail"),
        (price("warning"), 0, "pass"),
        (price("warning"), 1, "warn"),
        (price("warning", mostly=0.9), 100, "pass"),
        (price("warning", mostly=0.9), 101, "warn"),
        (price("info"), 1000, "pass"),
        (price("info", mostly=0.9), 1000, "pass"),
    ],
)
def test_severity_and_mostly_decide_about_the_run(item, unexpected, expected):
    assert judge(suite_of(item), unexpected).verdict == expected


@pytest.mark.parametrize(
    ("severity", "kept", "expected"),
    [
        ("critical", True, "pass"),
        ("critical", False, "fail"),
        ("warning", False, "warn"),
        ("info", False, "pass"),
    ],
)
def test_dataset_wide_expectations_decide_by_severity(severity, kept, expected):
    assert judge(suite_of(row_count(severity)), kept=kept).verdict == expected


@pytest.mark.parametrize(
    ("quarantined", "expected"), [(0, "pass"), (10, "pass"), (11, "warn"), (50, "warn"), (51, "fail")]
)
def test_quarantine_is_tolerated_up_to_the_limits_of_the_suite(quarantined, expected):
    suite = suite_of(price(), warn=0.01, fail=0.05)
    assert judge(suite, quarantined, quarantined=quarantined).verdict == expected


def test_any_quarantined_row_warns_by_default():
    suite = suite_of(price(), warn=0.0, fail=0.05)
    found = judge(suite, 1, quarantined=1)
    assert found.verdict == "warn"
    assert "tolerates 0% before a run warns" in found.findings[0].text


def test_chunks_are_summed_before_they_are_judged():
    suite = suite_of(price(mostly=0.9))
    bad, good = counts(suite, 150), counts(suite, 0)
    assert verdict.judge(suite, [bad], [], 1000, 150).verdict == "fail"
    judged = verdict.judge(suite, [bad, good], [], 2000, 150)
    assert judged.verdict == "pass"
    assert (judged.results[0].evaluated, judged.results[0].unexpected) == (2000, 150)


def test_of_events_each_is_judged_by_itself_and_no_share_of_them_fails_a_run():
    suite = suite_of(price(mostly=0.9), row_count(), warn=0.0, fail=0.05)
    assert judge(suite, 101).verdict == judge(suite, 0, quarantined=100).verdict == "fail"
    events = suite.of_events()
    for quarantined in (1, 999, 1000):
        assert judge(events, 101, quarantined=quarantined).verdict == "warn"
    assert judge(events, 0, kept=False).verdict == "fail"  # what is said of all rows together stays
    assert [item.id for item in events.items] == [item.id for item in suite.items]
    lenient = suite_of(price(), warn=0.5, fail=0.5).of_events()
    assert judge(lenient, 0, quarantined=500).verdict == "pass"


def test_a_run_without_rows_is_judged():
    assert verdict.judge(suite_of(price()), [], [], 0, 0).verdict == "pass"


def test_findings_are_worst_first_and_say_what_and_how_many():
    suite = suite_of(price("warning"), price(strict_min=True), row_count(), warn=0.0, fail=0.5)
    chunk = counts(suite, 40, 7, examples=(Example("-1", 3, "raw/part-0.csv", 12),))
    answer = [results.of(suite.items[2], False, "row count: 0 (expected at least 1)")]
    judged = verdict.judge(suite, [chunk], answer, 1000, 9, [RejectionCount("id is null", 2)])
    assert [(finding.level, finding.kind, finding.count) for finding in judged.findings] == [
        ("fail", "expectation", None),
        ("warn", "tolerance", 9),
        ("warn", "expectation", 40),
        ("warn", "expectation", 7),
        ("warn", "rejection", 2),
    ]
    texts = [finding.text for finding in judged.findings]
    assert texts[2] == "40 of 1,000 rows: price, expected at least 0"
    assert texts[3] == "7 of 1,000 rows quarantined: price, expected above 0"
    assert texts[4] == "2 of 1,000 rows quarantined: id is null"
    assert judged.findings[3].examples[0].line == 12
    assert judged.findings[3].share == 0.007


def test_findings_within_tolerance_are_notes():
    judged = judge(suite_of(price(mostly=0.5)), 5, quarantined=5, rejections=[RejectionCount("id is null", 5)])
    assert judged.verdict == "pass"
    assert {finding.level for finding in judged.findings} == {"note"}
    assert "within the 50% that mostly allows" in judged.findings[0].text


def test_every_expectation_has_a_result_in_the_order_of_the_suite():
    suite = suite_of(row_count(), price(), price("info", max_value=5))
    assert [result.id for result in judge(suite).results] == [item.id for item in suite.items]


def test_counts_of_another_suite_are_refused():
    suite = suite_of(price())
    with pytest.raises(GateError, match="the suite changed while the run was under way"):
        verdict.judge(suite, [[ItemCount("other", 1, 0)]], [], 1, 0)
    with pytest.raises(GateError, match="are not those of"):
        verdict.judge(suite_of(row_count()), [], [], 1, 0)


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (0.00001, "under 0.01%"), (0.0052, "0.52%"), (0.1234, "12%"), (1, "100%")]
)
def test_shares_are_readable(share, text):
    assert verdict.percent(share) == text
