"""The local stack as the storm uses it: runs are started and waited for, whatever is stopped meanwhile."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError

from chalicelib import executions
from chalicelib.errors import TerminalError
from local import environment, provision
from local.home import REPOSITORY, Home
from local.provision import Resources, definition
from local.stack import Stack
from storm.database import Database
from storm.waiting import Stopped, Waits

# small chunks, so that a run has some; a source that hangs is given up within seconds
SETTINGS = {"SLUICE_CHUNK_BYTES": "2500", "SLUICE_FETCH_SECONDS": "3"}
LOST = "LOST"  # status of an execution that a stopped engine forgot
ENDED_SECONDS = 900
POLL_SECONDS = 0.1
REDRIVE_SECONDS = 30
SWEEP_SECONDS = 60
# past the triggers of the ledger, which would take a run for one that begins. Of the live ones those whose Plan is
# over: a second invocation of it knows the run by the time of its start
_AGE = """
SET session_replication_role = replica;
UPDATE pipeline.runs SET entered_at = entered_at - interval '3 hours', started_at = started_at - interval '3 hours'
WHERE status IN ('running', 'published')
AND (run_id = ANY(%(ended)s) OR run_id IN (SELECT run_id FROM pipeline.chunks)) RETURNING run_id
"""
_REJUVENATE = """
SET session_replication_role = replica;
UPDATE pipeline.runs SET entered_at = entered_at + interval '3 hours', started_at = started_at + interval '3 hours'
WHERE status IN ('running', 'published') AND run_id = ANY(%(runs)s)
"""
FINAL = ("NotFound", "ContractError")  # errors of `sluice redrive` that no second try changes


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

    @property
    def told(self) -> str:
        return f"{self.status} {self.error}" if self.error else self.status


class StormStack:
    """One stack, used by several threads; one of them may stop it and start it again."""

    def __init__(self, home: Path, waits: Waits | None = None):
        self._home, self._stack = home, Stack(home)
        self.waits = waits or Waits()
        self._turning = threading.Lock()
        # one at a time: a clock that is put back for one sweep is, to another, a run that was begun again meanwhile
        self._sweeping = threading.Lock()
        self.generation = 0  # how often it was started again
        self._start()
        self.database = Database(self.env["DATABASE_URL"], self.waits)

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
        made = provision.client(service, self.env["AWS_ENDPOINT_URL"], config)
        made.meta.events.register("after-call.*.*", whole)
        return made

    def call(self, service: str, operation: str, **given) -> dict:
        """A call of AWS; it waits for a stack that is being started again. Raises Stopped."""
        began = time.monotonic()
        while True:
            try:
                with self._turning:
                    if service not in self._clients:
                        self._clients[service] = self._client(service)
                    client = self._clients[service]
                answer = getattr(client, operation)(**given)
            except BotoCoreError:
                if time.monotonic() - began > ENDED_SECONDS:
                    raise
                self.waits.pause(0.1)
            else:
                self.waits.note(f"an answer of {service} to {operation}", time.monotonic() - began)
                return answer

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
            return self.arn(name)

    def wait(self, arn: str) -> Ended:
        """Until the execution ended; raises TimeoutError where it does not, and Stopped."""
        run_id, deadline = arn.rsplit(":", 1)[1], time.monotonic() + ENDED_SECONDS
        while True:
            try:
                found = self.call("stepfunctions", "describe_execution", executionArn=arn)
            except ClientError:
                return Ended(run_id, LOST)
            if found["status"] != "RUNNING":
                events = self._history(arn)
                for state, seconds in longest(events):
                    self.waits.note(f"{run_id} in {state}", seconds)
                return Ended(
                    run_id, found["status"], found.get("error"), json.loads(found["input"]), tuple(entered(events))
                )
            if time.monotonic() > deadline:
                raise TimeoutError(f"{run_id} is still running after {ENDED_SECONDS} s")
            self.waits.pause(POLL_SECONDS)

    def redrive(self, run_id: str) -> Ended:
        """`sluice redrive RUN`, as a person types it, and again where the stack was being started again at that moment.

        Raises RedriveRefused where it begins no run.
        """
        began, begun = time.monotonic(), "SELECT run_id FROM pipeline.runs WHERE redrive_of = %s"
        while True:
            generation = self.generation
            said, complaint = self.typed("redrive", run_id, "--json")
            with contextlib.suppress(ValueError, KeyError):
                return self.wait(self.arn(json.loads(said)["run_id"]))
            for (found,) in self.database.query(begun, run_id):  # it was begun, and the command was cut off
                return self.wait(self.arn(found))
            # what is refused stays refused, unless it was a stack between two starts that was asked
            is_final = generation == self.generation and any(error in complaint for error in FINAL)
            if is_final or time.monotonic() - began > REDRIVE_SECONDS:
                self.waits.note(f"sluice redrive {run_id}", time.monotonic() - began)
                raise RedriveRefused(f"sluice redrive {run_id} says: {said}{complaint.strip()[-500:]}")
            self.waits.pause(1)

    def typed(self, *words: str) -> tuple[str, str]:
        """What a command of `sluice` prints and what it complains of. It is not there for who types Ctrl-C."""
        command = subprocess.Popen(
            [sys.executable, "-m", "cli", *words],
            cwd=REPOSITORY,
            env={**environment.inherited(Home(self._home)), "SLUICE_HOME": str(self._home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        while True:
            try:
                return command.communicate(timeout=POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if self.waits.stopping.is_set():
                    command.kill()
                    command.communicate()
                    raise Stopped from None

    def arn(self, run_id: str) -> str:
        return executions.arn(self.env["SLUICE_STATE_MACHINE_ARN"], run_id)

    def _history(self, arn: str) -> list[dict]:
        events, token = [], {}
        while True:
            try:
                page = self.call("stepfunctions", "get_execution_history", executionArn=arn, **token)
            except ClientError:
                return []
            events += page["events"]
            if "nextToken" not in page:
                return events
            token = {"nextToken": page["nextToken"]}

    def executions(self, mark: str) -> list[str]:
        """The ARNs of those whose name contains the mark."""
        found, token = [], {}
        while True:
            machine = self.env["SLUICE_STATE_MACHINE_ARN"]
            page = self.call("stepfunctions", "list_executions", stateMachineArn=machine, maxResults=1000, **token)
            found += [one["executionArn"] for one in page["executions"] if mark in one["name"]]
            if "nextToken" not in page:
                return found
            token = {"nextToken": page["nextToken"]}

    def undelivered(self) -> list[str]:
        """The messages that were given up; reading takes them out of the queue."""
        queue, found = self.env["SLUICE_UNDELIVERED_URL"], []
        while messages := self.call("sqs", "receive_message", QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(message["Body"])
                self.call("sqs", "delete_message", QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def stop_run(self, mark: str) -> bool:
        """Stop the executions whose name contains the mark, as a person may: no state tells of it. Whether one was."""
        stopped = False
        for arn in self.executions(mark):
            with contextlib.suppress(ClientError):
                running = self.call("stepfunctions", "describe_execution", executionArn=arn)["status"] == "RUNNING"
                self.call("stepfunctions", "stop_execution", executionArn=arn)
                stopped |= running
        return stopped

    # --- the sweep -----------------------------------------------------------------------------

    def sweep(self, ended: tuple[str, ...] = ()) -> None:
        """Have the hourly sweep come, on a clock by which what is under way is hours old: what `ended` and live runs.

        Raises RuntimeError where it does not get through.
        """
        message = {"messageId": "sweep", "body": json.dumps({"sweep": True, "scheduled": "2026-01-01T00:00:00Z"})}
        payload = json.dumps({"Records": [message]}).encode()

        def came() -> bool:
            try:
                answer = self.call("lambda", "invoke", FunctionName="start_run", Payload=payload)
            except ClientError:  # Lambda's own failure, as of a stack that is being stopped: the queue tries it again
                return False
            return "FunctionError" not in answer and json.load(answer["Payload"]) == {"batchItemFailures": []}

        with self._sweeping:
            aged = [run_id for (run_id,) in self.database.query(_AGE, ended=list(ended))]
            try:
                if not self.waits.until("the sweep", came, SWEEP_SECONDS, 1):
                    raise RuntimeError(f"the sweep does not get through in {SWEEP_SECONDS} s")
            finally:
                self.database.query(_REJUVENATE, runs=aged)

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
        """The workers, and the processes that they are forked from."""
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


def whole(model, http_response, **_) -> None:
    """Raise IncompleteReadError for an answer that ended before its body did, as those of a killed stack may.

    botocore takes one of which the headers came for whole, with nothing in it: only of bodies that it streams it
    counts the bytes. https://github.com/boto/botocore/blob/develop/botocore/httpsession.py
    """
    wanted = http_response.headers.get("Content-Length")
    if wanted is None or model.has_streaming_output or model.http["method"] == "HEAD":
        return
    if len(http_response.content) != int(wanted):
        raise IncompleteReadError(actual_bytes=len(http_response.content), expected_bytes=int(wanted))


def impatient(machine: dict) -> dict:
    """The state machine with all its retries, and at most a second before each."""
    for state in machine["States"].values():
        for retrier in state.get("Retry", ()):
            retrier |= {"IntervalSeconds": 1, "BackoffRate": 1.0}
        if "ItemProcessor" in state:
            impatient(state["ItemProcessor"])
    return machine


def entered(events: list[dict]) -> list[str]:
    """The states of a history, in the order in which they were entered."""
    found = (event.get("stateEnteredEventDetails") for event in events)
    return [details["name"] for details in found if details]


def longest(events: list[dict]) -> list[tuple[str, float]]:
    """By state, retries and iterations together: the most seconds from where it was entered to where it was left."""
    begun: dict[str, deque] = {}
    lasted: dict[str, float] = {}
    for event in events:
        if details := event.get("stateEnteredEventDetails"):
            begun.setdefault(details["name"], deque()).append(event["timestamp"])
        elif (details := event.get("stateExitedEventDetails")) and begun.get(details["name"]):
            seconds = (event["timestamp"] - begun[details["name"]].popleft()).total_seconds()
            lasted[details["name"]] = max(seconds, lasted.get(details["name"], 0.0))
    return sorted(lasted.items(), key=lambda state: -state[1])
