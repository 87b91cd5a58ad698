"""What the function of a state logged in an execution: its newest lines, however many there are.

A Map of a thousand children logs tens of thousands of lines, and CloudWatch gives the oldest first. So it is asked for
the end of the state's time, then for what lies before, in longer and longer steps, until there are enough.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import boto3

from chalicelib import asl, boto_clients, redaction, run_log, settings
from chalicelib.errors import TerminalError, TransientError
from chalicelib.executions import Execution

LINES = 200
_FIRST_STEP_MS, _LONGER = 15_000, 4
# API Gateway waits 29 for the whole request
_SECONDS = 8


def newest(execution: Execution, state: str) -> tuple[list[dict[str, Any]], bool]:
    """(at most LINES lines, oldest first; whether that is all of them).

    What cannot be read, or not in time, is left out: the log is not what a state is asked for in the first place.
    """
    function = _function(execution, state)
    if function is None:
        return [], True
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + _SECONDS
    try:
        for lines in _newest_first(execution, state, function):
            kept, is_all = _own(lines, execution, function, deadline)
            found = [*kept, *found]
            if not is_all or len(found) > LINES:
                return found[-LINES:], False
    except (TerminalError, TransientError):
        return found, False
    return found, True


def _own(lines: Iterable[str], execution: Execution, function: str, deadline: float) -> tuple[list[dict], bool]:
    """(the last LINES + 1 documents of the function and the execution among `lines`, whether all were read in time)."""
    kept: deque[dict[str, Any]] = deque(maxlen=LINES + 1)
    state, is_all = _handler(function, execution), True
    for _, document in run_log.documents(lines, execution.name):
        # metrics are documents of their own, of numbers that the lines have too
        if "_aws" not in document and document.get("state") == state:
            kept.append(document)
        if time.monotonic() > deadline:
            is_all = False
            break
    return [redaction.strings(document) for document in kept], is_all


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


def _newest_first(execution: Execution, state: str, function: str) -> Iterator[Iterator[str]]:
    """Lines in portions, of which the first is the newest; within each the oldest comes first."""
    if path := settings.current().lambda_log:
        yield run_log.local_lines(Path(path))
        return
    seen = execution.states[state]
    ended = seen.last or execution.stopped or execution.read_at
    begin = int((seen.first or execution.started).timestamp() * 1000) - run_log.MARGIN_MS
    end = int(ended.timestamp() * 1000) + run_log.MARGIN_MS
    step = _FIRST_STEP_MS + run_log.MARGIN_MS
    while end >= begin:
        start = max(begin, end - step)
        yield run_log.cloudwatch_lines(_client(), [f"/aws/lambda/{function}"], execution.name, start, end)
        end, step = start - 1, step * _LONGER


@functools.cache
def _client():
    return boto3.client("logs", config=boto_clients.QUICK)
