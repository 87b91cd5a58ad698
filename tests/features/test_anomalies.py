"""Rows unlike their history and runs unlike earlier ones: what becomes of them, and who is told."""

import datetime as dt
import json
import re

import pytest

COLUMNS = {"sensor": "text", "measured_at": "timestamptz", "celsius": "double precision"}
NOISE = (0.3, -0.4, 0.1, 0.0, -0.2, 0.5, -0.1, 0.2, -0.5, 0.4)
DAY = dt.date(2026, 3, 1)
ROWS = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}


def reading(day: int, celsius: float | None, hour: int = 12, sensor: str = "a") -> str:
    moment = f"{DAY + dt.timedelta(days=day)}T{hour:02}:00:00Z"
    return json.dumps({"sensor": sensor, "measured_at": moment, "celsius": celsius}) + "\n"


def readings(first: int, count: int) -> str:
    return "".join(reading(day, 20 + NOISE[day % 10]) for day in range(first, first + count))


@pytest.fixture
def load(pipeline, declare, table):
    """load(content, anomalies=…, drift=…) runs a file of readings into the test's table."""

    def loaded(content: str, anomalies=(), drift=None, **given):
        suite = {"expectations": [ROWS], "meta": {"sluice": {"drift": drift} if drift else {}}}
        path = declare(table, content, COLUMNS, key=("sensor", "measured_at"), suite=suite)
        listed = "".join(
            "\n[[anomalies]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in one.items())
            for one in anomalies
        )
        with open(path, "a") as declaration:
            declaration.write(listed)
        return pipeline.run("files", input=path, **given)

    return loaded


def report(pipeline, run) -> dict:
    folder = run.row["report_key"].removesuffix("html")
    body = pipeline.client("s3").get_object(Bucket=pipeline.env["SLUICE_BUCKET"], Key=folder + "json")["Body"]
    return json.loads(body.read())


# --- rows ----------------------------------------------------------------------------------------

CELSIUS = {"column": "celsius", "by": ["sensor"], "time": "measured_at", "minimum": 10}


def test_a_spike_is_published_with_a_mark_and_mailed_with_its_raw_place(pipeline, load, table):
    history = load(readings(0, 20), [CELSIUS])
    assert (history.row["verdict"], pipeline.emails(history.run_id)) == ("pass", [])
    run = load(reading(20, 20.2) + reading(20, 71.5, hour=13), [CELSIUS])
    assert (run.row["verdict"], run.account) == ("warn", (2, 2, 0, 0, 0, 0))
    marked = pipeline.query(f"SELECT celsius, _anomalies FROM curated.{table} WHERE _anomalies IS NOT NULL")
    [(celsius, [mark])] = marked
    assert (celsius, mark["column"], mark["value"]) == (71.5, "celsius", 71.5)
    assert 19.5 < mark["expected"] < 20.5 and mark["low"] < mark["expected"] < mark["high"] < 30

    [email] = pipeline.emails(run.run_id)
    assert "1 of 2 rows judged stand out: celsius" in email["subject"]
    assert "celsius is 71.5" in email["message"]
    place = rf"from raw/source=files/date=\S+/run={run.run_id}/\S+\s+line 2"
    assert re.search(place, email["message"])

    found = report(pipeline, run)["findings"]
    [spike] = [finding for finding in found if finding["level"] == "warn"]
    assert (spike["kind"], spike["count"], spike["quarantined"]) == ("anomaly", 1, False)
    assert spike["examples"][0]["line"] == 2
    _, page = pipeline.get(re.search(r"^Report: (\S+)$", email["message"], re.MULTILINE)[1])
    assert "celsius is 71.5, expected about 20" in page and "The rows that stand out" in page

    shown = pipeline.sluice("runs", "show", run.run_id).stdout
    assert "celsius is 71.5" in shown and "line 2" in shown
    assert json.loads(pipeline.sluice("runs", "show", run.run_id, "--json").stdout)["failed"][0]["examples"]


def test_the_first_rows_of_a_series_are_not_judged_and_the_report_says_so(pipeline, load):
    run = load(readings(0, 5) + reading(5, 900.0), [CELSIUS])
    assert run.row["verdict"] == "pass"
    [note] = report(pipeline, run)["findings"]
    assert note["text"] == "6 of 6 rows not judged: celsius, fewer than 10 values in their history"


def test_marks_for_information_send_no_email(pipeline, load, table):
    anomaly = {**CELSIUS, "severity": "info"}
    load(readings(0, 20), [anomaly])
    run = load(reading(20, 71.5), [anomaly])
    assert (run.row["verdict"], pipeline.emails(run.run_id)) == ("pass", [])
    assert pipeline.query(f"SELECT count(_anomalies) FROM curated.{table}") == [(1,)]


def test_loading_the_same_file_again_marks_nothing_and_mails_nothing(pipeline, load, table):
    load(readings(0, 20), [CELSIUS])
    load(reading(20, 71.5), [CELSIUS])
    before = pipeline.rows(table)
    again = load(reading(20, 71.5), [CELSIUS])
    assert (again.row["verdict"], again.account, pipeline.emails(again.run_id)) == ("pass", (1, 0, 0, 1, 0, 0), [])
    assert pipeline.rows(table) == before


# --- runs ----------------------------------------------------------------------------------------


def row_count(**limit) -> dict:
    return {"row_count": limit, "minimum_runs": 3}


def test_half_the_rows_are_a_warning(pipeline, load):
    for number in range(3):
        assert load(readings(20 * number, 20), drift=row_count()).row["verdict"] == "pass"
    run = load(readings(60, 10), drift=row_count())
    assert (run.row["verdict"], run.row["status"]) == ("warn", "succeeded")
    [email] = pipeline.emails(run.run_id)
    assert "row count: 10 rows, 12 to 28 expected after 3 earlier runs" in " ".join(email["message"].split())
    shown = pipeline.sluice("runs", "show", run.run_id).stdout
    assert "row count as in earlier runs: 10 rows, 12 to 28 expected" in shown


def test_half_the_rows_fail_the_run_where_the_suite_calls_it_critical_and_the_table_stays(pipeline, load, table):
    drift = row_count(severity="critical")
    for number in range(3):
        load(readings(20 * number, 20), drift=drift)
    before = pipeline.rows(table)
    run = load(readings(60, 10), drift=drift)
    assert (run.row["verdict"], run.row["status"], run.error) == ("fail", "rejected", "QualityFailed")
    assert pipeline.rows(table) == before
    # what was rejected is nothing to compare with
    assert load(readings(60, 20), drift=drift).row["verdict"] == "pass"
    assert load(readings(80, 10), drift=drift).row["verdict"] == "fail"


def test_the_first_runs_are_not_judged(pipeline, load):
    for count in (20, 2, 200):
        run = load(readings(0, count), drift=row_count(severity="critical"))
        assert run.row["verdict"] == "pass"
        [result] = [one for one in report(pipeline, run)["results"] if one["type"] == "drift_row_count"]
        assert result["success"] and "runs to compare with" in result["observed"]


def test_nulls_means_and_old_data_are_told_apart(pipeline, load):
    today = (dt.datetime.now(dt.UTC).date() - DAY).days
    drift = {
        "null_rate": {"columns": ["celsius"]},
        "mean": {"columns": ["celsius"]},
        "freshness": {"column": "measured_at", "max_age": "3d", "severity": "info"},
        "minimum_runs": 3,
    }
    for number in range(3):
        assert load(readings(today - 19, 20), drift=drift).row["verdict"] == "pass", number
    old = load(readings(0, 20), drift=drift)
    assert old.row["verdict"] == "pass"
    assert [f["text"].split(":")[0] for f in report(pipeline, old)["findings"]] == ["freshness of measured_at"]
    nulls = load(readings(today - 19, 15) + "".join(reading(today - n, None) for n in range(5)), drift=drift)
    [finding] = report(pipeline, nulls)["findings"]
    assert finding["text"] == "null rate of celsius: 25% null, at most 5% expected after 4 earlier runs"
    warmer = load("".join(reading(today - n, 21.0) for n in range(20)), drift=drift)
    assert "mean of celsius: mean 21, " in report(pipeline, warmer)["findings"][0]["text"]
    assert warmer.row["verdict"] == "warn"
