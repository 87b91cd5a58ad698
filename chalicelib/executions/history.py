"""An execution's history read back into visits: who was entered, from where, and how it went.

Events: https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html. Each
names the event before it on the same thread of the execution (`previousEventId`), which is the
only way to tell the iterations of a Map apart. Measured with moto 5.2.5, and worked with here:

- the first state and an abort name event 0, also inside a running execution;
- `MapStateExited` follows the last iteration, not the Map's own last event; `MapStateFailed`
  follows the state that failed. So an event belongs to the nearest visit around its predecessor
  that it can be about, see `_Thread.owner`;
- iterations that were under way when the execution failed go on to write events after its end.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

EXECUTION_ENDS = {"ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"}
_ATTEMPTS = {
    "TaskScheduled",
    "LambdaFunctionScheduled",
    "ActivityScheduled",
    "MapStateStarted",
    "ParallelStateStarted",
}
_ITERATION_ENDS = {
    "MapIterationSucceeded": "succeeded",
    "MapIterationFailed": "failed",
    "MapIterationAborted": "aborted",
}


class Transition(NamedTuple):
    """An edge really taken; `caught` when a Catch led along it."""

    source: str
    target: str
    caught: bool


@dataclass
class Visit:
    """One entry into a state. `around` is the visit of the Map or Parallel that the state is in."""

    name: str
    type: str
    entered: dt.datetime
    input: str | None
    around: Visit | None = None
    exited: dt.datetime | None = None
    output: str | None = None
    attempts: int = 0
    has_failed: bool = False  # its last attempt
    is_aborted: bool = False
    error: str | None = None  # of the last attempt that failed
    cause: str | None = None
    items: int | None = None  # iterations that a Map was to do
    iterations: dict[str, int] = field(default_factory=dict)  # begun, succeeded, failed, aborted
    map_run: str | None = None

    @property
    def is_open(self) -> bool:
        return self.exited is None and not self.is_aborted

    def fail(self, error: str | None, cause: str | None) -> None:
        self.has_failed, self.error, self.cause = True, error, cause


@dataclass(frozen=True)
class History:
    """`visits` in order of entry, and the ways that were gone between states."""

    visits: list[Visit]
    transitions: frozenset[Transition]


def ends(events: Iterable[dict]) -> bool:
    """True when the events tell how the execution ended, and it was not redriven after that."""
    ended = False
    for event in events:
        ended = event["type"] in EXECUTION_ENDS or (ended and event["type"] != "ExecutionRedriven")
    return ended


def read(events: list[dict], catchers: dict[str, set[str]]) -> History:
    """The visits in a history, oldest event first.

    `catchers` names, per state, the states that only its Catch leads to: where the language itself
    failed after the work was done, no failure event tells that an error was caught.
    """
    thread = _Thread(catchers)
    for event in events:
        thread.read(event)
    return History(thread.visits, frozenset(thread.transitions))


def details(event: dict) -> dict:
    """The one `…EventDetails` object of an event; empty when it has none."""
    return next((value for key, value in event.items() if key.endswith("EventDetails")), {})


class _Thread:
    """Walks the events, and knows for each of them the visit it belongs to."""

    def __init__(self, catchers: dict[str, set[str]]):
        self.visits: list[Visit] = []
        self.transitions: set[Transition] = set()
        self._catchers = catchers
        self._owners: dict[int, Visit | None] = {}

    def owner(self, event: dict, name: str | None, kind: str | None) -> Visit | None:
        """The nearest visit, from the previous event's outwards, of that name or type of state."""
        visit = self._owners.get(event.get("previousEventId", 0))
        while visit and not ((name in (None, visit.name)) and (kind in (None, visit.type))):
            visit = visit.around
        return visit

    def read(self, event: dict) -> None:
        kind, about = event["type"], details(event)
        if kind.endswith("StateEntered"):
            self._owners[event["id"]] = self._enter(event, kind.removesuffix("StateEntered"), about)
            return
        # Task…, Lambda… and Activity… events are the work of the state that is open before them
        container = next((c for c in ("Map", "Parallel") if kind.startswith(c)), None)
        visit = self.owner(event, about.get("name"), container)
        self._owners[event["id"]] = visit
        if visit is None:
            return
        if kind.endswith("StateExited"):
            visit.exited, visit.output = event["timestamp"], about.get("output")
        elif kind.endswith("StateAborted"):
            visit.is_aborted = True
        elif kind in _ATTEMPTS:
            visit.attempts += 1
            visit.has_failed = False
            visit.items = about.get("length", visit.items)
        elif kind == "MapIterationStarted":
            visit.iterations["begun"] = visit.iterations.get("begun", 0) + 1
        elif kind in _ITERATION_ENDS:
            visit.iterations[_ITERATION_ENDS[kind]] = visit.iterations.get(_ITERATION_ENDS[kind], 0) + 1
        elif kind == "MapRunStarted":
            visit.map_run = about["mapRunArn"]
        elif kind == "ExecutionFailed":
            self._blame(visit, about)
        elif kind.endswith(("Failed", "TimedOut")) and not kind.startswith("Execution"):
            self._fail(visit, event, about)

    def _enter(self, event: dict, kind: str, about: dict) -> Visit:
        before = self._owners.get(event.get("previousEventId", 0))
        visit = Visit(about["name"], kind, event["timestamp"], about.get("input"))
        if before is not None and before.exited is not None:
            visit.around = before.around
            caught = before.has_failed or visit.name in self._catchers.get(before.name, ())
            before.has_failed = caught
            self.transitions.add(Transition(before.name, visit.name, caught))
            if kind == "Fail":  # inside a Map, no event tells what it failed with
                visit.error, visit.cause = before.error, before.cause
        else:  # the first state of an iteration or a branch
            while before is not None and before.type not in ("Map", "Parallel"):
                before = before.around
            visit.around = before
        self.visits.append(visit)
        return visit

    def _fail(self, visit: Visit, event: dict, about: dict) -> None:
        if about.get("error") is None and visit.type in ("Map", "Parallel"):
            # a container fails without an error of its own: it is that of a state inside
            inside = self._owners.get(event.get("previousEventId", 0))
            if inside is None or inside is visit or inside.error is None:
                inside = next((v for v in reversed(self.visits) if v.around is visit and v.error), visit)
            visit.fail(inside.error, inside.cause)
        else:
            default = "States.Timeout" if event["type"].endswith("TimedOut") else None
            visit.fail(about.get("error") or default, about.get("cause"))

    def _blame(self, visit: Visit, about: dict) -> None:
        """The execution failed in this visit: say so where no failure event did, here and outwards."""
        at: Visit | None = visit
        while at is not None and at.exited is None:
            if not at.has_failed:
                at.fail(about.get("error"), about.get("cause"))
            at = at.around
