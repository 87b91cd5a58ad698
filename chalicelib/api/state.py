"""`GET /runs/{run_id}/states/{state}`: what one state was given, said, raised and logged."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field

from chalicelib import redaction
from chalicelib.api import run, state_log
from chalicelib.api.answering import Request
from chalicelib.api.models import Text
from chalicelib.api.run import RunPath, StateSummary
from chalicelib.errors import NotFound


class StatePath(RunPath):
    state: Annotated[Text, Field(description="The name of a state of the state machine.", examples=["Plan"])]


class StateDetails(StateSummary):
    """Input and output are references and counts, never rows; secrets in them are masked."""

    input: Annotated[Any, Field(description="What the state was entered with, as JSON.")]
    output: Annotated[Any, Field(description="What it left behind, as JSON; null before that.")]
    log: Annotated[
        list[dict[str, Any]], Field(description=f"Its function's newest {state_log.LINES} lines, oldest first.")
    ]
    log_complete: Annotated[bool, Field(description="False where there are more lines, or not all could be read.")]


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
    lines, complete = state_log.newest(execution, wanted.state)
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
