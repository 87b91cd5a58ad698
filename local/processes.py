"""Waiting for processes that may be nobody's children."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable

import psutil

POLL_SECONDS = 0.01


def wait(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for the processes' end; those that still run after `seconds`.

    A zombie has ended: in a container, process 1 may collect orphans late (1.5 s were seen) or never,
    and `psutil.wait_procs` would wait for that.
    """
    deadline = time.monotonic() + seconds
    while True:
        processes = [process for process in processes if runs(process)]
        if not processes or time.monotonic() > deadline:
            return processes
        time.sleep(POLL_SECONDS)


def of_session(leader: int) -> list[psutil.Process]:
    """The processes of the session that the process `leader` opened, whoever is their parent now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == leader:
                found.append(process)
    return found


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
