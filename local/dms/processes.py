"""Replication tasks as processes of the local stack: a folder each under `replication/` of its home."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import psutil
import psycopg2

from chalicelib.errors import ConfigurationError, SluiceError, TerminalError
from local import processes
from local.dms import task as tasks
from local.dms.task import Task
from local.home import REPOSITORY, Home

ALREADY_RUNNING = 3

START_SECONDS = 20
STOP_SECONDS = 15
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Folder:
    """What a task leaves behind. `task` holds the database's address, so only its owner may read it."""

    path: Path

    @property
    def task(self) -> Path:
        return self.path / "task.json"

    @property
    def state(self) -> Path:
        """Whether the load is done, and what the tables looked like."""
        return self.path / "state.json"

    @property
    def loaded(self) -> bool:
        """Whether the task has a position in the log, from which it goes on."""
        return self.state.exists() and json.loads(self.state.read_text())["loaded"]

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def lock(self) -> Path:
        """Held by the process for as long as it lives."""
        return self.path / "lock"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def stack(self) -> Path:
        """There while the stack is up."""
        return Home(self.path.parents[1]).description

    def write_status(self, put: int, state: str, error: SluiceError | None = None) -> None:
        document = {"put": put, "state": state, "error": None}
        if error is not None:
            document["error"] = f"{type(error).__name__}: {error}"
            where = {name: str(value) for name, value in error.where.items()}
            raised = {"kind": type(error).__name__, "message": error.message, "next_step": error.next_step}
            document["raised"] = {**raised, "where": where}
        partial = self.status.with_name(f"{self.status.name}.{os.getpid()}")
        partial.write_text(json.dumps(document))
        partial.replace(self.status)


@dataclass(frozen=True)
class Running:
    """A task and what it does: `state` is loading, following or stopped; `put` counts this process's records."""

    task: Task
    pid: int | None
    state: str
    put: int
    error: str | None


def acquire(folder: Folder) -> TextIO | None:
    """The lock, with our pid in it; None where another process has it."""
    lock = folder.lock.open("a+")
    for _ in range(20):  # who looks whether it is taken holds it for an instant
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_POLL_SECONDS)
            continue
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock
    lock.close()
    return None


class Tasks:
    """The tasks of a stack, by name."""

    def __init__(self, home: Path):
        self._home = home / "replication"

    def list(self) -> list[Running]:
        return [self.get(path.parent.name) for path in sorted(self._home.glob("*/task.json"))]

    def get(self, name: str) -> Running:
        """Raises ConfigurationError where there is no such task."""
        folder = self._folder(name)
        if not folder.task.exists():
            raise ConfigurationError(f"there is no task {name!r}", next_step="see `sluice changes start --help`")
        document = json.loads(folder.task.read_text())
        task = Task(**{**document, "tables": tuple(document["tables"])})
        status = json.loads(folder.status.read_text()) if folder.status.exists() else {}
        pid = _pid(folder)
        state = status.get("state", "loading") if pid else "stopped"
        return Running(task, pid, state, status.get("put", 0), status.get("error"))

    def start(self, task: Task, environment: dict[str, str], reload: bool = False) -> Running:
        """Start a task, or go on with it; `reload` loads its tables anew. Returns when the first load is done.

        Raises ConfigurationError where it runs already, where it cannot be replicated, or where other tables would
        throw its position away; the task is then what it was. Raises TerminalError with the end of its log where it
        ends at once.
        """
        folder = self._folder(task.name)
        if _pid(folder):
            raise ConfigurationError(f"the task {task.name} is running", next_step="`sluice changes stop` ends it")
        before = self.get(task.name).task if folder.task.exists() else None
        goes_on = folder.loaded and not reload
        if before is not None and goes_on and set(before.tables) != set(task.tables):
            raise ConfigurationError(  # other tables are another publication
                f"the task {task.name} replicates {', '.join(before.tables)}; with other tables all of them are loaded"
                " anew, and a load deletes nothing: rows that are deleted at the source before it would stay",
                next_step="`sluice changes start` alone goes on with its own; --reload beside the others loads them",
            )
        self._expect_alone(task)
        if before != task or reload:
            tasks.check(task, goes_on)
        folder.path.mkdir(parents=True, exist_ok=True)
        with open(os.open(folder.task, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(dataclasses.asdict(task), file)
        folder.status.unlink(missing_ok=True)
        if reload:
            folder.state.unlink(missing_ok=True)
        with folder.log.open("ab") as log:
            begin = log.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "local.dms", str(folder.path)],
                cwd=REPOSITORY,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._wait(folder, task, process, begin)

    def _expect_alone(self, task: Task) -> None:
        """Raise ConfigurationError where another task sends changes of the same tables from elsewhere into the stream.

        A row's changes are ordered by their place in the log; of two logs these say nothing of each other, and the
        changes of one would count as older than what the other has sent.
        """
        for found in self.list():
            other, tables = found.task, set(found.task.tables) & set(task.tables)
            is_apart = other.name == task.name or other.stream != task.stream or other.database_url == task.database_url
            if tables and not is_apart:
                raise ConfigurationError(
                    f"the task {other.name} replicates {', '.join(sorted(tables))} of another database into the"
                    f" stream {task.stream}: of rows with the same key one's changes would be lost",
                    next_step=f"`sluice changes stop --name {other.name} --remove` first, or take other tables",
                )

    def _wait(self, folder: Folder, task: Task, process: subprocess.Popen, begin: int) -> Running:
        """Until it follows the log, or loads for longer than one wants to wait. Its own log starts at byte `begin`."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            if process.poll() is not None:
                raise _cause(folder, task, begin)
            found = self.get(task.name)
            if found.state == tasks.FOLLOWING or time.monotonic() > deadline:
                return found
            time.sleep(_POLL_SECONDS)

    def stop(self, name: str, remove: bool = False) -> bool:
        """End a task; False where it did not run. With `remove` its slot, its publication and its folder go too."""
        found, folder = self.get(name), self._folder(name)
        if found.pid:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(found.pid)
                process.terminate()
                for left in processes.wait([process], STOP_SECONDS):
                    left.kill()
        if remove:
            try:
                with contextlib.closing(psycopg2.connect(found.task.database_url)) as connection:
                    connection.autocommit = True
                    with connection.cursor() as cursor:
                        tasks.remove(cursor, found.task)
            except psycopg2.OperationalError as error:
                raise ConfigurationError(
                    f"the database cannot be reached: {str(error).strip()}",
                    next_step=f"SELECT pg_drop_replication_slot('{found.task.slot}') there frees its log",
                ) from None
            shutil.rmtree(folder.path)
        return found.pid is not None

    def _folder(self, name: str) -> Folder:
        return Folder(self._home / name)


def _pid(folder: Folder) -> int | None:
    """The pid of the task's process while it lives: it holds a lock, which no kill leaves behind."""
    try:
        with folder.lock.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read() or 0) or None
    except FileNotFoundError:
        pass
    return None


def _cause(folder: Folder, task: Task, begin: int) -> TerminalError:
    """Why a task ended: what it raised, or, where nobody foresaw it, the end of its log."""
    status = json.loads(folder.status.read_text()) if folder.status.exists() else {}
    if raised := status.get("raised"):
        kind = ConfigurationError if raised["kind"] == ConfigurationError.__name__ else TerminalError
        return kind(raised["message"], next_step=raised["next_step"], **raised["where"])
    with folder.log.open("rb") as log:
        log.seek(begin)
        lines = log.read().decode(errors="replace").splitlines()
    return TerminalError(
        f"the task {task.name} ended: {lines[-1] if lines else 'it said nothing'}", next_step=f"see {folder.log}"
    )
