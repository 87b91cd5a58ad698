"""Check a state machine before it is deployed: `python -m statemachine.check FILE`.

`problems` holds a definition against the Amazon States Language (JSONPath),
https://states-language.net; `policy_problems` holds it against our own rules, see
`statemachine.policy`. Both return one line per problem that begins with the path of the state or
field and ends with what to do; an empty list means there is none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from statemachine import fields, paths
from statemachine.policy import policy_problems

__all__ = ["policy_problems", "problems", "problems_in"]

_TERMINAL = ("Succeed", "Fail")


def problems(definition: Any) -> list[str]:
    """What a States Language interpreter would refuse, or would fail on later."""
    return list(_Definition().check(definition))


def problems_in(text: str) -> list[str]:
    """`problems` and `policy_problems` of a definition as JSON text.

    Also finds what parsing hides: of two fields of the same name, JSON readers keep the last.
    """
    found: list[str] = []

    def an_object(pairs: list[tuple[str, Any]]) -> dict:
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        found.extend(f"{name}: stands twice in one JSON object; rename or remove one" for name in twice)
        return dict(pairs)

    try:
        definition = json.loads(text, object_pairs_hook=an_object)
    except ValueError as error:
        return [f"definition: is not JSON ({error}); correct it there"]
    found += problems(definition)
    return found or policy_problems(definition)


class _Definition:
    """One walk over a definition; remembers the state names of all its machines."""

    def __init__(self):
        self._places: dict[str, str] = {}

    def check(self, definition: Any) -> Iterator[str]:
        if not isinstance(definition, dict):
            yield f"definition: is {type(definition).__name__}, expected an object with StartAt and States"
            return
        known = {"QueryLanguage", "Version", "TimeoutSeconds"}
        yield from self._machine(definition, "", known)
        if "Version" in definition and definition["Version"] != "1.0":
            yield f'Version: is {definition["Version"]!r}, expected "1.0"'
        if "QueryLanguage" in definition:
            yield from fields.one_of("JSONPath")(definition["QueryLanguage"], "QueryLanguage")
        if "TimeoutSeconds" in definition:
            yield from fields.integer(1, fields.SECONDS_LIMIT)(definition["TimeoutSeconds"], "TimeoutSeconds")

    def _machine(self, machine: Any, where: str, more: set[str]) -> Iterator[str]:
        """`where` is the path of the machine with a trailing dot, "" at the top; `more` are further known fields."""
        here = where.rstrip(".") or "definition"
        if not isinstance(machine, dict):
            yield f"{here}: is {machine!r}, expected an object with StartAt and States"
            return
        for name in machine:
            if name not in (known := {"StartAt", "States", "Comment", *more}):
                yield f"{where}{name}: is no field here{paths.closest(name, known)}"
        if "Comment" in machine:
            yield from fields.text(machine["Comment"], f"{where}Comment")
        states = machine.get("States")
        if not isinstance(states, dict) or not states:
            yield f"{where}States: is {states!r}, expected an object with at least one state"
            return
        for name, state in states.items():
            yield from self._state(name, state, f"{where}States.{name}")
        yield from self._transitions(machine, states, where)

    def _state(self, name: str, state: Any, where: str) -> Iterator[str]:
        if name in self._places:
            yield f"{where}: the name is taken by {self._places[name]}; names are unique over all machines, rename one"
        self._places.setdefault(name, where)
        if not 1 <= len(name) <= 80:
            yield f"{where}: the name has {len(name)} characters; use 1 to 80"
        if not isinstance(state, dict):
            yield f"{where}: is {state!r}, expected an object with a Type"
            return
        kind = state.get("Type")
        if not isinstance(kind, str) or kind not in fields.KNOWN:
            hint = paths.closest(kind, fields.KNOWN) if isinstance(kind, str) else f"; {', '.join(fields.KNOWN)}"
            yield (
                f"{where}.Type: {kind!r} is no type of state{hint}"
                if "Type" in state
                else f"{where}: has no Type{hint}"
            )
            return
        yield from fields.fields(where, state, fields.KNOWN[kind], fields.REQUIRED.get(kind, ()))
        if "End" in fields.KNOWN[kind]:
            yield from _next_or_end(state, where)
        if kind in ("Task", "Map", "Parallel", "Wait", "Fail"):
            yield from getattr(self, f"_{kind.lower()}")(state, where)

    def _task(self, state: dict, where: str) -> Iterator[str]:
        yield from fields.at_most_one(where, state, "TimeoutSeconds", "TimeoutSecondsPath")
        yield from fields.at_most_one(where, state, "HeartbeatSeconds", "HeartbeatSecondsPath")
        heartbeat, timeout = state.get("HeartbeatSeconds"), state.get("TimeoutSeconds")
        if isinstance(heartbeat, int) and isinstance(timeout, int) and heartbeat >= timeout:
            yield f"{where}.HeartbeatSeconds: is {heartbeat}, expected less than TimeoutSeconds ({timeout})"
        resource, parameters = state.get("Resource"), state.get("Parameters", {})
        for integration, needed in fields.PARAMETERS.items():
            if isinstance(resource, str) and f":::{integration}" in resource and isinstance(parameters, dict):
                for name in needed:
                    if name not in parameters and f"{name}.$" not in parameters:
                        yield f"{where}.Parameters: has no {name}, which {integration} needs; add it"

    def _map(self, state: dict, where: str) -> Iterator[str]:
        yield from fields.exactly_one(where, state, "ItemProcessor", "Iterator")
        yield from fields.at_most_one(where, state, "ItemSelector", "Parameters")
        for name in ("MaxConcurrency", "ToleratedFailurePercentage", "ToleratedFailureCount"):
            yield from fields.at_most_one(where, state, name, f"{name}Path")
        name = "ItemProcessor" if "ItemProcessor" in state else "Iterator"
        if name not in state:
            return
        processor = state[name]
        config = processor.get("ProcessorConfig", {}) if isinstance(processor, dict) else {}
        mode = config.get("Mode", "INLINE") if isinstance(config, dict) else "INLINE"
        yield from fields.an_object({"Mode": fields.one_of("INLINE", "DISTRIBUTED"), "ExecutionType": fields.text})(
            config, f"{where}.{name}.ProcessorConfig"
        )
        if mode == "DISTRIBUTED":
            yield from fields.one_of("STANDARD", "EXPRESS")(
                config.get("ExecutionType"), f"{where}.{name}.ProcessorConfig.ExecutionType"
            )
            batcher = state.get("ItemBatcher")
            if isinstance(batcher, dict) and not any(key.startswith("Max") for key in batcher):
                yield f"{where}.ItemBatcher: has no limit; add MaxItemsPerBatch or MaxInputBytesPerBatch"
        else:
            for extra in fields.DISTRIBUTED_ONLY:
                if extra in state:
                    yield f"{where}.{extra}: needs the Mode DISTRIBUTED in ProcessorConfig; set it or remove the field"
        yield from self._machine(
            processor, f"{where}.{name}.", {"ProcessorConfig"} if name == "ItemProcessor" else set()
        )

    def _parallel(self, state: dict, where: str) -> Iterator[str]:
        branches = state.get("Branches")
        if "Branches" in state and (not isinstance(branches, list) or not branches):
            yield f"{where}.Branches: is {branches!r}, expected a list of at least one machine"
            return
        for index, branch in enumerate(branches or []):
            yield from self._machine(branch, f"{where}.Branches[{index}].", set())

    def _wait(self, state: dict, where: str) -> Iterator[str]:
        yield from fields.exactly_one(where, state, "Seconds", "SecondsPath", "Timestamp", "TimestampPath")

    def _fail(self, state: dict, where: str) -> Iterator[str]:
        yield from fields.at_most_one(where, state, "Error", "ErrorPath")
        yield from fields.at_most_one(where, state, "Cause", "CausePath")

    def _transitions(self, machine: dict, states: dict, where: str) -> Iterator[str]:
        """Targets that do not exist, states that nothing leads to, machines that never end."""
        start = machine.get("StartAt")
        starts = isinstance(start, str) and start in states
        if not starts:
            yield (
                f"{where}StartAt: is {start!r}, expected one of {', '.join(states)}"
                if "StartAt" in machine
                else f"{where.rstrip('.') or 'definition'}: has no StartAt; name the first state"
            )
        targets = {name: list(_targets(state, f"{where}States.{name}")) for name, state in states.items()}
        for name, found in targets.items():
            for target, place in found:
                if isinstance(target, str) and target not in states:
                    yield f"{place}: there is no state {target!r} in this machine{paths.closest(target, states)}"
                elif target == name and not place.endswith("]") and "Choices" not in place and "Catch" not in place:
                    yield f"{place}: leads back to {name} itself, for ever; name another state"
        if starts:
            reached, open_ = {start}, [start]
            while open_:
                for target, _ in targets[open_.pop()]:
                    if isinstance(target, str) and target in states and target not in reached:
                        reached.add(target)
                        open_.append(target)
            for name in states:
                if name not in reached:
                    yield f"{where}States.{name}: nothing leads here; remove it or name it in a Next"
        ends = [s for s in states.values() if isinstance(s, dict) and ("End" in s or s.get("Type") in _TERMINAL)]
        if not ends:
            yield f"{where}States: no state ends the machine; add End: true, or a Succeed or Fail state"


def _next_or_end(state: dict, where: str) -> Iterator[str]:
    if "Next" in state and "End" in state:
        yield f"{where}: has Next and End; keep one of them"
    elif "Next" not in state and "End" not in state:
        yield f"{where}: has neither Next nor End; name the next state, or write End: true"


def _targets(state: Any, where: str) -> Iterator[tuple[Any, str]]:
    """The targets of one state, of any shape, each with the path of the field that names it."""
    if not isinstance(state, dict):
        return
    for name in ("Next", "Default"):
        if name in state:
            yield state[name], f"{where}.{name}"
    for name in ("Choices", "Catch"):
        entries = state.get(name)
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(entry, dict) and "Next" in entry:
                yield entry["Next"], f"{where}.{name}[{index}].Next"


def main(arguments: list[str]) -> int:
    """Print the problems of the files named; 1 if there are any."""
    status = 0
    for name in arguments:
        for problem in problems_in(Path(name).read_text(encoding="utf-8")):
            print(f"{name}: {problem}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
