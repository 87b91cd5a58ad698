"""What happened in one execution of a state machine, state by state.

Read from the Step Functions API alone, so that AWS and the local stack are read alike. What a
`DISTRIBUTED` Map does is known by counts: its children are executions of their own, whose
histories are not read. So the states inside it are succeeded, running or failed as all its
children are, and those that only an error or a choice leads to stay `not_run`.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from dataclasses import asdict, dataclass, replace

from botocore.exceptions import ClientError

from chalicelib import asl, history
from chalicelib.errors import ContractError, NotFound
from chalicelib.history import Transition, Visit

__all__ = [
    "Children",
    "Execution",
    "Reader",
    "State",
    "Transition",
    "from_json",
    "read",
    "to_json",
    "with_failed_children",
]

RUNNING = "RUNNING"
FORMAT = 1  # of to_json; raise it when a field changes its meaning

SUCCEEDED_STATE = "succeeded"
FAILED_STATE = "failed"
CAUGHT_STATE = "caught"
RUNNING_STATE = "running"
ABORTED_STATE = "aborted"
NOT_RUN_STATE = "not_run"
# of several visits of one state, the one that tells most comes first
_PRECEDENCE = (RUNNING_STATE, FAILED_STATE, CAUGHT_STATE, ABORTED_STATE, SUCCEEDED_STATE)


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
    def seconds(self) -> float:
        """From start to stop, or to the time of reading."""
        return ((self.stopped or self.read_at) - self.started).total_seconds()


# --- reading from Step Functions -------------------------------------------------------------


def read(client, execution_arn: str) -> Execution:
    """The execution as it is now; raises NotFound when there is none of that name."""
    return Reader(client, execution_arn).read()


class Reader:
    """Reads one execution again and again, without fetching what can no longer change.

    `client` is a boto3 client for stepfunctions. With `data=False` inputs and outputs are left out.
    Pages of the history that were full are kept, as is the count of a Map run that has ended.
    moto returns the whole history as one page; there every read fetches it anew.
    """

    def __init__(self, client, execution_arn: str, data: bool = True):
        self._client = client
        self._arn = execution_arn
        self._data = data
        self._definition: dict | None = None
        self._settled: list[dict] = []  # events of full pages
        self._token: str | None = None  # of the page after them
        self._map_runs: dict[str, Children] = {}

    def read(self) -> Execution:
        try:
            described = self._client.describe_execution(executionArn=self._arn)
            if self._definition is None:
                answer = self._client.describe_state_machine_for_execution(executionArn=self._arn)
                self._definition = json.loads(answer["definition"])
            events = self._events()
            # the history lags behind the status (documented as eventually consistent)
            for _ in range(5):
                if described["status"] == RUNNING or history.ends(events):
                    break
                time.sleep(0.1)
                events = self._events()
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
            raise NotFound(
                f"Step Functions knows no execution {self._arn}",
                next_step="list the runs with `sluice runs`; AWS forgets a history 90 days after its end",
            ) from error
        return self._build(described, events)

    def _events(self) -> list[dict]:
        latest: list[dict] = []
        while True:
            token = {"nextToken": self._token} if self._token else {}
            page = self._client.get_execution_history(
                executionArn=self._arn, maxResults=1000, includeExecutionData=self._data, **token
            )
            latest = page["events"]
            if not page.get("nextToken"):
                return sorted(self._settled + latest, key=lambda event: event["id"])
            self._settled += latest
            self._token = page["nextToken"]

    def _children(self, map_run: str) -> Children:
        """The counts of a Map run. moto counts only children that have begun while it runs."""
        if map_run not in self._map_runs:
            answer = self._client.describe_map_run(mapRunArn=map_run)
            counts = answer["itemCounts"]
            ended = answer["status"] != RUNNING
            children = Children(
                total=counts["total"] if ended or counts["pending"] else None,
                succeeded=counts["succeeded"],
                failed=counts["failed"] + counts["timedOut"],
                running=counts["running"],
                aborted=counts["aborted"],
            )
            if not ended:
                return children
            self._map_runs[map_run] = children
        return self._map_runs[map_run]

    def _build(self, described: dict, events: list[dict]) -> Execution:
        definition = self._definition
        told = history.read(events, _catchers(definition))
        stopped = described.get("stopDate")
        read_at = dt.datetime.now(dt.UTC)
        until = stopped or read_at
        states = {}
        for name, state, _ in asl.placed(definition):
            visits = [visit for visit in told.visits if visit.name == name]
            states[name] = self._state(name, state["Type"], visits, described["status"] == RUNNING, until)
        for name, state, _ in asl.placed(definition):
            if asl.is_distributed(state):
                states.update(_inside(name, state, states))
        return Execution(
            arn=described["executionArn"],
            name=described["name"],
            status=described["status"],
            started=described["startDate"],
            stopped=stopped,
            read_at=read_at,
            error=described.get("error"),
            cause=described.get("cause"),
            input=described.get("input"),
            output=described.get("output"),
            definition=definition,
            states=states,
            transitions=told.transitions,
        )

    def _state(self, name: str, kind: str, visits: list[Visit], is_running: bool, until: dt.datetime) -> State:
        if not visits:
            return State(name, kind)
        status, telling = min(
            ((_status(visit, is_running), visit) for visit in reversed(visits)),
            key=lambda pair: _PRECEDENCE.index(pair[0]),
        )
        ended = [visit.exited for visit in visits if visit.exited]
        return State(
            name=name,
            type=kind,
            status=status,
            entered=len(visits),
            retries=sum(max(visit.attempts - 1, 0) for visit in visits),
            seconds=sum(_seconds(visit, until) for visit in visits),
            first=min(visit.entered for visit in visits),
            last=max(ended) if len(ended) == len(visits) else None if is_running else until,
            error=telling.error,
            cause=telling.cause,
            input=telling.input,
            output=telling.output,
            children=self._items(visits) if kind == "Map" else None,
        )

    def _items(self, visits: list[Visit]) -> Children | None:
        """Of a distributed Map the counts of its last run; of an inline one its iterations, all visits together."""
        if visits[-1].map_run:
            return self._children(visits[-1].map_run)
        if not any(visit.items for visit in visits):
            return None
        begun, succeeded, failed, aborted = (
            sum(visit.iterations.get(key, 0) for visit in visits) for key in ("begun", "succeeded", "failed", "aborted")
        )
        under_way = begun - succeeded - failed - aborted if visits[-1].is_open and not visits[-1].has_failed else 0
        return Children(sum(visit.items or 0 for visit in visits), succeeded, failed, under_way, aborted)


def _catchers(definition: dict) -> dict[str, set[str]]:
    """Per state, the states that its Catch leads to and nothing else of it does."""
    found: dict[str, set[str]] = {}
    machines = [definition]
    while machines:
        machine = machines.pop()
        edges = asl.edges(machine)
        for name, state in machine["States"].items():
            machines += asl.inner(state)
            leaving = [edge for edge in edges if edge.source == name]
            otherwise = {edge.target for edge in leaving if edge.kind != asl.CATCH}
            found[name] = {edge.target for edge in leaving if edge.kind == asl.CATCH} - otherwise
    return found


def _status(visit: Visit, is_running: bool) -> str:
    if visit.type == "Fail":
        return FAILED_STATE
    if visit.exited:
        return CAUGHT_STATE if visit.has_failed else SUCCEEDED_STATE
    around_ended = visit.around is not None and (visit.around.exited is not None or visit.around.has_failed)
    if is_running and not visit.is_aborted and not around_ended:
        return RUNNING_STATE
    return FAILED_STATE if visit.has_failed else ABORTED_STATE


def _seconds(visit: Visit, until: dt.datetime) -> float:
    end = visit.exited or until
    if visit.exited is None and visit.around is not None and visit.around.exited is not None:
        end = visit.around.exited
    return 0.0 if visit.type == "Fail" else max((end - visit.entered).total_seconds(), 0.0)


def _inside(name: str, state: dict, states: dict[str, State]) -> dict[str, State]:
    """The states inside a distributed Map, as its counts tell of them.

    Only the states that every successful child goes through are spoken of: from the first along
    Next. Which of them a failed child failed in, the counts do not tell; all of them are `failed`
    when no child succeeded, else `succeeded`.
    """
    children = states[name].children
    if children is None or not (children.done or children.running):
        return {}
    if children.running and states[name].status == RUNNING_STATE:
        status = RUNNING_STATE
    elif children.succeeded:
        status = SUCCEEDED_STATE
    else:
        status = FAILED_STATE if children.failed else ABORTED_STATE
    entered = children.done + children.running
    return {
        at: State(at, machine["States"][at]["Type"], status, entered=entered)
        for machine in asl.inner(state)
        for at in _along(machine)
    }


def _along(machine: dict, start: str | None = None) -> list[str]:
    """The states from `start` (the machine's first) along Next, up to an end or a choice."""
    found: list[str] = []
    at = start or machine["StartAt"]
    while at is not None and at not in found:
        found.append(at)
        at = machine["States"][at].get("Next")
    return found


def with_failed_children(execution: Execution, name: str, failed: int) -> Execution:
    """The execution, with `failed` of the distributed Map's succeeded children counted as failed.

    For a Map whose children catch their own errors and record them: Step Functions calls such a
    child succeeded, and only who reads the records knows better. The states that a Catch leads to,
    and what follows them, are then known to have run that often; of the others, `entered` is the
    least number of times.
    """
    state = execution.states[name]
    if not failed or state.children is None:
        return execution
    children = replace(
        state.children, succeeded=state.children.succeeded - failed, failed=state.children.failed + failed
    )
    states = {**execution.states, name: replace(state, children=children)}
    for place in asl.placed(execution.definition):
        if place.name == name:
            states.update(_inside(name, place.state, states))
            for machine in asl.inner(place.state):
                along = _along(machine)
                for later in along[1:]:
                    states[later] = replace(states[later], entered=children.done - failed)
                for edge in asl.edges(machine):
                    if edge.kind == asl.CATCH and edge.source in along and edge.target not in along:
                        for handler in _along(machine, edge.target):
                            kind = machine["States"][handler]["Type"]
                            states[handler] = State(handler, kind, SUCCEEDED_STATE, entered=failed)
    return replace(execution, states=states)


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
