"""A process that has imported what functions of the same layers need; their sandboxes' processes are forked from it.

On AWS each environment imports for itself, and has a machine for it. Here twelve functions of one run shared two cores:
the first run after a deployment took 23 s of CPU with a process started for each, 20 of them for the same imports.

Only modules of layers, and boto3, are imported ahead: a package changes with each deployment, layers hardly ever do.
Where a package has a module of the same name as one that is imported by then, if only of the standard library, its
functions start by themselves, as everything else does: they would get the other one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from chalicelib import collector
from chalicelib.errors import TerminalError
from local.libraries import Control

# what is imported where the layers have it: what takes a tenth of a second and reads no variable of a function
HEAVY = ("psycopg2", "pandas", "sqlalchemy", "great_expectations")
MODULES = ("boto3", *HEAVY)
CHILD = Path(__file__).parent / "sandbox_child.py"
_POLL_SECONDS = 0.01


class Nursery:
    """Forks processes that see the folders `path` behind their package; the first fork waits for the imports."""

    def __init__(self, path: Sequence[str]):
        self.path = list(path)
        self._loaded: frozenset[str] | None = None
        self._loading = threading.Lock()
        self.used = time.monotonic()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(CHILD), str(theirs.fileno())],
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": ":UTC", "GX_ANALYTICS_ENABLED": "false"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        self._control = Control(ours)

    @property
    def alive(self) -> bool:
        """Whether it may still fork; who is told None by `fork` starts by itself in any case."""
        return self._process.poll() is None

    @staticmethod
    def pays(path: Sequence[str]) -> bool:
        """Whether these folders have anything that takes long to import."""
        return any(Path(folder, name).is_dir() for folder in path for name in HEAVY)

    def fork(self, task: Path, variables: Mapping[str, str], output: int, connection: int, life: int) -> Forked | None:
        """A process in the folder `task`; None where it has to start by itself. The others are file descriptors."""
        self.used = time.monotonic()
        try:
            if self._shadowed(task):
                return None
            request = {"do": "fork", "variables": dict(variables), "folder": str(task)}
            return Forked(self._control, self._control.ask(request, connection, life, output)["pid"])
        except TerminalError:  # it was killed, or closed meanwhile
            return None

    def close(self) -> None:
        """End it; what was forked from it lives as long as its sandbox."""
        self._control.close()
        self._process.kill()
        self._process.wait()

    def _shadowed(self, task: Path) -> bool:
        """Whether the package has a module that is imported here from elsewhere."""
        with self._loading:
            if self._loaded is None:
                request = {"do": "load", "path": self.path, "modules": MODULES, "collector": collector.__file__}
                self._loaded = frozenset(self._control.ask(request)["loaded"])
        return any(entry.name.partition(".")[0] in self._loaded for entry in task.iterdir())


class Forked:
    """A process that a nursery has forked, as `subprocess.Popen` shows one."""

    def __init__(self, control: Control, pid: int):
        self.pid = pid
        self._control = control
        self._ended = False

    def kill(self) -> None:
        if not self._ended:  # the number may be another's then
            with contextlib.suppress(ProcessLookupError):  # it ended without its nursery, or is being waited for
                os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, or minus the signal's number. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self._status()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_POLL_SECONDS)
        return status

    def _status(self) -> int | None:
        try:
            status = self._control.ask({"do": "status", "pid": self.pid})["status"]
        except TerminalError:  # nobody's child any more, and its pipe has ended or will
            status = -signal.SIGKILL
        self._ended = status is not None
        return status
