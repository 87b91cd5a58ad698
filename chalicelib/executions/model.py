"""An execution and its states as plain data, and as JSON."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass

from chalicelib.errors import ContractError
from chalicelib.executions.history import Transition

RUNNING = "RUNNING"
FORMAT = 1  # of to_json; raise it when a field changes its meaning

SUCCEEDED_STATE = "succeeded"
FAILED_STATE = "failed"
CAUGHT_STATE = "caught"
RUNNING_STATE = "running"
ABORTED_STATE = "aborted"
NOT_RUN_STATE = "not_run"


@dataclass(frozen=True)
class Children:
    """The items of a Map. `total` is None while nobody knows it yet; `failed` includes timed out ones."""

    total: int | None
    succeeded: int = 0
    failed: int = 0
    running: int = 0
    aborted: int = 0

    @property
    def done(self) -> int:
        return self.succeeded + self.failed + self.aborted


@dataclass(frozen=True)
class State:
    """One state over all its visits.

    `status` is succeeded, failed, caught (it failed, and a Catch took over), running, aborted or
    not_run. `seconds` adds up all visits, those under way until the time of reading. `error`,
    `cause`, `input` and `output` are those of the visit that gives the status; input and output are
    JSON texts.
    """

    name: str
    type: str
    status: str = NOT_RUN_STATE
    entered: int = 0
    retries: int = 0
    seconds: float = 0.0
    first: dt.datetime | None = None
    last: dt.datetime | None = None
    error: str | None = None
    cause: str | None = None
    input: str | None = None
    output: str | None = None
    children: Children | None = None


@dataclass(frozen=True)
class Execution:
    """`status` is Step Functions' own: RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED, PENDING_REDRIVE."""

    arn: str
    name: str
    status: str
    started: dt.datetime
    stopped: dt.datetime | None
    read_at: dt.datetime
    error: str | None
    cause: str | None
    input: str | None
    output: str | None
    definition: dict
    states: dict[str, State]
    transitions: frozenset[Transition]

    @property
    def is_running(self) -> bool:
        return self.status == RUNNING

    @property
    def entered(self) -> list[State]:
        """The outermost states that were entered, in that order."""
        outermost = [self.states[name] for name in self.definition["States"]]
        # two states may be entered within the same millisecond; the definition's order settles it
        return sorted((state for state in outermost if state.first is not None), key=lambda state: state.first)

    @property
    def seconds(self) -> float:
        """From start to stop, or to the time of reading."""
        return ((self.stopped or self.read_at) - self.started).total_seconds()


# --- saving ----------------------------------------------------------------------------------


def to_json(execution: Execution) -> str:
    """The execution as JSON text, for an object beside the run; `from_json` reads it back."""
    plain = asdict(execution)
    plain["transitions"] = sorted([*t] for t in execution.transitions)
    return json.dumps({"format": FORMAT, **plain}, default=lambda value: value.isoformat(), ensure_ascii=False)


def from_json(text: str) -> Execution:
    """What `to_json` wrote; raises ContractError for anything else."""
    try:
        plain = json.loads(text)
        if plain.pop("format") != FORMAT:
            raise KeyError("format")
        plain["transitions"] = frozenset(Transition(*t) for t in plain["transitions"])
        plain["states"] = {name: _state_from(state) for name, state in plain["states"].items()}
        for name in ("started", "stopped", "read_at"):
            plain[name] = _time(plain[name])
        return Execution(**plain)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContractError(
            f"this is no saved execution: {type(error).__name__}: {error}",
            next_step="read it again from Step Functions with executions.read",
        ) from error


def _state_from(plain: dict) -> State:
    children = plain.pop("children")
    first, last = _time(plain.pop("first")), _time(plain.pop("last"))
    return State(**plain, first=first, last=last, children=Children(**children) if children else None)


def _time(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None
