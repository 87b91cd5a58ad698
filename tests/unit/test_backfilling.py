"""A backfill at work: what two commands with other options do to each other, and what Ctrl-C does."""

import datetime as dt
import json
import signal
import uuid
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from chalicelib.errors import TriggerConflict
from chalicelib.triggers import Started
from chalicelib.warehouse import backfills, connection
from chalicelib.warehouse.backfills import Asked
from cli import backfilling
from cli.backfill_progress import summary
from cli.backfilling import Driver, Stop

FIRST, LAST = dt.date(2024, 1, 1), dt.date(2024, 1, 3)
DAYS = [(FIRST + dt.timedelta(days=n), FIRST + dt.timedelta(days=n)) for n in range(3)]


def refused(code):
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "DescribeExecution")


class Machine:
    """Step Functions, as far as a backfill asks it: executions by name, each under way until it is ended."""

    def __init__(self):
        self.inputs, self.ended = {}, set()
        self.before_start = lambda run_id: None
        self.throttled = 0  # questions that are refused yet

    def start(self, trigger, attempt):
        run_id, wanted = trigger.attempt(attempt), trigger.run_input()
        self.before_start(run_id)
        if self.inputs.setdefault(run_id, wanted) != wanted:
            raise TriggerConflict(f"{run_id} is another run")
        return Started(run_id, "arn", True)

    def describe_execution(self, executionArn):
        run_id = executionArn.rpartition(":")[2]
        if run_id not in self.inputs:
            raise refused("ExecutionDoesNotExist")
        if self.throttled:
            self.throttled -= 1
            raise refused("ThrottlingException")
        status = "FAILED" if run_id in self.ended else "RUNNING"
        return {"status": status, "input": json.dumps(self.inputs[run_id]), "error": "Ended"}


@pytest.fixture
def machine(monkeypatch):
    made = Machine()
    monkeypatch.setattr(backfilling, "start", made.start)
    return made


@pytest.fixture
def commands(database_url, machine):
    """commands(concurrency): the driver of one more command for the same backfill."""
    asked = Asked(f"s{uuid.uuid4().hex[:8]}", FIRST, LAST, "1d")
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        backfill = backfills.create(cursor, asked, 1, DAYS, "ada")
    settings = SimpleNamespace(state_machine_arn="arn:aws:states:eu-west-1:123456789012:stateMachine:pipeline")
    session = SimpleNamespace(database_url=database_url, settings=settings, client=lambda service: machine)

    def command(concurrency, stop=None):
        return Driver(session, asked, backfill, None, concurrency, stop or Stop())

    return command


def test_a_window_that_another_command_began_with_other_options_did_not_fail(commands, machine):
    mine, other = commands(1), commands(2)

    def other_is_faster(run_id):
        """The window is taken and not begun: the other command's look finds it so, and begins it."""
        machine.before_start = lambda run_id: None
        other._look()

    machine.before_start = other_is_faster
    assert mine._start() == 1
    assert [given["runs_at_once"] for given in machine.inputs.values()] == [2]
    progress = mine.progress()
    assert (progress.running, progress.failed, progress.left) == (1, 0, 2)


def test_a_window_whose_name_is_another_run_failed(commands, machine):
    mine = commands(1)
    machine.before_start = lambda run_id: machine.inputs.setdefault(run_id, {"source": "by hand"})
    mine._start()
    assert [window.error for window in mine.troubled()] == [
        f"TriggerConflict: {window.run_id} is another run" for window in mine.troubled()
    ]
    assert mine.progress().failed == 3


def test_the_first_ctrl_c_starts_no_more_and_is_told_of_once_where_nothing_else_is_printed(commands, machine):
    stop, told = Stop(), []
    driver = commands(2, stop)

    def interrupted(run_id):
        machine.before_start = lambda run_id: None
        signal.raise_signal(signal.SIGINT)
        assert not told  # what the signal interrupts may be printing

    def stopping():
        told.append("stopping")
        machine.ended |= machine.inputs.keys()

    machine.before_start = interrupted
    with stop.installed():
        driver.work(lambda progress: None, lambda window, progress: None, stopping)
    assert (told, len(machine.inputs)) == (["stopping"], 1)
    assert (driver.progress().left, driver.progress().running) == (2, 0)


def test_the_second_ctrl_c_leaves_at_once(commands, machine):
    stop = Stop()
    driver = commands(1, stop)
    machine.before_start = lambda run_id: signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop.installed():
        driver.work(lambda *_: None, lambda *_: None, lambda: signal.raise_signal(signal.SIGINT))
    assert driver.progress().running == 1


def test_a_backfill_goes_on_while_step_functions_throttles(commands, machine, monkeypatch):
    monkeypatch.setattr(backfilling, "LONGEST_PAUSE", 0.01)
    driver = commands(3)
    machine.before_start = lambda run_id: setattr(machine, "throttled", 2)
    driver.work(lambda progress: machine.ended.update(machine.inputs), lambda window, progress: None, lambda: None)
    assert (driver.progress().failed, driver.progress().left, machine.throttled) == (3, 0, 0)


def test_rows_of_windows_that_are_done_are_told_apart_from_those_of_runs_under_way(commands, database_url):
    mine = commands(2)
    mine._start()
    done, under_way = mine.progress().under_way
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        for window in (done, under_way):
            cursor.execute(
                "INSERT INTO pipeline.runs (run_id, source, execution, input, status, started_at)"
                " VALUES (%s, 's', 'arn', '{}', 'running', now())",
                (window.run_id,),
            )
            cursor.execute(
                "INSERT INTO pipeline.chunks (run_id, chunk, records, staged, quarantined, results)"
                " VALUES (%(run)s, 0, 7, 7, 0, '{}'), (%(run)s, 1, 3, 3, 0, '{}')",
                {"run": window.run_id},
            )
    mine._finish(done, backfills.DONE, 10, None)
    progress = mine.progress()
    assert (progress.done, progress.rows, progress.running, progress.loaded) == (1, 10, 1, 10)
    assert "1 of 3 done, 1 running, 1 left, 10 rows, 10 more under way, about" in summary(progress)
