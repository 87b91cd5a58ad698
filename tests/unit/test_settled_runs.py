"""What settled a failed run, and whether its dead letter is of use still."""

import json
import uuid

import pytest
from botocore.exceptions import ClientError

from chalicelib import settings
from chalicelib.redriving import starting
from chalicelib.redriving.starting import Settled
from chalicelib.settings import Settings
from chalicelib.warehouse import connection

MACHINE = "arn:aws:states:eu-west-1:1:stateMachine:sluice"


class StepFunctions:
    """It has forgotten all executions."""

    def describe_execution(self, executionArn):
        raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")


class Feed:
    """Runs of a source without windows, each a minute after the one before."""

    def __init__(self, url):
        self.url, self.name, self.minutes = url, f"feed_{uuid.uuid4().hex[:8]}", 0

    def enter(self, status, of="", **given):
        self.minutes += 1
        run_id = f"{self.name}{of}"
        with connection.transaction(self.url) as open_connection, open_connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO pipeline.runs (run_id, source, execution, input, status, started_at)"
                " VALUES (%s, %s, 'arn', %s, %s, now() + %s * interval '1 min')",
                (run_id, self.name, json.dumps({"source": self.name, **given}), status, self.minutes),
            )
        return run_id


@pytest.fixture
def feed(database_url, monkeypatch):
    monkeypatch.setattr(settings, "current", lambda: Settings(database_url=database_url, state_machine_arn=MACHINE))
    monkeypatch.setattr(starting, "_client", StepFunctions)
    return Feed(database_url)


def test_a_failed_run_is_settled_by_nothing_before_another_of_the_same_succeeds(feed):
    failed = feed.enter("failed")
    assert starting.settled(failed) is None
    feed.enter("succeeded", " of another day", **{"from": "2026-01-01", "to": "2026-01-02"})
    feed.enter("rejected", " again")
    assert starting.settled(failed) is None


def test_an_attempt_that_succeeded_has_what_the_failed_run_had_and_its_letter_goes(feed):
    failed = feed.enter("failed")
    by = feed.enter("succeeded", "-2", redrive=failed)
    assert starting.settled(failed) == Settled(failed, by, f"{by}, which tried the same after {failed}, succeeded")


@pytest.mark.parametrize(
    ("status", "option"), [("failed", ""), ("rejected", " --judge-again")], ids=["failed", "rejected"]
)
def test_another_run_need_not_hold_the_same_rows_and_the_letter_stays_with_both_ways_on(feed, status, option):
    run = feed.enter(status)
    by = feed.enter("succeeded", " of the next day")
    found = starting.settled(run)
    assert (found.run_id, found.by, found.keeps_letter) == (run, by, True)
    assert f"`sluice redrive {run}{option}` redrives the run" in found.reason
    assert f"`sluice redrive {run} --discard` deletes the letter" in found.reason


def test_a_letter_stays_also_where_an_attempt_failed_before_the_other_run_succeeded(feed):
    failed = feed.enter("failed")
    feed.enter("failed", "-2", redrive=failed)
    by = feed.enter("succeeded", " of the next day")
    found = starting.settled(failed)
    assert (found.by, found.keeps_letter) == (by, True)
