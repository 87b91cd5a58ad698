"""The sweep closes runs whose executions are over, drops what they left, and touches nothing of a live run."""

import datetime as dt
import json
import uuid

import pytest
from botocore.exceptions import ClientError

from chalicelib import housekeeping, settings
from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.errors import WarehouseUnavailable
from chalicelib.events import start_run
from chalicelib.housekeeping import sweep
from chalicelib.settings import Settings
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, ledger, tables
from deploy import schedules


class Yard(Source):
    name = "yard"
    key = ("id",)
    columns = (Column("id", "integer"),)


class StepFunctions:
    """Executions by ARN: a status, or a status and an error; what is not listed is forgotten."""

    def __init__(self, **executions):
        self.executions = executions

    def describe_execution(self, executionArn):
        if executionArn not in self.executions:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
        return self.executions[executionArn]


class Ledger:
    def __init__(self, url):
        self.url = url

    def query(self, text, *values):
        with connection.transaction(self.url) as open_connection, open_connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def enter(self, hours_ago=0, staging=True, **given) -> str:
        """A run under way, by the ledger, that was entered so long ago; its name is its execution's ARN."""
        run_id = f"yard_{uuid.uuid4().hex[:8]}"
        began = dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours_ago)
        with connection.transaction(self.url) as open_connection, open_connection.cursor() as cursor:
            tables.ensure_curated(cursor, Yard())
            values = {"source": "yard", **given}
            ledger.open_run(cursor, Yard(), run_id, run_id, values, Window(), began.isoformat())
            if staging:
                tables.create_staging(cursor, Yard(), run_id)
        self.query("UPDATE pipeline.runs SET entered_at = %s WHERE run_id = %s", began, run_id)
        return run_id

    def run(self, run_id):
        with connection.transaction(self.url) as open_connection:
            return ledger.get_run(open_connection, run_id)

    def staged(self, run_id) -> bool:
        name = tables.staging_name("yard", run_id)
        return bool(self.query("SELECT 1 FROM pg_tables WHERE schemaname = 'staging' AND tablename = %s", name))


@pytest.fixture
def runs(database_url, monkeypatch):
    monkeypatch.setattr(settings, "current", lambda: Settings(database_url=database_url))
    found = Ledger(database_url)
    found.query("UPDATE pipeline.runs SET status = 'failed' WHERE status IN ('running', 'published')")
    sweep(StepFunctions())  # what other tests left
    return found


RUNNING = {"status": "RUNNING"}


def test_a_run_that_takes_many_hours_keeps_its_staging_table(runs):
    live = runs.enter(hours_ago=23)
    swept = sweep(StepFunctions(**{live: RUNNING}))
    assert live not in swept.lost and runs.staged(live)
    assert runs.run(live)["status"] == "running"


ENDED = {
    "stopped": ({"status": "ABORTED"}, "RunLost"),
    "out of time": ({"status": "TIMED_OUT", "error": "States.Timeout"}, "States.Timeout"),
    "failed where the ledger was out of reach": (
        {"status": "FAILED", "error": "SourceError", "cause": "no"},
        "SourceError",
    ),
    "forgotten": (None, "RunLost"),
}


@pytest.mark.parametrize(("execution", "error"), ENDED.values(), ids=ENDED)
def test_a_run_whose_execution_is_over_is_closed_and_its_staging_table_goes(runs, execution, error):
    lost, live = runs.enter(hours_ago=1), runs.enter(hours_ago=1)
    states = {live: RUNNING, **({lost: execution} if execution else {})}
    swept = sweep(StepFunctions(**states))
    assert swept.lost == (lost,) and swept.staging == (tables.staging_name("yard", lost),)
    row = runs.run(lost)
    assert (row["status"], row["error"]["error"]) == ("failed", error)
    assert "sluice redrive" not in row["error"]["reason"] and row["finished_at"], "a replay is not redriven"
    assert not runs.staged(lost) and runs.staged(live)
    assert sweep(StepFunctions(**states)) == housekeeping.Swept((), (), 0)


def test_a_run_whose_execution_may_not_be_looked_at_keeps_no_other_from_being_closed(runs):
    class Guarded(StepFunctions):
        def describe_execution(self, executionArn):
            if executionArn == foreign:
                raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeExecution")
            return super().describe_execution(executionArn)

    foreign, lost = sorted(runs.enter(hours_ago=1) for _ in range(2))  # in the order in which they are asked after
    assert sweep(Guarded()).lost == (lost,)
    assert runs.run(foreign)["status"] == "running" and runs.staged(foreign)


def test_a_run_that_began_a_moment_ago_is_not_asked_after(runs):
    young = runs.enter()
    assert sweep(StepFunctions()).lost == () and runs.staged(young)


def test_a_staging_table_of_no_run_or_of_one_that_has_ended_goes(runs):
    ended = runs.enter(hours_ago=1)
    runs.query("UPDATE pipeline.runs SET status = 'succeeded', finished_at = now() WHERE run_id = %s", ended)
    runs.query("CREATE TABLE staging.left_behind (id integer)")
    assert set(sweep(StepFunctions()).staging) == {"left_behind", tables.staging_name("yard", ended)}
    assert runs.run(ended)["status"] == "succeeded"


@pytest.fixture
def claimed(runs):
    """The claim on a row that was set aside two hours ago, claimed that many hours ago; the rows' claims now."""

    class Claimed:
        def __init__(self, hours_ago):
            self.name = uuid.uuid4().hex
            self.original = runs.enter(hours_ago=3, staging=False)
            runs.query("UPDATE pipeline.runs SET status = 'succeeded' WHERE run_id = %s", self.original)
            runs.query(
                "INSERT INTO pipeline.quarantine"
                " (run_id, source, chunk, part, line, reasons, record, claimed_by, claimed_at)"
                " VALUES (%s, 'yard', 0, 0, 1, '[]', 'x', %s, now() - %s * interval '1 hour')",
                self.original,
                self.name,
                hours_ago,
            )

        def now(self):
            ((by,),) = runs.query("SELECT claimed_by FROM pipeline.quarantine WHERE run_id = %s", self.original)
            return by

    return Claimed


def test_the_rows_that_a_lost_replay_was_to_judge_are_free_again(runs, claimed):
    claim = claimed(hours_ago=1.1)
    runs.enter(hours_ago=1, replay=claim.name)
    sweep(StepFunctions())
    assert claim.now() is None


def test_rows_that_a_later_attempt_at_the_lost_replay_claimed_anew_stay_its_own(runs, claimed):
    claim = claimed(hours_ago=0.1)
    lost = runs.enter(hours_ago=1, replay=claim.name)
    assert sweep(StepFunctions()).lost == (lost,) and claim.now() == claim.name


def test_rows_that_a_later_attempt_found_claimed_stay_its_own_until_it_is_lost_too(runs, claimed):
    claim = claimed(hours_ago=2.1)
    lost, later = runs.enter(hours_ago=2, replay=claim.name), runs.enter(hours_ago=1, replay=claim.name)
    assert sweep(StepFunctions(**{later: RUNNING})).lost == (lost,) and claim.now() == claim.name
    assert sweep(StepFunctions()).lost == (later,) and claim.now() is None


class Meanwhile(StepFunctions):
    """While it is asked, something else happens."""

    def __init__(self, happens):
        super().__init__()
        self.happens = happens

    def describe_execution(self, executionArn):
        self.happens(executionArn)
        return super().describe_execution(executionArn)


HAPPENS = {
    "begun again under its name": "UPDATE pipeline.runs SET started_at = now() WHERE run_id = %s",
    "ended by itself": "UPDATE pipeline.runs SET status = 'succeeded', finished_at = now() WHERE run_id = %s",
}


@pytest.mark.parametrize("happens", HAPPENS.values(), ids=HAPPENS)
def test_a_run_that_is_another_by_the_time_it_would_be_closed_is_left_alone(runs, claimed, happens):
    claim = claimed(hours_ago=1.1)
    run_id = runs.enter(hours_ago=1, replay=claim.name)
    before = runs.run(run_id)
    assert sweep(Meanwhile(lambda arn: runs.query(happens, arn))).lost == ()
    after = runs.run(run_id)
    assert after["status"] != "failed" and after["error"] == before["error"] and claim.now() == claim.name


def test_while_the_ledger_is_being_written_no_table_is_dropped_and_the_sweep_goes_on(runs, database_url):
    runs.query("CREATE TABLE staging.waits (id integer)")
    with connection.transaction(f"{database_url}&application_name=writer") as other, other.cursor() as cursor:
        cursor.execute("UPDATE pipeline.runs SET source = source")
        assert sweep(StepFunctions()).staging == ()
    assert sweep(StepFunctions()).staging == ("waits",)


def test_rows_of_written_files_are_forgotten_and_those_of_others_are_not(runs):
    old, new = "now() - interval '15 days'", "now() - interval '13 days'"
    for number, (state, began) in enumerate((("written", old), ("written", new), ("abandoned", old), ("writing", old))):
        runs.query(
            "INSERT INTO pipeline.change_files (batch_id, part, stream, shard, key, rows, state, began_at)"
            f" VALUES ({-1 - number}, 0, 'yard', 's', 'k', 1, '{state}', {began})"
        )
    assert sweep(StepFunctions()).files == 1
    left = runs.query("DELETE FROM pipeline.change_files WHERE stream = 'yard' RETURNING state")
    assert sorted(left) == [("abandoned",), ("writing",), ("written",)]


@pytest.fixture
def fired(runs, database_url, monkeypatch):
    """fired(Step Functions, …): what the function answers to the schedule's message, and what it set aside."""
    names = ("bucket", "state_machine_arn", "topic_arn", "undelivered_url")
    given = Settings(**dict.fromkeys(names, "x"), database_url=database_url)
    monkeypatch.setattr(settings, "current", lambda: given)

    class Queue:
        def __init__(self):
            self.set_aside = []

        def send_message(self, MessageBody, **given):
            self.set_aside.append(MessageBody)

        def publish(self, **given):
            pass

    def call(stepfunctions, **fields):
        queue = Queue()
        for name, client in (("_stepfunctions", stepfunctions), ("_sqs", queue), ("_sns", queue)):
            monkeypatch.setattr(start_run, name, lambda client=client: client)
        [schedule] = schedules.of_the_sweep().values()
        body = schedule["Properties"]["Target"]["Input"].replace(schedules.DUE, "2026-11-21T13:17:00Z")
        body = json.dumps({**json.loads(body), **fields})
        answer = start_run.start_run({"Records": [{"messageId": "m", "body": body}]})
        return answer["batchItemFailures"], queue.set_aside

    return call


def test_the_message_of_the_schedule_is_a_sweep(runs, fired):
    lost, live = runs.enter(hours_ago=1), runs.enter(hours_ago=1)
    assert fired(StepFunctions(**{live: RUNNING})) == ([], [])
    assert (runs.run(lost)["status"], runs.run(live)["status"]) == ("failed", "running")
    assert not runs.staged(lost) and runs.staged(live)


def test_a_sweep_that_does_not_succeed_comes_again(runs, fired, monkeypatch):
    def out_of_reach():
        raise WarehouseUnavailable("Postgres is out of reach")

    lost = runs.enter(hours_ago=1)
    with monkeypatch.context() as patch:
        patch.setattr(housekeeping.migrations, "apply", out_of_reach)
        assert fired(StepFunctions()) == ([{"itemIdentifier": "m"}], [])
    assert runs.run(lost)["status"] == "running"
    assert fired(StepFunctions()) == ([], []) and runs.run(lost)["status"] == "failed"


def test_a_message_that_asks_for_more_than_a_sweep_is_none(runs, fired):
    lost = runs.enter(hours_ago=1)
    again, [set_aside] = fired(StepFunctions(), source="yard")
    assert again == [] and json.loads(set_aside)["source"] == "yard"
    assert runs.run(lost)["status"] == "running"
