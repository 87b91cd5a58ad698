"""The faults of a lane: where each seam has them, and taken away again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from storm.database import DatabaseFault
from storm.faults import Fault
from storm.stack import StormStack
from storm.upstream import SourceFault, Upstream

# a server that is being stopped, or whose role changes, for so many seconds
READ_ONLY_SECONDS = 1.0


class Arming:
    """`arm` some, have what is about to happen `disturb`, and `mend` tells what became of each, once."""

    def __init__(self, stack: StormStack, upstream: Upstream, lane: str):
        self._stack, self._upstream, self._lane = stack, upstream, lane
        self._faults: Sequence[Fault] = ()
        self._name = ""
        self._of_source: list[SourceFault] = []
        self._disturbances: dict[str, Future] = {}
        self._later = ThreadPoolExecutor(4)

    def arm(self, faults: Sequence[Fault], name: str, mark: str, raw_mark: str | None = None) -> None:
        """`name` begins the faults' names; `mark` is in all that is about the runs that they are for.

        `raw_mark` is in the names of the raw objects that these read, where that is not `mark`.
        """
        self._faults, self._name, self._disturbances = faults, name, {}
        source, aws, database = [], [], []
        for number, fault in enumerate(faults):
            if fault.seam == "source":
                source.append(SourceFault(**fault.values))
            elif fault.seam == "aws":
                given = fault.values.get("texts", ())
                texts = [raw_mark if raw_mark and "raw/" in given else mark, *given]
                worker = {"worker": mark} if fault.values["service"] == "s3" else {}
                aws.append({**fault.values, **worker, "name": f"{name}{number}", "texts": texts})
            elif fault.seam == "database":
                database.append(DatabaseFault(name=f"{name}{number}", lane=self._lane, **fault.values))
        self._upstream.arm(self._lane, source)
        self._of_source = source
        if database:
            self._stack.database.arm(database)
        if aws:
            self._stack.arm(aws)

    def disturb(self, mark: str) -> None:
        """From now on what is not about a call, or a row, happens when it is due."""
        actions: dict[str, Callable[[], object]] = {
            "Postgres restarted": lambda: self._stack.restart_postgres(signal.SIGINT),
            "Postgres killed": lambda: self._stack.restart_postgres(signal.SIGKILL),
            "all connections cut": self._stack.database.cut_all,
            "all read-only": lambda: self._stack.database.be_read_only(READ_ONLY_SECONDS),
            "all workers killed": self._stack.kill_workers,
            "run stopped": lambda: self._stack.stop_run(mark),
            "swept meanwhile": self._stack.sweep,
            "engine stopped": lambda: self._stack.restart(kill=False),
            "engine killed": lambda: self._stack.restart(kill=True),
        }
        self._disturbances = {
            fault.kind: self._later.submit(_later, fault.values["at"], actions[fault.values["action"]])
            for fault in self._faults
            if fault.seam in ("stack", "run")
        }

    def settle(self) -> None:
        """Wait until all of it has happened; raises what one of them does."""
        for disturbance in self._disturbances.values():
            disturbance.result()

    def mend(self) -> list[tuple[Fault, bool]]:
        """Take the faults away; whether each has struck. Those that were mended before are not told again."""
        struck = self._stack.disarm(self._name) if self._name else {}
        met = self._stack.database.disarm(self._lane)
        self._upstream.mend(self._lane)
        told, self._faults = self._faults, ()
        return [
            (fault, self._has_struck(fault, f"{self._name}{number}", struck, met)) for number, fault in enumerate(told)
        ]

    def _has_struck(self, fault: Fault, name: str, struck: dict[str, int], met: dict[str, int]) -> bool:
        if fault.seam == "source":
            return any(each.struck for each in self._of_source if each.action == fault.values["action"])
        if fault.seam == "database":
            return met.get(name, 0) > fault.values.get("after", 0)
        if fault.seam == "aws":
            # one that was armed in an engine that was killed is forgotten with it
            return struck.get(name, 0) > 0
        happened = self._disturbances.get(fault.kind)
        return happened is None or (happened.exception() is None and happened.result() is not False)

    def close(self) -> None:
        """Wait for what is still to happen to the stack: nothing may be begun on one that is being stopped."""
        self._later.shutdown()


def _later(seconds: float, work: Callable[[], object]) -> object:
    time.sleep(seconds)
    return work()
