"""The local stack as the storm uses it: runs are started and waited for, whatever is stopped meanwhile."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import executions
from chalicelib.errors import TerminalError
from local import environment, provision
from local.home import REPOSITORY, Home
from local.provision import Resources, definition
from local.stack import Stack
from storm.database import Database

# small chunks, so that a run has some; a source that hangs is given up within seconds
SETTINGS = {"SLUICE_CHUNK_BYTES": "2500", "SLUICE_FETCH_SECONDS": "3"}
LOST = "LOST"  # status of an execution that a stopped engine forgot
ENDED_SECONDS = 900
POLL_SECONDS = 0.1
REDRIVE_SECONDS = 30


class RedriveRefused(RuntimeError):
    """A run is not started again."""


@dataclass(frozen=True)
class Ended:
    """How an execution ended: `status` is Step Functions' own, or LOST; what it was `given`, the states it entered."""

    run_id: str
    status: str
    error: str | None = None
    given: dict = field(default_factory=dict)
    states: tuple[str, ...] = ()


class StormStack:
    """One stack, used by several threads; one of them may stop it and start it again."""

    def __init__(self, home: Path):
        self._home, self._stack = home, Stack(home)
        self._turning = threading.Lock()
        self.generation = 0  # how often it was started again
        self._start()
        self.database = Database(self.env["DATABASE_URL"])

    def _start(self) -> None:
        try:
            self._stack.up()
        except TerminalError:  # once more: the machine may have been too busy for it
            self._stack.up()
        self.env = self._stack.env()
        machine = json.loads(definition(Resources(self.env["AWS_ENDPOINT_URL"])))
        self._client("stepfunctions").update_state_machine(
            stateMachineArn=self.env["SLUICE_STATE_MACHINE_ARN"], definition=json.dumps(impatient(machine))
        )
        self._clients: dict[str, object] = {}

    def close(self) -> None:
        self._stack.down()

    def _client(self, service: str):
        config = Config(retries={"total_max_attempts": 1}, read_timeout=30, max_pool_connections=20)
        return provision.client(service, self.env["AWS_ENDPOINT_URL"], config)

    def call(self, service: str, operation: str, **given) -> dict:
        """A call of AWS; it waits for a stack that is being started again."""
        deadline = time.monotonic() + ENDED_SECONDS
        while True:
            try:
                with self._turning:
                    if service not in self._clients:
                        self._clients[service] = self._client(service)
                    client = self._clients[service]
                return getattr(client, operation)(**given)
            except BotoCoreError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    # --- runs ----------------------------------------------------------------------------------

    def start(self, name: str, given: dict) -> str:
        """Start a run; its ARN. A second start under its name is the same run."""
        try:
            return self.call(
                "stepfunctions",
                "start_execution",
                stateMachineArn=self.env["SLUICE_STATE_MACHINE_ARN"],
                name=name,
                input=json.dumps(given),
            )["executionArn"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise
            return self._arn(name)

    def wait(self, arn: str) -> Ended:
        """Until the execution ended; raises TimeoutError where it does not."""
        run_id, deadline = arn.rsplit(":", 1)[1], time.monotonic() + ENDED_SECONDS
        while True:
            try:
                found = self.call("stepfunctions", "describe_execution", executionArn=arn)
            except ClientError:
                return Ended(run_id, LOST)
            if found["status"] != "RUNNING":
                return Ended(run_id, found["status"], found.get("error"), json.loads(found["input"]), self._states(arn))
            if time.monotonic() > deadline:
                raise TimeoutError(f"{run_id} is still running after {ENDED_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def redrive(self, run_id: str) -> Ended:
        """`sluice redrive RUN`, as a person types it, and again where the stack was being started again at that moment.

        Raises RedriveRefused where it begins no run.
        """
        deadline, begun = time.monotonic() + REDRIVE_SECONDS, "SELECT run_id FROM pipeline.runs WHERE redrive_of = %s"
        while True:
            ran = subprocess.run(
                [sys.executable, "-m", "cli", "redrive", run_id, "--json"],
                cwd=REPOSITORY,
                env={**environment.inherited(Home(self._home)), "SLUICE_HOME": str(self._home)},
                capture_output=True,
                text=True,
            )
            with contextlib.suppress(ValueError, KeyError):
                return self.wait(self._arn(json.loads(ran.stdout)["run_id"]))
            for (found,) in self.database.query(begun, run_id):  # it was begun, and the command was cut off
                return self.wait(self._arn(found))
            if time.monotonic() > deadline:
                raise RedriveRefused(f"sluice redrive {run_id} says: {ran.stdout}{ran.stderr.strip()[-500:]}")
            time.sleep(1)

    def _arn(self, run_id: str) -> str:
        return executions.arn(self.env["SLUICE_STATE_MACHINE_ARN"], run_id)

    def _states(self, arn: str) -> tuple[str, ...]:
        states, token = [], {}
        while True:
            try:
                page = self.call("stepfunctions", "get_execution_history", executionArn=arn, **token)
            except ClientError:
                return ()
            entered = (event.get("stateEnteredEventDetails") for event in page["events"])
            states += [details["name"] for details in entered if details]
            if "nextToken" not in page:
                return tuple(states)
            token = {"nextToken": page["nextToken"]}

    # --- faults --------------------------------------------------------------------------------

    def arm(self, faults: list[dict]) -> None:
        with self._turning:
            self._stack.arm(faults)

    def disarm(self, prefix: str) -> dict[str, int]:
        """How often each of these faults struck; they are gone."""
        with self._turning:
            struck = {
                fault["name"]: fault["struck"] for fault in self._stack.armed() if fault["name"].startswith(prefix)
            }
            self._stack.disarm(prefix)
        return struck

    def emails(self) -> list[dict]:
        with self._turning:
            return self._stack.sent_emails()

    def restart_postgres(self, number: int) -> None:
        """With SIGINT it shuts down in order, with SIGKILL it crashes; the stack starts it again."""
        info = self._stack.info()
        if info is None:
            return
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            # while it is being started again, the pid that is told may be anybody's
            victims = [one for one in psutil.Process(info.pid).children() if one.pid == info.postgres_pid]
            if number == signal.SIGKILL:
                victims += [one for victim in victims for one in victim.children(recursive=True)]
            for process in victims:
                process.send_signal(number)

    def workers(self) -> list[psutil.Process]:
        """The workers, and the server that forks them."""
        found, info = [], self._stack.info()
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(info.pid).children(recursive=True) if info else ():
                with contextlib.suppress(psutil.Error):
                    if "local.worker" in process.cmdline():
                        found.append(process)
        return found

    def kill_workers(self) -> None:
        for process in self.workers():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def restart(self, kill: bool) -> None:
        """Stop everything, or kill it, and start it again."""
        with self._turning:
            if kill and (info := self._stack.info()):
                with contextlib.suppress(psutil.Error):
                    server = psutil.Process(info.pid)
                    for process in [server, *server.children(recursive=True)]:
                        with contextlib.suppress(psutil.Error):
                            process.kill()
            self._stack.down()
            self._start()
            self.generation += 1


def impatient(machine: dict) -> dict:
    """The state machine with all its retries, and at most a second before each."""
    for state in machine["States"].values():
        for retrier in state.get("Retry", ()):
            retrier |= {"IntervalSeconds": 1, "BackoffRate": 1.0}
        if "ItemProcessor" in state:
            impatient(state["ItemProcessor"])
    return machine
