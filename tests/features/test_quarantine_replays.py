"""Quarantined rows judged again by today's source and suite: what passes is published once, never over newer data."""

import concurrent.futures
import gzip
import json

import pytest
from http_api import call, token

from chalicelib.warehouse import connection, tables

COLUMNS = {"id": "bigint not null", "total": "double precision", "status": "text"}


def suite(most, fail=0.9):
    between = {"column": "total", "min_value": 0, "max_value": most}
    expectations = [
        {"type": "expect_column_values_to_be_between", "kwargs": between, "severity": "critical", "id": "total-range"},
        # of a whole run; a replay of two rows is not one
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 3}, "severity": "critical"},
    ]
    return {"expectations": expectations, "meta": {"sluice": {"quarantine": {"fail": fail}}}}


def record(number, total, status="paid"):
    return {"id": number, "total": total, "status": status}


RECORDS = [record(1, 10), record(2, 500), record(3, 30), record(4, "twelve"), record(5, 700), record(6, 60)]


def ndjson(records):
    return "".join(json.dumps(each) + "\n" for each in records)


@pytest.fixture
def mend(tmp_path):
    """mend(table, most) lets the declared suite of the table allow totals up to `most`."""

    def mended(table, most):
        (tmp_path / f"{table}.suite.json").write_text(json.dumps({"name": table, **suite(most)}))

    return mended


@pytest.fixture
def states(pipeline):
    """states(run): of the rows that the run set aside, by state, as `sluice runs show` has them."""

    def counted(run_id):
        found = json.loads(pipeline.sluice("runs", "show", run_id, "--json").stdout)["quarantine_states"]
        return {state: number for state, number in found.items() if number}

    return counted


@pytest.fixture
def replay(pipeline):
    """replay(…) runs `sluice quarantine replay … --json`; gives the outcomes."""

    def replayed(*arguments, status=0):
        ran = pipeline.sluice("quarantine", "replay", *arguments, "--json", status=status)
        return json.loads(ran.stdout) if status == 0 else ran.stderr

    return replayed


def account(outcome):
    return tuple(outcome[name] for name in ("fetched", "inserted", "updated", "unchanged", "duplicates", "quarantined"))


def totals(pipeline, table):
    return dict(pipeline.query(f"SELECT id, total FROM curated.{table} ORDER BY id"))


def test_rows_that_pass_today_are_published_and_the_others_stay_once_with_todays_reasons(
    pipeline, declare, table, mend, replay, states
):
    run = pipeline.run("files", input=declare(table, ndjson(RECORDS), COLUMNS, suite=suite(100)))
    assert (run.status, run.account) == ("SUCCEEDED", (6, 3, 0, 0, 0, 3))
    assert states(run.run_id) == {"open": 3}
    mend(table, 600)
    [first] = replay("--run", run.run_id)
    assert (first["status"], first["verdict"], account(first)) == ("succeeded", "warn", (3, 1, 0, 0, 0, 2))
    assert totals(pipeline, table) == {1: 10, 2: 500, 3: 30, 6: 60}
    assert states(run.run_id) == {"open": 2, "published": 1}
    listed = json.loads(pipeline.sluice("quarantine", "list", "--run", run.run_id, "--json").stdout)
    rows = {row["line"]: row for row in listed["rows"]}
    assert {line: (row["state"], row["replays"]) for line, row in rows.items()} == {
        5: ("open", 1),
        4: ("open", 1),
        2: ("published", 1),
    }
    # the reason is the one that today's suite gives
    assert rows[5]["reasons"][0]["message"] == "total is 700, expected between 0 and 600"
    assert {mail["subject"].split(":")[0] for mail in pipeline.emails(first["run_id"])} == {"[sluice] files"}
    # lineage: the raw object is the original's own, byte for byte
    [(key, line)] = pipeline.query(
        f"SELECT found.key, found.line FROM curated.{table}, pipeline.raw_line(_run_id, _raw) AS found WHERE id = 2"
    )
    assert f"run={run.run_id}/" in key and line == 2
    mend(table, 1000)
    [second] = replay("--source", "files", "--reason", "total-range", "--run", run.run_id)
    assert second["run_id"] != first["run_id"] and account(second) == (1, 1, 0, 0, 0, 0)
    assert totals(pipeline, table) == {1: 10, 2: 500, 3: 30, 5: 700, 6: 60}
    assert states(run.run_id) == {"open": 1, "published": 2}
    # what passed is never judged again, and the row that is no number stays
    [third] = replay("--run", run.run_id)
    assert account(third) == (1, 0, 0, 0, 0, 1)
    number = rows[4]["id"]
    assert "discarded 1" in pipeline.sluice("quarantine", "discard", str(number), "--why", "a test").stdout
    told = pipeline.sluice("quarantine", "show", str(number)).stdout
    assert "discarded" in told and "why      a test" in told and told.count("it failed again") == 2
    assert states(run.run_id) == {"discarded": 1, "published": 2}
    assert "no open row" in replay("--run", run.run_id, status=1)
    shown = pipeline.sluice("runs", "show", run.run_id).stdout
    assert "3  rows: 2 published, 1 discarded" in shown


def test_two_replays_at_once_are_one_run(pipeline, declare, table, mend, replay):
    run = pipeline.run("files", input=declare(table, ndjson(RECORDS), COLUMNS, suite=suite(100)))
    mend(table, 1000)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        several = list(
            pool.map(
                lambda _: pipeline.sluice("quarantine", "replay", "--run", run.run_id, "--json", status=None), range(3)
            )
        )
    # one that came when it was over already finds the row that failed again, or nothing
    runs = {json.loads(ran.stdout)[0]["run_id"] for ran in several if ran.returncode == 0}
    assert runs
    published = pipeline.query(
        "SELECT settled_by, count(*) FROM pipeline.quarantine WHERE run_id = %s AND state = 'published' GROUP BY 1",
        run.run_id,
    )
    assert [number for _, number in published] == [2] and published[0][0] in runs
    assert totals(pipeline, table) == {1: 10, 2: 500, 3: 30, 5: 700, 6: 60}


def test_a_row_that_was_overtaken_is_a_duplicate_and_told_so(pipeline, declare, table, mend, replay, states):
    first = pipeline.run("files", input=declare(table, ndjson(RECORDS), COLUMNS, suite=suite(100)))
    newer = [record(2, 42), record(7, 70), record(8, 80)]
    second = pipeline.run("files", input=declare(table, ndjson(newer), COLUMNS, suite=suite(100)))
    assert second.row["inserted"] == 3
    mend(table, 1000)
    [outcome] = replay("--run", first.run_id)
    assert account(outcome) == (3, 1, 0, 0, 1, 1)
    assert totals(pipeline, table) == {1: 10, 2: 42, 3: 30, 5: 700, 6: 60, 7: 70, 8: 80}
    assert states(first.run_id) == {"open": 1, "published": 1, "duplicate": 1}
    # what was entered after the original run goes before what a replay published, in whatever order they came
    third = pipeline.run(
        "files", input=declare(table, ndjson([record(5, 5), record(7, 70), record(8, 80)]), COLUMNS, suite=suite(100))
    )
    assert (third.row["updated"], totals(pipeline, table)[5]) == (1, 5)


# (lines of the file that is loaded twice, what the replay of the second load counts, the total of row 2 after it)
REPEATED = {
    "a bad row, then a good one": ([(2, 500), (2, 20)], (1, 0, 0, 0, 1, 0), 20),
    "a good row, then a bad one": ([(2, 20), (2, 500)], (1, 0, 1, 0, 0, 0), 500),
    "a good row between bad ones": ([(2, 500), (2, 20), (2, 600)], (2, 0, 1, 0, 1, 0), 600),
}


@pytest.mark.parametrize("case", REPEATED)
def test_the_last_row_of_a_key_wins_also_where_a_load_before_had_it_already(
    pipeline, declare, table, mend, replay, case
):
    lines, counted, left = REPEATED[case]
    records = [record(1, 10), *(record(*line) for line in lines), record(3, 30), record(4, 40)]
    path = declare(table, ndjson(records), COLUMNS, suite=suite(100))
    pipeline.run("files", input=path)
    again = pipeline.run("files", input=path)
    assert (again.row["inserted"], again.row["unchanged"]) == (0, 4)
    mend(table, 1000)
    [outcome] = replay("--run", again.run_id)
    assert account(outcome) == counted
    assert totals(pipeline, table) == {1: 10, 2: left, 3: 30, 4: 40}


def test_a_value_that_a_later_run_has_found_as_it_was_wins_over_one_that_was_set_aside_between(
    pipeline, declare, table, mend, replay, states
):
    # a key of two columns, of texts that COPY, JSON and Postgres write differently
    columns = {"id": "bigint not null", "at": "timestamptz not null", "name": "text not null", "total": "bigint"}
    name, at = 'a "b"\\ \t{c}\nd é', "2026-03-01T10:00:00+02:00"

    def load(total):
        records = [
            {"id": number, "at": at, "name": name, "total": 10 if number > 1 else total} for number in range(1, 5)
        ]
        path = declare(table, ndjson(records), columns, key=("at", "name", "id"), suite=suite(100))
        return pipeline.run("files", input=path)

    load(10)
    between = load(500)
    load(10)
    mend(table, 1000)
    [outcome] = replay("--run", between.run_id)
    assert account(outcome) == (1, 0, 0, 0, 1, 0)
    assert totals(pipeline, table) == {1: 10, 2: 10, 3: 10, 4: 10}
    assert states(between.run_id) == {"duplicate": 1}
    # a row that nothing newer was found of is published all the same
    last = load(2000)
    mend(table, 5000)
    [outcome] = replay("--run", last.run_id)
    assert (account(outcome), totals(pipeline, table)[1]) == ((1, 0, 1, 0, 0, 0), 2000)


def test_the_key_of_a_row_is_kept_where_it_is_known(pipeline, declare, table):
    lines = [
        *ndjson([*RECORDS[:4], {"id": "five", "total": 1}, {"total": 1}, {"id": 8, "total": 800}]).splitlines(),
        "{",
    ]
    run = pipeline.run("files", input=declare(table, "\n".join(lines), COLUMNS, suite=suite(100)))
    found = pipeline.query(f"SELECT line, key FROM pipeline.quarantine WHERE run_id = '{run.run_id}' ORDER BY line")
    assert found == [(2, ["2"]), (4, ["4"]), (5, None), (6, None), (7, ["8"]), (8, None)]


CSV = 'id,total,status\n1,10,paid\n2,500,"of two\nlines"\n3,30,paid\n4,40,paid,more\n5,700,paid\n6,60,paid\n7,70,paid\n'
FORMATS = {
    "csv": (CSV.encode(), "data.csv", 4, {2: 500.0, 5: 700.0}),
    "csv.gz": (gzip.compress(CSV.encode()), "data.csv.gz", 4, {2: 500.0, 5: 700.0}),
    "ndjson.gz": (gzip.compress((ndjson(RECORDS) + "{broken\n").encode()), "data.ndjson.gz", 3, {2: 500.0, 5: 700.0}),
    "array": (json.dumps([*RECORDS, 7, record(9, 9)]).encode(), "data.json", 4, {2: 500.0, 5: 700.0}),
}


@pytest.mark.parametrize("format", FORMATS)
def test_rows_of_every_kind_of_raw_object_are_read_from_it(pipeline, declare, table, mend, replay, states, format):
    content, name, inserted, passed = FORMATS[format]
    run = pipeline.run("files", input=declare(table, content, COLUMNS, suite=suite(100), name=name))
    assert run.row["inserted"] == inserted
    quarantined = run.row["quarantined"]
    # the working copies and the manifest of the original run expire before its raw objects do
    s3, bucket = pipeline.client("s3"), pipeline.env["SLUICE_BUCKET"]
    for found in s3.list_objects_v2(Bucket=bucket, Prefix=f"runs/{run.run_id}/")["Contents"]:
        if "/work/" in found["Key"] or found["Key"].endswith("manifest.json"):
            s3.delete_object(Bucket=bucket, Key=found["Key"])
    mend(table, 1000)
    [outcome] = replay("--run", run.run_id)
    assert account(outcome) == (quarantined, 2, 0, 0, 0, quarantined - 2)
    assert {n: total for n, total in totals(pipeline, table).items() if n in (2, 5)} == passed
    assert states(run.run_id) == {"open": quarantined - 2, "published": 2}


def test_rows_of_a_run_that_published_nothing_are_left_to_a_run_of_the_whole(
    pipeline, declare, table, mend, replay, states
):
    run = pipeline.run("files", input=declare(table, ndjson(RECORDS), COLUMNS, suite=suite(100, fail=0.1)))
    assert (run.error, states(run.run_id)) == ("QualityFailed", {"open": 3})
    mend(table, 1000)
    assert "3 rows are open, but their runs published nothing" in replay("--run", run.run_id, status=1)
    assert states(run.run_id) == {"open": 3}


def test_a_replay_that_fails_leaves_the_rows_open_and_is_tried_again_under_another_name(
    pipeline, declare, table, mend, replay, states
):
    run = pipeline.run("files", input=declare(table, ndjson(RECORDS), COLUMNS, suite=suite(100)))
    [(key,)] = pipeline.query("SELECT key FROM pipeline.raw_objects WHERE run_id = %s", run.run_id)
    s3, bucket = pipeline.client("s3"), pipeline.env["SLUICE_BUCKET"]
    kept = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.delete_object(Bucket=bucket, Key=key)
    failed = pipeline.sluice("quarantine", "replay", "--run", run.run_id, status=4).stdout
    assert "NotFound" in failed and "cannot be read any more" in failed
    assert states(run.run_id) == {"open": 3}
    s3.put_object(Bucket=bucket, Key=key, Body=kept)
    mend(table, 1000)
    [outcome] = replay("--run", run.run_id)
    assert outcome["run_id"].endswith("-2") and account(outcome) == (3, 2, 0, 0, 0, 1)


def test_a_record_of_a_response_is_read_with_the_request_that_it_answered(pipeline, states, replay):
    run = pipeline.run("weather", start="2019-02-01", end="2019-02-07", input="Oslo")
    assert run.row["inserted"] == 7
    # as if the third day had been set aside
    pipeline.query("DELETE FROM curated.weather WHERE _run_id = %s AND day = '2019-02-03'", run.run_id)
    pipeline.query(
        "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)"
        """ VALUES (%s, 'weather', 0, 0, 3, '[{"kind": "type", "message": "planted"}]', '{}')""",
        run.run_id,
    )
    s3, bucket = pipeline.client("s3"), pipeline.env["SLUICE_BUCKET"]
    s3.delete_object(Bucket=bucket, Key=f"runs/{run.run_id}/manifest.json")
    [outcome] = replay("--run", run.run_id)
    assert account(outcome) == (1, 1, 0, 0, 0, 0)
    assert pipeline.query("SELECT station FROM curated.weather WHERE _run_id = %s", outcome["run_id"]) == [("Oslo",)]
    assert states(run.run_id) == {"published": 1}
    # the cursor is that of runs that fetch
    assert pipeline.query("SELECT by_cursor, window_start FROM pipeline.runs WHERE run_id = %s", outcome["run_id"]) == [
        (False, None)
    ]


def test_the_api_lists_replays_and_discards_with_the_rights_of_its_functions(pipeline, declare, table, mend, states):
    address = pipeline.env["SLUICE_API_URL"]
    reads, runs = (token(pipeline.env["DATABASE_URL"], scope) for scope in ("read", "run"))
    run = pipeline.run("files", input=declare(table, ndjson(RECORDS), COLUMNS, suite=suite(100)))
    listed = call(address, "GET", f"/quarantine?run={run.run_id}&limit=2", reads)
    assert (listed.status, len(listed.json["rows"]), sum(each["rows"] for each in listed.json["reasons"])) == (
        200,
        2,
        3,
    )
    rest = call(address, "GET", listed.json["next"], reads).json
    assert (len(rest["rows"]), rest["next"]) == (1, None)
    assert call(address, "POST", "/quarantine/replay", reads, {"run": run.run_id}).status == 403
    mend(table, 600)
    asked = call(address, "POST", "/quarantine/replay", runs, {"run": run.run_id, "reason": "total-range"})
    [started] = asked.json["replays"]
    assert (asked.status, started["rows"], started["replay_of"], started["new"]) == (202, 2, run.run_id, True)
    assert pipeline.wait(started["execution"]).account == (2, 1, 0, 0, 0, 1)
    body = {"run": run.run_id, "why": "a test"}
    assert call(address, "POST", "/quarantine/discard", runs, body).json["discarded"] == 2
    assert states(run.run_id) == {"published": 1, "discarded": 2}
    told = [call(address, "GET", f"/runs/{name}", reads).json for name in (run.run_id, started["run_id"])]
    assert [each["replay_of"] for each in told] == [None, run.run_id]
    assert told[0]["quarantine_states"]["discarded"] == 2


@pytest.fixture
def aborted(pipeline):
    """aborted(table, run): the execution that replays the run's rows, stopped while its Plan waits for the table."""

    def abort(table, run):
        holding = connection.connect(pipeline.env["DATABASE_URL"])
        try:
            with holding.cursor() as cursor:
                # as `tables.ensure_curated` does
                cursor.execute(
                    "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"create {tables.CURATED}.{table}",)
                )
            runs = token(pipeline.env["DATABASE_URL"], "run")
            asked = call(pipeline.env["SLUICE_API_URL"], "POST", "/quarantine/replay", runs, {"run": run.run_id})
            [started] = asked.json["replays"]
            pipeline.client("stepfunctions").stop_execution(executionArn=started["execution"])
        finally:
            holding.close()
        # a claim that is younger may belong to a run that is about to begin
        pipeline.query(
            "UPDATE pipeline.quarantine SET claimed_at = claimed_at - interval '2 minutes' WHERE run_id = %s",
            run.run_id,
        )
        return started

    return abort


@pytest.mark.parametrize("then", ["replayed", "discarded"])
def test_rows_of_a_replay_that_was_aborted_can_be_replayed_and_discarded(
    pipeline, declare, table, mend, replay, states, aborted, then
):
    run = pipeline.run("files", input=declare(table, ndjson(RECORDS), COLUMNS, suite=suite(100)))
    started = aborted(table, run)
    assert states(run.run_id) == {"replaying": 3}
    mend(table, 1000)
    if then == "replayed":
        [outcome] = replay("--run", run.run_id)
        assert outcome["run_id"] == f"{started['run_id']}-2" and account(outcome) == (3, 2, 0, 0, 0, 1)
        assert states(run.run_id) == {"open": 1, "published": 2}
    else:
        ran = pipeline.sluice("quarantine", "discard", "--run", run.run_id, "--why", "a test")
        assert "discarded 3" in ran.stdout
        assert states(run.run_id) == {"discarded": 3}
        assert totals(pipeline, table) == {1: 10, 3: 30, 6: 60}


def test_every_command_and_route_takes_the_same_filters(pipeline, declare, table, mend, replay, states):
    run = pipeline.run("files", input=declare(table, ndjson(RECORDS), COLUMNS, suite=suite(100)))
    other = pipeline.run("files", input=declare(table, ndjson(RECORDS), COLUMNS, suite=suite(100)))
    address, scopes = (
        pipeline.env["SLUICE_API_URL"],
        [token(pipeline.env["DATABASE_URL"], scope) for scope in ("read", "run")],
    )
    options = ("--run", run.run_id, "--source", "files", "--since", "2020-01-01")
    fields = {"run": run.run_id, "source": "files", "since": "2020-01-01"}
    listed = json.loads(pipeline.sluice("quarantine", "list", *options, "--reason", "total-range", "--json").stdout)
    assert sorted(row["line"] for row in listed["rows"]) == [2, 5]
    query = "&".join(f"{name}={value}" for name, value in {**fields, "reason": "total-range"}.items())
    by_api = call(address, "GET", f"/quarantine?{query}", scopes[0]).json
    assert [row["id"] for row in by_api["rows"]] == [row["id"] for row in listed["rows"]]
    mend(table, 600)
    [outcome] = replay(*options, "--reason", "total-range")
    assert account(outcome) == (2, 1, 0, 0, 0, 1)
    ran = pipeline.sluice("quarantine", "discard", *options, "--reason", "total-range", "--why", "a test")
    assert "discarded 1" in ran.stdout
    body = {**fields, "reason": "number", "why": "a test"}
    assert call(address, "POST", "/quarantine/discard", scopes[1], body).json == {
        "discarded": 1,
        "left": 0,
        "replaying": 0,
    }
    assert states(run.run_id) == {"published": 1, "discarded": 2}
    assert states(other.run_id) == {"open": 3}
    none = call(address, "POST", "/quarantine/replay", scopes[1], {**fields, "reason": "total-range"})
    assert none.status == 404
