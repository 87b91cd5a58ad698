"""POST /runs: what is carried into the run's input, and what is refused before anything is started."""

import json

import pytest

from chalicelib.api import runs
from chalicelib.errors import ContractError
from chalicelib.triggers import Started


@pytest.fixture
def started(monkeypatch):
    """The triggers that were started."""
    found = []

    def start(trigger):
        found.append(trigger)
        return Started("run", "arn", new=True)

    monkeypatch.setattr(runs.triggers, "start", start)
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
    }
    assert set(asked) == set(runs._FIELDS)
    runs.start(json.dumps(asked).encode(), "key", "caller")
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
        ({"from": "20240131"}, r"input\.from"),
        ({"from": "2024-01-01", "to": "2024-1-31"}, r"input\.to"),
        ({"move_cursor": "yes"}, "move_cursor"),
    ],
)
def test_what_would_be_dropped_or_refused_later_is_refused_at_once(started, more, named):
    with pytest.raises(ContractError, match=named):
        runs.start(json.dumps({"source": "weather", **more}).encode(), None, "caller")
    assert not started
