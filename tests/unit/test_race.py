"""The race on a few records: its input, its truth, how a load is measured and checked, its report."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import psycopg2
import pytest

from benchmarks import orders
from benchmarks.race import chart, figures, floor, heat, pandas_to_sql, report, track, truth, wanted
from benchmarks.race.contestants import BY_NAME, CONTESTANTS, ROOT
from benchmarks.race.figures import Figures
from benchmarks.race.measure import Meter, Used
from benchmarks.race.track import AGAIN, FIRST, Result
from local.postgres import Postgres

ROWS, FILES = 3000, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("race")
    orders.write(made, ROWS, FILES)
    return made


@pytest.fixture(scope="module")
def counts(folder):
    return truth.write(folder)


@pytest.fixture(scope="module")
def records(folder):
    return [json.loads(line) for path in sorted(folder.glob("*.ndjson")) for line in path.read_text().splitlines()]


@pytest.fixture
def cursor(database_url, folder, counts):
    connection = psycopg2.connect(database_url)
    connection.autocommit = True
    with connection.cursor() as open_cursor:
        truth.store(open_cursor, folder)
        open_cursor.execute("DROP SCHEMA IF EXISTS race CASCADE; CREATE SCHEMA race")
        yield open_cursor
    connection.close()


@pytest.fixture
def load(database_url, folder, tmp_path):
    return heat.Load("test", str(folder), database_url, "race", "orders", str(tmp_path))


# --- the input and the truth -----------------------------------------------------------------


def test_the_input_is_what_the_race_says_and_always_the_same(folder, counts, tmp_path):
    orders.write(tmp_path, ROWS, FILES)
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == ["orders-000.ndjson", "orders-001.ndjson", "orders-002.ndjson", "orders.suite.json", "orders.toml"]
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in names)
    assert counts.records == ROWS and counts.failing == ROWS * orders.FAILING
    # a repeated key may repeat itself
    assert 0 < ROWS - counts.all <= ROWS * orders.DUPLICATES
    assert 140 <= counts.bytes / counts.records <= 160


def test_the_truth_is_the_last_record_of_each_key(cursor, counts, records):
    last = {record["id"]: record for record in records}
    passing = {record["id"]: record for record in records if record["amount"] >= 0 and record["city"] in orders.CITIES}
    for name, wanted_rows in ((truth.ALL, last), (truth.PASSING, passing)):
        cursor.execute(f'SELECT id, note, amount, city FROM truth."{name}" ORDER BY id')
        expected = [(r["id"], r["note"], r["amount"], r["city"]) for _, r in sorted(wanted_rows.items())]
        assert cursor.fetchall() == expected
    assert (counts.all, counts.passing) == (len(last), len(passing))
    assert sum(not truth.passes(record) for record in records) == counts.failing


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DELETE FROM race.orders WHERE id IN (1, 2)", "rows 2 missing"),
        ("UPDATE race.orders SET note = 'other' WHERE id = 1", "rows 1 different"),
        ("UPDATE race.orders SET city = NULL WHERE id = 1", "rows 1 different"),
        ("INSERT INTO race.orders (id) VALUES (-1)", "rows 1 too many"),
        ("ALTER TABLE race.orders DROP CONSTRAINT orders_pkey", "the table has no primary key of id"),
        ("DROP TABLE race.orders", "there is no table"),
    ],
    ids=["missing", "different", "null", "too-many", "no-key", "no-table"],
)
def test_a_table_that_is_not_the_truth_is_told_of(cursor, load, change, told):
    floor.floor(load)
    assert truth.problem(cursor, "race", "orders", truth.ALL) is None
    cursor.execute(change)
    assert truth.problem(cursor, "race", "orders", truth.ALL) == told


# --- a load ----------------------------------------------------------------------------------


@pytest.mark.parametrize("contestant", [floor.floor, pandas_to_sql.pandas_to_sql], ids=["floor", "pandas"])
def test_a_first_load_and_a_second_leave_the_truth(cursor, load, contestant):
    for _ in (FIRST, AGAIN):
        contestant(load)
        assert truth.problem(cursor, "race", "orders", truth.ALL) is None
    # whoever checks nothing has loaded what does not pass
    assert truth.problem(cursor, "race", "orders", truth.PASSING) is not None


def test_a_contestant_answers_each_load_with_its_seconds_or_its_error(cursor, load):
    wrong = dataclasses.replace(load, schema="nowhere")
    asked = "".join(heat.to_json(one) + "\n" for one in (load, wrong, load))
    ran = subprocess.run(
        [sys.executable, "-m", BY_NAME["floor"].module], input=asked, capture_output=True, text=True, cwd=ROOT
    )
    ready, first, failed, again = map(json.loads, ran.stdout.splitlines())
    assert ready == {"ready": True}
    assert first["seconds"] > 0 and again["seconds"] > 0
    assert 'schema "nowhere" does not exist' in failed["error"]
    assert truth.problem(cursor, "race", "orders", truth.ALL) is None


def test_cpu_and_memory_are_those_of_a_process_and_its_children_that_have_ended():
    child = "bytearray(200 << 20); sum(range(20_000_000))"
    code = f"""
import subprocess, sys
for line in sys.stdin:
    held = bytearray(100 << 20)
    subprocess.run([sys.executable, "-c", {child!r}])
    print("done", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    idle = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with Meter([process.pid], idle.pid) as meter:
            process.stdin.write("go\n")
            process.stdin.flush()
            process.stdout.readline()
        assert meter.used.cpu > 0.1
        assert meter.used.postgres_cpu < meter.used.cpu
        assert 100 < meter.used.largest_mb < 400 and meter.used.together_mb > 100
    finally:
        for one in (process, idle):
            one.stdin.close()
            one.wait()


def test_each_contestant_is_a_module_whose_versions_are_pinned():
    pinned = dict(
        line.split("==") for line in (ROOT / "requirements-bench.txt").read_text().splitlines() if "==" in line
    )
    for contestant in CONTESTANTS:
        assert (ROOT / (contestant.module.replace(".", "/") + ".py")).exists()
        assert contestant.lacks and contestant.settings
        if contestant.installed_apart:
            assert set(contestant.versions) <= set(pinned), contestant.name


# --- the report ------------------------------------------------------------------------------


def results(contestant, first, again, rows=1000, details=None, **given):
    """Three rounds of (first, again) seconds, each a little slower than the one before."""
    used = Used(cpu=first, postgres_cpu=1.0, others_cpu=0.0, largest_mb=100.0, together_mb=200.0)
    return [
        Result(contestant, number, which, rows, seconds + number / 10, used, details or {}, **given)
        for number in range(3)
        for which, seconds in ((FIRST, first), (AGAIN, again))
    ]


@pytest.fixture
def taken(counts):
    stages = {name: {"seconds": 1.0, "cpu": 1.0} for name in report.STAGES}
    machine = {"functions": {name: {"seconds": 2.0} for name in report.STAGES}, "states": {"Process": 3.0}}
    return Figures(
        taken="2026-11-21 20:00 UTC",
        seed=7,
        machine={"machine": "2 cores"},
        versions={contestant.name: {"thing": "1.0"} for contestant in CONTESTANTS},
        postgres={"version": "18.4"},
        inputs={1000: counts, 5000: counts},
        order=[["floor", "sluice"]] * 3,
        results=[
            *results("floor", 3.0, 2.0),
            *results("dlt_arrow", 6.0, 5.0),
            *results("dlt_records", 20.0, 20.0),
            *results("pandas_to_sql", 100.0, 100.0, problem="rows 3 different"),
            *results("sluice", 6.0, 5.0, details={**machine, "worker_mb": 300.0}),
            *results("sluice_stages", 5.0, 4.0, details={"stages": stages}),
            *results("sluice", 30.0, 20.0, 5000, details={**machine, "worker_mb": 400.0}),
        ],
        embeddings={
            "vectors": 10,
            "bare_per_second": 100.0,
            "keyed_per_second": 120.0,
            "written_per_second": 90.0,
            "embedded": [10, 0],
        },
    )


def test_what_is_wanted_is_met_or_missed_or_was_not_measured(taken):
    met = {one.what: one.met for one in wanted.all_of(taken)}
    assert met == {
        "first load, against dlt with Arrow tables": True,
        "dlt with Python records, against Sluice": True,
        "first load, against the floor": True,
        "second, unchanged load, chunks kept, against the first": False,
        "time per row, 5,000 rows against 1,000": True,
        "highest memory of a worker, 5,000 rows against 1,000": False,
        "the gate's share of the CPU of all stages": True,
        "vectors written, against a bare binary COPY": True,
        "texts embedded again by an unchanged run": True,
    }
    none = dataclasses.replace(
        taken, results=results("floor", 1.0, 1.0), inputs={1000: taken.inputs[1000]}, embeddings=None
    )
    assert {one.met for one in wanted.all_of(none)} == {None}
    assert {one.cells[3] for one in wanted.all_of(none)} == {"not measured"}


def test_a_load_that_left_something_else_is_reported_and_counts_nowhere(taken):
    text = "\n".join(report.lines(taken))
    assert taken.median("pandas_to_sql") is None
    assert "| pandas to_sql, ON CONFLICT | failed |" in text
    assert "- pandas to_sql, ON CONFLICT, round 0, first load of 1,000: rows 3 different" in text
    assert "pandas" not in chart.draw(taken)
    right = dataclasses.replace(taken, results=[result for result in taken.results if not result.problem])
    assert "Every load of every contestant left what it had to." in "\n".join(report.lines(right))


def test_the_report_shows_medians_ratios_and_what_is_missed(taken):
    text = "\n".join(report.lines(taken))
    assert "| Sluice | 6.1 (6.0 to 6.2) | 1.97 | 5.1 (5.0 to 5.2) | 0.84 |" in text
    assert "| second, unchanged load, chunks kept, against the first | at most 0.70 | 0.84 | **missed** |" in text
    assert "| Validate | 2000.00 | 2000.00 | 1000.00 | 1000.00 | 1000.00 | 1000.00 |" in text
    assert "take 1.0 s of 6.1 s" in text
    assert "Taken under load" not in text
    assert "100 into a table without a key, so that they are written at 0.90 of that;" in text
    assert " 120 into one with the same key and index, 0.75 of that." in text
    assert "| Sluice | 6.0 | 1.0 | 100 | 200 | 0.0 |" in text
    busy = [
        dataclasses.replace(result, used=dataclasses.replace(result.used, others_cpu=result.seconds))
        for result in taken.results
    ]
    assert "**Taken under load**: others used 1.0 of" in "\n".join(
        report.lines(dataclasses.replace(taken, results=busy))
    )


def test_the_report_can_be_written_again_from_what_was_kept(taken, tmp_path):
    taken.write(tmp_path / "kept" / "figures.json")
    read = figures.read(tmp_path / "kept" / "figures.json")
    assert read == taken
    report.write(read, tmp_path / "results")
    assert (tmp_path / "results" / "RESULTS.md").read_text() == "\n".join(report.lines(taken)) + "\n"


def test_the_picture_has_a_bar_per_load_as_long_as_its_time(taken):
    from xml.etree import ElementTree

    root = ElementTree.fromstring(chart.draw(taken))
    bars = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("height") == str(chart.BAR)]
    lengths = [float(bar.get("width")) for bar in bars]
    assert len(lengths) == 2 * 5
    # the floor's first load, and dlt's with records, which is the longest
    assert lengths[0] / lengths[4] == pytest.approx(3.1 / 20.1, abs=0.01)
    assert "path" not in chart.draw(taken)


def test_a_bar_that_would_dwarf_the_others_is_broken_off_with_its_figure(taken):
    slow = [*taken.results, *results("wrangler", 60.0, 5.0)]
    drawn = chart.draw(dataclasses.replace(taken, results=slow))
    assert drawn.count("<path") == 1 and ">60.1 s<" in drawn
    assert f'width="{chart.WIDTH - chart.LEFT - chart.RIGHT:.1f}"' in drawn


@pytest.fixture
def own_postgres(tmp_path):
    server = Postgres(tmp_path / "postgres", tmp_path / "log")
    server.start()
    yield server
    server.stop()


def crash_of_a_backend(postgres):
    connection = psycopg2.connect(postgres.database_url)
    os.kill(connection.info.backend_pid, signal.SIGKILL)
    with pytest.raises(psycopg2.OperationalError):
        connection.cursor().execute("SELECT 1")
    while "was terminated by signal" not in postgres.log.read_text():
        time.sleep(0.05)


def crash_of_the_server(postgres):
    os.kill(postgres.pid, signal.SIGKILL)
    postgres.stop()
    postgres.start()


@pytest.mark.parametrize("crash", [crash_of_a_backend, crash_of_the_server], ids=["process", "server"])
def test_the_log_of_a_postgres_that_crashed_is_kept_and_what_it_said_is_told(own_postgres, crash, tmp_path, capsys):
    crash(own_postgres)
    kept = tmp_path / "build" / "postgres.log"
    track.keep_log(own_postgres.log, kept, broke_off=False)
    said = capsys.readouterr().err
    assert f"Postgres went away during the race. Of its log, which is kept in {kept}" in said
    assert "was terminated by signal 9" in said or "was not properly shut down" in said
    assert kept.read_bytes() == own_postgres.log.read_bytes()


def test_the_log_of_a_postgres_that_did_not_is_kept_and_told_where_the_race_broke_off(own_postgres, tmp_path, capsys):
    kept = tmp_path / "postgres.log"
    for broke_off in (False, True):
        track.keep_log(own_postgres.log, kept, broke_off)
        assert kept.exists() and ("ready to accept connections" in capsys.readouterr().err) == broke_off
