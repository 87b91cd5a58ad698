"""`/quarantine` of the API: pages, filters and counts; what is replayed and discarded is said, by whom too."""

import json

import pytest

from chalicelib.api import answering, callers, table
from chalicelib.api import quarantine as resource
from chalicelib.errors import ContractError, NotFound, RequestRefused
from chalicelib.quarantine import claims, starting
from chalicelib.quarantine.rows import STATES, Filter
from chalicelib.triggers import Started
from chalicelib.warehouse import connection, reader

ROUTES = {route.name: route for route in table.ROUTES}
SOURCE, RUN = "people", "people-set-aside"
SECRET = "Zweistein"


@pytest.fixture(autouse=True)
def ledger(database_url, monkeypatch):
    """Seven open rows of a published run, one of which names a person, and one of a rejected run."""

    def query(text, *values):
        with connection.transaction(database_url) as opened, opened.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    for run, published in ((RUN, "now()"), (f"{RUN}-rejected", "NULL")):
        query(
            "INSERT INTO pipeline.runs (run_id, source, table_name, execution, input, status, started_at, published_at,"
            " fetched, inserted, updated, unchanged, duplicates, quarantined)"
            f" VALUES (%s, %s, 'people', 'arn', '{{}}', 'succeeded', now(), {published}, 7, 0, 0, 0, 0, 7)",
            run,
            SOURCE,
        )
    for line in range(1, 9):
        reason = {
            "kind": "type",
            "column": "age",
            "message": f"age is 'x{line}', expected integer",
            "value": f"'x{line}'",
        }
        if line == 7:
            reason = {"kind": "record", "message": "not valid JSON: line 7"}
        query(
            "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)"
            " VALUES (%s, %s, 0, 0, %s, %s, %s)",
            RUN if line < 8 else f"{RUN}-rejected",
            SOURCE,
            line,
            json.dumps([reason]),
            json.dumps({"id": line, "name": SECRET}),
        )
    own, own_reader = connection.transaction, reader.transaction
    monkeypatch.setattr(reader, "transaction", lambda: own_reader(database_url))
    for module in (resource.connection, starting.connection):
        monkeypatch.setattr(module, "transaction", lambda url=None: own(url or database_url))
    yield query
    monkeypatch.undo()
    query("DELETE FROM pipeline.runs WHERE source = %s", SOURCE)


@pytest.fixture
def started(monkeypatch):
    """The triggers that were started."""
    found = []

    def start(trigger):
        found.append(trigger)
        return Started(trigger.name, "arn", new=len({each.name for each in found}) == len(found))

    monkeypatch.setattr(starting.triggers, "start", start)
    return found


def ask(name, body=None, **query):
    given = {key: [str(value)] for key, value in query.items()}
    arrived = answering.Arrived({}, given, {}, json.dumps(body).encode(), callers.Caller("ada", ("read", "run")))
    return json.loads(answering.answer(ROUTES[name], arrived).content)


def refused(name, body=None, **query):
    with pytest.raises(RequestRefused) as raised:
        ask(name, body, **query)
    assert raised.value.where["status"] == 422
    return [fault["name"] for fault in raised.value.where["errors"]]


def test_the_states_of_the_api_are_those_of_the_quarantine():
    assert resource.State.__args__ == STATES


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 9])
def test_pages_hold_every_row_once_newest_first_with_counts_of_all_and_no_personal_value(limit):
    found, path = [], {"limit": limit}
    while True:
        answer = ask("get_quarantine", source=SOURCE, **path)
        assert [(each["kind"], each["column"], each["rows"]) for each in answer["reasons"]] == [
            ("type", "age", 7),
            ("record", None, 1),
        ]
        assert SECRET not in json.dumps(answer)
        found += [row["line"] for row in answer["rows"]]
        if answer["next"] is None:
            break
        path = {"limit": limit, "page": answer["next"].rpartition("page=")[2]}
    assert found == list(range(8, 0, -1))


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ({"run": RUN}, [7, 6, 5, 4, 3, 2, 1]),
        ({"run": RUN, "reason": "record"}, [7]),
        ({"reason": "x3"}, [3]),
        ({"state": "discarded"}, []),
        ({"since": "2999-01-01"}, []),
    ],
    ids=str,
)
def test_filters_mean_what_they_say(query, lines):
    assert [row["line"] for row in ask("get_quarantine", source=SOURCE, **query)["rows"]] == lines


@pytest.mark.parametrize(
    ("query", "named"),
    [({"state": "lost"}, "state"), ({"since": "1"}, "since"), ({"before": 1}, "before"), ({"page": "x"}, "page")],
)
def test_what_is_no_filter_is_refused_by_name(query, named):
    assert refused("get_quarantine", **query) == [named]


def test_a_replay_is_a_run_for_each_run_and_the_same_one_when_it_is_asked_for_again(started):
    answer = ask("post_quarantine_replay", {"source": SOURCE})
    [replay] = answer["replays"]
    assert (replay["replay_of"], replay["rows"], replay["new"], answer["unpublished"]) == (RUN, 7, True, 1)
    again = ask("post_quarantine_replay", {"run": RUN})
    assert again["replays"] == [{**replay, "new": False}]
    given = started[0].run_input()
    assert given == {"source": SOURCE, "replay": started[0].replay, "trigger": f"replay of {RUN}"}
    assert started[0].name == f"{SOURCE}-r{started[0].replay}" == replay["run_id"]


def test_rows_by_number_are_replayed_alone(started):
    rows = ask("get_quarantine", run=RUN, limit=2)["rows"]
    [replay] = ask("post_quarantine_replay", {"ids": [row["id"] for row in rows]})["replays"]
    assert replay["rows"] == 2


def test_what_cannot_be_replayed_says_why_and_claims_nothing(started, ledger):
    with pytest.raises(NotFound, match="no open row of the quarantine is like that"):
        ask("post_quarantine_replay", {"reason": "there is no such reason"})
    with pytest.raises(ContractError, match="1 rows are open, but their runs published nothing"):
        ask("post_quarantine_replay", {"run": f"{RUN}-rejected"})
    assert not started
    assert ledger("SELECT count(*) FROM pipeline.quarantine WHERE claimed_by IS NOT NULL AND source = %s", SOURCE) == [
        (0,)
    ]


def test_more_runs_than_one_request_starts_are_refused_and_nothing_is_claimed(started, ledger, monkeypatch):
    monkeypatch.setattr(starting, "RUNS", 0)
    with pytest.raises(ContractError, match="more than 0 runs"):
        ask("post_quarantine_replay", {"source": SOURCE})
    assert ledger("SELECT count(*) FROM pipeline.quarantine WHERE claimed_by IS NOT NULL AND source = %s", SOURCE) == [
        (0,)
    ]


def test_discarding_keeps_who_and_why(ledger):
    assert ask("post_quarantine_discard", {"run": RUN, "reason": "record", "why": "a test"}) == {"discarded": 1}
    [row] = ask("get_quarantine", run=RUN, state="discarded")["rows"]
    assert (row["line"], row["settled_by"], row["why"]) == (7, "ada", "a test")
    assert ask("post_quarantine_discard", {"run": RUN, "reason": "record", "why": "a test"}) == {"discarded": 0}


@pytest.mark.parametrize(
    ("name", "body", "named"),
    [
        ("post_quarantine_replay", {}, "body"),
        ("post_quarantine_replay", {"ids": []}, "ids"),
        ("post_quarantine_replay", {"ids": [0]}, "ids.0"),
        ("post_quarantine_replay", {"ids": ["1"]}, "ids.0"),
        ("post_quarantine_replay", {"why": "x", "run": RUN}, "why"),
        ("post_quarantine_discard", {"run": RUN}, "why"),
        ("post_quarantine_discard", {"run": RUN, "why": ""}, "why"),
        ("post_quarantine_discard", {"why": "all of it"}, "body"),
    ],
    ids=str,
)
def test_a_body_that_does_not_say_which_rows_is_refused_by_name(started, name, body, named):
    assert refused(name, body) == [named]
    assert not started


def test_a_claim_is_taken_with_no_more_rows_than_may_be_locked(database_url):
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        [claim] = claims.take(cursor, Filter(run_id=RUN), limit=3).claims
    assert claim.rows == 3
