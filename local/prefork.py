"""The stack's side of the Lambda workers: pre-fork servers, one for each state of the code; fork workers, talk to them.

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
import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import psutil

from chalicelib.errors import TerminalError
from local import processes
from local.invocation import Invocation
from local.libraries import Control, Libraries
from local.worker import header

CLOSE_SECONDS = 5


class Prefork:
    """A pre-fork server, forked from the `libraries`: it imports the application that is on disk now."""

    def __init__(self, libraries: Libraries):
        self._libraries = libraries
        self._lacks = 0
        self._loaded = threading.Event()
        self._app_resident = 0
        self._lock = threading.Lock()
        self._process: psutil.Process | None = None
        self._living = 0
        self._retired = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        life_read, self._life = os.pipe()
        self._control = Control(ours)
        # forking may have to wait for an import
        threading.Thread(target=self._load, args=(theirs, life_read), daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._control.open

    @property
    def complete(self) -> bool:
        """Whether it has the application and all libraries, or never will."""
        return self._loaded.is_set() and not self._lacks

    def wait(self) -> None:
        """Until the application is imported."""
        self._loaded.wait()

    def fork(self) -> Worker:
        """A new worker, once the application is imported."""
        self._loaded.wait()
        with self._lock:  # before it is there: whoever retires this server meanwhile waits for it
            self._living += 1
        ours, theirs = Pipe()
        try:
            with theirs:
                pid = self._control.ask({"do": "fork"}, theirs.fileno())["pid"]
        except TerminalError:
            ours.close()
            self._gone()
            raise
        return Worker(self, pid, ours)

    @property
    def app_resident(self) -> int:
        """Bytes of memory with nothing but the application imported."""
        return self._app_resident

    def ended(self, pid: int) -> int:
        """Wait for the end of a worker that is known to be ending; its wait status."""
        try:
            status = self._control.ask({"do": "status", "pid": pid})["status"]
        except TerminalError:  # the server died first; its workers are nobody's children now
            status = signal.SIGKILL
        self._gone()
        return status

    def _gone(self) -> None:
        with self._lock:
            self._living -= 1
            last = self._retired and not self._living
        if last:
            self.close()

    def retire(self) -> None:
        """Close when the last worker has ended."""
        with self._lock:
            self._retired = True
            idle = not self._living
        if idle:
            self.close()

    def close(self) -> None:
        """End the server and all its workers, whatever they do."""
        with self._lock:
            life, self._life = self._life, None
        if life is None:
            return
        os.close(life)
        self._control.close()
        if self._process:
            with contextlib.suppress(psutil.Error):
                workers = self._process.children()
                self._process.kill()
                processes.wait([self._process, *workers], CLOSE_SECONDS)

    def _load(self, theirs: socket.socket, life_read: int) -> None:
        try:
            with theirs:
                pid, self._lacks = self._libraries.fork(theirs, life_read)
            self._process = psutil.Process(pid)
            before = resident(pid)
            self._control.ask({"do": "load"})
            self._app_resident = self._without_libraries(before, resident(pid))
        except (TerminalError, psutil.Error):  # closed meanwhile, or dead: the next fork says so
            pass
        finally:
            os.close(life_read)
            self._loaded.set()

    def _without_libraries(self, before: int, after: int) -> int:
        """What it would hold without libraries: what the first one did, and what the application has grown since."""
        libraries = self._libraries
        if libraries.bare is None:
            libraries.bare = after
        elif not self._lacks:
            libraries.growth = libraries.growth or after - before
            return libraries.bare + after - before - libraries.growth
        return libraries.bare


class Worker:
    """A worker process, for one invocation at a time."""

    def __init__(self, prefork: Prefork, pid: int, connection: Connection):
        self.prefork = prefork
        self.pid = pid
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
