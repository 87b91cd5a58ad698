"""Texts of data, of the API and of the address on the pages: shown as they are, and asking nobody for an image."""

import json
from types import SimpleNamespace

import pytest
from dashboard_script import ran
from loopback import serving
from test_dashboard_empty import ANALYTICS
from test_dashboard_run import RUN, STATE
from werkzeug import Request, Response

from dashboard import table

HOSTILE = "![](https://evil.example/p.png) [Replay](https://evil.example) $5 $6 `a`"
SHOWN = r"\!\[\]\(https\://evil\.example/p\.png\) \[Replay\]\(https\://evil\.example\) \$5 \$6 \`a\`"
CODE = f"`` {HOSTILE} ``"
SOURCES = {"sources": [{"name": "orders", "columns": [], "key": ["id"], "text": ["title"]}]}
RECORD = {"id": "r1", "values": {"id": 1}, "anomalies": None}
ROW = {
    "id": 7,
    "source": "orders",
    "state": "discarded",
    "reasons": [{"message": HOSTILE}],
    "record": "1,2",
    "added_at": "2026-11-21T10:00:00Z",
    "raw": HOSTILE,
    "line": 3,
    "replayable": True,
    "replays": 0,
    "replayed_by": None,
    "settled_by": HOSTILE,
    "settled_at": "2026-11-21T10:00:00Z",
    "why": HOSTILE,
    "run_id": "orders-1",
}
FOUND = {"source": "orders", "key": {"id": HOSTILE}, "passage": {"text": "a", "marks": []}, "parts": {}}
FAILED = {"status": "failed", "finished_at": "2026-11-21T10:00:09Z", "states": [], "execution": None}
ERROR = {"error": "Failed", "reason": HOSTILE}
TABLE = {"source": "orders", "table": "orders", "rows": 1, "day": None, "first_day": None, "last_day": None}
LOG = {"input": None, "output": None, "log": [], "log_complete": True}
ANSWERS = {
    "/sources": SOURCES,
    "/search": {"results": [FOUND], "notes": [HOSTILE]},
    "/analytics": {**ANALYTICS, "sources": [TABLE]},
    "/records": {"records": [RECORD], "next": None},
    "/quarantine": {"rows": [ROW], "reasons": [], "next": None},
    "/runs/orders-1": {**RUN, **FAILED, "run_id": "orders-1", "error": ERROR},
    "/runs/orders-1/states/Plan": {**STATE, "name": "Plan", **LOG, **ERROR, "status": "failed"},
}


@pytest.fixture
def shown(monkeypatch):
    """shown("search", q="x") is the page's script after it ran, and the paths that the API was asked for."""

    def page():
        import importlib

        import streamlit as st

        from dashboard import session, state

        with session.told():
            name = st.session_state["page"]
            if name == "state":
                state.show(session.client().state("orders-1", "Plan"))
            else:
                importlib.import_module(f"dashboard.{name}").show()

    def run(name, answers=ANSWERS, **query):
        asked = []

        @Request.application
        def api(request):
            asked.append(request.path)
            if request.path not in answers:
                return Response(json.dumps({"detail": HOSTILE, "reason": "x"}), 422, content_type="application/json")
            return Response(json.dumps(answers[request.path]), content_type="application/json")

        with serving(api) as address:
            monkeypatch.setenv("SLUICE_API_URL", address)
            monkeypatch.setenv("SLUICE_API_TOKEN", "t")
            script = ran(page, query, page=name)
        return script, asked

    return run


@pytest.fixture
def clicked(monkeypatch):
    """clicked("quarantined", "7") opens that row of that table."""

    def click(key, row):
        drawn = table.show

        def show(name, *given):
            drawn(name, *given)
            return table.Event(opened=row if name == key else None)

        monkeypatch.setattr(table, "show", show)

    return click


def said(script):
    kinds = ("markdown", "caption", "info", "warning", "error", "title")
    buttons = [button.label for button in script.button]
    return "\n".join([*(element.value for kind in kinds for element in script.get(kind)), *buttons])


def test_the_key_of_a_row_that_was_found_is_a_text(shown):
    found = said(shown("search", q="x")[0])
    assert f"id {SHOWN}" in found and HOSTILE not in found


def test_what_is_told_of_a_row_in_quarantine_is_a_text(shown, clicked):
    clicked("quarantined", "7")
    script, _ = shown("quarantine", rows="discarded")
    assert script.warning[0].value == SHOWN
    found = said(script)
    assert f"From line 3 of {CODE}." in found and f"Discarded by {CODE}" in found and f"UTC: {SHOWN}." in found


def test_the_error_of_a_run_is_a_text(shown):
    assert f"**Failed**: {SHOWN}" in said(shown("runs", run="orders-1")[0])


def test_the_error_of_a_state_is_a_text(shown):
    assert f"**Failed**: {SHOWN}" in said(shown("state")[0])


def test_what_the_api_refuses_with_is_a_text(shown):
    assert f"{SHOWN}\\. (HTTP 422)" in said(shown("runs", run="no-such")[0])


def test_the_run_and_the_filters_of_the_page_data_are_texts(shown):
    found = said(shown("data", table="orders/orders", filter=f"id:eq:{HOSTILE}", run=HOSTILE)[0])
    assert f"Remove: id is {SHOWN}" in found
    assert f"Rows that the run {CODE} wrote" in found


@pytest.fixture
def done(monkeypatch):
    """done(answer) is the script of what the page says after the API answered like that."""

    def page():
        import streamlit as st

        from dashboard import quarantine_actions

        st.session_state["done_in_quarantine"] = {"answer": st.session_state["answer"], "meant": {"source": "orders"}}
        quarantine_actions.told()

    def run(answer):
        return ran(page, {}, answer=answer)

    return run


def test_what_a_replay_left_and_what_was_refused_is_told_and_the_next_rows_are_offered(done):
    refused = {"source": "orders", "replay_of": "orders-1", "rows": 2, "reason": HOSTILE}
    answer = {"replays": [], "refused": [refused], "left": 1500, "after": 7, "unpublished": 1}
    script = done(answer)
    found = said(script)
    assert f"2 rows of {'orders-1'} cannot be replayed, and stay open: {SHOWN}" in found.replace("\\-", "-")
    assert "Still open: 1,500 rows" in found and "Replay the next ones" in found
    assert "Left: 1 row of runs that published nothing" in found


def test_what_a_discard_left_is_told(done):
    script = done({"discarded": 25000, "left": 3, "replaying": 1})
    assert "25,000 rows discarded" in script.success[0].value
    assert "Still open: 3 rows" in said(script)
    assert "Left, since they are being replayed: 1 row" in said(script)


def test_a_row_that_is_gone_from_quarantine_is_told(shown, clicked):
    clicked("quarantined", "8")
    assert "The row 8 is not here any more" in said(shown("quarantine")[0])


def test_an_expectation_opens_its_run_also_when_the_list_has_changed(shown, clicked, monkeypatch):
    import streamlit as st

    opened = []
    monkeypatch.setattr("dashboard.quality.navigation.page", lambda name: SimpleNamespace(name=name))
    monkeypatch.setattr(st, "switch_page", lambda page, query_params: opened.append((page.name, query_params)))
    one = {"title": "a", "source": "orders", "severity": "critical", "unmet": 1, "judged": 1, "unexpected": 1}
    missed = [{**one, "last_run": "orders-2"}]
    clicked("missed", "4/orders-1")
    shown("quality", {**ANSWERS, "/analytics": {**ANALYTICS, "unmet_expectations": missed}})
    assert opened == [("runs", {"run": "orders-1"})]


@pytest.mark.parametrize(
    ("status", "fetched"),
    [("running", False), ("published", False), ("failed", True)],
)
def test_a_report_is_fetched_when_the_run_has_ended(shown, status, fetched):
    found = {**ANSWERS["/runs/orders-1"], "status": status, "links": {"report": "/r", "graph": None}}
    script, asked = shown("runs", {**ANSWERS, "/runs/orders-1": found}, run="orders-1")
    assert ("/runs/orders-1/report" in asked) == fetched
    assert fetched or "comes with the end" in said(script)


@pytest.mark.parametrize(("status", "every"), [("running", 2.0), ("succeeded", 10.0)])
def test_the_list_of_runs_looks_less_often_when_none_is_under_way(shown, monkeypatch, status, every):
    import streamlit as st

    paces, fragment = [], st.fragment
    monkeypatch.setattr(st, "fragment", lambda shows, run_every: paces.append(run_every) or fragment(shows))
    shown("runs", {**ANSWERS, "/runs": {"runs": [{**RUN, "status": status}], "next": None}})
    assert paces[-1] == every
