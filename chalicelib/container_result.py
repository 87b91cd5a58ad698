"""How a container ended, in the lake: what ECS tells of it is an exit status, which says nothing of our errors.

A container writes `{"started_at", "ended": false}` when it begins, and where it fails its error as
`{"started_at", "ended": true, "error", "reason", "terminal"}`. One that is killed leaves the first.
"""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.contract_reading import read_contract, write_contract
from chalicelib.contracts import ContainerTask
from chalicelib.errors import NotFound, TransientError
from chalicelib.lake import Lake, keys

# what Step Functions calls a task that stopped with another exit status than 0
TASK_FAILED = "States.TaskFailed"


@dataclass(frozen=True)
class ContainerResult:
    started_at: str  # of the execution that it belongs to
    ended: bool
    error: str = ""
    reason: str = ""
    terminal: bool = False  # trying again would not help


def begin(lake: Lake, task: ContainerTask) -> None:
    lake.put_json(_key(task), write_contract(ContainerResult(task.started_at, ended=False)))


def fail(lake: Lake, task: ContainerTask, error: Exception) -> None:
    result = ContainerResult(
        task.started_at,
        ended=True,
        error=type(error).__name__,
        reason=str(error),
        terminal=not isinstance(error, TransientError | MemoryError),
    )
    lake.put_json(_key(task), write_contract(result))


def earlier(lake: Lake, task: ContainerTask) -> ContainerResult | None:
    """How an earlier attempt at the same task ended; None where there was none."""
    found = _read(lake, _key(task))
    return found if found and found.started_at == task.started_at else None


def own_error(lake: Lake, run_id: str, error: dict, chunk: int | None = None) -> dict:
    """The `{"Error", "Cause"}` of a chunk's container, or of the first partition's that failed, in its own words.

    `error` is what Step Functions caught; it is the answer where the container left no words.
    """
    if error.get("Error") != TASK_FAILED:
        return error
    kind = ("partition", 0) if chunk is None else ("chunk", chunk)
    prefix = keys.container(run_id, *kind)
    if chunk is None:
        prefix = prefix[: prefix.rindex("-") + 1]  # of any partition
    for key in lake.keys(prefix):
        found = _read(lake, key)
        if found and found.ended:
            return {"Error": found.error, "Cause": found.reason}
    return error


def _read(lake: Lake, key: str) -> ContainerResult | None:
    try:
        return read_contract(ContainerResult, lake.get_json(key), key)
    except NotFound:
        return None


def _key(task: ContainerTask) -> str:
    if task.chunk is not None:
        return keys.container(task.run_id, "chunk", task.chunk)
    return keys.container(task.run_id, "partition", task.partition)
