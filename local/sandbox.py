"""A Lambda's execution environment: a warm process that sees an unpacked package, its layers and boto3.

On its `sys.path` are, in Lambda's order, the package, the layers' `python` folders, what the
runtime brings (boto3 and what that needs) and the standard library; nothing of the working tree,
nor of the virtual environment. What is said of errors, time and memory is `local.invocation`'s and
`local.runtime`'s: AWS' own words.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path

from local.iam import Place
from local.invocation import Invocation, failure, report
from local.nursery import CHILD, Forked, Nursery
from local.prefork import resident
from local.runtime import WATCH_INTERVAL, ended
from local.worker import header

# what Lambda's Python runtimes have in /var/runtime:
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html#python-sdk-included
RUNTIME_MODULES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")
_RUNTIME_DISTRIBUTIONS = ("boto3", "botocore", "s3transfer", "jmespath", "python_dateutil", "six", "urllib3")

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"

# Lambda gives up after 10 s, and tries again in the function's own time; here other processes slow imports down
INIT_SECONDS = 120
_CLOSE_SECONDS = 5


@dataclass(frozen=True)
class Described:
    """What a function is told of itself."""

    full_name: str = "function"
    arn: str = "arn:aws:lambda:us-east-1:123456789012:function:function"


class Sandbox:
    """One environment of a function, for one invocation at a time; its process starts with the first.

    `task` and `layers` are unpacked; `environment` is the function's own, and what stands for the
    network it is in. With `policy`, one document or several, calls to AWS that it does not allow
    are refused. Output goes to the end of `log`. With a `nursery`, which is of the same layers, the
    process is forked from it where that can be.
    """

    def __init__(
        self,
        task: Path,
        layers: Sequence[Path],
        handler: str,
        environment: Mapping[str, str],
        memory_mb: int,
        policy: Mapping | Sequence[Mapping] | None = None,
        *,
        described: Described | None = None,
        place: Place | None = None,
        log: Path | None = None,
        nursery: Nursery | None = None,
    ):
        self.nursery = nursery
        self._folder = Path(tempfile.mkdtemp(prefix="sluice-sandbox-"))
        self._task, self._handler, self._memory_mb = Path(task).resolve(), handler, memory_mb
        self._environment = dict(environment)
        self._policies = [policy] if isinstance(policy, Mapping) else None if policy is None else list(policy)
        self._described, self._place, self._log = described or Described(), place or Place(), log
        self._using = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen | Forked | None = None
        self.peak = 0  # bytes resident, of the last invocation or before
        opt = merged([Path(layer) for layer in layers], self._folder / "opt")
        (self._folder / "tmp").mkdir()
        behind = nursery.path if nursery else behind_the_package(opt, runtime_folder(self._folder / "runtime"))
        self.path = [str(self._task), *behind]

    def invoke(self, event: bytes, timeout: float) -> tuple[bool, bytes]:
        """(succeeded, JSON text) of the handler; the environment starts anew after a crash or a timeout."""
        with self._using:
            invocation = self._invocation(event, timeout)
            if self._closed:
                return False, failure(f"RequestId: {invocation.request_id} Error: the stack ends", "Runtime.ExitError")
            if self._process is None:
                refusal = self._start(invocation)
                if refusal is not None:
                    return False, refusal
            return self._call(invocation)

    def close(self) -> None:
        """End the process, whatever it does, and delete its folder; invocations fail from now on."""
        self._closed = True
        if process := self._process:  # once: the invocation that it ends takes it away
            process.kill()
        with self._using:
            if self._process is not None:
                self._end()
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def warm(self) -> bool:
        return self._process is not None

    # --- the process ---------------------------------------------------------------------

    def _start(self, invocation: Invocation) -> bytes | None:
        """Start the process and let it import the handler; the error's body if it cannot."""
        self._connection, theirs = Pipe()
        life_read, self._life = os.pipe()
        here = Path(__file__).parent
        with Path(os.devnull if self._log is None else self._log).open("ab") as output:
            given = (theirs.fileno(), life_read)
            if self.nursery is not None:
                self._process = self.nursery.fork(self._task, self._variables(), output.fileno(), *given)
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(CHILD), *map(str, given)],
                    cwd=self._task,
                    env=self._variables(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=given,
                )
        if self._closed:  # meanwhile, when there was no process to kill yet
            self._process.kill()
        theirs.close()
        os.close(life_read)
        start = {
            "path": self.path,
            "handler": self._handler,
            "policies": self._policies,
            "place": dataclasses.asdict(self._place),
            "invocation": str(here / "invocation.py"),
            "policy": str(here / "policy_enforcement.py"),
            "iam": str(here / "iam.py"),
        }
        with contextlib.suppress(BrokenPipeError):
            self._connection.send_bytes(json.dumps(start).encode())
        refusal = None
        outcome = self._answer(invocation, INIT_SECONDS, started=False)
        if isinstance(outcome, bytes):
            return outcome
        if not outcome["ready"]:
            refusal = self._connection.recv_bytes()
            self._report(invocation, json.loads(refusal)["errorMessage"])
            self._end()
        return refusal

    def _call(self, invocation: Invocation) -> tuple[bool, bytes]:
        with contextlib.suppress(OSError):  # it died while it was idle: reading says so
            self._connection.send_bytes(header(invocation))
            self._connection.send_bytes(invocation.payload)
        outcome = self._answer(invocation, invocation.timeout)
        if isinstance(outcome, bytes):
            return False, outcome
        self.peak = max(self.peak, outcome["peak"])
        return outcome["succeeded"], self._connection.recv_bytes()

    def _answer(self, invocation: Invocation, seconds: float, started: bool = True) -> dict | bytes:
        """The head of the process's answer, or the error's body when none came."""
        deadline, limit, verdict = time.monotonic() + seconds, self._memory_mb * 2**20, ""
        request_id = invocation.request_id
        try:
            while not self._connection.poll(max(0.0, min(WATCH_INTERVAL, deadline - time.monotonic()))):
                used = resident(self._process.pid)
                self.peak = max(self.peak, used)
                if used > limit:
                    verdict = f"{used >> 20} MB used of {self._memory_mb} MB"
                    self._process.kill()
                elif time.monotonic() > deadline:
                    self._process.kill()
                    self._end()
                    message = f"Task timed out after {seconds:.2f} seconds"
                    self._report(invocation, message)
                    return failure(f"RequestId: {request_id} Error: {message}", "Sandbox.Timedout")
            return json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            how = self._end()
            message = f"Runtime exited with error: {how}" if how else "Runtime exited without providing a reason"
            self._report(invocation, message + (f" ({verdict})" if verdict else ""))
            return failure(f"RequestId: {request_id} Error: {message}", "Runtime.ExitError")

    def _end(self) -> str:
        """Wait for the process, which is dead, dying or to be killed; how it ended, in Lambda's words."""
        process, self._process = self._process, None
        self._connection.close()
        with contextlib.suppress(OSError):
            os.close(self._life)
        try:
            status = process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        return ended(-status if status < 0 else status << 8)

    # --- what it is told -----------------------------------------------------------------

    def _variables(self) -> dict[str, str]:
        """https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, and folders of its own."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "HOME": str(self._folder / "tmp"),
            "TMPDIR": str(self._folder / "tmp"),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{PYTHON}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_FUNCTION_NAME": self._described.full_name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self._memory_mb),
            "LAMBDA_TASK_ROOT": str(self._task),
            "LAMBDA_RUNTIME_DIR": self.path[-1],
            "_HANDLER": self._handler,
            **self._environment,
        }

    def _invocation(self, event: bytes, timeout: float) -> Invocation:
        return Invocation(
            function=self._handler,
            full_name=self._described.full_name,
            arn=self._described.arn,
            request_id=str(uuid.uuid4()),
            timeout=timeout,
            memory_size=self._memory_mb,
            environment={"_X_AMZN_TRACE_ID": _trace()},
            log_stream=f"{time.strftime('%Y/%m/%d')}/[$LATEST]{uuid.uuid4().hex}",
            payload=event or b"{}",
        )

    def _report(self, invocation: Invocation, message: str) -> None:
        if self._log is not None:
            report(self._log, invocation, message)


def _trace() -> str:
    """The header of a trace that is not sampled: https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html."""
    return f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Parent={uuid.uuid4().hex[:16]};Sampled=0"


def merged(layers: Sequence[Path], folder: Path) -> Path:
    """What `/opt` is with these layers: of files with one name the last layer's. One layer is that itself."""
    if len(layers) == 1:
        return layers[0].resolve()
    folder.mkdir(parents=True)
    for layer in layers:
        shutil.copytree(layer, folder, copy_function=_link, dirs_exist_ok=True, symlinks=True)
    return folder


def behind_the_package(opt: Path, runtime: Path) -> list[str]:
    """The folders on the `sys.path` of a function whose layers are unpacked to `opt`, after that of its package."""
    parts = (opt / f"python/lib/{PYTHON}/site-packages", opt / "python")
    return [*(str(part) for part in parts if part.is_dir()), str(runtime)]


def _link(source: str, destination: str) -> None:
    """A hard link instead of a copy, where the file system has them."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(destination)
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy2(source, destination)


def runtime_folder(folder: Path) -> Path:
    """Links to what the runtime brings, as it is in this virtual environment."""
    folder.mkdir(parents=True)
    installed = Path(sysconfig.get_path("purelib"))
    for name in RUNTIME_MODULES:
        (folder / name).symlink_to(installed / name)
    for name in _RUNTIME_DISTRIBUTIONS:
        for found in installed.glob(f"{name}-*.dist-info"):
            (folder / found.name).symlink_to(found)
    return folder
