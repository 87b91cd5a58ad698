"""The Lambda runtime: handlers of a Chalice application in warm worker processes, with AWS' limits and errors.

Any worker runs any function. Requests beyond the number of workers queue, where AWS would start
more environments or throttle. A worker serves until its code changes, its handler overruns its
time or memory, or it crashes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import signal
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.errors import TerminalError
from local import functions
from local.functions import Function
from local.invocation import REQUEST_BYTES, Invocation, failure, report
from local.libraries import Libraries
from local.prefork import Prefork, Worker
from local.source_code import Fingerprint
from local.worker import ROUTES

if TYPE_CHECKING:  # it serves HTTP
    from local.faults import Fault

# what handlers import, heaviest last: workers forked before all are loaded are replaced when they are idle
PRELOAD = ("local.boto_session", "pandas", "sqlalchemy", "great_expectations")

# of these some may always run beside the states' functions
API_FUNCTIONS = (functions.API_HANDLER, "authorize", ROUTES)
API_WORKERS = 2

# seconds between looks at the memory of busy workers; a handler fills about 1 GB a second
WATCH_INTERVAL = 0.05


class UnknownFunction(LookupError):
    """The application has no function of that name."""


class NoWorker(TerminalError):
    """No worker can be had for an invocation at this moment, which is a failure of Lambda's own."""


class RequestTooLarge(ValueError):
    """The payload is larger than Lambda accepts."""


@dataclass(frozen=True)
class Result:
    """What `Invoke` answers: `error` is "Unhandled" or None, `payload` is JSON text."""

    payload: bytes
    error: str | None
    request_id: str


@dataclass
class Usage:
    """What a function used since the start or the last reset; the peak counts shared memory too."""

    invocations: int = 0
    errors: int = 0
    peak_rss_mb: float = 0.0
    seconds: float = 0.0


class Usages:
    """What functions used, by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_name: dict[str, Usage] = {}

    def record(self, name: str, error: bool, peak: int, seconds: float) -> None:
        """Count an invocation; `peak` is in bytes."""
        with self._lock:
            usage = self._by_name.setdefault(name, Usage())
            usage.invocations += 1
            usage.errors += error
            usage.seconds = round(usage.seconds + seconds, 6)
            usage.peak_rss_mb = max(usage.peak_rss_mb, round(peak / 2**20, 1))

    def by_name(self) -> dict[str, dict]:
        """By function: invocations, errors, peak_rss_mb, seconds."""
        with self._lock:
            return {name: asdict(usage) for name, usage in sorted(self._by_name.items())}

    def reset(self) -> None:
        with self._lock:
            self._by_name.clear()


class Runtime:
    """Runs the handlers of `folder`/app.py.

    `environment` is the workers' whole environment; their output is appended to `log`.
    """

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        log: Path,
        workers: int | None = None,
        preload: Iterable[str] = PRELOAD,
    ):
        self.workers = workers or os.cpu_count() or 1
        self._folder, self._environment, self._log = folder, environment, log
        self._preload = tuple(preload)
        self._functions: dict[str, Function] = {}
        self.usages = Usages()
        self._lock = threading.Lock()
        self._busy: dict[Worker, Watched] = {}
        self._work = threading.Event()
        self._closed = False
        self._code = Fingerprint(folder)
        # who sends a request waits for an answer, however long the states that run may take
        self._slots, self._api_slots = _slots(self.workers), _slots(API_WORKERS)
        self._prefork = self._start()
        threading.Thread(target=self._watch, daemon=True).start()

    # --- invoking ------------------------------------------------------------------------

    def invoke(self, reference: str, payload: bytes = b"{}", fault: Fault | None = None) -> Result:
        """Run a function, by name or ARN, on JSON text. Raises UnknownFunction, RequestTooLarge or NoWorker.

        A `fault` is one that `local.faults` lists for a worker.
        """
        if len(payload) > REQUEST_BYTES:
            raise RequestTooLarge(
                f"Request must be smaller than {REQUEST_BYTES} bytes for the InvokeFunction operation"
            )
        function = self._function(functions.name_of(reference))
        invocation = self._invocation(function, payload or b"{}")
        self._follow_code()
        slots = self._api_slots if function.name in API_FUNCTIONS else self._slots
        worker, usable = slots.get(), None
        watched = Watched(function.memory_size * 2**20, invocation.payload)
        if fault and fault.action == "timeout":
            invocation = dataclasses.replace(invocation, timeout=fault.seconds)
        elif fault and fault.action == "memory":
            watched.limit = 2**20
        started = time.monotonic()
        try:
            worker = self._current(worker) or self._fork()
            worker.begin(function.name)
            with self._lock:
                self._busy[worker] = watched
            self._work.set()
            outcome, peak, body = self._call(worker, invocation, watched, fault)
            if outcome != "ended":
                usable = worker
        finally:
            with self._lock:
                self._busy.pop(worker, None)
            self._release(usable, slots)
        if outcome == "unknown":
            raise UnknownFunction(f"Function not found: {function.arn}")
        self.usages.record(function.name, outcome != "ok", max(peak, watched.peak), time.monotonic() - started)
        return Result(body, None if outcome == "ok" else "Unhandled", invocation.request_id)

    def _call(
        self, worker: Worker, invocation: Invocation, watched: Watched, fault: Fault | None
    ) -> tuple[str, int, bytes]:
        request_id = invocation.request_id
        try:
            if fault and fault.action == "kill":
                killing = threading.Timer(fault.seconds, self._kill, (worker, watched))
                killing.daemon = True
                killing.start()
            answer = worker.call(invocation)
            if watched.limit == 2**20 and not watched.verdict:
                # a short one may be over before the watch looks at it
                self._kill(worker, watched, "more than 1 MB used of 1 MB")
                raise EOFError
            if fault and fault.action == "kill-after":
                self._kill(worker, watched)
                raise EOFError
            return answer
        except TimeoutError:
            worker.kill()
            self._end(worker)
            message = f"Task timed out after {invocation.timeout:.2f} seconds"
            report(self._log, invocation, message)
            return "ended", 0, failure(f"RequestId: {request_id} Error: {message}", "Sandbox.Timedout")
        except EOFError:
            how = ended(self._end(worker))
            message = f"Runtime exited with error: {how}" if how else "Runtime exited without providing a reason"
            report(self._log, invocation, message + (f" ({watched.verdict})" if watched.verdict else ""))
            return "ended", 0, failure(f"RequestId: {request_id} Error: {message}", "Runtime.ExitError")

    def _fork(self) -> Worker:
        """A new worker, from a new pre-fork server where the one there was has died. Raises NoWorker."""
        try:
            return self._prefork.fork()
        except TerminalError:
            self._follow_code()
        try:
            return self._prefork.fork()
        except TerminalError as error:  # that has died, too, or was not known to be dead yet
            raise NoWorker(error.message) from error

    def _end(self, worker: Worker) -> int:
        """Wait for a killed or dead worker; its wait status."""
        with self._lock:
            self._busy.pop(worker, None)
        return worker.end()

    def _function(self, name: str) -> Function:
        if name not in self._functions:
            self._functions[name] = functions.read(self._folder, name)
        return self._functions[name]

    def _invocation(self, function: Function, payload: bytes) -> Invocation:
        return Invocation(
            function=function.name,
            full_name=function.full_name,
            arn=function.arn,
            request_id=str(uuid.uuid4()),
            timeout=function.timeout,
            memory_size=function.memory_size,
            # what the stack says goes before the stage's configuration
            environment={k: v for k, v in function.environment.items() if k not in self._environment},
            log_stream=f"{time.strftime('%Y/%m/%d')}/[$LATEST]{uuid.uuid4().hex}",
            payload=payload,
        )

    # --- workers -------------------------------------------------------------------------

    def _start(self) -> Prefork:
        """A pre-fork server without the libraries, which are imported meanwhile for those that follow it."""
        self._libraries = Libraries(self._folder, self._environment, self._log, self._preload)
        first = Prefork(self._libraries)
        threading.Thread(target=self._complete, args=(self._libraries, first), daemon=True).start()
        return first

    def _complete(self, libraries: Libraries, first: Prefork) -> None:
        """Import the libraries, then go on with a pre-fork server that has them."""
        first.wait()  # the application is needed at once
        try:
            libraries.load()
        except TerminalError:  # closed meanwhile, or dead: the next invocation starts anew
            return
        while libraries.alive:
            (current := self._prefork).wait()
            if current.complete:
                return
            new = Prefork(libraries)
            new.wait()
            with self._lock:
                taken = self._prefork is current and not self._closed
                if taken:
                    self._prefork = new
            self._drop_outdated()
            (current if taken else new).retire()

    def _follow_code(self) -> None:
        """Start anew with the code on disk when it is not what the workers have loaded."""
        with self._lock:
            if self._closed or (not self._code.changed() and self._prefork.alive):
                return
            old, libraries = self._prefork, self._libraries
            self._prefork = Prefork(libraries) if libraries.alive else self._start()
            self._functions.clear()
        if libraries is not self._libraries:
            libraries.close()
        self._drop_outdated()
        old.retire()

    def _drop_outdated(self) -> None:
        """End the idle workers that lack the present code or modules; busy ones end when they are done."""
        for slots in (self._slots, self._api_slots):
            idle = []
            with contextlib.suppress(queue.Empty):
                while True:
                    idle.append(slots.get_nowait())
            for worker in idle:
                self._release(worker, slots)

    def _release(self, worker: Worker | None, slots: Slots) -> None:
        slots.put(self._current(worker))

    def _current(self, worker: Worker | None) -> Worker | None:
        """The worker; None, and it ends, where it lacks the present code.

        Asked as it is taken, too: one that comes back while the code changes may be put after the look for such.
        """
        if worker is None or worker.prefork is self._prefork:
            return worker
        worker.end()
        return None

    def _watch(self) -> None:
        """Kill workers that need more memory than their function has."""
        while not self._closed:
            with self._lock:
                busy = list(self._busy.items())
            if not busy:
                self._work.clear()
                self._work.wait()
                continue
            for worker, watched in busy:
                watched.peak = max(watched.peak, worker.resident())
                own = worker.used()
                if own > watched.limit and not watched.verdict:
                    self._kill(worker, watched, f"{own >> 20} MB used of {watched.limit >> 20} MB")
            time.sleep(WATCH_INTERVAL)

    def _kill(self, worker: Worker, watched: Watched, verdict: str = "") -> None:
        """Kill a worker that is still busy with what is `watched`."""
        with self._lock:
            if self._busy.get(worker) is watched:
                watched.verdict = verdict
                worker.kill()

    def kill_busy_with(self, text: str) -> None:
        """Kill every worker whose invocation contains `text`."""
        with self._lock:
            busy = list(self._busy.items())
        for worker, watched in busy:
            if text.encode() in watched.payload:
                self._kill(worker, watched)

    # --- what is known of it -----------------------------------------------------------------

    @property
    def preloaded(self) -> bool:
        """Whether the modules that handlers need have all been imported."""
        return self._prefork.complete

    def close(self) -> None:
        """End all workers, in the middle of an invocation too; no others are started."""
        with self._lock:
            self._closed = True
        self._work.set()
        self._prefork.close()
        self._libraries.close()


@dataclass(eq=False)
class Watched:
    """The memory of a busy worker, in bytes; `verdict` is set when it was killed for it."""

    limit: int
    payload: bytes = b""
    peak: int = 0
    verdict: str = ""


Slots = queue.LifoQueue  # of idle workers, and None for one that is to be forked


def _slots(count: int) -> Slots:
    slots: Slots = queue.LifoQueue()
    for _ in range(count):
        slots.put(None)
    return slots


def ended(status: int) -> str:
    """A wait status in Lambda's words; empty for a process that ended well but too soon."""
    if os.WIFSIGNALED(status):
        name = signal.strsignal(os.WTERMSIG(status)) or str(os.WTERMSIG(status))
        return f"signal: {name.split(' (')[0].lower()}"
    code = os.WEXITSTATUS(status)
    return f"exit status {code}" if code else ""
