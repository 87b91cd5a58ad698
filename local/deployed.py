"""Functions that `chalice deploy` or CloudFormation created in the emulated AWS, run from the zips that it got.

moto keeps a function's code and configuration; it would run them in Docker. Here they run in
sandboxes, with the function's own layers, environment, memory, time and role. A sandbox is kept
warm until the function changes or it has been idle for a while; what the layers have that takes long
to import is imported once for all functions that have them (`local.nursery`).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.models import LambdaFunction, lambda_backends

from local import roles
from local.faults import Faults, Unheard, with_clock
from local.functions import ACCOUNT, REGION, name_of
from local.invocation import REQUEST_BYTES, failure
from local.nursery import Nursery
from local.runtime import RequestTooLarge, Result, Runtime, Usages
from local.sandbox import PYTHON, Described, Sandbox, behind_the_package, merged, runtime_folder

# a stage has 13 functions, of which a run keeps some twice
KEPT = 20
IDLE_SECONDS = 300


class Throttled(RuntimeError):
    """The function runs as often at once as it may."""


@dataclass(eq=False)
class Environment:
    """A warm sandbox of the function `arn` as `key` has it."""

    arn: str
    key: str
    sandbox: Sandbox
    used: float = field(default_factory=time.monotonic)


class Deployed:
    """Runs deployed functions.

    `network` are the variables that stand for the network they are in; `folder` holds what was unpacked.
    """

    def __init__(self, folder: Path, network: Mapping[str, str], log: Path, workers: int | None = None):
        shutil.rmtree(folder, ignore_errors=True)
        self._folder, self._network, self._log = folder, dict(network), log
        # as in the runtime: what is more than there are cores waits, where AWS would start more environments
        self._slots = threading.Semaphore(workers or os.cpu_count() or 1)
        self._lock = threading.Lock()
        self._unpacking = threading.Lock()
        self._nurseries: dict[Path, Nursery] = {}
        self._idle: list[Environment] = []
        self._busy: list[Environment] = []
        self._running: Counter[str] = Counter()
        # by the function's full name
        self.usages = Usages()
        self._closed = False

    def find(self, reference: str) -> LambdaFunction | None:
        """What moto has by a name or an ARN, with or without a qualifier; None where it has nothing."""
        parts = reference.split(":")
        account, region = (parts[4], parts[3]) if reference.startswith("arn:") else (ACCOUNT, REGION)
        try:
            storage = lambda_backends[account][region]._lambdas
            return storage.get_function_by_name_or_arn_with_qualifier(reference)
        except (UnknownFunctionException, KeyError):
            return None

    def invoke(self, function: LambdaFunction, payload: bytes = b"{}") -> Result:
        """Run a deployed function on JSON text. Raises RequestTooLarge or Throttled."""
        if len(payload) > REQUEST_BYTES:
            raise RequestTooLarge(
                f"Request must be smaller than {REQUEST_BYTES} bytes for the InvokeFunction operation"
            )
        if function.run_time != PYTHON:
            message = f"{function.function_name} is for {function.run_time}, the stack runs {PYTHON}"
            return Result(failure(message, "Runtime.Unsupported"), "Unhandled", "")
        self._enter(function)
        environment, succeeded = None, False
        try:
            with self._slots:
                started = time.monotonic()
                environment = self._take(function)
                succeeded, body = environment.sandbox.invoke(payload or b"{}", float(function.timeout))
        finally:
            self._leave(function, environment)
        seconds = time.monotonic() - started
        self.usages.record(function.function_name, not succeeded, environment.sandbox.peak, seconds)
        request_id = json.loads(body).get("requestId", "") if not succeeded else ""
        return Result(body, None if succeeded else "Unhandled", request_id)

    # --- environments --------------------------------------------------------------------

    def _enter(self, function: LambdaFunction) -> None:
        reserved = function.reserved_concurrency
        with self._lock:
            if reserved is not None and self._running[function.function_arn] >= int(reserved):
                raise Throttled("Rate Exceeded.")
            self._running[function.function_arn] += 1

    def _leave(self, function: LambdaFunction, environment: Environment | None) -> None:
        with self._lock:
            self._running[function.function_arn] -= 1
            if environment is None:
                return
            self._busy.remove(environment)
            environment.used = time.monotonic()
            if not self._closed:
                self._idle.append(environment)
        if self._closed:
            environment.sandbox.close()
        self.drop_idle()

    def _take(self, function: LambdaFunction) -> Environment:
        """A warm environment of the function as it is now, or a new one; those of what it was before are dropped."""
        policies = roles.policies(function.role)
        if policies is None:
            policies = []  # whoever has no role may do nothing
        key = _key(function, policies)
        with self._lock:
            same = [each for each in self._idle if each.arn == function.function_arn]
            outdated = [each for each in same if each.key != key]
            warm = max((each for each in same if each.key == key), key=lambda each: each.used, default=None)
            self._idle = [each for each in self._idle if each not in outdated and each is not warm]
            if warm:
                self._busy.append(warm)
        for each in outdated:
            each.sandbox.close()
        if warm:
            return warm
        made = Environment(function.function_arn, key, self._sandbox(function, policies))
        with self._lock:
            self._busy.append(made)
        return made

    def _sandbox(self, function: LambdaFunction, policies: list[dict]) -> Sandbox:
        variables = {str(name): str(value) for name, value in (function.environment_vars or {}).items()}
        layers = self._layers(function)
        return Sandbox(
            self._unpacked(function.code_bytes),
            layers,
            function.handler,
            {**self._network, **variables},
            int(function.memory_size),
            policies,
            described=Described(function.function_name, function.function_arn),
            place=roles.place(variables.get("SLUICE_BUCKET", ""), function.account_id, function.region),
            log=self._log,
            nursery=self._nursery(layers),
        )

    def _nursery(self, layers: list[Path]) -> Nursery | None:
        """That of these layers; None where it would not pay."""
        if not layers:
            return None
        with self._unpacking:
            runtime = self._folder / "runtime"
            if not runtime.exists():
                runtime_folder(runtime)
        [opt] = layers
        path = behind_the_package(opt.resolve(), runtime)
        with self._lock:
            found = self._nurseries.get(opt)
            if not self._closed and (found is None or not found.alive) and Nursery.pays(path):
                if found is not None:
                    found.close()
                found = self._nurseries[opt] = Nursery(path)
            if found is not None:
                found.used = time.monotonic()  # nobody ends it before the sandbox that it is for is among the busy ones
            return found

    def drop_idle(self) -> None:
        """End the environments that nothing has used for a while, and the eldest beyond the number that is kept."""
        with self._lock:
            self._idle.sort(key=lambda each: each.used)
            until = time.monotonic() - IDLE_SECONDS
            beyond = max(0, len(self._idle) - KEPT)
            dropped = [each for n, each in enumerate(self._idle) if n < beyond or each.used < until]
            self._idle = [each for each in self._idle if each not in dropped]
            needed = {each.sandbox.nursery for each in (*self._idle, *self._busy)}
            unused = [opt for opt, one in self._nurseries.items() if one not in needed and one.used < until]
            nurseries = [self._nurseries.pop(opt) for opt in unused]
        for each in (*(each.sandbox for each in dropped), *nurseries):
            each.close()

    def close(self) -> None:
        """End all environments, in the middle of an invocation too."""
        with self._lock:
            self._closed = True
            open_ones, self._idle = [*self._idle, *self._busy], []
            nurseries = list(self._nurseries.values())
        for each in (*(each.sandbox for each in open_ones), *nurseries):
            each.close()

    # --- packages ------------------------------------------------------------------------

    def _layers(self, function: LambdaFunction) -> list[Path]:
        """What is unpacked to `/opt`, in one folder for all functions with these layers."""
        # kept by `corrections_of_deploying.deleted_layers`
        folders = [self._unpacked(function.layer_contents[layer["Arn"]]) for layer in function.layers]
        if len(folders) < 2:
            return folders
        names = "\n".join(folder.name for folder in folders)
        together = self._folder / f"opt-{hashlib.sha256(names.encode()).hexdigest()[:16]}"
        with self._unpacking:
            if not together.exists():
                partial = together.with_suffix(".partial")
                merged(folders, partial)
                partial.rename(together)
        return [together]

    def _unpacked(self, content: bytes) -> Path:
        folder = self._folder / hashlib.sha256(content).hexdigest()[:16]
        with self._unpacking:
            if not folder.exists():
                partial = folder.with_suffix(".partial")
                with zipfile.ZipFile(io.BytesIO(content)) as package:
                    package.extractall(partial)
                partial.rename(folder)
        return folder


class Lambdas:
    """All functions of the stack: those that were deployed to it, and the working tree's own (`sluice-local-…`)."""

    def __init__(self, runtime: Runtime, deployed: Deployed, faults: Faults | None = None):
        self._runtime, self._deployed, self._faults = runtime, deployed, faults or Faults()

    def invoke(self, reference: str, payload: bytes = b"{}") -> Result:
        """Run a function by name or ARN. Raises UnknownFunction, RequestTooLarge, Throttled or Unheard."""
        if function := self._deployed.find(reference):
            return self._deployed.invoke(function, payload)
        fault = self._faults.met("lambda", payload.decode(errors="replace"), name_of(reference))
        if fault and fault.action == "throttle":
            raise Throttled(f"Rate exceeded: {reference}")
        if fault and fault.action == "unheard":
            zombie = threading.Timer(fault.seconds, self._runtime.invoke, (reference, payload))
            zombie.daemon = True
            zombie.start()
            raise Unheard("ServiceException: the function was invoked, and nobody will hear what it says")
        if fault and fault.action == "clock":
            payload = with_clock(payload, fault.seconds)
        return self._runtime.invoke(reference, payload, fault)

    @property
    def preloaded(self) -> bool:
        return self._runtime.preloaded

    @property
    def workers(self) -> int:
        return self._runtime.workers

    def usage(self) -> dict[str, dict]:
        return {**self._runtime.usages.by_name(), **self._deployed.usages.by_name()}

    def reset_usage(self) -> None:
        self._runtime.usages.reset()
        self._deployed.usages.reset()


def instead_of_docker(deployed: Deployed) -> None:
    """moto's own events (S3, SNS, SQS, Kinesis) run functions here too, and nothing ever asks for Docker."""

    def _invoke_lambda(self, event=None) -> tuple[str, bool, str]:
        text = event if isinstance(event, str) else json.dumps({} if event is None else event)
        result = deployed.invoke(self, text.encode())
        return result.payload.decode(), bool(result.error), ""

    LambdaFunction._invoke_lambda = _invoke_lambda


def _key(function: LambdaFunction, policies: list[dict]) -> str:
    """What makes a warm environment useless when it changes."""
    return json.dumps(
        [
            function.code_sha_256,
            function.layers,
            function.handler,
            function.memory_size,
            function.environment_vars,
            policies,
        ],
        sort_keys=True,
        default=str,
    )
