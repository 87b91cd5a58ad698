"""Runs are compared with earlier ones of their own kind; what is usual among them is no drift."""

import datetime as dt
import json
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import simulation, sources
from chalicelib.anomalies import drift, statistics
from chalicelib.anomalies.drift_declaration import Drift, Limit
from chalicelib.anomalies.statistics import Statistics
from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.errors import SuiteError
from chalicelib.quality import suite as suites
from chalicelib.sources.base import Source
from chalicelib.sources.files import Files, FileSource
from chalicelib.warehouse import connection, ledger, tables

COLUMNS = (
    Column("id", "integer", nullable=False),
    Column("day", "date"),
    Column("celsius", "double precision"),
    Column("note", "text"),
)
ROWS = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def suite(declared=None, **meta):
    ours = {"sluice": {"drift": declared}} if declared is not None else {}
    text = json.dumps({"name": "x", "expectations": [ROWS], "meta": {**ours, **meta}})
    return suites.parse(text, "expectations/x.json", COLUMNS, ("id",))


def run(rows=100, nulls=0, mean=20.0, deviation=2.0, newest=None, scope="whole", extent=1.0) -> Statistics:
    newest = NOON.timestamp() if newest is None else newest
    columns = {
        "celsius": {"nulls": nulls, "mean": mean, "deviation": deviation},
        "day": {"nulls": 0, "newest": newest},
    }
    return Statistics(scope, extent, rows, columns)


def judged(limit: Limit, found: Statistics, earlier, runs=20, minimum=3) -> list[tuple[str, str]]:
    """(level, text) of what was found."""
    observed = drift.judge(Drift((limit,), runs, minimum), found, earlier, NOON)
    return [(finding.level, finding.text) for one in observed for finding in one.findings]


# --- the declaration -----------------------------------------------------------------------------


def test_a_suite_without_drift_measures_nothing():
    assert suite().drift is None


def test_what_a_suite_leaves_out_has_a_default():
    found = suite({"row_count": {}, "null_rate": {}, "mean": {}}).drift
    assert (found.runs, found.minimum_runs) == (20, 5)
    assert [(limit.kind, limit.severity, limit.columns) for limit in found.limits] == [
        ("row_count", "warning", ()),
        ("null_rate", "warning", ("day", "celsius", "note")),
        ("mean", "warning", ("id", "celsius")),
    ]


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ([], "meta.sluice.drift is list, expected an object"),
        ({}, "nothing is judged"),
        ({"row_counts": {}}, "has no 'row_counts'; did you mean row_count?"),
        ({"row_count": {"tolerence": 1}}, "has no 'tolerence'; did you mean tolerance?"),
        ({"row_count": {"severity": "high"}}, "row_count.severity is 'high', use one of critical, warning, info"),
        ({"row_count": {"tolerance": "half"}}, "row_count.tolerance is 'half'"),
        ({"row_count": 1}, "meta.sluice.drift.row_count is int, expected an object"),
        ({"null_rate": {"columns": ["celcius"]}}, "the table has no column 'celcius'; did you mean celsius?"),
        ({"null_rate": {"columns": ["id"]}}, "id is not a column that may be null"),
        ({"mean": {"columns": ["note"]}}, "note is not a column that holds numbers"),
        ({"mean": {"columns": []}}, "expected an array of columns"),
        ({"freshness": {"max_age": "2d"}}, "name the column whose newest value"),
        ({"freshness": {"column": "celsius", "max_age": "2d"}}, "celsius is not a column that holds dates or times"),
        ({"freshness": {"column": "day", "max_age": "2 days"}}, "max_age is '2 days'"),
        ({"row_count": {}, "runs": 0}, "runs is 0, expected a whole number"),
        ({"row_count": {}, "runs": 4, "minimum_runs": 9}, "minimum_runs 9 is above runs 4"),
    ],
)
def test_every_fault_is_an_error(declared, said):
    with pytest.raises(SuiteError) as refused:
        suite(declared)
    assert said in str(refused.value)


def test_drift_in_the_wrong_place_is_an_error_and_not_passed_over():
    with pytest.raises(SuiteError) as refused:
        suite(None, drift={"row_count": {}})
    assert "meta.drift is not read: put it into meta.sluice" in str(refused.value)


# --- the judgement -------------------------------------------------------------------------------

COUNT = Limit("row_count", "warning", tolerance=0.4)


def test_fewer_and_more_rows_than_tolerated_are_drift_and_the_tolerance_itself_is_none():
    earlier = [run(100)] * 5
    assert judged(COUNT, run(60), earlier) == judged(COUNT, run(140), earlier) == []
    assert judged(COUNT, run(59), earlier) == [("warn", "row count: 59 rows, 60 to 140 expected after 5 earlier runs")]
    assert judged(COUNT, run(141), earlier)[0][0] == "warn"


def test_severity_decides_what_drift_does_to_the_run():
    for severity, level in (("critical", "fail"), ("warning", "warn"), ("info", "note")):
        assert judged(Limit("row_count", severity), run(10), [run(100)] * 5)[0][0] == level


def test_a_source_whose_runs_differ_widely_may_differ_widely():
    earlier = [run(rows) for rows in (100, 10, 190, 60, 140, 30, 170)]
    assert judged(COUNT, run(20), earlier) == []
    assert judged(COUNT, run(900), earlier)[0][0] == "warn"


def test_one_odd_run_among_the_earlier_ones_changes_nothing():
    earlier = [*[run(100)] * 5, run(100_000)]
    assert judged(COUNT, run(50), earlier)[0][1] == "row count: 50 rows, 60 to 140 expected after 6 earlier runs"


def test_rows_are_compared_by_the_day():
    earlier = [run(600, scope="cursor", extent=6.0)] * 5
    assert judged(COUNT, run(1000, scope="cursor", extent=10.0), earlier) == []
    [(_, text)] = judged(COUNT, run(500, scope="cursor", extent=10.0), earlier)
    assert text == "row count: 500 rows for 10 days, 600 to 1,400 expected after 5 earlier runs"


def test_below_the_minimum_of_runs_nothing_is_judged_and_that_is_said():
    assert judged(COUNT, run(1), [run(100)] * 2) == []
    [observed] = drift.judge(Drift((COUNT,), 20, 3), run(1), [run(100)] * 2, NOON)
    assert observed.result.success and observed.result.observed == "not judged: 2 of 3 runs to compare with"


def test_more_nulls_are_drift_and_fewer_are_none():
    limit = Limit("null_rate", "warning", ("celsius",), 0.05)
    earlier = [run(nulls=20)] * 5
    assert judged(limit, run(nulls=0), earlier) == judged(limit, run(nulls=25), earlier) == []
    assert judged(limit, run(nulls=26), earlier) == [
        ("warn", "null rate of celsius: 26% null, at most 25% expected after 5 earlier runs")
    ]


def test_a_mean_may_move_within_the_columns_own_deviation():
    limit = Limit("mean", "warning", ("celsius",), 1.0)
    earlier = [run(mean=20.0, deviation=2.0)] * 5
    assert judged(limit, run(mean=21.9), earlier) == []
    assert judged(limit, run(mean=22.1), earlier) == [
        ("warn", "mean of celsius: mean 22.1, 18 to 22 expected after 5 earlier runs")
    ]


@given(
    st.lists(st.integers(-50, 50), min_size=5, max_size=9),
    st.integers(-90, 90),
    st.sampled_from([0.25, 4.0, 256.0]),
    st.sampled_from([-1000.0, 0.0, 8192.0]),
)
def test_the_unit_of_a_column_does_not_matter_to_its_mean(means, now, scale, shift):
    limit = Limit("mean", "warning", ("celsius",), 1.0)

    def found(scale, shift):
        history = [run(mean=mean * scale + shift, deviation=8 * scale) for mean in means]
        return len(judged(limit, run(mean=(now + 0.5) * scale + shift), history))

    assert found(1.0, 0.0) == found(scale, shift)


def test_a_run_without_values_is_not_judged_by_them():
    earlier = [run()] * 5
    empty = Statistics("whole", 1.0, 0, {"celsius": {"nulls": 0, "mean": None, "deviation": None}})
    for kind in ("null_rate", "mean"):
        assert judged(Limit(kind, "warning", ("celsius",), 0.1), empty, earlier) == []


def test_of_days_or_files_picked_by_hand_only_the_rows_are_compared():
    limits = (Limit("mean", "warning", ("celsius",), 1.0), Limit("null_rate", "warning", ("celsius",), 0.1), COUNT)
    fresh = Limit("freshness", "warning", ("day",), max_age=dt.timedelta(days=2))
    for scope, expected in (("window", 1), ("window Oslo", 1), ("input", 1), ("cursor", 3), ("inbox", 3), ("whole", 3)):
        earlier = [run(scope=scope)] * 5
        odd = run(rows=10, nulls=5, mean=90.0, scope=scope)
        assert sum(len(judged(limit, odd, earlier)) for limit in limits) == expected, scope
        old = run(newest=0.0, scope=scope)
        assert len(judged(fresh, old, earlier)) == (scope != "input")


def test_old_data_are_told_from_the_first_run_on():
    limit = Limit("freshness", "critical", ("day",), max_age=dt.timedelta(days=2))
    assert judged(limit, run(newest=NOON.timestamp() - 2 * 86_400), []) == []
    assert judged(limit, run(newest=NOON.timestamp() - 5 * 86_400), []) == [
        ("fail", "freshness of day: the newest value is 5 days old, at most 2 days expected")
    ]
    empty = Statistics("whole", 1.0, 0, {"day": {"nulls": 0, "newest": None}})
    assert judged(limit, empty, [])[0][0] == "fail"


# --- what is compared with what ------------------------------------------------------------------


class Windowed(Source):
    name = "windowed"
    key = ("id",)
    columns = COLUMNS
    first_day = dt.date(2026, 1, 1)


class Landing(FileSource):
    name = "landing"
    key = ("id",)
    columns = COLUMNS


def asked(source, given=None, days=0, by_cursor=False, objects=1):
    end = dt.date(2026, 1, days) if days else None
    row = {
        "input": {"source": source.name, **(given or {})},
        "window_start": end and dt.date(2026, 1, 1),
        "window_end": end,
        "by_cursor": by_cursor,
    }
    return statistics.asked(source, row, objects, "bucket")


def test_runs_by_cursor_backfills_and_parts_of_a_source_are_each_their_own_kind():
    window = {"from": "2026-01-01", "to": "2026-01-10"}
    assert asked(Windowed(), days=6, by_cursor=True) == ("cursor", 6.0)
    assert asked(Windowed(), window, days=10) == ("window", 10.0)
    assert asked(Windowed(), window, days=10, by_cursor=True) == ("window", 10.0)  # a backfill that moves the cursor
    assert asked(Windowed(), {"input": "Oslo"}, days=6) == ("window Oslo", 6.0)


def test_files_from_the_inbox_by_hand_and_of_a_declaration_are_each_their_own_kind():
    assert asked(Landing(), {"input": "s3://bucket/inbox/landing/a.ndjson"}) == ("inbox", 1.0)
    assert asked(Landing(), {"input": "/tmp/*.ndjson"}, objects=40) == ("input", 40.0)
    assert asked(Landing()) == ("whole", 1.0)
    assert asked(Files(), {"input": "a.toml"}, objects=40) == ("whole", 1.0)


@pytest.fixture
def entered(database_url):
    """entered(run_id, scope, extent, published) records a run's numbers."""
    source = Windowed()
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        cursor.execute("TRUNCATE pipeline.runs CASCADE")

    def enter(run_id, scope="cursor", extent=6.0, published=True):
        with connection.transaction(database_url) as conn, conn.cursor() as cursor:
            ledger.open_run(cursor, source, run_id, "arn", {}, Window(), "2026-03-01")
            statistics.record(cursor, source, run_id, Statistics(scope, extent, 10, {}))
            if published:
                cursor.execute(
                    "UPDATE pipeline.runs SET published_at = clock_timestamp(), fetched = 0, inserted = 0, updated = 0,"
                    " unchanged = 0, duplicates = 0, quarantined = 0 WHERE run_id = %s",
                    (run_id,),
                )

    return enter


def test_only_published_runs_of_the_same_kind_and_a_like_extent_count(database_url, entered):
    for run_id, values in {
        "short": {"extent": 3.0},
        "long": {"extent": 12.0},
        "too-short": {"extent": 2.9},
        "catching-up": {"extent": 366.0},
        "backfill": {"scope": "window"},
        "part": {"scope": "window Oslo"},
        "rejected": {"published": False},
        "this": {},
    }.items():
        entered(run_id, **values)
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        this = Statistics("cursor", 6.0, 10, {})
        found = statistics.earlier(cursor, Windowed(), "this", this, 20)
        assert [one.extent for one in found] == [12.0, 3.0]
        assert [one.extent for one in statistics.earlier(cursor, Windowed(), "this", this, 1)] == [12.0]


def test_a_run_is_measured_from_its_staging_table(database_url):
    source = Windowed()
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        cursor.execute("TRUNCATE pipeline.runs CASCADE")
        tables.ensure_curated(cursor, source)
        tables.create_staging(cursor, source, "measured")
        staging = tables.staging(source.table, "measured").as_string(cursor)
        cursor.execute(
            f"INSERT INTO {staging} (id, day, celsius, note) VALUES"
            " (1, '2026-01-01', 1, 'x'), (2, '2026-01-03', 3, NULL), (3, NULL, NULL, NULL), (4, NULL, 1e300, 'y')"
        )
        row = {"input": {"source": "windowed"}, "window_start": None, "window_end": None, "by_cursor": False}
        found = statistics.measure(cursor, source, "measured", row, "bucket")
        tables.drop_staging(cursor, source.table, "measured")
    assert (found.scope, found.extent, found.rows) == ("whole", 1.0, 4)
    assert found.columns["celsius"] == {"nulls": 1.0, "mean": 2.0, "deviation": 1.0}
    assert found.columns["day"] == {"nulls": 2.0, "newest": dt.datetime(2026, 1, 3, tzinfo=dt.UTC).timestamp()}
    assert found.columns["note"] == {"nulls": 2.0}


def test_the_age_of_data_is_counted_to_the_end_of_the_window():
    row = {"window_end": dt.date(2020, 12, 31), "started_at": NOON}
    assert statistics.reference(row) == dt.datetime(2021, 1, 1, tzinfo=dt.UTC)
    assert statistics.reference({"window_end": None, "started_at": NOON}) == NOON


def test_the_simulated_sensors_drift_when_half_of_them_are_gone_and_not_by_the_time_of_day():
    source = sources.get("sensors")
    declared = suites.load(source).drift
    start, earlier = dt.datetime(2026, 3, 1, tzinfo=dt.UTC), []

    def arrived(number: int, missing=()) -> Statistics:
        rows = simulation.readings(start + dt.timedelta(minutes=5 * number), 5)
        rows = [row for row in rows if row["sensor"] not in missing]
        columns = {
            name: {"nulls": 0, "mean": fmean(row[name] for row in rows), "deviation": pstdev(row[name] for row in rows)}
            for name in ("temperature", "humidity", "pressure", "battery")
        }
        newest = max(dt.datetime.fromisoformat(row["measured_at"]).timestamp() for row in rows)
        return Statistics("inbox", 1.0, len(rows), {**columns, "measured_at": {"nulls": 0, "newest": newest}})

    def findings(found: Statistics, number: int) -> list[str]:
        reference = start + dt.timedelta(minutes=5 * number + 6)
        observed = drift.judge(declared, found, earlier[::-1][: declared.runs], reference)
        return [finding.text for one in observed for finding in one.findings]

    for number in range(declared.minimum_runs + 144):  # a day and a half
        found = arrived(number)
        assert findings(found, number) == []
        earlier.append(found)
    [text] = findings(arrived(number + 1, missing=simulation.SENSORS[:6]), number + 1)
    assert text.startswith("row count: ")
