"""The shape of a state machine: its states, the machines inside them, the edges between them.

Amazon States Language, https://states-language.net. A *machine* is an object with `StartAt` and
`States`: the whole definition, the processor of a Map, a branch of a Parallel. State names are
unique over the whole definition, so a name alone says which state is meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

NEXT = "next"
CHOICE = "choice"
DEFAULT = "default"
CATCH = "catch"


class Edge(NamedTuple):
    """A transition that the definition allows; `kind` is next, choice, default or catch."""

    source: str
    target: str
    kind: str


class Placed(NamedTuple):
    """A state, and the state whose inner machine it belongs to (None at the top)."""

    name: str
    state: dict
    parent: str | None


def inner(state: dict) -> list[dict]:
    """The machines inside a Map or Parallel state; none for other types."""
    if state.get("Type") == "Map":
        processor = state.get("ItemProcessor") or state.get("Iterator")
        return [processor] if processor else []
    if state.get("Type") == "Parallel":
        return list(state.get("Branches", []))
    return []


def is_distributed(state: dict) -> bool:
    """True for a Map whose items run as child executions of their own."""
    return any(m.get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED" for m in inner(state))


def edges(machine: dict) -> list[Edge]:
    """The transitions between the states of one machine, as written; inner machines not included."""
    found = []
    for name, state in machine["States"].items():
        found += [Edge(name, rule["Next"], CHOICE) for rule in state.get("Choices", [])]
        if "Default" in state:
            found.append(Edge(name, state["Default"], DEFAULT))
        if "Next" in state:
            found.append(Edge(name, state["Next"], NEXT))
        found += [Edge(name, catcher["Next"], CATCH) for catcher in state.get("Catch", [])]
    return found


def placed(machine: dict, parent: str | None = None) -> Iterator[Placed]:
    """Every state of a machine and of the machines inside it, in the order they are written."""
    for name, state in machine["States"].items():
        yield Placed(name, state, parent)
        for nested in inner(state):
            yield from placed(nested, name)
