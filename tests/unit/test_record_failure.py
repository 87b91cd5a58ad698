"""RecordFailure, invoked once more when nobody waits for it any more, takes nothing from the attempt that follows."""

import datetime as dt
import uuid

import pytest
from botocore.exceptions import EndpointConnectionError
from memory_s3 import MemoryS3

from chalicelib import settings
from chalicelib.columns import Column
from chalicelib.contracts import RecordFailureRequest, Window
from chalicelib.lake.store import Lake
from chalicelib.redriving import advice
from chalicelib.settings import Settings
from chalicelib.sources.base import Source
from chalicelib.stages import record_failure as stage
from chalicelib.warehouse import connection, ledger, tables


class Booth(Source):
    name = "booth"
    key = ("id",)
    columns = (Column("id", "integer"),)


@pytest.fixture
def query(database_url):
    def asked(text, *values):
        with connection.transaction(database_url) as conn, conn.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    return asked


@pytest.fixture
def replay(query, database_url, monkeypatch):
    """(run, claim) of a replay under way, to which a row of another run is claimed."""
    monkeypatch.setattr(settings, "current", lambda: Settings(bucket="bucket", database_url=database_url))
    monkeypatch.setattr(stage, "Lake", lambda bucket: Lake(bucket, MemoryS3()))
    monkeypatch.setattr(stage, "_told_by_history", lambda execution: ("Process", None))
    claim = uuid.uuid4().hex[:16]
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        tables.ensure_curated(cursor, Booth())
        for run_id, given in ((f"of-{claim}", {}), (f"replay-{claim}", {"replay": claim})):
            given = {"source": "booth", **given}
            ledger.open_run(cursor, Booth(), run_id, "arn", given, Window(), "2026-01-01T00:00:00Z")
    query(
        "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record, claimed_by)"
        " VALUES (%s, 'booth', 0, 0, 1, '[]', '{}', %s)",
        f"of-{claim}",
        claim,
    )
    return f"replay-{claim}", claim


def test_rows_that_the_next_attempt_has_claimed_stay_claimed(replay, query):
    run_id, claim = replay
    request = RecordFailureRequest(run_id, "arn", {"source": "booth", "replay": claim}, {"Error": "E", "Cause": "c"})
    claimed = "SELECT claimed_by FROM pipeline.quarantine WHERE run_id = %s"
    stage.record_failure(request)
    assert query(claimed, f"of-{claim}") == [(None,)]
    query("UPDATE pipeline.quarantine SET claimed_by = %s WHERE run_id = %s", claim, f"of-{claim}")
    stage.record_failure(request)
    assert query(claimed, f"of-{claim}") == [(claim,)]


@pytest.mark.parametrize("kind", ["a replay", "another run"])
def test_the_email_has_the_command_that_starts_the_run_again_as_every_other_place(replay, kind):
    run_id, claim = replay
    given = {"source": "booth"}
    commands = [f"sluice redrive {run_id}", "sluice run booth"]
    if kind == "a replay":
        given |= {"replay": claim, "trigger": f"replay of of-{claim}"}
        commands = [f"sluice quarantine replay --run of-{claim}"]
    assert advice.command(run_id, given, "E", "c", Lake("bucket", MemoryS3())) == commands[0]
    email = stage.record_failure(RecordFailureRequest(run_id, "arn", given, {"Error": "E", "Cause": "c"})).alert.message
    typed = [line.strip() for line in email.splitlines() if line.startswith("  sluice ")]
    assert typed == [f"sluice runs show {run_id}", f"sluice graph {run_id}", *commands]


STARTED = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
EVENTS = [
    {"id": 9, "type": "PassStateExited", "timestamp": STARTED, "stateExitedEventDetails": {"name": "PlanFailed"}},
    {"id": 7, "type": "TaskStateExited", "timestamp": STARTED, "stateExitedEventDetails": {"name": "Plan"}},
    {"id": 1, "type": "ExecutionStarted", "timestamp": STARTED, "executionStartedEventDetails": {}},
]


class StepFunctions:
    def __init__(self, events):
        self.events = events

    def get_execution_history(self, **_):
        if self.events is None:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")
        return {"events": self.events}


@pytest.mark.parametrize(
    ("events", "told"),
    [(EVENTS, ("Plan", STARTED)), (EVENTS[:2], ("Plan", None)), (None, ("unknown", None))],
    ids=["whole", "its last events", "out of reach"],
)
def test_the_history_tells_where_a_run_failed_and_when_it_began(monkeypatch, events, told):
    monkeypatch.setattr(stage.boto3, "client", lambda name: StepFunctions(events))
    assert stage._told_by_history("arn") == told
