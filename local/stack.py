"""The local stack as its users see it: up, down, what it is, how to talk to it."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from chalicelib import settings
from chalicelib.errors import ConfigurationError, TerminalError
from local import environment, processes
from local.home import ALREADY_RUNNING, REPOSITORY, Home
from local.postgres import Postgres

UP_SECONDS = 120  # the very first start compiles 5,000 modules and makes a database
DOWN_SECONDS = 30
POLL_SECONDS = 0.05
LOG_LINES = 15


@dataclass(frozen=True)
class StackInfo:
    """A running stack. `environment` is what `Stack.env` gives; `logs` a folder; `schedules`: whether they tick."""

    endpoint: str
    database_url: str
    sources_url: str
    pid: int
    postgres_pid: int
    logs: str
    environment: dict[str, str]
    schedules: bool = False


class Stack:
    """The stack whose data are in the folder `home`. Several processes may use it at once."""

    def __init__(self, home: Path | str):
        self._home = Home(Path(home).expanduser().resolve())
        self._process: subprocess.Popen | None = None  # the server, if this object started it

    def up(
        self, wait: bool = True, progress: Callable[[str], None] = lambda line: None, schedules: bool = False
    ) -> StackInfo | None:
        """Start the stack, or find it running; `progress` gets a line for each step.

        With `schedules` they fire when they are due; without, only when `move_clock` says so.
        With `wait=False` it returns None while the stack starts. Raises TerminalError with the end
        of the log when it does not start.
        """
        if known := self.info():
            return known
        settings.load()  # a variable that no setting knows would fail every run
        self._home.create()
        with self._home.server_log.open("ab") as log:
            said = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local.server", str(self._home.path), *(["--schedules"] if schedules else [])],
                cwd=REPOSITORY,
                env=environment.inherited(self._home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._wait_until_up(said, progress) if wait else None

    def _wait_until_up(self, said: int, progress: Callable[[str], None]) -> StackInfo:
        """`said` is the size of the server's log before this start, in bytes."""
        deadline = time.monotonic() + UP_SECONDS
        shown = said
        while True:
            info = self.info()
            shown = self._show(shown, progress)
            if info:
                return info
            status = self._process.poll()
            another = status == ALREADY_RUNNING and self._server_pid()
            if (status is not None and not another) or time.monotonic() > deadline:
                self.down()
                raise TerminalError(
                    f"the local stack did not start:\n{self._last_words(said)}",
                    next_step=f"see {self._home.logs}; deleting {self._home.path} starts from nothing",
                )
            time.sleep(POLL_SECONDS)

    def down(self) -> bool:
        """Stop the stack, its data stay; False if it was not running. Nothing of it is left running."""
        running = self._server_pid()
        if running:
            self._end(running)
        if self._process:
            self._process.wait(DOWN_SECONDS)
            self._process = None
        # a server that was killed leaves Postgres to itself where the system does not end it
        if self._home.postgres.exists():
            Postgres(self._home.postgres, self._home.postgres_log).stop()
        return running is not None

    def info(self) -> StackInfo | None:
        """The running stack; None while there is none that is ready."""
        pid = self._server_pid()
        if pid is None:
            return None
        try:
            found = StackInfo(**json.loads(self._home.description.read_text()))
        except FileNotFoundError:  # starting, or stopping
            return None
        # what the last server left is there until the next one, just started, takes it away
        return found if found.pid == pid else None

    def env(self) -> dict[str, str]:
        """The environment variables with which any client talks to the stack."""
        return dict(self._require().environment)

    def sent_emails(self) -> list[dict]:
        """The emails that SNS sent since the stack is up, oldest first: message_id, to, subject, message."""
        return self._ask("emails")

    def usage(self, reset: bool = False) -> dict[str, dict]:
        """By Lambda function since the last reset: invocations, errors, peak_rss_mb, seconds."""
        return self._ask("runtime", "DELETE" if reset else "GET")

    def clock(self) -> dict:
        """The schedules' time: now, ahead_seconds (of the real time), ticking, next (by schedule)."""
        return self._ask("clock")

    def move_clock(self, to: dt.datetime | None, schedules: Iterable[str] | None = None) -> dict:
        """Make it `to` for the schedules, or the real time again; what is due at that moment fires.

        With `schedules`, names of them or of sources, no others fire. Gives what `clock` does, and `fired`:
        a list of {schedule, scheduled_time}.
        """
        wanted = {"to": to and to.isoformat()} | ({} if schedules is None else {"schedules": list(schedules)})
        return self._ask("clock", "POST", json.dumps(wanted).encode())

    def arm(self, faults: list[dict]) -> list[dict]:
        """Have AWS and the workers do what the `faults` say, see `local.faults`; all that are armed."""
        return self._ask("faults", "POST", json.dumps(faults).encode())

    def disarm(self, prefix: str = "") -> list[dict]:
        """Take away the faults whose name begins so; those that are left."""
        return self._ask(f"faults?prefix={prefix}", "DELETE")

    def armed(self) -> list[dict]:
        """The faults, each with how often it was `met` and how often it `struck`."""
        return self._ask("faults")

    # --- the pieces ----------------------------------------------------------------------

    def _require(self) -> StackInfo:
        if info := self.info():
            return info
        raise ConfigurationError("the local stack is not running", home=self._home.path, next_step="sluice up")

    def _ask(self, what: str, method: str = "GET", body: bytes | None = None):
        request = urllib.request.Request(f"{self._require().endpoint}/_sluice/{what}", body, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)

    def _server_pid(self) -> int | None:
        """The server's pid while it lives, ready or not: it holds a lock, which no kill leaves behind."""
        try:
            with self._home.lock.open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    pid = int(lock.read() or 0)
                    # what a killed server wrote is there until the next one, just started, writes its own
                    return pid if psutil.pid_exists(pid) else None
        except FileNotFoundError:
            pass
        return None

    def _end(self, pid: int) -> None:
        try:
            server = psutil.Process(pid)
            family = [server, *server.children(recursive=True)]
            server.terminate()
        except psutil.NoSuchProcess:
            return
        processes.wait([server], DOWN_SECONDS)
        for process in processes.wait(family, 1):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        processes.wait(family, 5)
        # one that was being forked at that moment is in nobody's list but the session's
        processes.wait(processes.of_session(pid), 5)

    def _show(self, shown: int, progress: Callable[[str], None]) -> int:
        """Pass the server's new messages on; up to where the log is shown."""
        lines = self._log_after(shown).splitlines(keepends=True)
        for line in lines:
            if line.endswith("\n"):
                shown += len(line.encode(errors="surrogateescape"))
                _, found, message = line.partition(" local.server: ")
                if found:
                    progress(message.rstrip())
        return shown

    def _last_words(self, start: int) -> str:
        return "\n".join(self._log_after(start).splitlines()[-LOG_LINES:])

    def _log_after(self, start: int) -> str:
        with self._home.server_log.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="surrogateescape")
