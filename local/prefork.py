"""The stack's side of the Lambda workers: start the pre-fork server, fork workers, talk to them.

Workers are our own rather than a pebble ProcessPool, whose tasks do not say which process runs them:
the memory limit needs that, and the replacement of workers when the code changes. A warm call costs
the same 0.24 ms either way (2 cores, Python 3.11); a fork from the pre-fork server costs 2 ms.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from chalicelib.errors import TerminalError
from local import processes
from local.home import REPOSITORY
from local.invocation import Invocation
from local.worker import MESSAGE_BYTES, header

CLOSE_SECONDS = 5


class Prefork:
    """A pre-fork server process for the application in `folder`.

    It imports `app` at once and `preload` after it, in the background; `on_complete` is called when
    all are imported. Forking has to wait for an import that is going on (great-expectations: 2 to 5 s).
    """

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        log: Path,
        preload: Sequence[str] = (),
        on_complete: Callable[[], None] = lambda: None,
    ):
        self.complete = False
        self._preload, self._on_complete = preload, on_complete
        self._app_loaded = threading.Event()
        self._app_resident = 0
        self._asking = threading.Lock()
        self._lock = threading.Lock()
        self._living = 0
        self._retired = False
        self._ended = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        life_read, self._life = os.pipe()
        self._control = ours
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local.worker", str(theirs.fileno()), str(life_read)],
                cwd=folder,
                env={**environment, "PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)])},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(), life_read),
            )
        theirs.close()
        os.close(life_read)
        threading.Thread(target=self._load, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self._ended and self._process.poll() is None

    def fork(self) -> Worker:
        """A new worker, once the application is imported."""
        self._app_loaded.wait()
        complete = self.complete
        ours, theirs = Pipe()
        with theirs:
            pid = self._ask({"do": "fork"}, theirs.fileno())["pid"]
        with self._lock:
            self._living += 1
        return Worker(self, pid, ours, complete=complete)

    @property
    def app_resident(self) -> int:
        """Bytes of memory with nothing but the application imported."""
        return self._app_resident

    def ended(self, pid: int) -> int:
        """Wait for the end of a worker that is known to be ending; its wait status."""
        try:
            status = self._ask({"do": "status", "pid": pid})["status"]
        except TerminalError:  # the server died first; its workers are nobody's children now
            status = signal.SIGKILL
        with self._lock:
            self._living -= 1
            last = self._retired and not self._living
        if last:
            self.close()
        return status

    def retire(self) -> None:
        """Close when the last worker has ended."""
        with self._lock:
            self._retired = True
            idle = not self._living
        if idle:
            self.close()

    def close(self) -> None:
        """End the server and all its workers, whatever they do."""
        workers = []
        with contextlib.suppress(psutil.NoSuchProcess):
            workers = psutil.Process(self.pid).children()
        with contextlib.suppress(OSError):
            os.close(self._life)
        self._control.close()
        self._process.kill()  # it holds nothing, and may be in the middle of a long import
        self._process.wait()
        processes.wait(workers, CLOSE_SECONDS)

    def _load(self) -> None:
        try:
            self._ask({"do": "load", "module": "app"})
            self._app_resident = resident(self.pid)
            self._app_loaded.set()
            for module in self._preload:
                self._ask({"do": "load", "module": module})
            self.complete = True
            self._on_complete()
        except TerminalError:  # closed meanwhile, or dead: the next fork says so
            self._app_loaded.set()

    def _ask(self, request: dict, descriptor: int | None = None) -> dict:
        with self._asking:
            try:
                socket.send_fds(
                    self._control, [json.dumps(request).encode()], [] if descriptor is None else [descriptor]
                )
                answer = self._control.recv(MESSAGE_BYTES)
            except OSError as error:
                self._ended = True
                raise TerminalError(f"the Lambda workers' pre-fork server is gone: {error}") from error
        if not answer:
            self._ended = True
            raise TerminalError(
                "the Lambda workers' pre-fork server has ended", next_step="see lambda.log; `sluice down`, `sluice up`"
            )
        return json.loads(answer)


class Worker:
    """A worker process, for one invocation at a time."""

    def __init__(self, prefork: Prefork, pid: int, connection: Connection, complete: bool):
        self.prefork = prefork
        self.pid = pid
        self.complete = complete  # forked after all modules were imported
        self._connection = connection
        self._function = ""
        self._foreign = 0

    def begin(self, function: str) -> None:
        """Whose memory is counted from now on."""
        if function != self._function:
            self._function = function
            self._foreign = max(0, self.resident() - self.prefork.app_resident)

    def used(self) -> int:
        """Bytes that the function's own process would have.

        On AWS each function has environments of its own: neither modules that were imported ahead of need nor what
        another function left in this process are there.
        """
        return max(0, self.resident() - self._foreign)

    def call(self, invocation: Invocation) -> tuple[str, int, bytes]:
        """(outcome, peak resident bytes, body); outcome as `local.worker` says.

        Raises TimeoutError when the time is up, EOFError when the process ended instead of answering.
        """
        try:
            self._connection.send_bytes(header(invocation))
            self._connection.send_bytes(invocation.payload)
            if not self._connection.poll(invocation.timeout):
                raise TimeoutError
            answer = json.loads(self._connection.recv_bytes())
            return answer["outcome"], answer["peak"], self._connection.recv_bytes()
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise EOFError from error

    def resident(self) -> int:
        """Resident memory in bytes, what it shares with the others included; 0 when it is gone."""
        return resident(self.pid)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def end(self) -> int:
        """Close the connection and wait for the process, which is idle or killed; its wait status."""
        self._connection.close()
        return self.prefork.ended(self.pid)


def resident(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0
