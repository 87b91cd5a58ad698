"""The simulator's Lambda: five minutes become one object, the same for the same time, written once."""

import datetime as dt
import json

import pytest
from memory_s3 import MemoryS3

from chalicelib import settings, simulation
from chalicelib.contracts import Window
from chalicelib.errors import ContractError
from chalicelib.events import simulate_sensors as module
from chalicelib.events.simulate_sensors import simulate_sensors
from chalicelib.lake.store import Lake
from chalicelib.settings import Settings
from chalicelib.sources import location
from chalicelib.sources.sensors import Sensors

DUE = "2026-11-21T13:05:00Z"
KEY = "inbox/sensors/date=2026-11-21/1305.ndjson"


@pytest.fixture
def lake(monkeypatch):
    lake = Lake("bucket", MemoryS3())
    monkeypatch.setattr(module, "Lake", lambda bucket: lake)
    monkeypatch.setattr(settings, "current", lambda: Settings(bucket="bucket"))
    return lake


def test_the_five_minutes_before_become_an_object_of_lines(lake):
    answer = simulate_sensors({"scheduled": DUE})
    assert answer == {"key": KEY, "readings": answer["readings"], "written": True}
    records = [json.loads(line) for line in lake.get(KEY).splitlines()]
    assert len(records) == answer["readings"]
    assert records == simulation.readings(dt.datetime(2026, 11, 21, 13, 0, tzinfo=dt.UTC), 5)


def test_a_schedule_that_fires_twice_or_late_leaves_one_object_as_it_was(lake):
    simulate_sensors({"scheduled": DUE})
    before = lake.get(KEY)
    for due in (DUE, "2026-11-21T13:07:59Z", "2026-11-21T08:05:00-05:00"):
        assert simulate_sensors({"scheduled": due}) == {"key": KEY, "readings": before.count(b"\n"), "written": False}
    assert lake.get(KEY) == before


def test_twelve_objects_hold_an_hour(lake):
    noon = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
    found = []
    for number in range(1, 13):
        due = (noon + dt.timedelta(minutes=5 * number)).isoformat()
        found += lake.get(simulate_sensors({"scheduled": due})["key"]).splitlines()
    assert list(map(json.loads, found)) == simulation.readings(noon, 60)


@pytest.mark.parametrize("event", [{}, {"scheduled": None}, {"scheduled": "today"}, {"scheduled": "2026-11-21"}, []])
def test_an_event_without_a_time_is_refused(lake, event):
    with pytest.raises(ContractError, match=r"scheduled is .* Next: give"):
        simulate_sensors(event)


def test_the_source_reads_what_it_is_given_or_all_of_its_inbox(monkeypatch):
    asked = []
    monkeypatch.setattr(location, "find", lambda given, settings: asked.append(given) or [given])
    source, given = Sensors(), f"s3://bucket/{KEY}"
    assert source.partitions(Window(), given, Settings(bucket="bucket")) == [{"location": given}]
    source.partitions(Window(), None, Settings(bucket="bucket"))
    assert asked == [given, "s3://bucket/inbox/sensors/"]


def test_what_the_sensors_send_fits_the_columns(lake):
    simulate_sensors({"scheduled": DUE})
    record = json.loads(lake.get(KEY).splitlines()[0])
    assert tuple(record) == Sensors().column_names
