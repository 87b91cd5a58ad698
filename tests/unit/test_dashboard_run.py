"""The page of one run at moments that a stack does not stop at: under way, without an execution, without a report."""

import json
from types import SimpleNamespace

import pytest
from dashboard_script import ran
from loopback import serving
from streamlit.testing.v1 import AppTest
from werkzeug import Request, Response

COUNTS = ("fetched", "inserted", "updated", "unchanged", "duplicates", "quarantined")
STATE = {"type": "Task", "entered": 1, "retries": 0, "seconds": 1.5, "first": "2026-11-21T10:00:00Z", "last": None}
RUN = {
    "run_id": "weather-1",
    "source": "weather",
    "table": "weather",
    "status": "running",
    "verdict": None,
    "window": {"from": "2026-11-01", "to": "2026-11-20", "by_cursor": True},
    "account": dict.fromkeys(COUNTS),
    "error": None,
    "started_at": "2026-11-21T10:00:00Z",
    "finished_at": None,
    "execution": {"status": "RUNNING", "seconds": 12.25},
    "states": [{**STATE, "name": "Process", "status": "running", "error": None, "reason": None}],
    "chunks": {
        "planned": 8,
        "kept": None,
        "loaded": 3,
        "failed": 1,
        "running": 2,
        "records": 3000,
        "staged": 2990,
        "quarantined": 10,
    },
    "quality": [],
    "quarantine": [],
    "quarantine_states": {},
    "replay_of": None,
    "kept_of": None,
    "settled_by": None,
    "links": {"report": None, "graph": None},
}


@pytest.fixture
def shown(monkeypatch):
    """shown(run) is the page of a run that the API describes like that."""

    def page():
        from dashboard import run, session

        with session.told():
            run.show("weather-1")

    def run(**told):
        @Request.application
        def api(request):
            if request.path.endswith("/graph"):
                return Response('<svg xmlns="http://www.w3.org/2000/svg"/>', content_type="image/svg+xml")
            return Response(json.dumps({**RUN, **told}), content_type="application/json")

        with serving(api) as address:
            monkeypatch.setenv("SLUICE_API_URL", address)
            monkeypatch.setenv("SLUICE_API_TOKEN", "t")
            script = ran(page, {})
        kinds = ("markdown", "caption", "info", "error", "title", "header", "subheader")
        words = [element.value for kind in kinds for element in script.get(kind)]
        progress = [element.proto.text for element in script.get("progress")]
        return "\n".join([*words, *progress])

    return run


@pytest.fixture
def watched(monkeypatch):
    """A run that is looked at again and again: `look(**changes)` gives what each look asked the API for.

    `clock[0]` are the seconds that have passed.
    """

    def page():
        from dashboard import run, session

        with session.told():
            run.show("weather-1")

    told, asked, clock = dict(RUN), [], [0.0]

    @Request.application
    def api(request):
        asked.append(request.path.removeprefix("/runs/weather-1"))
        if request.path.endswith("/graph"):
            return Response('<svg xmlns="http://www.w3.org/2000/svg"/>', content_type="image/svg+xml")
        if "/states/" in request.path:
            log = {"input": {}, "output": None, "log": [], "log_complete": True}
            return Response(json.dumps({**told["states"][0], **log}), content_type="application/json")
        return Response(json.dumps(told), content_type="application/json")

    from dashboard import session

    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    with serving(api) as address:
        monkeypatch.setenv("SLUICE_API_URL", address)
        monkeypatch.setenv("SLUICE_API_TOKEN", "t")
        script = AppTest.from_function(page, default_timeout=60)
        script.query_params["state"] = "Process"

        def look(**changes):
            told.update(changes)
            asked.clear()
            script.run()
            assert not script.exception, script.exception[0]
            return sorted({path for path in asked if path})

        yield SimpleNamespace(look=look, clock=clock)


def test_the_graph_and_a_state_are_asked_for_again_when_something_moved(watched):
    both = ["/graph", "/states/Process"]
    assert watched.look() == both
    # only its clock goes on
    states = [{**RUN["states"][0], "seconds": 2.5}]
    watched.clock[0] = 1
    assert watched.look(states=states) == []
    assert watched.look(states=[{**states[0], "retries": 1}]) == both
    assert watched.look() == []
    after = [{**states[0], "status": "succeeded"}, {**states[0], "name": "QualityGate"}]
    assert watched.look(states=after) == both
    # the state that is shown is as it was, the graph is another
    assert watched.look(states=[after[0], {**after[1], "status": "succeeded"}]) == ["/graph"]


def test_a_run_in_which_nothing_moves_is_drawn_anew_every_few_seconds(watched):
    watched.look()
    asked = []
    for second in range(1, 13):
        watched.clock[0] = second
        asked += watched.look()
    assert (asked.count("/graph"), asked.count("/states/Process")) == (2, 4)


def test_the_end_of_a_run_is_drawn_whatever_was_drawn_before(watched):
    watched.look()
    ended = {"status": "failed", "finished_at": "2026-11-21T10:00:09Z"}
    assert watched.look(**ended) == ["/graph", "/states/Process"]


def test_a_run_under_way_says_how_far_its_chunks_are(shown):
    said = shown()
    assert "Chunks: 4 of 8 done, 3,000 records read, 1 failed" in said
    assert "12.2 s so far" in said and "no verdict yet" in said
    assert "has not come to that yet" in said and "comes with the end" in said


def test_a_run_whose_chunks_are_not_planned_says_so(shown):
    assert "not planned yet" in shown(chunks={**RUN["chunks"], "planned": None, "loaded": 0, "failed": 0})


def test_a_run_that_step_functions_forgot_has_its_account_and_no_graph(shown):
    account = {"fetched": 7, "inserted": 0, "updated": 0, "unchanged": 7, "duplicates": 0, "quarantined": 0}
    ended = {"status": "succeeded", "verdict": "pass", "finished_at": "2026-11-21T10:00:09Z"}
    said = shown(execution=None, states=[], account=account, **ended)
    assert "7 fetched = 0 inserted + 0 updated + 7 unchanged + 0 duplicates + 0 quarantined" in said
    assert "has forgotten the execution" in said and "were there already" in said
    assert "9.0 s" in said


def test_a_rejected_run_says_that_nothing_was_published_and_why(shown):
    account = {**dict.fromkeys(COUNTS), "fetched": 4, "quarantined": 3}
    reasons = [{"kind": "value", "message": "is no date", "rows": 3, "record": "5,ada", "key": "raw/x", "line": 2}]
    error = {"error": "QualityFailed", "reason": "3 of 4 rows quarantined"}
    ended = {"status": "rejected", "verdict": "fail", "finished_at": "2026-11-21T10:00:09Z"}
    states = {"open": 2, "discarded": 1}
    said = shown(account=account, quarantine=reasons, quarantine_states=states, error=error, **ended)
    assert "4 fetched, 3 quarantined, nothing published" in said
    assert "**QualityFailed**: 3 of 4 rows quarantined" in said
    assert "Why rows were quarantined" in said and "2 open, 1 discarded" in said


def test_a_run_that_took_chunks_over_says_how_many_and_whose(shown):
    assert "chunks kept of" not in shown()
    assert "8 chunks kept of `weather-0`" in shown(kept_of="weather-0", chunks={**RUN["chunks"], "kept": 8})


def test_a_replay_says_whose_rows_it_judged_again(shown):
    assert "replay of rows that `orders-1` set aside" in shown(replay_of="orders-1")


def test_a_failed_run_says_which_run_made_up_for_it(shown):
    assert "settled by" not in shown(status="failed")
    assert "settled by `weather-2`" in shown(status="failed", settled_by="weather-2")
