"""The simulated sensors: the same each time, whole across spans, and faulty exactly where the truth says so."""

import collections
import datetime as dt
import math
import statistics

import pytest

from chalicelib import simulation
from chalicelib.simulation import planted, readings

START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
DAYS = 20


def key(record):
    return record["sensor"], record["measured_at"]


@pytest.fixture(scope="module")
def truth():
    return planted(START, DAYS * 24 * 60)


@pytest.fixture(scope="module")
def arrived():
    return readings(START, DAYS * 24 * 60)


def by_kind(truth, kind):
    return {(fault.sensor, fault.measured_at) for fault in truth if fault.kind == kind}


def test_what_is_asked_again_is_the_same_and_another_seed_says_something_else():
    first = readings(START, 30)
    simulation._day.cache_clear()
    assert readings(START, 30) == first
    assert readings(START, 30, seed=2) != first
    assert first[0] == {
        "sensor": "sensor-01",
        "measured_at": "2026-03-01T00:00:00Z",
        **{name: first[0][name] for name in ("temperature", "humidity", "pressure", "battery")},
    }


def test_spans_that_follow_each_other_hold_what_one_long_span_does():
    midnight = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
    start = midnight - dt.timedelta(minutes=90)
    pieces = [r for n in range(36) for r in readings(start + dt.timedelta(minutes=5 * n), 5)]
    assert pieces == readings(start, 180)


def test_a_time_zone_changes_nothing_and_a_time_without_one_is_refused():
    elsewhere = START.astimezone(dt.timezone(dt.timedelta(hours=-5)))
    assert readings(elsewhere, 5) == readings(START, 5)
    for moment in (START.replace(tzinfo=None), START.replace(second=1)):
        with pytest.raises(ValueError, match="no whole minute"):
            readings(moment, 5)


def test_every_reading_arrives_but_those_of_drop_outs_and_duplicates_arrive_twice(truth, arrived):
    minutes = DAYS * 24 * 60
    expected = {
        (sensor, f"{START + dt.timedelta(minutes=n):%Y-%m-%dT%H:%M:%SZ}")
        for sensor in simulation.SENSORS
        for n in range(minutes - 61)  # what is late may come after the end
    }
    counts = collections.Counter(map(key, arrived))
    lost, twice = by_kind(truth, "dropout"), by_kind(truth, "duplicate")
    assert lost and twice
    assert expected - set(counts) == lost & expected
    assert {k for k, n in counts.items() if n == 2} & expected == twice & expected


def test_what_is_late_misses_its_five_minutes_and_comes_within_the_hour(truth):
    fault = next(f for f in truth if f.kind == "late")
    measured = dt.datetime.fromisoformat(fault.measured_at)
    identity = (fault.sensor, fault.measured_at)
    assert identity not in map(key, readings(measured, 6))
    assert identity in map(key, readings(measured, 61))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("spike", simulation.SPIKES_PER_READING * 24 * 60 * 12 * DAYS),
        ("late", simulation.LATE_PER_READING * 24 * 60 * 12 * DAYS),
        ("duplicate", simulation.DUPLICATES_PER_READING * 24 * 60 * 12 * DAYS),
        ("drift", simulation.DRIFTS_PER_DAY * simulation.DRIFT_MINUTES * 12 * DAYS),
        ("stuck", simulation.STUCK_PER_DAY * simulation.STUCK_MINUTES * 12 * DAYS),
        ("dropout", simulation.DROPOUTS_PER_DAY * simulation.DROPOUT_MINUTES * 12 * DAYS),
    ],
)
def test_faults_come_at_their_rates(truth, kind, expected):
    # 345,600 readings: single faults within a fifth; of the longer ones 12 are expected, so they have more luck
    found = sum(fault.kind == kind for fault in truth)
    assert expected * (0.3 if kind in ("drift", "stuck", "dropout") else 0.8) < found < expected * 2


def test_values_are_off_where_the_truth_says_so_and_nowhere_else(truth, arrived):
    """Seen from its neighbours, ten minutes around, a reading is within its noise unless a fault was planted there."""
    spikes = {(f.sensor, f.measured_at, f.column) for f in truth if f.kind == "spike"}
    assert len(spikes) > 50
    gradual = {(f.sensor, f.measured_at, f.column) for f in truth if f.kind in ("drift", "stuck")}
    by_sensor = collections.defaultdict(dict)
    for record in arrived:
        by_sensor[record["sensor"]][record["measured_at"]] = record
    missed, invented = 0, 0
    for sensor, days in by_sensor.items():
        series = [days[moment] for moment in sorted(days)]
        for column, noise in simulation.NOISE.items():
            values = [record[column] for record in series]
            for i in range(10, 6 * 24 * 60):  # six days are enough, and medians take their time
                identity = (sensor, series[i]["measured_at"], column)
                off = abs(values[i] - statistics.median(values[i - 10 : i + 11]))
                if identity in spikes:
                    missed += off < 8 * noise
                elif off >= 8 * noise:
                    invented += identity not in gradual
    assert (missed, invented) == (0, 0)


def test_a_drift_grows_to_its_size_and_a_stuck_value_stays(truth):
    for kind, column in (("drift", "temperature"), ("stuck", "humidity")):
        faults = [f for f in truth if f.kind == kind]
        assert {f.column for f in faults} == {column}
    stuck = sorted(by_kind(truth, "stuck"))[: simulation.STUCK_MINUTES - 1]
    start = dt.datetime.fromisoformat(stuck[0][1])
    found = {r["humidity"] for r in readings(start, 200) if key(r) in set(stuck)}
    assert len(found) == 1


def test_batteries_run_down_and_are_changed(arrived):
    levels = [r["battery"] for r in arrived if r["sensor"] == "sensor-01"]
    assert all(0 < level <= 100 for level in levels)
    assert math.isclose(levels[0] - levels[24 * 60], 1, abs_tol=0.1) or levels[24 * 60] > levels[0]
