"""`GET /runs/{run_id}/states/{state}`: what one state was given, said, raised and logged."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import boto3
from pydantic import Field

from chalicelib import asl, boto_clients, redaction, run_log, settings
from chalicelib.api import run
from chalicelib.api.answering import Request
from chalicelib.api.models import Text
from chalicelib.api.run import RunPath, StateSummary
from chalicelib.errors import NotFound, TerminalError
from chalicelib.executions import Execution

LINES = 200  # of the log, the newest


class StatePath(RunPath):
    state: Annotated[Text, Field(description="The name of a state of the state machine.", examples=["Plan"])]


class StateDetails(StateSummary):
    """Input and output are references and counts, never rows; secrets in them are masked."""

    input: Annotated[Any, Field(description="What the state was entered with, as JSON.")]
    output: Annotated[Any, Field(description="What it left behind, as JSON; null before that.")]
    log: Annotated[list[dict[str, Any]], Field(description=f"The newest {LINES} lines of its function, oldest first.")]
    log_complete: Annotated[bool, Field(description="False where there are more lines, or the log cannot be read.")]


def one(request: Request) -> dict[str, Any]:
    """Raises NotFound for a run whose execution is not known, and for a state that the machine does not have."""
    wanted = request.parameters
    execution = run.execution_of(wanted.run_id)
    if execution is None:
        raise NotFound(
            f"Step Functions knows no execution {wanted.run_id!r}",
            next_step="GET /runs lists the runs; Step Functions forgets them 90 days after their end",
        )
    if wanted.state not in execution.states:
        raise NotFound(
            f"the state machine has no state {wanted.state!r}",
            run_id=wanted.run_id,
            next_step=f"take one of {', '.join(execution.states)}",
        )
    state = execution.states[wanted.state]
    lines, complete = _log(execution, wanted.state)
    return {
        **run.state_summary(execution, wanted.state),
        "input": _shown(state.input),
        "output": _shown(state.output),
        "log": lines,
        "log_complete": complete,
    }


def _shown(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return redaction.strings(json.loads(text))
    except ValueError:
        return redaction.url(text)


def _log(execution: Execution, state: str) -> tuple[list[dict[str, Any]], bool]:
    function = _function(execution, state)
    if function is None:
        return [], True
    found: list[dict[str, Any]] = []
    try:
        for _, document in run_log.documents(_lines(execution, function), execution.name):
            # metrics are documents of their own, of numbers that the lines have too
            if "_aws" not in document and document.get("state") == _handler(function, execution):
                found.append(redaction.strings(document))
    except TerminalError:
        return found[-LINES:], False
    return found[-LINES:], len(found) <= LINES


def _function(execution: Execution, state: str) -> str | None:
    """The name of the Lambda that does the state's work; None for a state that has none."""
    place = next(place for place in asl.placed(execution.definition) if place.name == state)
    if not str(place.state.get("Resource", "")).endswith(":lambda:invoke"):
        return None
    # arn:<partition>:lambda:<region>:<account>:function:<name>, and an alias where it starts from a snapshot
    return place.state["Parameters"]["FunctionName"].split(":function:")[-1].split(":")[0]


def _handler(function: str, execution: Execution) -> str:
    """The function's name in the logs: without the stage's prefix, which is the machine's name."""
    return function.removeprefix(execution.arn.split(":")[-2] + "-")


def _lines(execution: Execution, function: str) -> Iterator[str]:
    if path := settings.current().lambda_log:
        return run_log.local_lines(Path(path))
    ended = execution.stopped or execution.read_at
    return run_log.cloudwatch_lines(
        _client(),
        [f"/aws/lambda/{function}"],
        execution.name,
        int(execution.started.timestamp() * 1000) - run_log.MARGIN_MS,
        int(ended.timestamp() * 1000) + run_log.MARGIN_MS,
    )


@functools.cache
def _client():
    return boto3.client("logs", config=boto_clients.QUICK)
