"""Reading an execution from the Step Functions API."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import boto_errors
from chalicelib.errors import NotFound, TerminalError, TransientError
from chalicelib.executions import history, summary
from chalicelib.executions.model import RUNNING, Children, Execution

_TRANSIENT_CODES = frozenset({"ThrottlingException"})


def arn(state_machine_arn: str, run_id: str) -> str:
    """The execution of a run: it has the run's name."""
    return state_machine_arn.replace(":stateMachine:", ":execution:") + f":{run_id}"


def read(client, execution_arn: str) -> Execution:
    """The execution as it is now.

    Raises NotFound when there is none of that name, TransientError when Step Functions is out of reach.
    """
    return Reader(client, execution_arn).read()


def described(client, execution_arn: str) -> dict | None:
    """What DescribeExecution says; None where the execution was never started, or is forgotten.

    That is 90 days after its end on AWS, when the stack goes down on a laptop. Raises TransientError or TerminalError.
    """
    try:
        with _named(execution_arn):
            return client.describe_execution(executionArn=execution_arn)
    except NotFound:
        return None


@contextlib.contextmanager
def _named(execution_arn: str) -> Iterator[None]:
    """Step Functions' exceptions as ours."""
    try:
        yield
    except ClientError as error:
        if boto_errors.code(error) == "ExecutionDoesNotExist":
            raise NotFound(
                f"Step Functions knows no execution {execution_arn}",
                next_step="list the runs with `sluice runs list`; AWS forgets a history 90 days after its end",
            ) from error
        kind = TransientError if boto_errors.may_pass(error, _TRANSIENT_CODES) else TerminalError
        raise kind(f"Step Functions refused to tell of {execution_arn}: {error}") from error
    except BotoCoreError as error:  # connection refused, read timeout, no credentials
        raise TransientError(
            f"Step Functions could not be reached for {execution_arn}: {error}",
            next_step="if the local stack ended, `sluice up`, then start the run again; otherwise look again later",
        ) from error


class Reader:
    """Reads one execution again and again, without fetching what can no longer change.

    `client` is a boto3 client for stepfunctions. With `data=False` inputs and outputs are left out.
    Pages of the history that were full are kept, as is the count of a Map run that has ended.
    moto returns the whole history as one page; there every read fetches it anew.
    """

    def __init__(self, client, execution_arn: str, data: bool = True):
        self._client = client
        self._arn = execution_arn
        self._data = data
        self._definition: dict | None = None
        self._settled: list[dict] = []  # events of full pages
        self._token: str | None = None  # of the page after them
        self._map_runs: dict[str, Children] = {}

    def read(self) -> Execution:
        with _named(self._arn):
            described = self._client.describe_execution(executionArn=self._arn)
            if self._definition is None:
                answer = self._client.describe_state_machine_for_execution(executionArn=self._arn)
                self._definition = json.loads(answer["definition"])
            events = self._events()
            # the history lags behind the status (documented as eventually consistent)
            for _ in range(5):
                if described["status"] == RUNNING or history.ends(events):
                    break
                time.sleep(0.1)
                events = self._events()
            definition = self._definition
            told = history.read(events, summary.catchers(definition))
            read_at = dt.datetime.now(dt.UTC)
            is_running = described["status"] == RUNNING
            until = described.get("stopDate") or read_at
            states = summary.sum_up(definition, told.visits, is_running, until, self._children)
        return Execution(
            arn=described["executionArn"],
            name=described["name"],
            status=described["status"],
            started=described["startDate"],
            stopped=described.get("stopDate"),
            read_at=read_at,
            error=described.get("error"),
            cause=described.get("cause"),
            input=described.get("input"),
            output=described.get("output"),
            definition=definition,
            states=states,
            transitions=told.transitions,
        )

    def _events(self) -> list[dict]:
        latest: list[dict] = []
        while True:
            token = {"nextToken": self._token} if self._token else {}
            page = self._client.get_execution_history(
                executionArn=self._arn, maxResults=1000, includeExecutionData=self._data, **token
            )
            latest = page["events"]
            if not page.get("nextToken"):
                return sorted(self._settled + latest, key=lambda event: event["id"])
            self._settled += latest
            self._token = page["nextToken"]

    def _children(self, map_run: str) -> Children:
        """The counts of a Map run. moto counts only children that have begun while it runs."""
        if map_run not in self._map_runs:
            answer = self._client.describe_map_run(mapRunArn=map_run)
            counts = answer["itemCounts"]
            ended = answer["status"] != RUNNING
            children = Children(
                total=counts["total"] if ended or counts["pending"] else None,
                succeeded=counts["succeeded"],
                failed=counts["failed"] + counts["timedOut"],
                running=counts["running"],
                aborted=counts["aborted"],
            )
            if not ended:
                return children
            self._map_runs[map_run] = children
        return self._map_runs[map_run]
