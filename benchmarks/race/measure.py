"""What processes use between two moments: seconds of CPU, and the highest memory.

Of Linux: /proc says what a process uses alone of memory that it shares (PSS), and how much it had at most (VmHWM).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

# reading a process's memory maps takes about 1 ms per 100 MB, so that this costs the contestants 1% of a core
SAMPLE_SECONDS = 0.5
MB = 2**20


@dataclass(frozen=True)
class Used:
    """CPU in seconds: the contestant's own, Postgres', and what anybody else on the machine used meanwhile.

    Memory in MB: of the largest process, what it shares with its siblings included, and of all together, with what
    they share counted once.
    """

    cpu: float
    postgres_cpu: float
    others_cpu: float
    largest_mb: float
    together_mb: float


class Meter:
    """Measures the process trees of `pids`, and Postgres', from `with` to the end of it; then `used` says what."""

    used: Used

    def __init__(self, pids: Sequence[int], postgres_pid: int):
        self._pids, self._postgres = pids, postgres_pid
        self._largest = self._together = 0.0
        self._done = threading.Event()

    def __enter__(self) -> Meter:
        for process in self._processes():
            _forget_peak(process.pid)
        self._begun = self._cpu()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        return self

    def __exit__(self, *_) -> None:
        own, postgres, machine = (ended - begun for ended, begun in zip(self._cpu(), self._begun, strict=True))
        self._done.set()
        self._sampler.join()
        self._look()
        self.used = Used(own, postgres, max(0.0, machine - own - postgres), self._largest, self._together)

    def _processes(self) -> list[psutil.Process]:
        """The trees without Postgres, which is a child of the stack's server."""
        found: dict[int, psutil.Process] = {}
        for pid in self._pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                found |= {process.pid: process for process in family(pid)}
        ours = {process.pid for process in family(self._postgres)}
        return [process for pid, process in found.items() if pid not in ours]

    def _cpu(self) -> tuple[float, float, float]:
        """Seconds so far: of the trees, of Postgres, of the whole machine without this process."""
        machine = psutil.cpu_times()
        # `user` holds `guest` already
        busy = sum(getattr(machine, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))
        return _seconds(self._processes()), _seconds(family(self._postgres)), busy - time.process_time()

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        together = 0.0
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                together += _proportional(process) / MB
                self._largest = max(self._largest, _peak(process) / MB)
        self._together = max(self._together, together)


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU of `processes` and of the children that they have waited for."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _proportional(process: psutil.Process) -> int:
    memory = process.memory_full_info()
    return getattr(memory, "pss", memory.rss)


def _peak(process: psutil.Process) -> int:
    try:
        with open(f"/proc/{process.pid}/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return process.memory_info().rss


def _forget_peak(pid: int) -> None:
    """proc(5), clear_refs: 5 resets VmHWM."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/clear_refs", "w") as file:
        file.write("5")
