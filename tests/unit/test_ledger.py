"""What the ledger tells of runs: each reason of a quarantine once, with its first record; the last run of a source."""

import datetime as dt
import json
import uuid
from types import SimpleNamespace

import psycopg2
import pytest

from chalicelib.contracts import Window
from chalicelib.errors import ContractError
from chalicelib.warehouse import ledger, publishing, queries

RULE = {"kind": "expectation", "column": "total", "message": "total is -1, expected at least 0", "expectation": "e1"}


def unfit(column, value, problem):
    """The reason of a value that its column cannot hold."""
    return {"kind": "type", "column": column, "value": value, "message": f"{column} is {value}, {problem}"}


def malformed(message):
    return {"kind": "record", "column": None, "value": None, "message": message}


TYPE = unfit("day", "'x'", "expected a date")
OTHER = unfit("total", "'x'", "expected a number")
RECORD = malformed("not valid JSON")


@pytest.fixture
def cursor(database_url):
    connection = psycopg2.connect(database_url)
    with connection.cursor() as cursor:
        yield cursor
    connection.rollback()
    connection.close()


@pytest.fixture
def run_id(cursor):
    name = f"run-{uuid.uuid4().hex}"
    cursor.execute(
        "INSERT INTO pipeline.runs (run_id, source, table_name, execution, input, status, started_at)"
        " VALUES (%s, 'orders', 'orders', 'arn', '{}', 'running', now())",
        [name],
    )
    for part in (0, 1):
        cursor.execute(
            "INSERT INTO pipeline.raw_objects (run_id, part, key, bytes, sha256) VALUES (%s, %s, %s, 1, '')",
            [name, part, f"raw/{part}"],
        )
    return name


def set_aside(cursor, run_id, part, line, *reasons):
    cursor.execute(
        "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)"
        " VALUES (%s, 'orders', 0, %s, %s, %s, %s)",
        [run_id, part, line, json.dumps(reasons), f"record {part}:{line}"],
    )


def reasons(cursor, run_id):
    found = ledger.rows(cursor, "quarantine_reasons", run_id=run_id)
    return [(row["kind"], row["rows"], row["message"], row["record"], row["line"], row["key"]) for row in found]


def told(cursor, run_id):
    return [(rows, message) for _, rows, message, *_ in reasons(cursor, run_id)]


def test_each_reason_is_counted_once_with_its_first_record(cursor, run_id):
    set_aside(cursor, run_id, 1, 1, TYPE, OTHER)
    set_aside(cursor, run_id, 0, 7, TYPE, RULE)
    set_aside(cursor, run_id, 0, 9, TYPE, RULE)
    set_aside(cursor, run_id, 0, 10, RECORD)
    assert reasons(cursor, run_id) == [
        ("type", 3, "day is 'x', expected a date", "record 0:7", 7, "raw/0"),
        ("expectation", 2, "total is -1, expected at least 0", "record 0:7", 7, "raw/0"),
        ("record", 1, "not valid JSON", "record 0:10", 10, "raw/0"),
        ("type", 1, "total is 'x', expected a number", "record 1:1", 1, "raw/1"),
    ]


def test_values_of_one_reason_are_counted_together_and_the_first_is_an_example(cursor, run_id):
    for line, value in enumerate(("'x'", "'y'", "'is 5, expected a time'")):
        set_aside(cursor, run_id, 0, line, unfit("day", value, "expected a date"))
    for line, low in enumerate((-1, -2)):
        rule = {**RULE, "message": f"total is {low}, expected at least 0"}
        pair = {**RULE, "expectation": "e2", "column": "a, b", "message": f"a is {low} and b is 0, expected a above b"}
        set_aside(cursor, run_id, 1, line, rule, pair)
    assert sorted(told(cursor, run_id)) == [
        (2, "e.g. a is -1 and b is 0, expected a above b"),
        (2, "total is e.g. -1, expected at least 0"),
        (3, "day is e.g. 'x', expected a date"),
    ]


def test_what_is_wrong_in_different_ways_is_not_counted_under_the_first(cursor, run_id):
    set_aside(
        cursor, run_id, 0, 1, unfit("total", "'x'", "expected integer"), malformed("2 fields where the header has 4")
    )
    set_aside(cursor, run_id, 0, 2, unfit("total", "9999999999", "beyond the range of integer"))
    set_aside(cursor, run_id, 0, 3, {**TYPE, "column": "total", "value": "None", "message": "total is null or missing"})
    set_aside(cursor, run_id, 0, 4, malformed("3 fields where the header has 4"))
    set_aside(cursor, run_id, 0, 5, malformed("column t1 is not valid UTF-8"))
    set_aside(cursor, run_id, 0, 6, malformed("column t2 is not valid UTF-8"))
    assert sorted(told(cursor, run_id)) == [
        (1, "column t1 is not valid UTF-8"),
        (1, "column t2 is not valid UTF-8"),
        (1, "total is 'x', expected integer"),
        (1, "total is 9999999999, beyond the range of integer"),
        (1, "total is null or missing"),
        (2, "e.g. 2 fields where the header has 4"),
    ]


def test_masked_values_are_one_reason_without_an_example(cursor, run_id):
    for line in (1, 2):
        set_aside(cursor, run_id, 0, line, unfit("born", "***", "expected a date"))
    assert told(cursor, run_id) == [(2, "born is ***, expected a date")]


def test_a_quarantine_of_more_than_a_gigabyte_has_reasons_too(cursor, run_id):
    cursor.execute(
        "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)"
        " SELECT %s, 'orders', 0, 0, line, %s, repeat('x', 20000000) FROM generate_series(1, 55) AS line",
        [run_id, json.dumps([TYPE])],
    )
    [row] = ledger.rows(cursor, "quarantine_reasons", run_id=run_id)
    assert (row["rows"], row["line"], len(row["record"])) == (55, 1, 20_000_000)


def test_the_last_run_of_each_source_is_found_without_reading_the_others(cursor):
    cursor.execute(
        "INSERT INTO pipeline.runs (run_id, source, table_name, execution, input, status, started_at)"
        " SELECT format('last-%s-%s', s, n), 'last_' || s, 't', 'arn', '{}', 'running', now() - n / 10 * interval '1 h'"
        " FROM generate_series(1, 3) AS s, generate_series(1, 5000) AS n"
    )
    cursor.execute("ANALYZE pipeline.runs")
    sources = ["last_1", "last_3", "last_none"]
    found = ledger.rows(cursor, "last_runs", sources=sources)
    # of those that began at once the last by name, as `GET /runs` has them
    assert sorted(row["run_id"] for row in found) == ["last-1-9", "last-3-9"]
    text = queries.statement("ledger", "last_runs").as_string(cursor)
    cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + text, {"sources": sources})
    [[explained]] = cursor.fetchone()
    scans = [node for node in nodes(explained["Plan"]) if "Relation Name" in node]
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= 40, "of 15,000"


def test_what_failed_last_is_told_of_each_thing_that_was_asked_for(cursor):
    """The same is what has the same source, window and input, whatever triggered it and whichever attempt it is."""
    cursor.execute("DELETE FROM pipeline.runs")
    day = {"from": "2026-01-01", "to": "2026-01-01"}
    runs = [
        ("succeeded since", "failed", {**day, "source": "a", "trigger": "schedule 1"}),
        ("succeeded since-2", "succeeded", {"source": "a", **day, "redrive": "succeeded since"}),
        ("failed again", "failed", {"source": "a", "input": "x", "runs_at_once": 10, "gather_warnings": True}),
        ("failed again-2", "failed", {"source": "a", "input": "x"}),
        ("under way", "failed", {"source": "a", "input": "y"}),
        ("under way-2", "running", {"source": "a", "input": "y"}),
        ("alone", "failed", {"source": "b", **day}),
        ("replay", "failed", {"source": "b", "replay": "c"}),
        ("no input", "failed", ["a"]),
    ]
    for minutes, (run_id, status, given) in enumerate(runs):
        source = given["source"] if isinstance(given, dict) else "unknown"
        cursor.execute(
            "INSERT INTO pipeline.runs (run_id, source, execution, input, status, started_at)"
            " VALUES (%s, %s, 'arn', %s, %s, now() + %s * interval '1 min')",
            [run_id, source, json.dumps(given), status, minutes],
        )
    told = {source: ledger.rows(cursor, "newest_failures", source=source) for source in (None, "a", "c")}
    assert {source: [row["run_id"] for row in found] for source, found in told.items()} == {
        None: ["failed again-2", "alone", "no input"],
        "a": ["failed again-2"],
        "c": [],
    }


def asked(cursor, name, status, given, source, minutes, **more):
    values = {"name": name, "status": status, "input": json.dumps(given), "source": source, "minutes": minutes}
    cursor.execute(
        "INSERT INTO pipeline.runs (run_id, source, execution, input, status, started_at, replay_of)"
        " VALUES (%(name)s, %(source)s, 'arn', %(input)s, %(status)s, '2026-01-01Z'::timestamptz"
        " + %(minutes)s * interval '1 min', %(replay_of)s)",
        {"replay_of": None, **values, **more},
    )


def test_a_failed_run_is_settled_by_the_first_one_of_the_same_that_succeeded_since(cursor):
    source = f"settled_{uuid.uuid4().hex}"
    day = {"source": source, "from": "2026-01-01"}
    runs = [
        ("before", "succeeded", day),
        ("failed", "failed", {**day, "trigger": "schedule 1"}),
        ("rejected", "rejected", day),
        ("another window", "succeeded", {**day, "from": "2026-01-02"}),
        ("failed-2", "failed", {**day, "redrive": "failed"}),
        ("since", "succeeded", {**day, "redrive": "failed-2", "from_scratch": True}),
        ("since then", "succeeded", day),
        ("failed last", "failed", day),
    ]
    for minutes, (name, status, given) in enumerate(runs):
        asked(cursor, f"{source} {name}", status, given, source, minutes)
    asked(cursor, f"{source} replay", "failed", day, source, 1, replay_of=f"{source} before")
    asked(cursor, f"{source} replayed", "succeeded", day, source, 99, replay_of=f"{source} before")
    asked(cursor, f"{source} elsewhere", "succeeded", day, f"{source}_2", 99)
    listed = ledger.list_runs(cursor.connection, 99, ledger.Wanted(source))
    found = {row["run_id"].removeprefix(f"{source} "): row["settled_by"] for row in listed}
    by = f"{source} since"
    assert {name: settled for name, settled in found.items() if settled} == {
        "failed": by,
        "rejected": by,
        "failed-2": by,
    }
    assert ledger.settled_by(cursor.connection, f"{source} failed") == by
    assert ledger.settled_by(cursor.connection, "nobody") is None


def test_who_settled_a_run_is_found_without_reading_the_runs_of_other_things(cursor):
    cursor.execute(
        "INSERT INTO pipeline.runs (run_id, source, execution, input, status, started_at)"
        " SELECT 'file-' || n, 'filed', 'arn', jsonb_build_object('input', n), 'succeeded', now() + n * interval '1 h'"
        " FROM generate_series(1, 5000) AS n"
    )
    asked(cursor, "file-failed", "failed", {"input": 7}, "filed", 0)
    cursor.execute("ANALYZE pipeline.runs")
    cursor.execute("SELECT prosrc FROM pg_proc WHERE oid = 'pipeline.settled_by(text)'::regprocedure")
    text = cursor.fetchone()[0].replace("run_id = run ", "run_id = 'file-failed' ")
    cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + text)
    [[explained]] = cursor.fetchone()
    scans = [node for node in nodes(explained["Plan"]) if "Relation Name" in node]
    touched = [(node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in scans]
    assert len(scans) == 2 and sum(touched) == 2, "of 5,001"
    assert ledger.settled_by(cursor.connection, "file-failed") == "file-7"


def nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def judged(cursor, run_id, error=None):
    ledger.judge(cursor, run_id, "fail" if error else "pass", "report", 20, 9, error)


def error_of(cursor, run_id):
    return ledger.get_run(cursor.connection, run_id)["error"]


WHY = {"state": "QualityGate", "error": "QualityFailed", "reason": "9 of 20 rows quarantined, 45%"}


def test_a_rejected_run_keeps_why(cursor, run_id):
    judged(cursor, run_id, WHY)
    ledger.reject(cursor, run_id, "code")
    assert error_of(cursor, run_id) == WHY
    assert ledger.get_run(cursor.connection, run_id)["status"] == "rejected"


def test_a_gate_that_is_tried_again_takes_back_what_it_said(cursor, run_id):
    judged(cursor, run_id, WHY)
    judged(cursor, run_id)
    assert error_of(cursor, run_id) is None


def test_a_gate_that_answers_late_leaves_a_failed_run_its_own_error(cursor, run_id):
    lost = {"state": "QualityGate", "error": "States.Timeout", "reason": ""}
    ledger.fail(cursor, run_id, "orders", "arn", {}, lost)
    judged(cursor, run_id, WHY)
    assert error_of(cursor, run_id) == lost


LOST = {"state": "unknown", "error": "RunLost", "reason": "its execution ended as ABORTED"}
ACCOUNT = publishing.Account(0, 0, 0, 0, 0, 0)
ENDS = {
    "publish": lambda cursor, run_id: ledger.publish(cursor, run_id, "pass", ACCOUNT),
    "reject": lambda cursor, run_id: ledger.reject(cursor, run_id, "code"),
    "complete": lambda cursor, run_id: ledger.complete(cursor, run_id, embedded=7),
}


@pytest.mark.parametrize("late", ENDS)
def test_a_run_that_has_failed_meanwhile_stays_failed(cursor, run_id, late):
    if late == "complete":
        ENDS["publish"](cursor, run_id)
    assert ledger.fail(cursor, run_id, "orders", "arn", {}, LOST)
    failed = ledger.get_run(cursor.connection, run_id)
    with pytest.raises(ContractError, match="the run has ended"):
        ENDS[late](cursor, run_id)
    assert ledger.get_run(cursor.connection, run_id) == failed
    assert (failed["status"], failed["error"]) == ("failed", LOST)


def test_a_run_is_neither_completed_before_it_is_published_nor_rejected_after(cursor, run_id):
    with pytest.raises(ContractError, match="the run has ended"):
        ENDS["complete"](cursor, run_id)
    ENDS["publish"](cursor, run_id)
    with pytest.raises(ContractError, match="the run has ended"):
        ENDS["reject"](cursor, run_id)
    assert ledger.get_run(cursor.connection, run_id)["status"] == "published"


def test_who_completes_or_rejects_a_run_again_changes_nothing(cursor, run_id):
    ENDS["publish"](cursor, run_id)
    ledger.complete(cursor, run_id, embedded=7)
    cursor.execute("UPDATE pipeline.runs SET finished_at = finished_at - interval '1 min' WHERE run_id = %s", [run_id])
    done = ledger.get_run(cursor.connection, run_id)
    ledger.complete(cursor, run_id, embedded=3)  # a later run has embedded four of its texts anew
    assert ledger.get_run(cursor.connection, run_id) == done
    cursor.execute("UPDATE pipeline.runs SET status = 'rejected' WHERE run_id = %s", [run_id])
    ledger.reject(cursor, run_id, "code")
    assert ledger.get_run(cursor.connection, run_id)["finished_at"] == done["finished_at"]


STARTED = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize("started_at", [STARTED, None], ids=["known", "unknown"])
def test_a_run_that_fails_before_it_is_entered_began_with_its_execution(cursor, started_at):
    name = f"run-{uuid.uuid4().hex}"
    ledger.fail(cursor, name, "orders", "arn", {}, {"error": "UnknownSource"}, started_at)
    run = ledger.get_run(cursor.connection, name)
    assert run["started_at"] == (started_at or run["finished_at"]) and run["finished_at"] > STARTED


def test_a_clock_ahead_of_postgres_lets_no_run_end_before_it_began(cursor):
    name, ahead = f"run-{uuid.uuid4().hex}", dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    ledger.fail(cursor, name, "orders", "arn", {}, {"error": "UnknownSource"}, ahead)
    run = ledger.get_run(cursor.connection, name)
    assert run["started_at"] == run["finished_at"]


# --- runs that chunks may be taken over from -------------------------------------------------


_ENTERED = """
INSERT INTO pipeline.runs
    (run_id, source, table_name, execution, input, status, started_at, code, replay_of, redrive_of)
VALUES
    (%(run_id)s, %(source)s, %(table)s, 'arn', %(input)s, %(status)s, %(started_at)s, %(code)s, %(replay_of)s,
     %(redrive_of)s)
"""


@pytest.fixture
def entered(cursor):
    """entered("failed", …): a run of that status, of a source that no other test has; each is newer than the last."""
    name, started = f"source_{uuid.uuid4().hex}", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    numbers = iter(range(1, 99))

    def made(status, code="c", table="prints", source=name, replay_of=None, redrive_of=None, **given):
        number = next(numbers)
        values = {
            "run_id": f"{name}-{number}",
            "source": source,
            "table": table,
            "input": json.dumps(given | ({"redrive": redrive_of} if redrive_of else {})),
            "status": status,
            "started_at": started + dt.timedelta(hours=number),
            "code": code,
            "replay_of": replay_of,
            "redrive_of": redrive_of,
        }
        cursor.execute(_ENTERED, values)
        ledger.add_raw_objects(cursor, values["run_id"], [(0, "raw", 7, "digest")])
        return values["run_id"]

    return made


def earlier(cursor, run_id):
    return [(run.run_id, run.redriven) for run in ledger.earlier_runs(cursor.connection, run_id)]


def test_chunks_are_taken_over_from_the_newest_run_that_succeeded(cursor, entered):
    entered("succeeded")
    newest = entered("succeeded")
    for status in ("failed", "rejected", "published", "running"):
        entered(status)
    run_id = entered("running")
    assert earlier(cursor, run_id) == [(newest, False)]
    [found] = ledger.earlier_runs(cursor.connection, run_id)
    assert found.objects == {0: (7, "digest")}


@pytest.mark.parametrize(
    "other",
    [{"code": "d"}, {"code": None}, {"table": "posters"}, {"source": "another"}],
    ids=["code", "code-nobody-knows", "table", "source"],
)
def test_and_from_none_of_another_code_table_or_source(cursor, entered, other):
    entered("succeeded", **other)
    assert earlier(cursor, entered("running")) == []


def test_an_older_run_does_not_stand_in_for_the_newest_one_of_another_code(cursor, entered):
    entered("succeeded")
    entered("succeeded", code="d")
    assert earlier(cursor, entered("running")) == []


def test_a_replay_takes_nothing_over_and_nothing_is_taken_over_from_it(cursor, entered):
    original = entered("rejected")
    entered("succeeded", replay_of=original)
    assert earlier(cursor, entered("running")) == []
    entered("succeeded")
    assert earlier(cursor, entered("running", replay_of=original)) == []


def test_a_run_from_scratch_takes_nothing_over(cursor, entered):
    entered("succeeded")
    assert earlier(cursor, entered("running", from_scratch=True)) == []
    assert len(earlier(cursor, entered("running", from_scratch=False))) == 1


def test_the_attempts_that_a_run_redrives_come_first_newest_first_also_from_scratch(cursor, entered):
    succeeded = entered("succeeded")
    first = entered("failed")
    second = entered("failed", redrive_of=first)
    attempts = [(second, True), (first, True)]
    assert earlier(cursor, entered("running", redrive_of=second)) == [*attempts, (succeeded, False)]
    assert earlier(cursor, entered("running", redrive_of=second, from_scratch=True)) == attempts
    assert earlier(cursor, entered("running", redrive_of=second, code="d")) == []


def test_nothing_is_taken_over_from_a_run_that_was_started_again_under_its_name(cursor, entered):
    """What its first start left of a chunk, of other bytes, lies where its second start may have failed to write."""
    run_id = entered("failed")
    run = ledger.get_run(cursor.connection, run_id)
    source = SimpleNamespace(name=run["source"], table=run["table_name"])
    again = (run["started_at"] + dt.timedelta(minutes=1)).isoformat()
    ledger.open_run(cursor, source, run_id, "arn", run["input"], Window(), again, "c")
    assert ledger.get_run(cursor.connection, run_id)["status"] == "running"
    ledger.fail(cursor, run_id, source.name, "arn", {}, LOST)
    assert earlier(cursor, entered("running", redrive_of=run_id)) == []
