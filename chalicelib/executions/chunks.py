"""The chunks of a run as its execution tells of them: how many there are, and what really became of them."""

from __future__ import annotations

import json

from chalicelib.executions.model import Execution
from chalicelib.executions.summary import with_failed_children

PROCESS = "Process"


def planned(execution: Execution) -> int | None:
    """How many chunks the run has, from what WriteManifest returned; None before that.

    Step Functions itself learns the number while it reads the manifest, moto only at the end.
    """
    written = execution.states.get("WriteManifest")
    try:
        return int(json.loads(written.output)["manifest"]["result"]["chunks"])
    except (AttributeError, TypeError, ValueError, KeyError):
        return None


def with_failed(execution: Execution, loaded: int) -> Execution:
    """A chunk that recorded its own failure has succeeded for Step Functions; told as it was.

    `loaded` are the chunks that the ledger has. What earlier attempts at the run left in the lake says nothing.
    """
    children = execution.states[PROCESS].children
    if children is None:
        return execution
    # while it runs, a chunk may be loaded whose child has not ended
    return with_failed_children(execution, PROCESS, max(children.succeeded - loaded, 0))
