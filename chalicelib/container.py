"""`python -m chalicelib.container`: the stages of one chunk, or the fetch of one partition, in a container.

For what a Lambda's 15 minutes or its memory do not hold. The same functions run as in the Lambdas, with the
same contracts, logs and metrics; what the state machine says is in the variable SLUICE_TASK, as
`contracts.ContainerTask`. Exit status 0: done. 1: it failed, and `container_result` has the error.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable

from chalicelib import container_result, settings
from chalicelib.contract_reading import read_contract
from chalicelib.contracts import (
    ContainerTask,
    FetchPartitionRequest,
    LoadRequest,
    TransformRequest,
    ValidateRequest,
)
from chalicelib.errors import ContractError, TransientError
from chalicelib.lake import Lake, keys
from chalicelib.telemetry import logger, run_stage

FAILED = 1
# a new container takes a minute to start: what may pass by itself is tried again in this one, as the state
# machine does with a Lambda
ATTEMPTS = 6
LONGEST_PAUSE = 60.0  # seconds


def main() -> int:
    task = read_task(settings.task())
    lake = Lake(settings.current().bucket)
    before = container_result.earlier(lake, task)
    if before is not None and before.terminal:
        # ECS tells an exit status alone, so the state machine retries this too: nothing is done twice
        logger.error("not tried again", run_id=task.run_id, error=before.error, reason=before.reason)
        return FAILED
    container_result.begin(lake, task)
    try:
        work(task, lake)
    except Exception as error:  # logged by `run_stage`
        container_result.fail(lake, task, error)
        return FAILED
    return 0


def read_task(text: str) -> ContainerTask:
    """Raises ContractError for a text that is no task."""
    try:
        given = json.loads(text)
    except ValueError:
        raise ContractError(
            f"SLUICE_TASK is {text[:200]!r}, expected a JSON object", next_step="the state machine sets it"
        ) from None
    task = read_contract(ContainerTask, given, "SLUICE_TASK")
    if (task.chunk is None) == (task.partition is None):
        raise ContractError("SLUICE_TASK names a chunk or a partition, not both and not neither")
    return task


def work(task: ContainerTask, lake: Lake) -> None:
    """Do it; raises what the stage that failed raises."""
    run = {"run_id": task.run_id, "source": task.source}
    if task.partition is not None:
        from chalicelib.stages.fetch_partition import fetch_partition

        partition = lake.get_json(keys.partitions(task.run_id))[task.partition]
        _patiently(
            fetch_partition, FetchPartitionRequest, {**run, "partition": partition, "runs_at_once": task.runs_at_once}
        )
        return
    from chalicelib.stages.load import load
    from chalicelib.stages.transform import transform
    from chalicelib.stages.validate import validate

    chunk = lake.get_json(keys.manifest(task.run_id))[task.chunk]
    transformed = _patiently(transform, TransformRequest, {**run, "chunk": chunk})
    validated = _patiently(validate, ValidateRequest, {**run, "chunk": chunk, "transformed": transformed})
    _patiently(load, LoadRequest, {**run, "validated": validated})


def _patiently(stage: Callable, request_type: type, event: dict, sleep: Callable[[float], None] = time.sleep) -> dict:
    """The stage's result as JSON values, as its Lambda would answer; transient errors are tried again."""
    for attempt in range(1, ATTEMPTS):
        try:
            return _plain(run_stage(stage, request_type, event))
        except TransientError:
            sleep(random.uniform(0, min(2.0**attempt, LONGEST_PAUSE)))
    return _plain(run_stage(stage, request_type, event))


def _plain(result: dict) -> dict:
    """As it is after its way through the state machine: tuples are arrays."""
    return json.loads(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
