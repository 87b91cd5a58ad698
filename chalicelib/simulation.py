"""Readings of sensors that do not exist, with faults planted in them whose truth is known.

`readings` is what arrives in a span of time, `planted` what is wrong with it. Both are functions of
the time and a seed alone: asked again they say the same, on any machine, whatever was asked before.

A sensor reads once a minute: °C, % relative humidity, hPa and % of its battery. Its values follow
the year, the day and a slow weather that all sensors share, with a little noise of their own. The
rates of the faults are the constants below.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

SENSORS = tuple(f"sensor-{number:02}" for number in range(1, 13))
SEED = 1
DAY_MINUTES = 24 * 60

# kinds of faults in values
SPIKE, DRIFT, STUCK = "spike", "drift", "stuck"
# and in delivery
DROPOUT, DUPLICATE, LATE = "dropout", "duplicate", "late"

SPIKES_PER_READING = 1 / 1000
DUPLICATES_PER_READING = 1 / 500
LATE_PER_READING = 1 / 500
LATE_MINUTES = 60  # at most; 6 at least, so that a late reading misses the five minutes it belongs to
# per sensor and day, of which each has at most one
DRIFTS_PER_DAY = STUCK_PER_DAY = DROPOUTS_PER_DAY = 1 / 20
DRIFT_MINUTES, STUCK_MINUTES, DROPOUT_MINUTES = 180, 120, 60
DRIFT_CELSIUS = 6.0  # off by so much at its end, growing evenly

NOISE = {"temperature": 0.15, "humidity": 0.6, "pressure": 0.12}  # standard deviations
_SPIKE_SIZES = {"temperature": (5.0, 20.0), "humidity": (15.0, 30.0), "pressure": (8.0, 30.0)}
_EPOCH = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Planted:
    """One reading that is not as it should be. `column` is None for faults of delivery.

    A reading of kind "dropout" never arrives; the truth names it all the same.
    """

    kind: str
    sensor: str
    measured_at: str
    column: str | None = None


@dataclass(frozen=True)
class _Reading:
    record: dict
    arrivals: tuple[int, ...]  # minutes since _EPOCH; none for a drop-out, two for a duplicate
    faults: tuple[Planted, ...]


def readings(start: dt.datetime, minutes: int, seed: int = SEED) -> list[dict]:
    """What arrives from `start` (with a zone, whole minutes) on for `minutes`, in order of arrival.

    Each is `{"sensor", "measured_at", "temperature", "humidity", "pressure", "battery"}`, its time
    ISO 8601 in UTC. Spans that follow each other together hold what one long span does.
    """
    first = _minute(start)
    arrived = [
        (minute, reading.record["sensor"], reading.record["measured_at"], reading.record)
        for reading in _measured(first - LATE_MINUTES, first + minutes, seed)
        for minute in reading.arrivals
        if first <= minute < first + minutes
    ]
    return [record for *_, record in sorted(arrived, key=lambda one: one[:3])]


def planted(start: dt.datetime, minutes: int, seed: int = SEED) -> list[Planted]:
    """The truth about what was measured (not: what arrived) from `start` on for `minutes`."""
    first = _minute(start)
    return [fault for reading in _measured(first, first + minutes, seed) for fault in reading.faults]


def _minute(moment: dt.datetime) -> int:
    """Whole minutes since _EPOCH; raises ValueError for a time without a zone or between two minutes."""
    if moment.tzinfo is None or moment.second or moment.microsecond:
        raise ValueError(f"{moment.isoformat()} is no whole minute with a time zone")
    return int((moment - _EPOCH).total_seconds()) // 60


def _measured(first: int, end: int, seed: int) -> Iterator[_Reading]:
    """All readings measured in the minutes [first, end), by time, then sensor."""
    for day in range(first // DAY_MINUTES, (end - 1) // DAY_MINUTES + 1):
        days = [_day(seed, sensor, day) for sensor in SENSORS]
        start = day * DAY_MINUTES
        for minute in range(max(first - start, 0), min(end - start, DAY_MINUTES)):
            yield from (readings[minute] for readings in days)


# two days of all sensors: a span that begins at midnight looks back for what comes late
@functools.lru_cache(maxsize=2 * len(SENSORS))
def _day(seed: int, sensor: str, day: int) -> tuple[_Reading, ...]:
    """A sensor's day, minute by minute; all randomness comes from the three arguments."""
    rng = random.Random(f"{seed} {sensor} {day}")
    spans = _spans(rng)
    times = _times(day)
    stuck_at: float | None = None
    made = []
    for minute in range(DAY_MINUTES):
        now = day * DAY_MINUTES + minute
        values = _values(rng, seed, sensor, now)
        faults: list[tuple[str, str | None]] = []
        kind, since, length = next((s for s in spans if s[1] <= minute < s[1] + s[2]), (None, 0, 0))
        if kind == DRIFT:
            values["temperature"] += DRIFT_CELSIUS * (minute - since + 1) / length
            faults.append((DRIFT, "temperature"))
        elif kind == STUCK:
            if minute == since:
                stuck_at = values["humidity"]  # this one is as it was measured
            else:
                values["humidity"] = stuck_at
                faults.append((STUCK, "humidity"))
        chance, which, size, sign, twice, late, delay = (rng.random() for _ in range(7))  # drawn whatever is used
        if kind is None and chance < SPIKES_PER_READING:
            column = list(_SPIKE_SIZES)[int(which * len(_SPIKE_SIZES))]
            low, high = _SPIKE_SIZES[column]
            values[column] += math.copysign(low + (high - low) * size, sign - 0.5)
            values["humidity"] = min(values["humidity"], 100.0)
            faults.append((SPIKE, column))
        arrivals: tuple[int, ...] = (now,)
        if kind == DROPOUT:
            arrivals = ()
            faults.append((DROPOUT, None))
        elif late < LATE_PER_READING:
            arrivals = (now + 6 + int(delay * (LATE_MINUTES - 6)),)
            faults.append((LATE, None))
        elif twice < DUPLICATES_PER_READING:
            arrivals = (now, now + 1)
            faults.append((DUPLICATE, None))
        measured_at = times[minute]
        record = {"sensor": sensor, "measured_at": measured_at} | {n: round(v, 2) for n, v in values.items()}
        made.append(_Reading(record, arrivals, tuple(Planted(k, sensor, measured_at, c) for k, c in faults)))
    return tuple(made)


@functools.lru_cache(maxsize=2)
def _times(day: int) -> tuple[str, ...]:
    """When each minute of a day is, which is the same for all sensors."""
    start = _EPOCH + dt.timedelta(days=day)
    return tuple(f"{start + dt.timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}" for minute in range(DAY_MINUTES))


def _spans(rng: random.Random) -> list[tuple[str, int, int]]:
    """The day's longer faults as (kind, first minute, minutes); where two would overlap, the first one stays."""
    spans: list[tuple[str, int, int]] = []
    for kind, rate, length in (
        (DRIFT, DRIFTS_PER_DAY, DRIFT_MINUTES),
        (STUCK, STUCK_PER_DAY, STUCK_MINUTES),
        (DROPOUT, DROPOUTS_PER_DAY, DROPOUT_MINUTES),
    ):
        chance, start = rng.random(), rng.randrange(DAY_MINUTES - length)
        free = all(start + length <= begin or begin + lasts <= start for _, begin, lasts in spans)
        if chance < rate and free:
            spans.append((kind, start, length))
    return spans


def _values(rng: random.Random, seed: int, sensor: str, now: int) -> dict[str, float]:
    """What the sensor would have measured `now`, a minute since _EPOCH, if nothing were wrong."""
    place = _place(seed, sensor)
    days = now / DAY_MINUTES
    weather = _weather(seed, days)
    season, sun = math.cos(2 * math.pi * (days - 200) / 365.25), math.cos(2 * math.pi * (days - 15 / 24))
    temperature = place["mean"] + 8 * season + place["swing"] * sun + 2.5 * weather
    return {
        "temperature": temperature + rng.gauss(0, NOISE["temperature"]),
        "humidity": min(max(58 - 6 * season - 9 * sun - 5 * weather + rng.gauss(0, NOISE["humidity"]), 3), 99),
        "pressure": place["pressure"] + 6 * weather + rng.gauss(0, NOISE["pressure"]),
        "battery": 100 - (days + place["charged"]) % 90,
    }


@functools.cache
def _place(seed: int, sensor: str) -> dict[str, float]:
    rng = random.Random(f"{seed} {sensor}")
    return {
        "mean": rng.uniform(8, 16),
        "swing": rng.uniform(2, 5),
        "pressure": rng.uniform(1005, 1018),
        "charged": rng.uniform(0, 90),
    }


@functools.cache
def _fronts(seed: int) -> tuple[tuple[float, float], ...]:
    """Periods in days and phases of the waves that the weather is the sum of."""
    rng = random.Random(f"{seed} weather")
    return tuple((period, rng.uniform(0, 2 * math.pi)) for period in (2.3, 3.7, 5.9, 9.1))


# that of the two days that are kept, for all sensors
@functools.lru_cache(maxsize=2 * DAY_MINUTES)
def _weather(seed: int, days: float) -> float:
    return sum(math.sin(2 * math.pi * days / period + phase) for period, phase in _fronts(seed)) / 2
