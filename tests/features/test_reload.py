"""Loading again: what is the same stays untouched, what came twice counts once, a name runs once."""

import datetime as dt
import json
import uuid
from pathlib import Path

import pytest

from chalicelib.sources.weather import Weather

COLUMNS = {"id": "integer not null", "total": "double precision", "note": "text"}


def ndjson(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def orders(count, **changed):
    """`count` orders; `changed` are totals by id, such as `id3=0.5`."""
    return [{"id": i, "total": changed.get(f"id{i}", i * 1.25), "note": f"order {i}"} for i in range(count)]


def test_the_same_data_again_change_nothing_and_the_run_says_so(pipeline, declare, table):
    given = declare(table, ndjson(orders(500)), COLUMNS)
    first = pipeline.run("files", input=given)
    assert first.account == (500, 500, 0, 0, 0, 0)
    rows = pipeline.rows(table)
    second = pipeline.run("files", input=given)
    assert (second.status, second.account) == ("SUCCEEDED", (500, 0, 0, 500, 0, 0))
    assert pipeline.rows(table) == rows


def test_only_changed_rows_are_written_and_rows_that_went_missing_stay(pipeline, declare, table):
    first = pipeline.run("files", input=declare(table, ndjson(orders(100)), COLUMNS))
    before = {row[2]: row for row in pipeline.rows(table)}
    changed = orders(102, id3=0.5, id50=None)
    del changed[7]
    second = pipeline.run("files", input=declare(table, ndjson(changed), COLUMNS))
    assert second.account == (101, 2, 2, 97, 0, 0)
    after = {row[2]: row for row in pipeline.rows(table)}
    written = {key for key in after if after[key] != before.get(key)}
    assert written == {3, 50, 100, 101}
    runs = dict(pipeline.query(f"SELECT id, _run_id FROM curated.{table}"))
    assert {key for key, run in runs.items() if run == second.run_id} == written
    assert runs[7] == first.run_id
    assert pipeline.query(f"SELECT id, total FROM curated.{table} WHERE id IN (3, 50) ORDER BY id") == [
        (3, 0.5),
        (50, None),
    ]


def test_of_rows_with_one_key_the_last_by_raw_order_wins_across_files(pipeline, declare, table, tmp_path):
    for number, total in (("1", 1.0), ("2", 2.0), ("3", 3.0)):
        (tmp_path / f"part{number}.ndjson").write_text(
            ndjson([{"id": 1, "total": total}, {"id": 10 + int(number), "total": total}])
        )
    (tmp_path / "part2.ndjson").write_text(ndjson([{"id": 2, "total": 1.0}, {"id": 2, "total": 5.0}]))
    run = pipeline.run("files", input=declare(table, None, COLUMNS, location="part*.ndjson"))
    assert run.account == (6, 4, 0, 0, 2, 0)
    found = pipeline.query(f"SELECT id, total, r.line FROM curated.{table}, pipeline.raw_line(_run_id, _raw) AS r")
    assert sorted(found) == [(1, 3.0, 1), (2, 5.0, 2), (11, 1.0, 2), (13, 3.0, 2)]


def test_of_rows_with_one_key_the_last_wins_across_the_chunks_of_a_file(pipeline, declare, table):
    # chunks of 16 MB run side by side; the padding makes three of them
    padding = "x" * 10_000
    rows = [{"id": i % 3000, "total": i, "padding": padding} for i in range(4000)]
    run = pipeline.run("files", input=declare(table, ndjson(rows), COLUMNS))
    assert pipeline.query("SELECT count(*) FROM pipeline.chunks WHERE run_id = %s", run.run_id) == [(3,)]
    assert run.account == (4000, 3000, 0, 0, 1000, 0)
    totals = dict(pipeline.query(f"SELECT id, total FROM curated.{table}"))
    assert totals == {row["id"]: row["total"] for row in rows}


def test_two_runs_of_one_new_source_at_the_same_moment_do_no_harm(pipeline, declare, table, tmp_path):
    given = declare(table, ndjson(orders(2000)), COLUMNS)
    other = tmp_path / "other"
    other.mkdir()
    text = Path(given).read_text().replace("data.ndjson", "more.ndjson")
    (other / "more.ndjson").write_text(ndjson(orders(3000)))
    (other / "more.toml").write_text(text)
    started = [pipeline.start("files", input=given), pipeline.start("files", input=str(other / "more.toml"))]
    runs = [pipeline.wait(arn) for arn in started]
    assert [run.status for run in runs] == ["SUCCEEDED", "SUCCEEDED"]
    assert sum(run.row["inserted"] for run in runs) == 3000
    assert sum(run.row["unchanged"] for run in runs) == 2000
    assert pipeline.query(f"SELECT count(*), count(DISTINCT id), sum(total) FROM curated.{table}") == [
        (3000, 3000, sum(row["total"] for row in orders(3000)))
    ]


def test_an_execution_name_that_is_started_twice_runs_once(pipeline, declare, table):
    given, name = declare(table, ndjson(orders(50)), COLUMNS), f"once-{uuid.uuid4().hex[:8]}"
    first = pipeline.start("files", name=name, input=given)
    assert pipeline.start("files", name=name, input=given) == first
    run = pipeline.wait(first)
    assert run.account == (50, 50, 0, 0, 0, 0)
    client = pipeline.client("stepfunctions")
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        pipeline.start("files", name=name, input=declare(table, ndjson(orders(60)), COLUMNS))
    assert pipeline.query(f"SELECT count(*) FROM curated.{table}") == [(50,)]


def position(pipeline):
    found = pipeline.query("SELECT position FROM pipeline.cursors WHERE source = 'weather'")
    return found[0][0] if found else None


def test_the_cursor_moves_with_runs_that_follow_it_and_stays_for_a_given_window_or_a_part(pipeline):
    start = position(pipeline)
    pipeline.run("weather", start="2014-05-01", end="2014-05-10")
    assert position(pipeline) == start

    first = pipeline.run("weather")
    assert first.status == "SUCCEEDED"
    assert position(pipeline) == first.row["window_end"] != start

    # one station's rows are no reason to skip the days of the others
    assert pipeline.run("weather", input="Oslo").status == "SUCCEEDED"
    assert position(pipeline) == first.row["window_end"]

    second = pipeline.run("weather")
    after = dt.date.fromisoformat(first.row["window_end"]) + dt.timedelta(days=1)
    assert second.row["window_start"] == str(after - dt.timedelta(days=Weather.overlap_days))
    assert position(pipeline) == second.row["window_end"] > first.row["window_end"]
    assert second.row["unchanged"] >= Weather.overlap_days
