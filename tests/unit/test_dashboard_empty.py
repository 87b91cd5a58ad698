"""Pages of a pipeline that has done nothing yet say so, and which command comes next."""

import json

import pytest
from dashboard_script import page, ran
from loopback import serving
from werkzeug import Request, Response

FIELDS = ("sources", "rows_by_day", "runs_by_day", "quality_by_day", "anomalies_by_day", "unmet_expectations")
ANALYTICS = {field: [] for field in FIELDS}
ANSWERS = {
    "/sources": {"sources": [{"name": "weather", "columns": [], "text": []}]},
    "/runs": {"runs": [], "next": None},
    "/analytics": ANALYTICS,
    "/quarantine": {"rows": [], "reasons": [], "next": None},
    "/search": {"results": [], "notes": []},
}


@pytest.fixture
def said(monkeypatch):
    """said("runs") is what the page says, and the parameters with which it asked each path."""

    def run(name, **query):
        @Request.application
        def api(request):
            return Response(json.dumps(ANSWERS[request.path]), content_type="application/json")

        with serving(api) as address:
            monkeypatch.setenv("SLUICE_API_URL", address)
            monkeypatch.setenv("SLUICE_API_TOKEN", "t")
            script = ran(page, query, page=name)
        return "\n".join(
            element.value for kind in ("info", "error", "warning", "title") for element in script.get(kind)
        )

    return run


@pytest.mark.parametrize(
    ("page", "query", "words"),
    [
        ("runs", {}, ["There are no runs yet", "sluice run weather"]),
        ("runs", {"source": "weather"}, ["No run is like that"]),
        ("quality", {}, ["No run was judged in these days", "sluice run weather", "No expectation was judged"]),
        ("quarantine", {}, ["Nothing waits in quarantine", "in these days is open"]),
        ("quarantine", {"of": "weather-1"}, ["Nothing waits in quarantine", "by the run is open"]),
        ("quarantine", {"reason": "no date"}, ["No row is in quarantine for such a reason"]),
        ("quarantine", {"rows": "discarded"}, ["No row that was set aside in these days is discarded"]),
        ("data", {}, ["No table has rows yet", "sluice run weather"]),
        ("search", {}, ["Type what you look for"]),
        ("search", {"q": "plants"}, ["Nothing was found", "sluice run posts --embed"]),
    ],
    ids=[
        "runs",
        "runs-filtered",
        "quality",
        "quarantine",
        "quarantine-of-a-run",
        "quarantine-by-reason",
        "quarantine-by-state",
        "data",
        "search",
        "search-in-vain",
    ],
)
def test_what_is_empty_says_why_and_what_comes_next(said, page, query, words):
    found = said(page, **query)
    assert [word for word in words if word not in found] == []


@pytest.mark.parametrize(
    ("page", "name", "value"),
    [
        ("runs", "source", "nosuch"),
        ("runs", "status", "bogus"),
        ("runs", "from", "x"),
        ("quality", "quality_of", "nosuch"),
        ("quality", "days", "8 days"),
        ("quarantine", "rows", "lost"),
        ("quarantine", "rows_of", "nosuch"),
        ("search", "search_in", "weather"),
    ],
)
def test_a_link_that_asks_for_what_is_not_there_says_that_it_was_left_out(said, page, name, value):
    assert f"The address asks for what is not here: `{name}={value}`." in said(page, **{name: value})


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("runs", {"source": "weather", "status": "failed", "verdict": "warn", "from": "2024-01-01"}),
        ("quality", {"quality_of": "weather", "days": "7 days"}),
        ("quarantine", {"rows": "discarded", "rows_of": "weather", "set_aside": "90 days"}),
        ("search", {"mode": "Words", "limit": "20"}),
    ],
    ids=lambda given: given if isinstance(given, str) else "query",
)
def test_a_link_that_a_page_made_is_taken_whole(said, page, query):
    assert "The address asks" not in said(page, **query)
