"""The hourly schedule sweeps what lost runs left, and touches nothing of a run that is under way."""

import datetime as dt
import threading
import time

import pytest
from werkzeug.wrappers import Response

from tests.unit.loopback import serving

COLUMNS = {"id": "integer", "city": "text"}
CONTENT = "".join(f'{{"id": {number}, "city": "city {number}"}}\n' for number in range(50))
# the schedule is due at 17 minutes past; the clock that says so is the schedules' own
DUE = dt.datetime(2027, 1, 5, 9, 17, tzinfo=dt.UTC)


def until(found, seconds=60):
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


@pytest.fixture
def server():
    """(its URL, what it was asked for, an event that lets it answer)"""
    asked, answer = [], threading.Event()

    def serve(environ, start_response):
        asked.append(environ["PATH_INFO"])
        answer.wait(120)
        return Response(CONTENT, content_type="application/x-ndjson")(environ, start_response)

    with serving(serve) as url:
        try:
            yield url, asked, answer
        finally:
            answer.set()


@pytest.fixture
def throttled(pipeline):
    """throttled(run, times): Lambda does not take the run's QualityGate at once; its rows are staged by then."""
    names = []

    def arm(run_id, times):
        names.append(run_id)
        fault = {"name": run_id, "service": "lambda", "action": "throttle", "function": "quality_gate"}
        pipeline.stack.arm([{**fault, "texts": [run_id], "times": times}])

    yield arm
    for name in names:
        pipeline.stack.disarm(name)


@pytest.fixture
def sweep(pipeline):
    """Has the real schedule fire, by the clock or by hand, and waits for the invocation that it leads to."""

    def fire(by_hand=False):
        before = pipeline.stack.usage().get("start_run", {}).get("invocations", 0)
        if by_hand:
            assert "for a sweep" in pipeline.sluice("trigger", "schedule", "housekeeping").stdout
        else:
            [fired] = pipeline.stack.move_clock(DUE, ["housekeeping"])["fired"]
            assert fired["schedule"].endswith("-housekeeping")
        until(lambda: pipeline.stack.usage().get("start_run", {}).get("invocations", 0) > before)

    yield fire
    pipeline.stack.move_clock(None)


def is_struck(pipeline, name):
    return any(fault["struck"] for fault in pipeline.stack.armed() if fault["name"] == name)


def status(pipeline, run_id):
    [(found,)] = pipeline.query("SELECT status FROM pipeline.runs WHERE run_id = %s", run_id)
    return found


def test_a_sweep_on_schedule_clears_away_what_is_lost_and_no_run_under_way(
    pipeline, declare, table, server, throttled, sweep
):
    url, asked, answer = server
    names = {kind: f"files-{kind}-{table[-8:]}" for kind in ("lost", "waiting", "fetching")}

    def start(kind, content=CONTENT, **settings):
        given = declare(f"{table}_{kind}", content, COLUMNS, name=f"{kind}.ndjson", **settings)
        return pipeline.start("files", name=names[kind], input=given)

    throttled(names["lost"], times=5)
    throttled(names["waiting"], times=4)
    lost, waiting = start("lost"), start("waiting")
    fetching = start("fetching", None, location=f"{url}/data.ndjson")
    until(lambda: is_struck(pipeline, names["lost"]) and is_struck(pipeline, names["waiting"]) and asked)
    pipeline.client("stepfunctions").stop_execution(executionArn=lost)
    pipeline.query(
        "UPDATE pipeline.runs SET started_at = started_at - interval '23 hours',"
        " entered_at = entered_at - interval '23 hours' WHERE run_id = ANY(%s)",
        list(names.values()),
    )
    pipeline.query("CREATE TABLE staging.left_behind (id integer)")
    pipeline.query(
        "INSERT INTO pipeline.change_files (batch_id, part, stream, shard, key, rows, state, began_at)"
        " VALUES (-1, 0, 'yard', 's', 'k', 1, 'written', now() - interval '15 days'),"
        " (-2, 0, 'yard', 's', 'k', 1, 'written', now() - interval '13 days')"
    )
    assert [len(pipeline.staging_tables(names[kind])) for kind in names] == [1, 1, 0]

    sweep()

    [(row,)] = pipeline.query("SELECT row_to_json(r) FROM pipeline.runs AS r WHERE run_id = %s", names["lost"])
    assert (row["status"], row["error"]["error"]) == ("failed", "RunLost")
    assert "ended as ABORTED" in row["error"]["reason"] and row["finished_at"]
    assert pipeline.staging_tables(names["lost"]) == [] and "left_behind" not in pipeline.staging_tables()
    assert pipeline.query("SELECT batch_id FROM pipeline.change_files WHERE stream = 'yard'") == [(-2,)]
    assert pipeline.stack.usage()["start_run"]["errors"] == 0

    # the one that waits for Lambda loads what it had staged, the other is asked for nothing twice
    pipeline.stack.disarm(names["waiting"])
    assert status(pipeline, names["fetching"]) == "running"
    sweep(by_hand=True)
    assert pipeline.query("SELECT row_to_json(r) FROM pipeline.runs AS r WHERE run_id = %s", names["lost"]) == [(row,)]
    answer.set()
    for arn in (waiting, fetching):
        assert (run := pipeline.wait(arn)).status == "SUCCEEDED"
        assert run.account == (50, 50, 0, 0, 0, 0)
    assert asked == ["/data.ndjson"]
