"""What Sluice asks of a state machine beyond the language itself.

- Every Task has a timeout, retries that name transient errors with backoff, jitter and a cap, and
  a Catch: nothing hangs, nothing retries on everything, no error goes unseen.
- ARNs come in by substitution: one file serves every account, region and stage.
- Every path that catches an error, and every path to a Fail state, publishes to SNS, puts a
  message on the SQS dead-letter queue, and ends in a Fail state: no failure ends green. The tasks
  inside a Map are exempt; there a child records its outcome for a later state to judge.
- A distributed Map tolerates all failures, for the same reason. The value is `100.0`: the local
  engine does not parse an integer.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from chalicelib import asl

_RETRY_FIELDS = ("IntervalSeconds", "BackoffRate", "MaxAttempts", "MaxDelaySeconds", "JitterStrategy")
_LITERAL_ARN = re.compile(r"arn:[\w-]+:[\w-]+:[^:]*:[^:]*:\S+")


def policy_problems(definition: dict) -> list[str]:
    """The breaches of our rules, one line each; the definition must have no `problems` (see `check`)."""
    found = []
    for name, state, _ in asl.placed(definition):
        if state["Type"] == "Task":
            found += _task(name, state)
        if asl.is_distributed(state):
            found += _tolerance(name, state)
    found += _arns(definition, "")
    found += _failure_paths(definition)
    return found


def _task(name: str, state: dict) -> Iterator[str]:
    if "TimeoutSeconds" not in state and "TimeoutSecondsPath" not in state:
        yield f"{name}: has no TimeoutSeconds; add one, or a hang lasts for a year"
    if not state.get("Catch"):
        yield f"{name}: has no Catch; lead its errors to a state that tells somebody"
    if not state.get("Retry"):
        yield f"{name}: has no Retry; name the transient errors that may pass by themselves"
    for index, retrier in enumerate(state.get("Retry", [])):
        where = f"{name}.Retry[{index}]"
        # AWS documents only a part of a service integration's error names; our functions' we know
        everything = {"States.ALL", "States.TaskFailed"} if _is_function(state) else {"States.ALL"}
        if everything & set(retrier["ErrorEquals"]):
            yield f"{where}: retries on everything; name the transient errors instead"
        if missing := [field for field in _RETRY_FIELDS if field not in retrier]:
            yield f"{where}: has no {', '.join(missing)}; set them all"
        if retrier.get("JitterStrategy", "FULL") != "FULL":
            yield f"{where}.JitterStrategy: is {retrier['JitterStrategy']!r}; use FULL, or all children retry at once"


def _is_function(state: dict) -> bool:
    return ":::" not in state["Resource"] or ":::lambda:" in state["Resource"]


def _tolerance(name: str, state: dict) -> Iterator[str]:
    value = state.get("ToleratedFailurePercentage")
    if not isinstance(value, float) or value != 100.0:
        yield f"{name}.ToleratedFailurePercentage: is {value!r}; write 100.0 and judge the children in a later state"


def _arns(value, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _arns(item, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _arns(item, f"{where}[{index}]")
    elif isinstance(value, str):
        for arn in _LITERAL_ARN.findall(value):
            if not arn.startswith("arn:aws:states:::"):
                yield f"{where}: has the literal ARN {arn}; use a substitution such as ${{NameArn}}"


class _Step(NamedTuple):
    """Where a path stands: has it caught an error, and whom has it told since it began or caught."""

    state: str
    caught: bool
    told: frozenset[str]


def _failure_paths(machine: dict) -> list[str]:
    """Paths that end without having told; for each end and what is missing, the shortest such path."""
    leaving: dict[str, list[asl.Edge]] = {name: [] for name in machine["States"]}
    for edge in asl.edges(machine):
        leaving[edge.source].append(edge)

    def enter(name: str, caught: bool, told: frozenset[str]) -> _Step:
        return _Step(name, caught, told | _tells(machine["States"][name]))

    start = enter(machine["StartAt"], False, frozenset())
    came_from: dict[_Step, _Step | None] = {start: None}
    found: dict[tuple[str, str], str] = {}
    queue = deque([start])
    while queue:
        step = queue.popleft()
        state = machine["States"][step.state]
        is_fail = state["Type"] == "Fail"
        if is_fail or state.get("End") or state["Type"] == "Succeed":
            lacks = [
                f"no {service} state" for service in ("sns:publish", "sqs:sendMessage") if service not in step.told
            ]
            lacks += [] if is_fail else ["no Fail state at its end"]
            if (step.caught or is_fail) and lacks:
                path = " -> ".join(_path(step, came_from))
                what = "catches an error" if step.caught else "fails"
                found.setdefault(
                    (step.state, str(lacks)),
                    f"{step.state}: the path {path} {what} and has {' and '.join(lacks)}; lead it there",
                )
        for edge in leaving[step.state]:
            catches = edge.kind == asl.CATCH
            # whoever was told before the first error was not told of it
            told = frozenset() if catches and not step.caught else step.told
            following = enter(edge.target, step.caught or catches, told)
            if following not in came_from:
                came_from[following] = step
                queue.append(following)
    return list(found.values())


def _tells(state: dict) -> frozenset[str]:
    resource = str(state.get("Resource", ""))
    return frozenset(service for service in ("sns:publish", "sqs:sendMessage") if f":::{service}" in resource)


def _path(step: _Step, came_from: dict[_Step, _Step | None]) -> list[str]:
    names: list[str] = []
    at: _Step | None = step
    while at is not None:
        names.insert(0, at.state)
        at = came_from[at]
    return names
