"""`sluice runs show` tells what the ledger has of a run, also where Step Functions says nothing of it."""

import json
import uuid
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from click.testing import CliRunner

from chalicelib.warehouse import connection
from cli import runs as command
from cli.main import main

ERRORS = {
    "not allowed": ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DescribeExecution"),
    "throttled": ClientError({"Error": {"Code": "ThrottlingException", "Message": "no"}}, "DescribeExecution"),
    "away": EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
}


class StepFunctions:
    """Of each execution the same, which may be an error."""

    def __init__(self, answer):
        self.answer = answer

    def describe_execution(self, executionArn):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def session(monkeypatch, database_url):
    """What the command talks to; `answer` is Step Functions'."""
    settings = SimpleNamespace(bucket="lake", state_machine_arn="arn:aws:states:eu-west-1:1:stateMachine:sluice")
    found = SimpleNamespace(settings=settings, database_url=database_url, answer=None)
    found.client = lambda service: StepFunctions(found.answer)
    monkeypatch.setattr(command, "connect", lambda: found)
    return found


@pytest.fixture
def entered(session):
    """entered(status): a run that the ledger has with it; its name."""

    def enter(status):
        run_id = f"shown-{uuid.uuid4().hex[:8]}"
        with connection.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO pipeline.runs (run_id, source, execution, input, status, started_at)"
                """ VALUES (%s, 'posts', 'arn', '{"source": "posts"}', %s, now())""",
                (run_id, status),
            )
        return run_id

    return enter


def show(*arguments):
    return CliRunner().invoke(main, ["runs", "show", *arguments])


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("status", ["running", "published"])
def test_a_run_is_shown_without_its_end_where_step_functions_does_not_tell_of_it(session, entered, status, error):
    session.answer, run_id = error, entered(status)
    ended = show(run_id)
    assert ended.exit_code == 0, ended.output
    assert f"{'run_id':13} {run_id}\n" in ended.stdout and f"{'status':13} {status}\n" in ended.stdout
    assert not [line for line in ended.stdout.splitlines() if line.startswith(("ended ", "next "))]
    assert "sluice: whether it is under way still is not known: " in ended.stderr
    found = json.loads(show(run_id, "--json").stdout)
    assert (found["status"], found["next"]) == (status, None)


def test_a_run_whose_execution_was_stopped_is_shown_with_its_end_and_what_to_type(session, entered):
    session.answer, run_id = {"status": "ABORTED"}, entered("running")
    ended = show(run_id)
    assert ended.exit_code == 0 and ended.stderr == ""
    assert ended.stdout.endswith(
        f"{'ended':13} without a word; its execution is ABORTED\n{'next':13} sluice redrive {run_id}\n"
    )
