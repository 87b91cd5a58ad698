"""What went wrong, in words: the causes that Step Functions hands on."""

from __future__ import annotations

import json


def plain_cause(cause: str | None) -> str:
    """The message in a cause: of a failed Lambda it is JSON with an `errorMessage`, of others plain text."""
    if not cause:
        return ""
    try:
        found = json.loads(cause)
    except ValueError:
        return cause
    if not isinstance(found, dict):
        return cause
    return str(found.get("errorMessage", cause)) if "Containers" not in found else _stopped(found)


# what kills with signal 9: the kernel where the task has no memory left, Fargate where it takes the machine back
_KILLED = 137


def _stopped(task: dict) -> str:
    """Why an ECS task stopped, from its description as DescribeTasks gives it, in Step Functions' letters."""
    container = next(iter(task["Containers"]), {})
    status, why = container.get("ExitCode"), container.get("Reason") or task.get("StoppedReason") or "it stopped"
    if status == _KILLED:
        return f"the container was killed (exit status 137): more memory than its task has, or Fargate ended it; {why}"
    return f"the container ended with exit status {status}: {why}" if status is not None else why


def read_cause(error: dict) -> tuple[str, str]:
    """(error name, reason) of the `{"Error", "Cause"}` that a Catch was given."""
    return str(error.get("Error", "Unknown")), plain_cause(str(error.get("Cause", "")))
