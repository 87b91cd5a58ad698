"""Waiting, and what was waited for: whoever waits in a trial does it here, so that a slow one can say why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

WORTH_TELLING = 2.0  # seconds of one wait

Found = TypeVar("Found")


class Stopped(Exception):
    """The storm is being stopped: what is under way is given up."""


class Waits:
    """The waits of one lane at a time, each lane in a thread of its own; `stopping` ends them all with Stopped."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._of_lane = threading.local()

    def begin(self) -> None:
        """A trial begins in this thread: nothing was waited for."""
        self._of_lane.noted = []

    @property
    def noted(self) -> list[tuple[str, float]]:
        """What this thread's trial waited for, and for how many seconds, the longest first."""
        return sorted(getattr(self._of_lane, "noted", []), key=lambda wait: -wait[1])

    def note(self, what: str, seconds: float) -> None:
        if seconds >= WORTH_TELLING and hasattr(self._of_lane, "noted"):
            self._of_lane.noted.append((what, round(seconds, 1)))

    def pause(self, seconds: float) -> None:
        """Raises Stopped where the storm is stopped meanwhile."""
        if self.stopping.wait(seconds):
            raise Stopped

    def until(self, what: str, look: Callable[[], Found], seconds: float, pause: float = 0.1) -> Found:
        """The first that `look` gives and that is true, or after so many seconds what it gave last."""
        began = time.monotonic()
        try:
            while not (found := look()) and time.monotonic() - began < seconds:
                self.pause(pause)
            return found
        finally:
            self.note(what, time.monotonic() - began)
