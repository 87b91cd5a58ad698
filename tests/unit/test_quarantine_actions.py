"""What the dashboard says of replays that were begun on it: looked at until they have ended, and how they did."""

import json

import pytest
from loopback import serving
from streamlit.testing.v1 import AppTest
from werkzeug import Request, Response

RUN = {"status": "running", "error": None, "account": {"quarantined": None}}
ERROR = {"error": "RawError", "reason": "the raw object is gone Next: `sluice runs show r1`"}
BEGUN = {"run_id": "r1", "new": True, "replay_of": "orders-1", "rows": 3}
KINDS = ("info", "success", "error")


@pytest.fixture
def look(monkeypatch):
    """look(run) is what is said, by its kind, when the API describes the replay like that, or not at all (None)."""
    described, asked = [None], []

    @Request.application
    def api(request):
        asked.append(request.path)
        if described[0] is None:
            return Response('{"detail": "no run is called r1"}', 404)
        return Response(json.dumps(described[0]), content_type="application/json")

    def page():
        from dashboard import quarantine_actions

        quarantine_actions.told()

    from dashboard import quarantine_actions

    monkeypatch.setattr(quarantine_actions.st, "page_link", lambda *given, **more: None)  # it is no page of an app
    monkeypatch.setattr(quarantine_actions.navigation, "page", lambda name: name)
    with serving(api) as address:
        monkeypatch.setenv("SLUICE_API_URL", address)
        monkeypatch.setenv("SLUICE_API_TOKEN", "t")
        script = AppTest.from_function(page, default_timeout=60)
        answer = {"replays": [BEGUN], "refused": [], "left": 0, "after": None, "unpublished": 0}
        script.session_state["done_in_quarantine"] = {"answer": answer, "meant": {}}

        def look(run):
            described[0] = run
            script.run()
            assert not script.exception, script.exception[0]
            return {kind: " ".join(e.value for e in script.get(kind)).replace("\\", "") for kind in KINDS}

        look.asked = asked
        yield look


def test_a_replay_is_running_until_it_has_ended_also_before_the_ledger_has_it(look):
    for run in (None, RUN, {**RUN, "status": "published"}):
        said = look(run)
        assert "the replay r1 is running" in said["info"] and not said["success"] and not said["error"]
    ended = {**RUN, "status": "succeeded", "account": {"quarantined": 2}}
    assert "the replay r1 has ended. Rows that failed again: 2." in look(ended)["success"]
    asked = len(look.asked)
    assert not look(ended)["info"] and len(look.asked) == asked  # one that has ended is not asked for again


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ({**RUN, "status": "failed", "error": ERROR}, "has failed. **RawError**: the raw object is gone"),
        ({**RUN, "status": "rejected"}, "was rejected: nothing was published"),
    ],
    ids=["failed", "rejected"],
)
def test_a_replay_that_published_nothing_is_told_as_such(look, run, told):
    look(RUN)
    said = look(run)
    assert told in said["error"] and not said["info"] and not said["success"]
