"""`/quarantine` of the API: pages, filters and counts; what is replayed and discarded is said, by whom too."""

import contextlib
import dataclasses
import json

import pytest

from chalicelib.api import answering, callers, problems, table
from chalicelib.api import quarantine as resource
from chalicelib.errors import (
    ConfigurationError,
    ContractError,
    NotFound,
    RequestRefused,
    TransientError,
    TriggerConflict,
    UnknownSource,
)
from chalicelib.quarantine import claims, rows, starting
from chalicelib.quarantine.rows import STATES
from chalicelib.triggers import Started
from chalicelib.warehouse import connection, reader, writer

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
    monkeypatch.setattr(reader, "transaction", lambda *_: own_reader(database_url))
    monkeypatch.setattr(connection, "transaction", lambda *given, **more: own(*(given or (database_url,)), **more))
    yield query
    monkeypatch.undo()
    query("DELETE FROM pipeline.runs WHERE source = %s", SOURCE)


@pytest.fixture
def started(monkeypatch):
    """The triggers that were started; `refuses` maps a run to what its replay raises."""
    found = Triggers()

    def start(trigger):
        if found.meanwhile:
            found.meanwhile.pop()()
        if trigger.about.removeprefix("of ") in found.refuses:
            raise found.refuses[trigger.about.removeprefix("of ")]
        new = trigger.name not in {each.name for each in found}
        found.append(trigger)
        return Started(trigger.name, "arn", new)

    monkeypatch.setattr(starting.triggers, "start", start)
    monkeypatch.setattr(starting.triggers, "stands", lambda trigger: trigger.name in {each.name for each in found})
    return found


class Triggers(list):
    def __init__(self):
        super().__init__()
        self.refuses = {}
        self.meanwhile = []  # what happens while a replay is being started


@pytest.fixture
def bound(monkeypatch):
    """bound(rows=…, runs=…, seconds=…) lets a request do no more than that."""

    def bounded(**given):
        monkeypatch.setattr(resource, "_BOUNDS", dataclasses.replace(resource._BOUNDS, **given))

    return bounded


@pytest.fixture
def states(ledger):
    """states(): the lines of the source's rows by state."""

    def found():
        text = "SELECT state, array_agg(line ORDER BY line) FROM pipeline.quarantine WHERE source = %s GROUP BY 1"
        return dict(ledger(text, SOURCE))

    return found


def set_aside(query, run, lines):
    """A published run more, with such rows."""
    query(
        "INSERT INTO pipeline.runs (run_id, source, table_name, execution, input, status, started_at, published_at,"
        " fetched, inserted, updated, unchanged, duplicates, quarantined)"
        " VALUES (%s, %s, 'people', 'arn', '{}', 'succeeded', now(), now(), 7, 0, 0, 0, 0, 7)",
        run,
        SOURCE,
    )
    reasons = json.dumps([{"kind": "type", "column": "age", "message": "age is 'x', expected integer"}])
    for line in lines:
        query(
            "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)"
            " VALUES (%s, %s, 0, 0, %s, %s, '{}')",
            run,
            SOURCE,
            line,
            reasons,
        )


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
        if "page" in path:
            assert answer["reasons"] is None
        else:
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


UNKNOWN = [
    ({"run": "people-nope"}, NotFound, "no run is called 'people-nope'"),
    ({"source": "nosuch"}, UnknownSource, "no source is called 'nosuch'"),
]


@pytest.mark.parametrize(("named", "error", "told"), UNKNOWN, ids=["run", "source"])
def test_what_is_named_and_not_there_is_refused_wherever_rows_are_asked_for(started, states, named, error, told):
    for name, body in (("post_quarantine_replay", {}), ("post_quarantine_discard", {"why": "a test"})):
        with pytest.raises(error, match=told):
            ask(name, {**named, **body})
    with pytest.raises(error, match=told):
        ask("get_quarantine", **named)
    assert (started, states()) == ([], {"open": [1, 2, 3, 4, 5, 6, 7, 8]})


def test_a_number_that_no_row_has_is_told_and_nothing_is_done_to_the_others(started, ledger, states):
    [(last,)] = ledger("SELECT max(id) FROM pipeline.quarantine")
    [(there,)] = ledger("SELECT min(id) FROM pipeline.quarantine WHERE source = %s", SOURCE)
    ids = [there, *range(last + 1, last + 13)]
    for name, body in (("post_quarantine_replay", {}), ("post_quarantine_discard", {"why": "a test"})):
        with pytest.raises(NotFound, match=f"has the numbers {last + 1}, .*{last + 10} and 2 others") as raised:
            ask(name, {"ids": ids, **body})
        assert str(there) not in raised.value.message.replace(",", "").split()
    assert (started, states()) == ([], {"open": [1, 2, 3, 4, 5, 6, 7, 8]})


def test_a_source_that_is_there_and_has_set_nothing_aside_has_no_rows():
    assert ask("get_quarantine", source="market")["rows"] == []
    assert ask("post_quarantine_discard", {"source": "market", "why": "a test"})["discarded"] == 0


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
    with pytest.raises(ContractError, match="1 row is open, but its run published nothing"):
        ask("post_quarantine_replay", {"run": f"{RUN}-rejected"})
    assert not started
    assert ledger("SELECT count(*) FROM pipeline.quarantine WHERE claimed_by IS NOT NULL AND source = %s", SOURCE) == [
        (0,)
    ]


@pytest.mark.parametrize(("most_rows", "most_runs"), [(3, 20), (100, 1), (4, 1), (1, 1)], ids=str)
def test_a_request_takes_a_portion_and_says_how_the_rest_is_asked_for(started, ledger, bound, most_rows, most_runs):
    """The rejected run's row is no part of any: neither taken nor counted as left."""
    bound(rows=most_rows, runs=most_runs)
    set_aside(ledger, f"{RUN}-2", range(11, 16))
    taken, rest, after = 0, 12, {}
    while True:
        answer = ask("post_quarantine_replay", {"source": SOURCE, **after})
        again = ask("post_quarantine_replay", {"source": SOURCE, **after})
        assert [{**each, "new": False} for each in answer["replays"]] == again["replays"]
        rows_of_portion = sum(each["rows"] for each in answer["replays"])
        assert 0 < rows_of_portion <= most_rows and len(answer["replays"]) <= most_runs
        taken += rows_of_portion
        assert (answer["left"], answer["unpublished"], answer["refused"]) == (rest - taken, 1, [])
        if answer["after"] is None:
            break
        after = {"after": answer["after"]}
    assert (taken, answer["left"]) == (12, 0)
    with pytest.raises(NotFound):
        ask("post_quarantine_replay", {"source": SOURCE, "after": 2**62})


def test_a_claim_of_a_portion_has_its_rows_and_no_other(started, bound, states):
    bound(rows=3)
    ask("post_quarantine_replay", {"run": RUN})
    assert states() == {"replaying": [1, 2, 3], "open": [4, 5, 6, 7, 8]}


def test_discarding_a_portion_says_how_many_are_left_and_goes_on_when_it_is_asked_again(bound, states):
    bound(rows=3)
    body = {"run": RUN, "why": "a test"}
    answers = [ask("post_quarantine_discard", body) for _ in range(3)]
    assert [(each["discarded"], each["left"]) for each in answers] == [(3, 4), (3, 1), (1, 0)]
    assert states() == {"discarded": [1, 2, 3, 4, 5, 6, 7], "open": [8]}


# --- refused, lost -------------------------------------------------------------------------------


def test_rows_whose_replay_is_refused_for_good_are_open_again_and_told_and_the_others_begin(started, ledger, states):
    set_aside(ledger, f"{RUN}-2", [11, 12])
    started.refuses = {RUN: ContractError("the window is none", next_step="mend it")}
    answer = ask("post_quarantine_replay", {"source": SOURCE})
    assert [(each["replay_of"], each["rows"]) for each in answer["replays"]] == [(f"{RUN}-2", 2)]
    [refused] = answer["refused"]
    assert refused == {
        "source": SOURCE,
        "replay_of": RUN,
        "rows": 7,
        "reason": "the window is none Next: mend it",
    }
    assert states() == {"open": [1, 2, 3, 4, 5, 6, 7, 8], "replaying": [11, 12]}


@pytest.mark.parametrize(
    "error", [TriggerConflict("it failed 99 times"), ConfigurationError("no machine"), UnknownSource("gone")], ids=repr
)
def test_where_every_replay_is_refused_the_request_is(started, error, states):
    started.refuses = {RUN: error}
    with pytest.raises(type(error)):
        ask("post_quarantine_replay", {"run": RUN})
    assert states() == {"open": [1, 2, 3, 4, 5, 6, 7, 8]}


def test_what_a_refusal_of_ours_to_configure_says_is_in_the_log_alone(started, ledger):
    set_aside(ledger, f"{RUN}-2", [11])
    started.refuses = {RUN: ConfigurationError("the machine arn:aws:secret")}
    [refused] = ask("post_quarantine_replay", {"source": SOURCE})["refused"]
    assert "arn:aws" not in refused["reason"] and "log" in refused["reason"]


def test_where_step_functions_does_not_answer_what_was_not_begun_is_open_and_what_may_have_is_not(
    started, ledger, states
):
    set_aside(ledger, f"{RUN}-2", [11])
    set_aside(ledger, f"{RUN}-3", [12])
    started.refuses = {f"{RUN}-2": TransientError()}
    with pytest.raises(TransientError):
        ask("post_quarantine_replay", {"source": SOURCE})
    assert states() == {"replaying": [1, 2, 3, 4, 5, 6, 7, 11], "open": [8, 12]}
    started.refuses = {}
    answer = ask("post_quarantine_replay", {"source": SOURCE})
    assert sorted((each["rows"], each["new"]) for each in answer["replays"]) == [(1, True), (1, True), (7, False)]


def test_no_replay_is_begun_when_the_request_has_taken_too_long(started, bound, states):
    bound(seconds=-1)
    with pytest.raises(TransientError, match="took too long"):
        ask("post_quarantine_replay", {"run": RUN})
    assert (started, states()) == ([], {"open": [1, 2, 3, 4, 5, 6, 7, 8]})


def age_claims(ledger, seconds=claims.BEGUN_SECONDS + 1):
    ledger(
        "UPDATE pipeline.quarantine SET claimed_at = claimed_at - %s * interval '1 second' WHERE source = %s",
        seconds,
        SOURCE,
    )


def test_rows_of_a_replay_that_died_are_discarded_or_replayed_like_open_ones(started, ledger, states):
    body = {"run": RUN, "why": "a test"}
    [first] = ask("post_quarantine_replay", {"run": RUN})["replays"]
    age_claims(ledger)
    # while it is under way
    assert ask("post_quarantine_discard", body) == {"discarded": 0, "left": 0, "replaying": 7}
    started.clear()  # every execution of the claim has failed, was aborted or timed out
    some = [row["id"] for row in ask("get_quarantine", run=RUN, limit=2)["rows"]]
    [second] = ask("post_quarantine_replay", {"ids": some})["replays"]
    assert (second["rows"], second["run_id"] == first["run_id"]) == (2, False)
    assert states() == {"replaying": [6, 7], "open": [1, 2, 3, 4, 5, 8]}
    assert ask("post_quarantine_discard", body) == {"discarded": 5, "left": 0, "replaying": 2}


@pytest.mark.parametrize("lost", [False, True], ids=["found claimed", "lost and claimed anew"])
@pytest.mark.parametrize(
    ("error", "run"),
    [(ConfigurationError("may not"), RUN), (TransientError("does not answer"), f"{RUN}-2")],
    ids=["refused", "still to be begun"],
)
def test_rows_whose_replay_somebody_else_begins_stay_claimed_where_ones_own_attempt_is_given_up(
    started, ledger, states, lost, error, run
):
    set_aside(ledger, f"{RUN}-2", [11])

    def another_asks():
        if lost:  # the first one has taken so long that nobody believes in it
            age_claims(ledger)
        started.refuses.clear()
        started.others = ask("post_quarantine_replay", {"run": run})["replays"]
        started.refuses[RUN] = error

    started.refuses[RUN] = error
    started.meanwhile.append(another_asks)
    with contextlib.suppress(TransientError):
        ask("post_quarantine_replay", {"source": SOURCE})
    [other] = started.others
    lines = {RUN: [1, 2, 3, 4, 5, 6, 7], f"{RUN}-2": [11]}[run]
    assert (other["rows"], other["new"]) == (len(lines), True)
    assert set(lines) <= set(states()["replaying"])


def test_a_claim_whose_run_is_about_to_begin_is_left_alone(started, ledger, states):
    ask("post_quarantine_replay", {"run": RUN})
    started.clear()
    age_claims(ledger, claims.BEGUN_SECONDS // 2)
    assert ask("post_quarantine_discard", {"run": RUN, "why": "a test"})["replaying"] == 7
    assert states() == {"replaying": [1, 2, 3, 4, 5, 6, 7], "open": [8]}


# --- in time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "body"),
    [("post_quarantine_replay", {"run": RUN}), ("post_quarantine_discard", {"run": RUN, "why": "a test"})],
)
def test_a_change_that_would_take_too_long_is_broken_off_says_so_and_leaves_everything_as_it_was(
    started, database_url, monkeypatch, states, name, body
):
    monkeypatch.setattr(writer, "SECONDS", 0.3)
    blocking = connection.connect(database_url)
    try:
        with blocking.cursor() as cursor:
            claims.lock(cursor)
        with pytest.raises(RequestRefused, match="nothing was changed") as raised:
            ask(name, body)
    finally:
        blocking.close()
    problem = problems.of(raised.value, "/quarantine")
    assert (problem.status, problem.reason) == (503, "too slow")
    assert (started, states()) == ([], {"open": [1, 2, 3, 4, 5, 6, 7, 8]})
    monkeypatch.undo()


def test_statements_that_are_short_one_by_one_end_in_time_together(ledger, monkeypatch):
    monkeypatch.setattr(writer, "SECONDS", 0.5)
    with pytest.raises((RequestRefused, TransientError)), writer.transaction() as opened, opened.cursor() as cursor:
        cursor.execute("DELETE FROM pipeline.quarantine WHERE source = %s", (SOURCE,))
        for _ in range(20):
            cursor.execute("SELECT pg_sleep(0.1)")
    assert ledger("SELECT count(*) FROM pipeline.quarantine WHERE source = %s", SOURCE) == [(8,)]


def test_discarding_keeps_who_and_why(ledger):
    assert ask("post_quarantine_discard", {"run": RUN, "reason": "record", "why": "a test"}) == {
        "discarded": 1,
        "left": 0,
        "replaying": 0,
    }
    [row] = ask("get_quarantine", run=RUN, state="discarded")["rows"]
    assert (row["line"], row["settled_by"], row["why"]) == (7, "ada", "a test")
    assert ask("post_quarantine_discard", {"run": RUN, "reason": "record", "why": "a test"})["discarded"] == 0


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


@pytest.mark.parametrize(("newest", "counted"), [(3, 2), (8, 7)], ids=str)
def test_reasons_are_those_of_the_newest_rows_where_there_are_many(monkeypatch, newest, counted):
    monkeypatch.setattr(rows, "NEWEST", newest)
    reasons = ask("get_quarantine", source=SOURCE, limit=1)["reasons"]
    assert {each["kind"]: each["rows"] for each in reasons} == {"type": counted, "record": 1}
