"""What the containers of a run used: vCPUs and memory of Fargate, by the second.

A task is billed "from the time you start to download your container image until the Amazon ECS Task terminates,
rounded up to the nearest second", at least a minute (https://aws.amazon.com/fargate/pricing/). The pull of the image
is in no log and no history: what the stages took is what is known, or that least minute.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import TerminalError
from chalicelib.executions import Execution
from deploy.cost import DERIVED, MEASURED, Quantity
from deploy.log_usage import RunLog
from deploy.usage import attempts, is_container

LEAST_SECONDS = 60
_SECONDS_PER_HOUR = 3600
_UNITS_PER_CPU = 1024
_MB_PER_GB = 1024
_TEMPLATE = Path(__file__).parents[1] / "statemachine" / "resources.json"


@dataclass(frozen=True)
class TaskSize:
    """What a task is given, and pays for as long as it runs."""

    vcpus: float
    gb: float


def started(execution: Execution) -> int:
    """Containers that the history knows of; of those in a distributed Map each child's first."""
    return sum(each.times for each in attempts(execution, None) if is_container(execution, each.state))


def quantities(execution: Execution, log: RunLog | None, size: TaskSize) -> list[Quantity]:
    """vCPU-hours and GB-hours; `log` is the containers' own. Nothing for a run without."""
    tasks = started(execution)
    if not tasks:
        return []
    measured = [each / 1000 for each in log.tasks.values()] if log else []
    seconds = sum(max(each, LEAST_SECONDS) for each in measured)
    seconds += LEAST_SECONDS * max(tasks - len(measured), 0)
    note = f"{tasks} containers of {size.vcpus:g} vCPU and {size.gb:g} GB, {seconds:,.0f} s: what their stages took, "
    note += f"at least {LEAST_SECONDS} s each; the pull of the image and the start are billed and not in it"
    if len(measured) < tasks:
        note += f"; {tasks - len(measured)} left no measurement"
    how = MEASURED if measured else DERIVED
    hours = seconds / _SECONDS_PER_HOUR
    return [
        Quantity("fargate.vcpu_hour", hours * size.vcpus, how, note),
        Quantity("fargate.gb_hour", hours * size.gb, how),
    ]


def log_group(machine: str) -> str:
    """Where the containers of a stage log, as the template names it; `machine` is the name of its state machine."""
    return f"/ecs/{machine}-stages"


def default_size() -> TaskSize:
    """The template's, which is what the local stack stands for."""
    given = json.loads(_TEMPLATE.read_text(encoding="utf-8"))["Parameters"]
    return _size(given["ContainerCpu"]["Default"], given["ContainerMemory"]["Default"])


def deployed_size(client, machine: str) -> TaskSize:
    """What the stage's task definition says now; raises TerminalError where it cannot be read."""
    family = f"{machine}-stages"
    try:
        found = client.describe_task_definition(taskDefinition=family)["taskDefinition"]
    except (ClientError, BotoCoreError) as error:
        raise TerminalError(
            f"the task definition {family} cannot be read: {error}", next_step="allow ecs:DescribeTaskDefinition on it"
        ) from error
    return _size(found["cpu"], found["memory"])


def _size(cpu_units: str | int, memory_mb: str | int) -> TaskSize:
    return TaskSize(int(cpu_units) / _UNITS_PER_CPU, int(memory_mb) / _MB_PER_GB)
