"""ECS tasks as processes of this machine: what the image's entry point does, with the task's memory and its end.

There is no image here: the process runs `python -m chalicelib.container` of the working tree, in the environment
of the Lambda workers and with what the state machine overrides.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from chalicelib.errors import ContractError
from local.functions import ACCOUNT, REGION

if TYPE_CHECKING:  # it serves HTTP
    from local.faults import Fault

MEMORY_MB = 8192  # the template's default
WATCH_SECONDS = 0.1
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskOverride.html
OVERRIDE_CHARACTERS = 8192
KILLED = 137  # 128 and SIGKILL, as a container's exit status


@dataclass
class Task:
    """A task under way or stopped; `exit_code` is None while it runs."""

    arn: str
    cluster: str
    definition: str
    process: subprocess.Popen
    memory: int  # bytes
    reason: str = ""
    exit_code: int | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def described(self) -> dict:
        """As Step Functions shows DescribeTasks' answer for one task."""
        container = {"Name": "stages", "LastStatus": "STOPPED" if self.done.is_set() else "RUNNING"}
        task = {
            "TaskArn": self.arn,
            "ClusterArn": self.cluster,
            "TaskDefinitionArn": self.definition,
            "LaunchType": "FARGATE",
            "LastStatus": container["LastStatus"],
            "Containers": [container],
        }
        if self.done.is_set():
            container["ExitCode"] = self.exit_code
            if self.reason:
                container["Reason"] = self.reason
            task |= {"StoppedReason": "Essential container in task exited", "StopCode": "EssentialContainerExited"}
        return task


class Containers:
    """Starts tasks and watches them; their output goes to the end of `log`."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        memory_mb: int = MEMORY_MB,
        command: Sequence[str] = (sys.executable, "-m", "chalicelib.container"),
    ):
        self._folder, self._environment, self._log = folder, dict(environment), log
        self._memory, self._command = memory_mb * 2**20, list(command)
        self._tasks: dict[str, Task] = {}

    def run(self, cluster: str, definition: str, overrides: Mapping, fault: Fault | None = None) -> Task:
        """Start a task; `overrides` is RunTask's, in any letters. Raises ContractError where ECS would refuse it.

        A `fault` is one that `local.faults` lists for a task that runs.
        """
        if len(json.dumps(overrides)) > OVERRIDE_CHARACTERS:
            raise ContractError(f"the overrides of a task have more than {OVERRIDE_CHARACTERS} characters")
        environment = {**self._environment, **_variables(overrides), "PYTHONPATH": str(self._folder)}
        with self._log.open("ab") as output:
            process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{cluster}/{uuid.uuid4().hex}"
        memory = 2**20 if fault and fault.action == "memory" else self._memory
        task = self._tasks[arn] = Task(arn, cluster, definition, process, memory)
        if fault and fault.action == "kill":
            threading.Timer(fault.seconds, process.kill).start()
        threading.Thread(target=self._watch, args=(task,), daemon=True).start()
        return task

    def task(self, arn: str) -> Task:
        return self._tasks[arn]

    def stop(self, arn: str) -> None:
        """End a task, as StopTask does once its 30 seconds are over."""
        with contextlib.suppress(ProcessLookupError):
            self._tasks[arn].process.kill()

    def close(self) -> None:
        for task in self._tasks.values():
            if not task.done.is_set():
                self.stop(task.arn)

    def _watch(self, task: Task) -> None:
        while (status := task.process.poll()) is None:
            if _resident(task.process.pid) > task.memory:
                task.reason = "OutOfMemoryError: Container killed due to memory usage"
                task.process.kill()
            time.sleep(WATCH_SECONDS)
        # a shell, and ECS, say 128 and the signal's number
        task.exit_code = 128 - status if status < 0 else status
        task.done.set()


def _resident(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


def _variables(overrides: Mapping) -> dict[str, str]:
    """The environment of the one container, whatever letters its names begin with."""
    plain = _lower(overrides)
    return {
        variable["name"]: variable["value"]
        for container in plain.get("containeroverrides", [])
        for variable in container.get("environment", [])
    }


def _lower(value):
    if isinstance(value, Mapping):
        return {name.lower(): _lower(item) for name, item in value.items()}
    return [_lower(item) for item in value] if isinstance(value, list) else value
