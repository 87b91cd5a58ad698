"""The visits of each state summed up: its status, how often, how long, with which error."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

from chalicelib import asl
from chalicelib.executions.history import Visit
from chalicelib.executions.model import (
    ABORTED_STATE,
    CAUGHT_STATE,
    FAILED_STATE,
    RUNNING_STATE,
    SUCCEEDED_STATE,
    Children,
    Execution,
    State,
)

# what became of the children of the Map run with that ARN
Count = Callable[[str], Children]
# of several visits of one state, the one that tells most comes first
_PRECEDENCE = (RUNNING_STATE, FAILED_STATE, CAUGHT_STATE, ABORTED_STATE, SUCCEEDED_STATE)


def sum_up(
    definition: dict, visits: list[Visit], is_running: bool, until: dt.datetime, count: Count
) -> dict[str, State]:
    """Every state of the definition; visits under way last `until` then, the stop or the time of reading."""
    found = {}
    for name, state, _ in asl.placed(definition):
        of_it = [visit for visit in visits if visit.name == name]
        found[name] = _state(name, state["Type"], of_it, is_running, until, count)
    for name, state, _ in asl.placed(definition):
        if asl.is_distributed(state):
            found.update(_inside(name, state, found))
    return found


def catchers(definition: dict) -> dict[str, set[str]]:
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
    place = next(place for place in asl.placed(execution.definition) if place.name == name)
    states.update(_inside(name, place.state, states))
    for machine in asl.inner(place.state):
        along = _along(machine)
        states.update({later: replace(states[later], entered=children.succeeded) for later in along[1:]})
        caught = [e.target for e in asl.edges(machine) if e.kind == asl.CATCH and e.source in along]
        for handler in {at for target in caught for at in _along(machine, target)} - set(along):
            kind = machine["States"][handler]["Type"]
            states[handler] = State(handler, kind, SUCCEEDED_STATE, entered=failed)
    return replace(execution, states=states)


def _state(name: str, kind: str, visits: list[Visit], is_running: bool, until: dt.datetime, count: Count) -> State:
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
        children=_items(visits, count) if kind == "Map" else None,
    )


def _items(visits: list[Visit], count: Count) -> Children | None:
    """Of a distributed Map the counts of its last run; of an inline one its iterations, all visits together."""
    if visits[-1].map_run:
        return count(visits[-1].map_run)
    if not any(visit.items for visit in visits):
        return None
    begun, succeeded, failed, aborted = (
        sum(visit.iterations.get(key, 0) for visit in visits) for key in ("begun", "succeeded", "failed", "aborted")
    )
    under_way = begun - succeeded - failed - aborted if visits[-1].is_open and not visits[-1].has_failed else 0
    return Children(sum(visit.items or 0 for visit in visits), succeeded, failed, under_way, aborted)


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
