"""POST /runs: what is carried into the run's input, and what is refused before anything is started."""

import json

import pytest

from chalicelib.api import answering, callers, problems, starting, table
from chalicelib.errors import RequestRefused, TriggerConflict
from chalicelib.triggers import Started

[ROUTE] = [route for route in table.ROUTES if route.name == "post_runs"]


def post(body, key=None, caller="caller", scopes=("run",)):
    headers = {callers.IDEMPOTENCY_KEY: key} if key is not None else {}
    arrived = answering.Arrived({}, {}, headers, json.dumps(body).encode(), callers.Caller(caller, scopes))
    return answering.answer(ROUTE, arrived)


@pytest.fixture
def started(monkeypatch):
    """The triggers that were started."""
    found = []

    def start(trigger):
        found.append(trigger)
        return Started("run", "arn", new=True)

    monkeypatch.setattr(starting.triggers, "start", start)
    return found


def test_every_field_that_is_accepted_is_in_the_input_of_the_run(started):
    asked = {
        "source": "weather",
        "from": "2024-01-01",
        "to": "2024-01-31",
        "input": "Seattle",
        "embed": False,
        "move_cursor": True,
        "allow_gap": True,
        "from_scratch": True,
    }
    assert set(asked) == {field.alias or name for name, field in starting.StartBody.model_fields.items()}
    answer = post(asked, "key")
    assert (answer.status, json.loads(answer.content)) == (202, {"run_id": "run", "execution": "arn", "new": True})
    [trigger] = started
    given = trigger.run_input()
    assert given.pop("trigger").startswith("api ")
    assert given == asked


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"trigger": "schedule 2026-11-21T13:00:00Z"}, "trigger"),
        ({"live": True}, "live"),
        ({"id": "7"}, "id"),
        ({"start": "2024-01-01"}, "start"),
        ({"from": "20240131"}, "from"),
        ({"from": "2024-02-30"}, "from"),
        ({"from": 1704067200}, "from"),
        ({"from": "2024-01-01", "to": "2024-1-31"}, "to"),
        ({"move_cursor": "yes"}, "move_cursor"),
        ({"embed": 1}, "embed"),
        ({"input": "a\x00b"}, "input"),
        ({"source": 7}, "source"),
    ],
)
def test_what_would_be_dropped_or_refused_later_is_refused_at_once_by_name(started, more, named):
    with pytest.raises(RequestRefused) as raised:
        post({"source": "weather", **more})
    assert raised.value.where["status"] == 422
    assert [(fault["in"], fault["name"]) for fault in raised.value.where["errors"]] == [("body", named)]
    assert not started


def test_what_a_run_declares_to_be_read_is_for_admins_alone(started):
    body = {"source": "files", "input": "https://elsewhere.example/x.toml"}
    with pytest.raises(RequestRefused, match="'admin'") as raised:
        post(body, scopes=("run", "read"))
    assert (raised.value.where["status"], raised.value.where["reason"]) == (403, "scope")
    assert not started
    post(body, scopes=("admin",))
    assert [trigger.input for trigger in started] == [body["input"]]


@pytest.mark.parametrize("key", ["", " ", "a b", "a" * 129, '"open', "ä", "a\n", '""'])
def test_a_key_of_another_form_is_refused_by_name(started, key):
    with pytest.raises(RequestRefused) as raised:
        post({"source": "weather"}, key)
    assert [(fault["in"], fault["name"]) for fault in raised.value.where["errors"]] == [("header", "Idempotency-Key")]
    assert not started


def test_keys_of_several_callers_do_not_meet_and_one_without_a_key_is_another_each_time(started):
    for key, caller in (("k", "a"), ("k", "a"), ("k", "b"), ("l", "a"), (None, "a"), (None, "a")):
        post({"source": "weather"}, key, caller)
    identities = [trigger.identity for trigger in started]
    assert identities[0] == identities[1]
    assert len(set(identities)) == 5


def test_the_quotes_around_a_key_are_no_part_of_it(started):
    for key in ("k1", '"k1"', "k2"):
        post({"source": "weather"}, key)
    bare, quoted, other = (trigger.identity for trigger in started)
    assert bare == quoted != other


def test_a_conflict_names_the_key_and_is_409(monkeypatch):
    def start(trigger):
        raise TriggerConflict("weather-a1 is the name of another run", source="weather")

    monkeypatch.setattr(starting.triggers, "start", start)
    with pytest.raises(TriggerConflict) as raised:
        post({"source": "weather"}, "orders-7")
    problem = problems.of(raised.value, "/runs")
    assert problem.status == 409
    assert "orders-7" in problem.document["detail"]
