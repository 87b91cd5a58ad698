"""Rows unlike the history of their series are marked, by that history alone, whenever and in whatever order it came."""

import datetime as dt
import io
import math
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import sql

from chalicelib.anomalies import Anomaly, outliers
from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.conversion import encode
from chalicelib.errors import DeclarationError
from chalicelib.sources import declaration
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, copy_text, indexes, ledger, publishing, tables

DAY = dt.date(2026, 3, 1)
COLUMNS = (
    Column("sensor", "text"),
    Column("at", "timestamptz"),
    Column("celsius", "double precision"),
    Column("count", "integer"),
)
NOISE = (0.3, -0.4, 0.1, 0.0, -0.2, 0.5, -0.1, 0.2, -0.5, 0.4)


class Probes(Source):
    name = "probes"
    key = ("sensor", "at")
    columns = COLUMNS


def probes(**anomaly):
    source = Probes()
    declared = {"column": "celsius", "by": ("sensor",), "time": "at", "minimum": 10, **anomaly}
    source.anomalies = (Anomaly(**declared),)
    source.check()
    return source


def at(day: int, hour: int = 12, minute: int = 0) -> str:
    return f"{DAY + dt.timedelta(days=day)}T{hour:02}:{minute:02}:00Z"


def row(day: int, value: float | None, sensor: str = "a", hour: int = 12, minute: int = 0) -> tuple:
    return (sensor, at(day, hour, minute), value, None)


def days(count: int, first: int = 0, level: float = 20.0, sensor: str = "a") -> list[tuple]:
    """A reading a day around `level`."""
    return [row(first + n, level + NOISE[n % len(NOISE)], sensor) for n in range(count)]


@pytest.fixture(scope="module")
def warehouse(database_url):
    return Warehouse(database_url)


@pytest.fixture(autouse=True)
def empty(warehouse):
    warehouse.clear()


class Warehouse:
    """stage(), mark() and publish() of one run after the other."""

    def __init__(self, url: str):
        self.url, self.runs = url, 0

    def clear(self) -> None:
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS curated.probes")
            cursor.execute("DROP SCHEMA staging CASCADE; CREATE SCHEMA staging")
            cursor.execute("TRUNCATE pipeline.runs, pipeline.cursors CASCADE")

    def stage(self, source: Source, rows: list[tuple], seqs=None) -> str:
        self.runs += 1
        run_id = f"probes-{self.runs}"
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            tables.ensure_curated(cursor, source)
            indexes.ensure(cursor, source)
            ledger.open_run(cursor, source, run_id, "arn", {}, Window(), "2026-05-01")
            ledger.add_raw_objects(cursor, run_id, [(0, f"raw/{run_id}.ndjson", 1, "0")])
            tables.create_staging(cursor, source, run_id)
            columns = [encode(list(v), c)[0] for v, c in zip(zip(*rows, strict=True), source.columns, strict=True)]
            copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
                tables.staging(source.table, run_id), tables.copy_columns(source)
            )
            cursor.copy_expert(copy, io.BytesIO(copy_text.write(columns, seqs or list(range(1, len(rows) + 1)))))
        return run_id

    def mark(self, source: Source, run_id: str) -> list:
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            return outliers.mark(cursor, source, run_id)

    def publish(self, source: Source, rows: list[tuple], seqs=None) -> list:
        """What was observed of the rows, which are in the curated table now."""
        run_id = self.stage(source, rows, seqs)
        observed = self.mark(source, run_id)
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            ledger.publish(cursor, run_id, "pass", publishing.merge(cursor, source, run_id, len(rows), 0))
        return observed

    def query(self, text: str) -> list[tuple]:
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()

    def marks(self) -> dict[tuple[str, str], list[dict]]:
        """(sensor, time) -> marks, of the marked rows of the curated table."""
        found = self.query(
            "SELECT sensor, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), _anomalies"
            " FROM curated.probes WHERE _anomalies IS NOT NULL ORDER BY 1, 2"
        )
        return {(sensor, time): marks for sensor, time, marks in found}


def levels(observed) -> list[tuple[str, int]]:
    return [(finding.level, finding.count) for finding in observed.findings]


# --- what is marked ------------------------------------------------------------------------------


def test_a_spike_is_published_with_what_was_expected_and_how_far_it_is_from_that(warehouse):
    source = probes()
    warehouse.publish(source, days(20))
    [observed] = warehouse.publish(source, [row(20, 20.2), row(20, 45.0, hour=13)])
    assert warehouse.query("SELECT count(*) FROM curated.probes") == [(22,)]
    assert list(warehouse.marks()) == [("a", at(20, 13))]
    [mark] = warehouse.marks()["a", at(20, 13)]
    assert (mark["column"], mark["value"]) == ("celsius", 45.0)
    assert 19.9 < mark["expected"] < 20.1
    assert 17 < mark["low"] < mark["expected"] < mark["high"] < 23
    assert mark["score"] > 40
    assert levels(observed) == [("warn", 1)]
    [example] = observed.findings[0].examples
    assert example.value.startswith("sensor a, 2026-03-21T13:00:00Z: celsius is 45, expected about 20")
    assert (example.raw, example.line) == (f"raw/probes-{warehouse.runs}.ndjson", 2)


def test_a_series_is_judged_by_its_own_history(warehouse):
    source = probes()
    warehouse.publish(source, days(20) + days(20, level=50.0, sensor="b"))
    warehouse.publish(source, [row(20, 20.1), row(20, 50.1, "b"), row(20, 20.1, "b", hour=13)])
    assert list(warehouse.marks()) == [("b", at(20, 13))]


def test_the_most_extreme_examples_come_first(warehouse):
    source = probes()
    warehouse.publish(source, days(20))
    [observed] = warehouse.publish(source, [row(20, 20.0 + 10 * n, hour=n) for n in (1, 5, 3, 4, 2)])
    shown = [example.value.split("celsius is ")[1].split(",")[0] for example in observed.findings[0].examples]
    assert shown == ["70", "60", "50"]


def test_one_side_alone_is_judged_where_the_source_says_so(warehouse):
    for direction, expected in (("above", 13), ("below", 14)):
        warehouse.clear()
        source = probes(direction=direction)
        warehouse.publish(source, days(20))
        warehouse.publish(source, [row(20, 45.0, hour=13), row(20, -5.0, hour=14)])
        [(key, [mark])] = warehouse.marks().items()
        assert key == ("a", at(20, expected))
        assert ("low" in mark, "high" in mark) == (direction == "below", direction == "above")


def test_information_marks_and_changes_no_verdict(warehouse):
    source = probes(severity="info")
    warehouse.publish(source, days(20))
    [observed] = warehouse.publish(source, [row(20, 45.0)])
    assert levels(observed) == [("note", 1)]
    assert len(warehouse.marks()) == 1


def test_a_source_without_anomalies_has_no_column_for_marks_and_nothing_is_asked(warehouse):
    source = Probes()
    warehouse.publish(source, [*days(20), row(20, 1e6)])
    assert warehouse.query(
        "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'curated' AND table_name = 'probes'"
        " AND column_name = '_anomalies'"
    ) == [(0,)]

    class NoCursor:
        def execute(self, *_):
            raise AssertionError("a statement was sent")

    assert outliers.mark(NoCursor(), source, "any") == []


# --- spread --------------------------------------------------------------------------------------


def test_after_values_that_never_varied_any_other_value_is_marked(warehouse):
    source = probes()
    warehouse.publish(source, [row(n, 20.0) for n in range(20)])
    warehouse.publish(source, [row(20, 20.0), row(20, 20.5, hour=13)])
    assert list(warehouse.marks()) == [("a", at(20, 13))]


def test_a_floor_says_what_variation_is_none(warehouse):
    source = probes(floor=0.2)
    warehouse.publish(source, [row(n, 20.0) for n in range(20)])
    warehouse.publish(source, [row(20, 20.5), row(20, 21.5, hour=13)])
    assert list(warehouse.marks()) == [("a", at(20, 13))]


def test_noise_in_the_last_digit_of_a_constant_is_no_outlier(warehouse):
    source = probes()
    warehouse.publish(source, [row(n, 0.1 + 0.2 if n % 2 else 0.3) for n in range(20)])
    warehouse.publish(source, [row(20, 0.30000000000000016)])
    assert warehouse.marks() == {}


def test_a_value_that_is_rare_but_known_is_no_outlier_where_most_values_are_equal(warehouse):
    source = probes(history_days=60)
    warehouse.publish(source, [row(n, 5.0 if n % 8 == 0 else 0.0) for n in range(40)])
    warehouse.publish(source, [row(40, 5.0), row(40, 80.0, hour=13)])
    assert list(warehouse.marks()) == [("a", at(40, 13))]


def test_a_third_of_wild_values_in_the_history_hides_no_outlier(warehouse):
    source = probes(minimum=26)
    wild = [row(n, 1000.0 * (n + 1), hour=6) for n in range(6)]
    warehouse.publish(source, days(20) + wild)
    warehouse.publish(source, [row(20, 20.2), row(20, 45.0, hour=13)])
    assert list(warehouse.marks()) == [("a", at(20, 13))]


def test_values_too_large_to_calculate_with_are_passed_over(warehouse):
    source = probes()
    warehouse.publish(source, [*days(20), row(3, 1e300, hour=1)])
    [observed] = warehouse.publish(source, [row(20, 1e300), row(20, 20.1, hour=13)])
    assert warehouse.marks() == {} and observed.result.evaluated == 1


def test_days_of_many_readings_are_judged_as_all_their_readings_would(warehouse):
    rng = random.Random(4)
    source = probes(minimum=400)
    many = [row(n // 200, rng.gauss(20, 1), hour=n % 24, minute=n // 24 % 9) for n in range(4000)]
    warehouse.publish(source, list({r[1]: r for r in many}.values()))
    warehouse.publish(source, [row(20, 20 + spreads, hour=hour) for hour, spreads in ((1, 5.0), (2, -5.0), (3, 7.0))])
    [((_, time), [mark])] = warehouse.marks().items()
    assert time == at(20, 3)
    assert abs(mark["expected"] - 20) < 0.1 and abs(mark["high"] - 26) < 0.5


# --- history -------------------------------------------------------------------------------------


def test_rows_with_too_little_history_are_not_judged_and_that_is_said(warehouse):
    source = probes()
    [observed] = warehouse.publish(source, [*days(12), row(12, 99.0)])
    # ten days of history are there from the eleventh reading on
    assert observed.result.evaluated == 3
    assert levels(observed) == [("warn", 1), ("note", 10)]
    assert "10 of 13 rows not judged: celsius, fewer than 10 values" in observed.findings[1].text
    assert list(warehouse.marks()) == [("a", at(12))]


def test_history_older_than_declared_is_forgotten(warehouse):
    source = probes(history_days=15)
    warehouse.publish(source, days(20) + days(20, first=20, level=40.0))
    assert [time for _, time in warehouse.marks()][:1] == [at(20)]
    warehouse.publish(source, [row(40, 40.1), row(40, 20.1, hour=13)])
    assert [time for _, time in warehouse.marks() if time >= at(40)] == [at(40, 13)]


def test_a_day_is_not_its_own_history(warehouse):
    source = probes()
    warehouse.publish(source, days(20))
    warehouse.publish(source, [row(20, 45.0, minute=n) for n in range(40)])
    assert len(warehouse.marks()) == 40


def test_a_row_that_came_again_unchanged_is_neither_judged_nor_touched(warehouse):
    source = probes()
    warehouse.publish(source, [*days(20), row(20, 45.0)])
    before = warehouse.query("SELECT ctid, xmin, * FROM curated.probes ORDER BY at")
    # the same again after a history that would let expect it
    [observed] = warehouse.publish(source, [row(20, 45.0)])
    assert (observed.result.evaluated, observed.findings) == (0, ())
    assert warehouse.query("SELECT ctid, xmin, * FROM curated.probes ORDER BY at") == before


def test_a_corrected_reading_loses_its_mark_and_its_old_value_is_no_history(warehouse):
    source = probes()
    wrong = [row(n, 45.0) for n in range(20)]
    warehouse.publish(source, [*wrong, row(20, 45.0, hour=1)])
    assert warehouse.marks() == {}
    warehouse.publish(source, [*days(20), row(20, 45.0, hour=2)])  # all twenty corrected, in the run of the new one
    assert list(warehouse.marks()) == [("a", at(20, 2))]
    warehouse.publish(source, [row(20, 20.1, hour=2)])
    assert warehouse.marks() == {}


def test_of_rows_with_one_key_only_the_one_that_is_published_is_judged(warehouse):
    source = probes()
    warehouse.publish(source, days(20))
    [observed] = warehouse.publish(source, [row(20, 20.1), row(20, 45.0)], seqs=[2, 1])
    assert observed.result.evaluated == 1 and warehouse.marks() == {}


def test_judging_again_gives_the_same_marks(warehouse):
    source = probes()
    warehouse.publish(source, days(20))
    run_id = warehouse.stage(source, [row(20, 45.0)])
    first, again = warehouse.mark(source, run_id), warehouse.mark(source, run_id)
    assert first == again
    staged = sql.SQL("SELECT jsonb_array_length(_anomalies) FROM {}").format(tables.staging("probes", run_id))
    assert warehouse.query(staged) == [(1,)]


# --- seasons -------------------------------------------------------------------------------------


def test_the_hour_of_the_day_is_a_season(warehouse):
    source = probes(season="hour")
    warehouse.publish(source, days(20) + [row(n, 5.0 + NOISE[n % 10], hour=3) for n in range(20)])
    warehouse.publish(source, [row(20, 20.1), row(20, 5.2, hour=3), row(21, 20.1, hour=3), row(21, 5.2)])
    assert [time for _, time in warehouse.marks()] == [at(21, 3), at(21)]


def test_the_day_of_the_week_is_a_season(warehouse):
    source = probes(season="weekday", history_days=100)
    level = {5: 80.0, 6: 80.0}
    history = [row(n, level.get((DAY + dt.timedelta(n)).weekday(), 20.0) + NOISE[n % 10]) for n in range(98)]
    warehouse.publish(source, history)  # DAY is a Sunday
    warehouse.publish(source, [row(98, 80.1), row(99, 20.1), row(100, 80.1), row(105, 20.2)])
    assert [time for _, time in warehouse.marks()] == [at(100), at(105)]


def test_the_year_is_a_season(warehouse):
    source = probes(season="yearly", history_days=1500, minimum=40)

    def level(day):
        return 30.0 if (DAY + dt.timedelta(day)).month in (6, 7, 8, 9) else 5.0

    warehouse.publish(source, [row(n, level(n) + NOISE[n % 10]) for n in range(1460)])
    july, january = 1460 + 136, 1460 + 320
    warehouse.publish(source, [row(july, 30.1), row(july + 1, 5.1), row(january, 5.1), row(january + 1, 30.1)])
    assert [time for _, time in warehouse.marks() if time >= at(july)] == [at(july + 1), at(january + 1)]


# --- stuck values --------------------------------------------------------------------------------


def test_a_value_that_repeats_too_often_is_marked_from_then_on_across_runs(warehouse):
    source = probes(stuck=4, floor=1.0)
    warehouse.publish(source, [*days(20), row(20, 20.3, hour=1), row(20, 20.3, hour=2)])
    [observed] = warehouse.publish(source, [row(20, 20.3, hour=h) for h in (3, 4, 5)] + [row(20, 20.4, hour=6)])
    assert {time: mark["stuck"] for (_, time), [mark] in warehouse.marks().items()} == {at(20, 4): 4, at(20, 5): 5}
    assert levels(observed) == [("warn", 2)]
    assert "celsius is 20.3, 5 times in a row" in observed.findings[0].examples[0].value


@pytest.mark.parametrize("of", ["value", "change"])
def test_stuck_values_are_counted_by_the_readings_themselves(warehouse, of):
    source = probes(stuck=3, minimum=3, floor=100.0, of=of)
    warehouse.publish(source, [row(0, float(n), hour=n) for n in range(6)])  # the same change each time
    warehouse.publish(source, [row(0, 5.0, hour=6), row(0, 5.0, hour=7), row(0, 6.0, hour=8)])
    assert {time: mark["stuck"] for (_, time), [mark] in warehouse.marks().items()} == {at(0, 7): 3}


def test_another_series_does_not_interrupt_or_prolong_a_stuck_one(warehouse):
    source = probes(stuck=3, minimum=3)
    warehouse.publish(source, [row(0, 1.0, sensor, hour=h) for h in (1, 2) for sensor in "ab"] + [row(0, 1.0, hour=3)])
    assert list(warehouse.marks()) == [("a", at(0, 3))]


# --- changes -------------------------------------------------------------------------------------


def slow_weather(count: int) -> list[tuple]:
    """A reading an hour that wanders by some degrees a day, and by tenths from hour to hour."""
    return [row(n // 24, 20 + 8 * math.sin(n / 30) + NOISE[n % 10] / 5, hour=n % 24) for n in range(count)]


def test_a_spike_that_is_small_beside_a_months_weather_is_found_by_its_change(warehouse):
    history = slow_weather(24 * 21)
    wrong = [
        (sensor, when, value + (4.0 if n == 24 * 20 + 5 else 0), None)
        for n, (sensor, when, value, _) in enumerate(history)
    ]
    for of, expected in (("value", []), ("change", [at(20, 5)])):
        warehouse.clear()
        source = probes(of=of)
        warehouse.publish(source, history[: 24 * 20])
        [observed] = warehouse.publish(source, wrong[24 * 20 :])
        # neither the reading after the spike nor those before it
        assert [time for _, time in warehouse.marks()] == expected
    [(_, [mark])] = warehouse.marks().items()
    value = wrong[24 * 20 + 5][2]
    assert mark["of"] == "change" and abs(mark["value"] - value) < 1e-9
    assert abs(mark["expected"] - (value - 4)) < 1 and mark["low"] < mark["expected"] < mark["high"] < value
    assert "change of celsius, expected within 6 spreads" in observed.findings[0].text


def test_the_first_three_readings_of_a_series_have_no_change(warehouse):
    source = probes(of="change", minimum=3)
    [observed] = warehouse.publish(source, [row(n, float(n % 2)) for n in range(10)])
    assert levels(observed) == [("note", 6)]  # three of them, and the three whose history they would be


def test_changes_reach_back_into_what_was_published(warehouse):
    source = probes(of="change")
    history = slow_weather(24 * 21)
    warehouse.publish(source, history[: 24 * 20])
    for sensor, when, value, _ in history[24 * 20 : 24 * 20 + 6]:
        warehouse.publish(source, [(sensor, when, value + 4.0 * (when == at(20, 5)), None)])
    assert [time for _, time in warehouse.marks()] == [at(20, 5)]


def test_a_column_may_be_judged_both_ways_and_twice_in_no_way(warehouse):
    source = probes()
    source.anomalies += (Anomaly("celsius", by=("sensor",), time="at", of="change", minimum=10),)
    source.check()
    warehouse.publish(source, days(20))
    warehouse.publish(source, [row(20, 90.0)])
    assert {mark["of"] for mark in warehouse.marks()["a", at(20)]} == {"value", "change"}
    source.anomalies += (source.anomalies[0],)
    with pytest.raises(DeclarationError, match="anomalies judge the value of celsius twice"):
        source.check()


def test_personal_values_are_in_the_mark_and_in_no_example(warehouse):
    class Homes(Probes):
        columns = (
            Column("sensor", "text", personal=True),
            COLUMNS[1],
            Column("celsius", "double precision", personal=True),
            COLUMNS[3],
        )

    source = Homes()
    source.anomalies = probes().anomalies
    warehouse.publish(source, days(20, sensor="Mrs Miller"))
    [observed] = warehouse.publish(source, [row(20, 71.5, "Mrs Miller")])
    told = repr(observed)
    assert "Mrs Miller" not in told and "71.5" not in told and "spreads away" in told
    assert warehouse.marks()["Mrs Miller", at(20)][0]["value"] == 71.5


# --- properties ----------------------------------------------------------------------------------

VALUES = st.lists(st.integers(-300, 300), min_size=20, max_size=60)
SOME = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


def marked(warehouse, batches, **anomaly) -> set[str]:
    """The times of the marked rows after the batches were published one after the other."""
    warehouse.clear()
    source = probes(threshold=4.0, **anomaly)
    for batch in batches:
        if batch:
            warehouse.publish(source, batch)
    return {time for _, time in warehouse.marks()}


def spread_out(values, scale=1.0, shift=0.0) -> list[tuple]:
    return [row(n // 2, value * scale + shift, hour=n % 2) for n, value in enumerate(values)]


WAYS = st.sampled_from(["value", "change"])


@SOME
@given(VALUES, WAYS, st.sampled_from([0.125, 2.0, 1024.0]), st.sampled_from([0.0, -512.0, 1e5]))
def test_the_unit_of_a_column_does_not_matter(warehouse, values, of, scale, shift):
    plain, converted = spread_out(values), spread_out(values, scale, shift)
    assert marked(warehouse, [plain], of=of) == marked(warehouse, [converted], of=of)


@SOME
@given(VALUES, WAYS, st.integers(5, 55), st.integers(-100000, 100000))
def test_nothing_that_comes_after_a_reading_decides_about_it(warehouse, values, of, cut, wild):
    cut = min(cut, len(values) - 1)
    changed = [*values[:cut], *(wild + value for value in values[cut:])]
    until = {time for _, time, *_ in spread_out(values)[:cut]}
    first, second = (marked(warehouse, [spread_out(v)], of=of) & until for v in (values, changed))
    assert first == second
    assert marked(warehouse, [spread_out(values)[:cut]], of=of) == first


@SOME
@given(VALUES, WAYS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_in_which_order_and_runs_the_history_came_does_not_matter(warehouse, values, of, rng, runs):
    history, new = spread_out(values), [row(40, value, hour=n) for n, value in enumerate((0, 350, -900, 10000))]
    shuffled = rng.sample(history, len(history))
    batches = [shuffled[n::runs] for n in range(runs)]
    at_once, in_pieces = (
        marked(warehouse, [*before, new], of=of, history_days=60) & {time for _, time, *_ in new}
        for before in ([history], batches)
    )
    assert at_once == in_pieces


# --- the table -----------------------------------------------------------------------------------


def test_a_table_gets_its_column_for_marks_when_the_source_first_declares_anomalies_and_keeps_it(warehouse):
    warehouse.publish(Probes(), days(20))
    warehouse.publish(probes(), [row(20, 45.0)])
    assert list(warehouse.marks()) == [("a", at(20))]
    warehouse.publish(Probes(), [row(21, 45.0)])  # no SchemaMismatch
    assert list(warehouse.marks()) == [("a", at(20))]


def test_a_key_that_begins_with_the_series_needs_no_index_and_another_gets_one_once(warehouse):
    def indexes():
        return {name for (name,) in warehouse.query("SELECT indexname FROM pg_indexes WHERE tablename = 'probes'")}

    for _ in range(2):
        warehouse.stage(probes(), days(2))
        assert indexes() == {"probes_pkey"}
    for _ in range(2):
        warehouse.stage(probes(by=()), days(2))
        assert len(indexes()) == 2


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz"])
def test_a_whole_table_may_be_one_series_and_any_kind_of_time_will_do(warehouse, kind):
    class Daily(Probes):
        key = ("at",)
        columns = (Column("sensor", "text"), Column("at", kind), *COLUMNS[2:])

    source = Daily()
    source.anomalies = (Anomaly("count", time="at", minimum=10), Anomaly("celsius", time="at", minimum=10))
    moment = {"date": 10, "timestamp": 19, "timestamptz": 20}[kind]

    def reading(day, count, celsius):
        return ("a", at(day)[:moment], celsius, count)

    warehouse.publish(source, [reading(n, 100 + n % 3, 20.0 + NOISE[n % 10]) for n in range(20)])
    warehouse.publish(source, [reading(20, 101, 20.0), reading(21, 900, 45.0), reading(22, 101, -45.0)])
    found = warehouse.query("SELECT extract(day FROM at), _anomalies FROM curated.probes WHERE _anomalies IS NOT NULL")
    named = {int(day): {mark["column"] for mark in marks} for day, marks in found}
    assert named == {22: {"count", "celsius"}, 23: {"celsius"}}


# --- the declaration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"column": "kelvin"}, "column names 'kelvin', which is not among the columns"),
        ({"column": "sensor"}, "column sensor holds text values, only numbers are judged"),
        ({"time": "celsius"}, "time celsius holds number values, expected a date or a time"),
        ({"by": ("room",)}, "by names 'room'"),
        ({"season": "monthly"}, "season is 'monthly', use one of hour, weekday, yearly"),
        ({"season": "yearly"}, "there is no earlier year in it"),
        ({"direction": "up"}, "direction is 'up', use one of both, above, below"),
        ({"severity": "critical"}, "severity is 'critical', use one of warning, info"),
        ({"threshold": 0}, "threshold is 0, expected a number above 0"),
        ({"history_days": 1.5}, "history_days is 1.5, expected a whole number"),
        ({"minimum": 1}, "minimum is 1, expected a whole number from 3"),
        ({"floor": -1}, "floor is -1"),
        ({"stuck": 1}, "stuck is 1"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(DeclarationError) as refused:
        probes(**wrong)
    assert said in str(refused.value)


def test_a_date_has_no_hour():
    class Daily(Probes):
        columns = (COLUMNS[0], Column("at", "date"), *COLUMNS[2:])

    source = Daily()
    source.anomalies = (Anomaly("celsius", time="at", season="hour"),)
    with pytest.raises(DeclarationError, match="time at is a date, which has none"):
        source.check()


def test_a_declaration_in_toml_is_read_as_strictly():
    values = {
        "location": "x.csv",
        "table": "probes",
        "key": ["at"],
        "columns": {"at": "timestamptz", "celsius": "double precision"},
    }
    read = declaration.parse({**values, "anomalies": [{"column": "celsius", "time": "at", "season": "hour"}]})
    assert read.anomalies == (Anomaly("celsius", time="at", season="hour"),)
    with pytest.raises(DeclarationError) as refused:
        declaration.parse({**values, "anomalies": [{"column": "celsius", "treshold": 3}, 5]})
    for said in ("anomalies[0] has no 'treshold'", "anomalies[0]: 'time' is missing", "anomalies[1] is not a table"):
        assert said in str(refused.value)
