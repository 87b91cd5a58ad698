"""How many planted anomalies are found, and how many marks are right, by kind and threshold.

    python -m benchmarks.anomalies [--days 44] [--times 3]

Three parts, all through the SQL that marks rows in a run (`anomalies.outliers`), in a Postgres of its own:

- `sensors`: simulated readings, one a minute of twelve sensors, whose planted faults are known
  (`chalicelib.simulation`). Judged are the days that have 30 days before them.
- weather: the real observations of Seattle, 2012 to 2015 (NOAA, in the package vega_datasets). Nobody has labelled
  what is wrong with them, so outliers of several sizes are planted; a mark on an unplanted day counts as wrong,
  although the weather may have been that odd.
- speed: 100,000 staged rows against 1,000,000 of history.

Recall is the share of planted readings that are marked, precision the share of marks that were planted. One pass marks
from the lowest threshold on; the scores in the marks tell the others.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import random
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import click
from psycopg2 import sql

from chalicelib import simulation
from chalicelib.anomalies import Anomaly, outliers
from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.sources.base import Source
from chalicelib.sources.sensors import Sensors
from chalicelib.warehouse import connection, indexes, ledger, migrations, publishing, tables
from local.postgres import Postgres

THRESHOLDS = (3.0, 4.0, 5.0, 6.0, 8.0, 12.0)
HISTORY_DAYS = 30
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

# planted in real weather: degrees, and km/h for the wind
SIZES = (5.0, 10.0, 15.0, 20.0, 30.0)
PLANTED_SHARE = 0.02


class Readings(Sensors):
    """The source's table, with other anomalies."""

    name = "sensors"


class Days(Source):
    name = "days"
    key = ("station", "day")
    columns = (
        Column("station", "text"),
        Column("day", "date"),
        Column("temperature_max", "double precision"),
        Column("temperature_min", "double precision"),
        Column("wind_speed_max", "double precision"),
    )


@click.command()
@click.option("--days", default=44, show_default=True, help="Simulated days; the first 30 are history alone.")
@click.option("--times", default=3, show_default=True, help="Of the measurement of speed, whose median is printed.")
def main(days: int, times: int) -> None:
    """Print precision and recall of row-level outliers, and how long judging takes."""
    with tempfile.TemporaryDirectory(prefix="sluice-anomalies-") as folder:
        postgres = Postgres(Path(folder, "data"), Path(folder, "log"))
        postgres.start()
        try:
            migrations.apply(postgres.database_url)
            _sensors(postgres.database_url, days)
            _weather(postgres.database_url)
            _speed(postgres.database_url, times)
        finally:
            postgres.stop()


# --- sensors -------------------------------------------------------------------------------------


def _sensors(url: str, days: int) -> None:
    """The three ways of judging, at all thresholds, then what the source `sensors` declares."""
    minutes = days * simulation.DAY_MINUTES
    rows = [tuple(reading.values()) for reading in simulation.readings(START, minutes)]
    judged_from = f"{START + dt.timedelta(days=HISTORY_DAYS):%Y-%m-%dT%H:%M:%SZ}"
    arrived = {(row[0], row[1]) for row in rows}
    truth = {
        (planted.sensor, planted.measured_at, planted.column): planted.kind
        for planted in simulation.planted(START, minutes)
        if planted.column and planted.measured_at >= judged_from and (planted.sensor, planted.measured_at) in arrived
    }
    judged = sum(row[1] >= judged_from for row in rows)
    click.echo(f"\nsensors: {len(rows):,} simulated readings, {judged:,} of them judged")
    for of, season, history in (("value", None, HISTORY_DAYS), ("value", "hour", HISTORY_DAYS), ("change", None, 3)):
        source = Readings()
        source.anomalies = tuple(
            Anomaly(
                column,
                by=("sensor",),
                time="measured_at",
                of=of,
                history_days=history,
                season=season,
                threshold=THRESHOLDS[0],
            )
            for column in ("temperature", "humidity", "pressure")
        )
        marks = [mark for mark in _marks(url, source, rows) if mark[1] >= judged_from]
        click.echo(f"\n{of}, season {season or 'none'}, {history} days of history")
        _heading("column, kind (readings)")
        for column in ("temperature", "humidity", "pressure"):
            found = {(series, when, name): mark for series, when, name, mark in marks if name == column}
            for kind in sorted({kind for place, kind in truth.items() if place[2] == column}):
                places = [place for place, one in truth.items() if place[2] == column and one == kind]
                _line(f"{column}, {kind} ({len(places):,})", [_recall(places, found, t) for t in THRESHOLDS])
            _line(f"{column}, precision", [_precision(truth, found, t) for t in THRESHOLDS])
    marks = [mark for mark in _marks(url, Sensors(), rows) if mark[1] >= judged_from]
    found = {mark[:3] for mark in marks}
    click.echo("\nas the source sensors declares it")
    click.echo(f"{'kind':34}{'readings found':>24}{'faults found':>24}")
    for kind in (simulation.SPIKE, simulation.DRIFT, simulation.STUCK):
        places = [place for place, one in truth.items() if one == kind]
        faults = _faults(places)
        seen, whole = len(found.intersection(places)), sum(not found.isdisjoint(fault) for fault in faults)
        cells = (
            f"{_share(seen, len(places))} of {len(places):,}",
            f"{_share(whole, len(faults))} of {len(faults):,}",
        )
        click.echo(f"{kind:34}{cells[0]:>24}{cells[1]:>24}")
    right = len(found & set(truth))
    after = len((found - set(truth)) & _ends_of_drifts(truth))
    click.echo(
        f"{'precision':34}{f'{_share(right, len(found))} of {len(found):,}':>24}; of the wrong ones {after} end a drift"
    )


def _faults(places: list[tuple]) -> list[set[tuple]]:
    """The readings of each fault: those of a series that follow each other by the minute, a few missing at most."""
    faults: list[set[tuple]] = []
    last: tuple[str, str, dt.datetime] | None = None
    for sensor, when, column in sorted(places, key=lambda place: (place[0], place[2], place[1])):
        moment = dt.datetime.fromisoformat(when)
        if last is None or last[:2] != (sensor, column) or moment - last[2] > dt.timedelta(minutes=10):
            faults.append(set())
        faults[-1].add((sensor, when, column))
        last = (sensor, column, moment)
    return faults


def _ends_of_drifts(truth: dict[tuple, str]) -> set[tuple]:
    """The readings within five minutes after a drift: the value falls back by all of it."""
    found = set()
    for fault in _faults([place for place, kind in truth.items() if kind == simulation.DRIFT]):
        sensor, when, column = max(fault, key=lambda place: place[1])
        for minute in range(1, 6):
            moment = dt.datetime.fromisoformat(when) + dt.timedelta(minutes=minute)
            found.add((sensor, f"{moment:%Y-%m-%dT%H:%M:%SZ}", column))
    return found


def _recall(places: Iterable[tuple], found: dict, threshold: float) -> str:
    places = list(places)
    return _share(sum(_over(found.get(place), threshold) for place in places), len(places))


def _precision(truth, found: dict, threshold: float) -> str:
    marked = [place for place, mark in found.items() if _over(mark, threshold)]
    return f"{_share(sum(place in truth for place in marked), len(marked))} of {len(marked):,}"


def _over(mark: dict | None, threshold: float) -> bool:
    return mark is not None and abs(mark.get("score", 0.0)) > threshold


# --- weather -------------------------------------------------------------------------------------


def _weather(url: str) -> None:
    from vega_datasets import local_data

    observed = [
        [
            "Seattle",
            row["date"].replace("/", "-"),
            float(row["temp_max"]),
            float(row["temp_min"]),
            3.6 * float(row["wind"]),
        ]
        for row in csv.DictReader(io.StringIO(local_data.seattle_weather.raw().decode()))
    ]
    names = [column.name for column in Days.columns]
    judged_from = "2013-02-01"
    click.echo(
        f"\nweather: {len(observed):,} real days of Seattle, {PLANTED_SHARE:.0%} planted outliers; season yearly"
    )
    source = Days()
    source.anomalies = tuple(
        Anomaly(
            name,
            by=("station",),
            time="day",
            history_days=3653,
            season="yearly",
            threshold=THRESHOLDS[0],
            direction="above" if name.startswith("wind") else "both",
        )
        for name in names[2:]
    )
    for column, name in enumerate(names[2:], 2):
        unit = "km/h" if name.startswith("wind") else "°C"
        _heading(name)
        false: list[dict] = []
        for size in SIZES:
            rng = random.Random(f"{name} {size}")
            rows, truth = [list(row) for row in observed], {}
            for row in rows:
                if row[1] >= judged_from and rng.random() < PLANTED_SHARE:
                    row[column] += size if unit == "km/h" or rng.random() < 0.5 else -size
                    truth["Seattle", row[1], name] = "planted"
            found = {
                (key, when, which): mark
                for key, when, which, mark in _marks(url, source, [tuple(row) for row in rows])
                if which == name and when >= judged_from
            }
            false.append({place: mark for place, mark in found.items() if place not in truth})
            _line(f"off by {size:g} {unit} ({len(truth)})", [_recall(truth, found, t) for t in THRESHOLDS])
        unplanted = [median(sum(_over(mark, t) for mark in one.values()) for one in false) for t in THRESHOLDS]
        _line("marks on other days", [f"{count:g}" for count in unplanted])


# --- speed ---------------------------------------------------------------------------------------


def _speed(url: str, times: int) -> None:
    click.echo(
        f"\nspeed: 100,000 staged rows of 100 sensors, 1,000,000 of history, one column; seconds, median of {times}"
    )
    click.echo(f"{'':34}{'judged':>10}{'published':>10}")
    history = [
        (f"sensor-{sensor}", START + dt.timedelta(minutes=5 * n)) for sensor in range(100) for n in range(10_000)
    ]
    rng = random.Random(1)
    rows = [(sensor, f"{at:%Y-%m-%dT%H:%M:%SZ}", rng.gauss(20, 1), None, None, None) for sensor, at in history]
    begin = START + dt.timedelta(minutes=5 * 10_000)
    new = [
        (
            f"sensor-{sensor}",
            f"{begin + dt.timedelta(minutes=5 * n):%Y-%m-%dT%H:%M:%SZ}",
            rng.gauss(20, 1),
            None,
            None,
            None,
        )
        for sensor in range(100)
        for n in range(1000)
    ]
    plain = Readings()
    plain.anomalies = ()
    _stage(url, plain, "history", rows)
    _publish(url, plain, "history")
    for number, (of, season) in enumerate((("", ""), ("value", None), ("value", "hour"), ("change", None))):
        source = Readings()
        source.anomalies = ()
        if of:
            days = 3 if of == "change" else HISTORY_DAYS
            source.anomalies = (
                Anomaly("temperature", by=("sensor",), time="measured_at", of=of, season=season, history_days=days),
            )
        judged, published = [], []
        for attempt in range(times):
            run_id = f"speed-{number}-{attempt}"
            _stage(url, source, run_id, new)
            started = time.perf_counter()
            with connection.transaction(url) as conn, conn.cursor() as cursor:
                outliers.mark(cursor, source, run_id)
            judged.append(time.perf_counter() - started)
            started = time.perf_counter()
            _publish(url, source, run_id)
            published.append(time.perf_counter() - started)
            with connection.transaction(url) as conn, conn.cursor() as cursor:
                cursor.execute("DELETE FROM curated.sensors WHERE _run_id = %s", (run_id,))
        label = f"{of}, season {season or 'none'}, {days} days" if of else "no anomalies declared"
        click.echo(f"{label:34}{median(judged):>10.2f}{median(published):>10.2f}")


# --- what they share -----------------------------------------------------------------------------


def _marks(url: str, source: Source, rows: list[tuple]) -> list[tuple[str, str, str, dict]]:
    """(series, time, column, mark) of all marks on `rows`, staged as one run on an empty table."""
    _stage(url, source, "marks", rows, anew=True)
    time_column = sql.Identifier(source.key[1])
    shown = (
        "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')" if source.name == "sensors" else "{}::text"
    )
    query = sql.SQL("SELECT {}, " + shown + ", m ->> 'column', m FROM {}, jsonb_array_elements(_anomalies) AS m")
    with connection.transaction(url) as conn, conn.cursor() as cursor:
        outliers.mark(cursor, source, "marks")
        staging = tables.staging(source.table, "marks")
        cursor.execute(query.format(sql.Identifier(source.key[0]), time_column, staging))
        return cursor.fetchall()


def _stage(url: str, source: Source, run_id: str, rows: list[tuple], anew: bool = False) -> None:
    lines = (
        "\t".join("\\N" if value is None else str(value) for value in (*row, 0, number)) + "\n"
        for number, row in enumerate(rows, 1)
    )
    with connection.transaction(url) as conn, conn.cursor() as cursor:
        if anew:
            cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(tables.curated(source)))
            cursor.execute("DELETE FROM pipeline.runs WHERE run_id = %s", (run_id,))
        tables.ensure_curated(cursor, source)
        indexes.ensure(cursor, source)
        tables.create_staging(cursor, source, run_id)
        ledger.open_run(cursor, source, run_id, "benchmark", {}, Window(), f"{START:%Y-%m-%d}")
        copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
            tables.staging(source.table, run_id), tables.copy_columns(source)
        )
        cursor.copy_expert(copy, io.StringIO("".join(lines)))
        staging = tables.staging(source.table, run_id)
        # what a run computes of each row while loading
        cursor.execute(sql.SQL("UPDATE {} SET _fingerprint = _seq").format(staging))


def _publish(url: str, source: Source, run_id: str) -> None:
    with connection.transaction(url) as conn, conn.cursor() as cursor:
        staged = tables.count_staged(cursor, source.table, run_id)
        publishing.merge(cursor, source, run_id, staged, 0)


def _heading(title: str) -> None:
    click.echo(f"{title:34}" + "".join(f"{f'> {t:g}':>14}" for t in THRESHOLDS))


def _line(title: str, cells: list[str]) -> None:
    click.echo(f"{title:34}" + "".join(f"{cell:>14}" for cell in cells))


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else "-"


if __name__ == "__main__":
    main()
