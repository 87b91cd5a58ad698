"""One run by the API: told from ledger and execution, from one of them alone, and while it is under way."""

import dataclasses
import datetime as dt
import json

import pytest
from botocore.exceptions import ClientError
from memory_s3 import MemoryS3
from test_progress import MANIFEST, at

from chalicelib import settings
from chalicelib.api import answering, callers, problems, run, sources, state_log, table
from chalicelib.errors import NotFound
from chalicelib.executions import Children
from chalicelib.lake import keys
from chalicelib.lake.store import Lake
from chalicelib.warehouse import connection, reader

ROUTES = {route.name: route for route in table.ROUTES}
RUN = "told-by-api"


@pytest.fixture(scope="module", autouse=True)
def entered(database_url):
    """A run of which two chunks of eight are loaded, with a row that was set aside."""
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        cursor.execute(
            "INSERT INTO pipeline.runs (run_id, source, table_name, execution, input, status, started_at)"
            " VALUES (%s, 'people', 'people', 'arn', %s, 'running', now())",
            (RUN, json.dumps({"source": "people", "input": "https://example.org/?apikey=very-secret-indeed"})),
        )
        cursor.execute("INSERT INTO pipeline.raw_objects VALUES (%s, 0, 'raw/key', 10, 'sha')", (RUN,))
        for number in range(2):
            cursor.execute("INSERT INTO pipeline.chunks VALUES (%s, %s, 10, 9, 1, '{}')", (RUN, number))
        cursor.execute(
            "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)"
            " VALUES (%s, 'people', 0, 0, 1, %s, %s)",
            (RUN, json.dumps([{"kind": "value", "message": "is no date"}]), '{"email": "ada@example.org"}'),
        )
    yield
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        cursor.execute("DELETE FROM pipeline.runs WHERE run_id = %s", (RUN,))


@pytest.fixture
def s3():
    return MemoryS3()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, database_url, s3, tmp_path):
    own = reader.transaction
    configured = settings.load({}, bucket="lake", links_url="http://links", lambda_log=str(tmp_path / "lambda.log"))
    monkeypatch.setattr(reader, "transaction", lambda: own(database_url))
    monkeypatch.setattr(run.settings, "current", lambda: configured)
    monkeypatch.setattr(run, "_lake", lambda: Lake("lake", s3))
    return tmp_path


@pytest.fixture
def executed(monkeypatch):
    def given(execution):
        monkeypatch.setattr(run, "execution_of", lambda run_id: execution)

    return given


def get(name, **path):
    query = {key: [value] for key, value in path.items() if key == "format"}
    path = {key: value for key, value in path.items() if key != "format"}
    arrived = answering.Arrived(path, query, {}, b"", callers.Caller("x", ("read",)))
    return answering.answer(ROUTES[name], arrived)


def told(run_id=RUN):
    return json.loads(get("get_runs_run_id", run_id=run_id).content)


def test_where_step_functions_has_forgotten_it_the_ledger_tells(executed):
    executed(None)
    found = told()
    assert (found["status"], found["execution"], found["states"]) == ("running", None, [])
    assert found["chunks"] == {
        "planned": None,
        "kept": None,
        "loaded": 2,
        "failed": 0,
        "running": 0,
        "records": 20,
        "staged": 18,
        "quarantined": 2,
    }
    assert found["links"] == {"report": None, "graph": None}


def test_secrets_and_personal_values_are_masked(executed):
    executed(None)
    found = told()
    assert found["input"]["input"] == "https://example.org/?apikey=***"
    [reason] = found["quarantine"]
    assert reason["rows"] == 1 and "ada@example.org" not in json.dumps(found)


def test_under_way_it_says_how_far_it_is(executed):
    executed(
        at(
            9,
            Plan={"status": "succeeded"},
            WriteManifest={"status": "succeeded", "output": MANIFEST},
            Process={"status": "running", "children": Children(None, succeeded=2, running=3)},
        )
    )
    found = told()
    assert [state["name"] for state in found["states"]] == ["Plan", "WriteManifest", "Process"]
    chunks = found["chunks"]
    assert (chunks["planned"], chunks["loaded"], chunks["running"], chunks["failed"]) == (8, 2, 3, 0)
    assert found["execution"]["status"] == "RUNNING" and found["execution"]["stopped_at"] is None


def test_chunks_that_recorded_their_own_failure_have_failed(executed):
    executed(at(9, Process={"status": "succeeded", "children": Children(8, succeeded=8)}))
    assert told()["chunks"]["failed"] == 6


def test_a_run_that_the_ledger_does_not_know_is_told_from_its_execution(executed):
    execution = at(3, "FAILED", Plan={"status": "failed", "error": "ContractError", "cause": "because"})
    executed(
        execution.__class__(
            **{**vars(execution), "name": "unknown", "input": '{"source": 7}', "error": "ContractError"}
        )
    )
    found = told("unknown")
    assert (found["status"], found["source"], found["error"]["error"]) == ("failed", "", "ContractError")
    assert found["states"][0]["reason"] == "because"


def test_a_run_that_nobody_knows_is_not_found(executed):
    executed(None)
    for name, more in (("get_runs_run_id", {}), ("get_runs_run_id_states_state", {"state": "Plan"})):
        with pytest.raises(NotFound) as raised:
            get(name, run_id="nobody", **more)
        assert problems.of(raised.value, "/").status == 404


@pytest.mark.parametrize("run_id", ["", "a b", 'a"b', "a/b", "x" * 81, "a\x00", "a\n", "{a}"], ids=repr)
def test_what_is_no_name_of_a_run_is_refused(executed, run_id):
    executed(None)
    with pytest.raises(Exception) as raised:
        told(run_id)
    assert problems.of(raised.value, "/").status == 422


def test_a_state_is_told_with_the_lines_of_its_own_function_and_run(executed, surroundings):
    execution = at(3, "SUCCEEDED", Plan={"status": "succeeded", "input": '{"url": "https://a:b@c/"}', "output": "{}"})
    plan = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "arn:aws:lambda:x:1:function:sluice-dev-plan"},
        "Next": "WriteManifest",
    }
    definition = {**execution.definition, "States": {**execution.definition["States"], "Plan": plan}}
    arn = f"arn:aws:states:x:1:execution:sluice-dev:{RUN}"
    executed(dataclasses.replace(execution, name=RUN, arn=arn, definition=definition))
    lines = [
        {"run_id": RUN, "state": "plan", "message": "one"},
        {"run_id": RUN, "state": "plan", "message": "metrics", "_aws": {}},
        {"run_id": RUN, "state": "load", "message": "another state's"},
        {"run_id": "other", "state": "plan", "message": f"another run's, that names {RUN}"},
        {"run_id": RUN, "state": "plan", "message": "two", "url": "https://x/?token=very-secret"},
    ]
    (surroundings / "lambda.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = json.loads(get("get_runs_run_id_states_state", run_id=RUN, state="Plan").content)
    assert [line["message"] for line in found["log"]] == ["one", "two"]
    assert found["log"][1]["url"] == "https://x/?token=***"
    assert found["input"] == {"url": "https://***@c/"} and found["log_complete"]


def test_of_a_long_log_the_newest_lines_are_told(executed, surroundings, monkeypatch):
    monkeypatch.setattr(state_log, "_function", lambda execution, name: "sluice-dev-plan")
    monkeypatch.setattr(state_log, "_handler", lambda function, execution: "plan")
    execution = at(3, "SUCCEEDED", Plan={"status": "succeeded"})
    executed(dataclasses.replace(execution, name=RUN))
    lines = [json.dumps({"run_id": RUN, "state": "plan", "number": n}) + "\n" for n in range(state_log.LINES + 5)]
    (surroundings / "lambda.log").write_text("".join(lines))
    found = json.loads(get("get_runs_run_id_states_state", run_id=RUN, state="Plan").content)
    assert [line["number"] for line in found["log"]] == list(range(5, state_log.LINES + 5))
    assert found["log_complete"] is False


class Logs:
    """Stands in for CloudWatch: `lines` are (milliseconds, number); `pages` counts what was asked for."""

    def __init__(self, lines, fault=None):
        self.lines, self.fault, self.pages = lines, fault, 0

    def get_paginator(self, operation):
        assert operation == "filter_log_events"
        return self

    def paginate(self, startTime, endTime, **given):
        assert startTime <= endTime
        within = [number for at, number in self.lines if startTime <= at <= endTime]
        for place in range(0, max(len(within), 1), 1000):
            self.pages += 1
            if self.fault:
                raise ClientError({"Error": {"Code": self.fault}}, "FilterLogEvents")
            documents = [{"run_id": RUN, "state": "plan", "number": n} for n in within[place : place + 1000]]
            yield {"events": [{"message": json.dumps(document)} for document in documents]}


@pytest.fixture
def logged(executed, monkeypatch):
    """logged(logs) is what is told of a state that took ten hours, where CloudWatch is `logs`."""

    def told(logs):
        monkeypatch.setattr(state_log, "_client", lambda: logs)
        monkeypatch.setattr(state_log, "_function", lambda execution, name: "sluice-dev-plan")
        monkeypatch.setattr(state_log, "_handler", lambda function, execution: "plan")
        configured = settings.load({}, bucket="lake", links_url="http://links")
        monkeypatch.setattr(settings, "current", lambda: configured)
        first = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
        span = {"first": first, "last": first + dt.timedelta(hours=10)}
        executed(dataclasses.replace(at(3, "SUCCEEDED", Plan={"status": "succeeded", **span}), name=RUN))
        return json.loads(get("get_runs_run_id_states_state", run_id=RUN, state="Plan").content)

    return told


def every(milliseconds, count):
    """So many lines, the last of them at the end of that state."""
    end = int(dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC).timestamp() * 1000)
    return [(end - milliseconds * (count - n), n) for n in range(count)]


@pytest.mark.parametrize(
    ("step", "count", "told", "pages"),
    [(1, 50_000, 200, 60), (1000, 36_000, 200, 5), (400_000, 80, 80, 8), (1, 0, 0, 8)],
    ids=["all-at-the-end", "evenly", "few", "none"],
)
def test_the_newest_lines_are_read_from_the_end_and_the_others_not(logged, step, count, told, pages):
    logs = Logs(every(step, count))
    found = logged(logs)
    assert [line["number"] for line in found["log"]] == list(range(count - told, count))
    assert found["log_complete"] is (told == count)
    assert logs.pages <= pages


@pytest.mark.parametrize("fault", ["ThrottlingException", "AccessDeniedException"])
def test_a_log_that_cannot_be_read_hides_nothing_else(logged, fault):
    found = logged(Logs(every(1000, 10), fault))
    assert (found["status"], found["log"], found["log_complete"]) == ("succeeded", [], False)


def test_a_log_that_takes_too_long_is_told_in_part(logged, monkeypatch):
    monkeypatch.setattr(state_log, "_SECONDS", -1)
    found = logged(Logs(every(1000, 100)))
    assert len(found["log"]) == 1 and found["log_complete"] is False


def test_a_report_is_what_the_gate_wrote_and_a_missing_one_is_not_found(s3):
    s3.objects[keys.report(RUN, "html")] = "<p>Zürich</p>".encode()
    s3.objects[keys.report(RUN, "json")] = b'{"run_id": "x"}'
    page = get("get_runs_run_id_report", run_id=RUN)
    assert (page.media, page.content) == ("text/html", "<p>Zürich</p>")
    assert "Content-Security-Policy" in page.headers
    data = get("get_runs_run_id_report", run_id=RUN, format="json")
    assert (data.media, json.loads(data.content)) == ("application/json", {"run_id": "x"})
    with pytest.raises(NotFound):
        get("get_runs_run_id_report", run_id="nobody")


def test_every_source_is_told_and_one_that_cannot_be_used_says_why(monkeypatch):
    own = sources.sources.get

    def get_source(name):
        if name == "market":
            raise sources.DeclarationError("market has no columns", source="market")
        return own(name)

    monkeypatch.setattr(sources.sources, "get", get_source)
    found = {each["name"]: each for each in json.loads(get("get_sources").content)["sources"]}
    assert set(found) == set(sources.sources.names())
    assert found["market"]["error"] == "market has no columns"
    people = found["people"]
    assert people["last_run"]["run_id"] == RUN
    assert {column["name"] for column in people["columns"] if column["personal"]}
    assert dt.datetime.fromisoformat(people["last_run"]["started_at"])
