"""What a deployment would do, as data: one step per resource, in the order in which they are done.

The plan is made by reading only. `deploy.apply` carries it out; `--dry-run` prints it.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chalicelib.errors import ConfigurationError
from deploy.intrinsics import Evaluator, Unknown, has_unknown
from deploy.kinds import KINDS, Aws, Kind
from deploy.kinds.base import Difference, differences
from deploy.kinds.lambdas import Function
from deploy.record import Made, Record

CREATE, UPDATE, REPLACE, DELETE, UNCHANGED = "create", "update", "replace", "delete", "unchanged"
_SIGNS = {CREATE: "+", UPDATE: "~", REPLACE: "±", DELETE: "-", UNCHANGED: "="}

_SHOWN = 70  # characters of a value


@dataclass(frozen=True)
class Step:
    """What is done to one resource. `physical_id` is that of what is there, None where nothing is."""

    action: str
    logical_id: str
    type: str
    physical_id: str | None = None
    differences: tuple[Difference, ...] = ()

    @property
    def kind(self) -> Kind:
        return KINDS[self.type]

    def lines(self) -> Iterator[str]:
        """For people: a line, and one per property that changes."""
        name = f" ({self.physical_id})" if self.physical_id and self.physical_id != self.logical_id else ""
        yield f"{_SIGNS[self.action]} {self.action:9} {self.type:32} {self.logical_id}{name}"
        if self.action in (UPDATE, REPLACE):
            for changed in self.differences:
                for path, present, wanted in _leaves(changed.name, changed.present, changed.wanted):
                    yield f"    {path}: {_shown(present)} → {_shown(wanted)}"


@dataclass(frozen=True)
class Plan:
    steps: tuple[Step, ...]

    @property
    def changes(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.action != UNCHANGED)

    @property
    def before_functions(self) -> Plan:
        """What must be there before `chalice deploy`."""
        return Plan(tuple(itertools.takewhile(lambda step: step.type != Function.type, self.steps)))

    def lines(self) -> Iterator[str]:
        """The whole plan for people; what stays as it is is only counted."""
        for step in self.changes:
            yield from step.lines()
        yield self.summary("{} to {}") or "nothing to change"
        yield f"{len(self.steps) - len(self.changes)} unchanged"

    def summary(self, form: str = "{} {}d") -> str:
        """How many resources are created and so on; `form` takes the count and the action."""
        counts = [(sum(step.action == action for step in self.changes), action) for action in _SIGNS]
        return ", ".join(form.format(count, action) for count, action in counts if count)


@dataclass
class Resources:
    """A template's resources, with what is known of them so far: their physical ids."""

    aws: Aws
    template: dict
    parameters: Mapping[str, Any] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self._evaluator = Evaluator(self.template, dict(self.parameters), self.aws.pseudo, self._attribute)
        self.resources = self._evaluator.resources()

    def kind(self, logical_id: str) -> Kind:
        return KINDS[self.resources[logical_id]["Type"]]

    def properties(self, logical_id: str) -> dict:
        """With all functions worked out; what is not known yet is an `Unknown`."""
        return self._evaluator.value(self.resources[logical_id].get("Properties", {}))

    def value(self, node: Any) -> Any:
        return self._evaluator.value(node)

    def faults(self) -> list[str]:
        """Everything in the template that `sluice deploy` cannot make."""
        found = []
        for name, resource in self.resources.items():
            if resource["Type"] not in KINDS:
                found.append(
                    f"{name} is a {resource['Type']}, which `sluice deploy` does not make: use `sluice package` "
                    "and CloudFormation, or leave its parameter out"
                )
                continue
            missing = sorted(self._needs(name) - set(self.resources))
            found += [f"{name} refers to {other}, which is no resource of the template" for other in missing]
            if not missing:
                found += self.kind(name).check(name, self.properties(name))
        return found

    def order(self) -> list[str]:
        """The logical ids, each after all that it needs; where that leaves it open, by phase and name."""
        needs = {name: self._needs(name) & set(self.resources) for name in self.resources}
        ready = [(self.kind(name).phase, name) for name, needed in needs.items() if not needed]
        heapq.heapify(ready)
        ordered: list[str] = []
        while ready:
            _, name = heapq.heappop(ready)
            ordered.append(name)
            for other, needed in needs.items():
                if name in needed:
                    needed.discard(name)
                    if not needed:
                        heapq.heappush(ready, (self.kind(other).phase, other))
        if circle := sorted(set(needs) - set(ordered)):
            raise ConfigurationError(f"the template's {', '.join(circle)} need each other")
        return ordered

    def _needs(self, name: str) -> set[str]:
        resource = self.resources[name]
        explicit = resource.get("DependsOn", [])
        found = set(self._evaluator.references(resource.get("Properties", {})))
        return found | set([explicit] if isinstance(explicit, str) else explicit)

    def _attribute(self, logical_id: str, name: str | None) -> Any:
        if logical_id not in self.resources:
            raise ConfigurationError(f"the template refers to {logical_id}, which it does not have")
        if self.resources[logical_id]["Type"] not in KINDS:
            return Unknown(logical_id)  # one of the faults
        kind, physical_id = self.kind(logical_id), self.ids.get(logical_id)
        value = kind.attribute(self.aws, physical_id, self._identity(logical_id), name)
        return Unknown(logical_id if name is None else f"{logical_id}.{name}") if value is None else value

    def _identity(self, logical_id: str) -> dict:
        """Those properties that make its name: working out all of them would go in circles."""
        kind, raw = self.kind(logical_id), self.resources[logical_id].get("Properties", {})
        wanted = kind.identity()
        return {name: self.value(value) for name, value in raw.items() if name in wanted}


def make(resources: Resources, record: Record) -> Plan:
    """The steps from what is there to what the template wants; ConfigurationError with all that stands in the way."""
    if faults := resources.faults():
        raise ConfigurationError("the template cannot be deployed:\n  - " + "\n  - ".join(faults))
    steps, foreign = [], []
    for logical_id in resources.order():
        step, fault = _step(resources, logical_id, record)
        steps.append(step)
        foreign += fault
        if step.physical_id is not None and step.action in (UPDATE, UNCHANGED):
            resources.ids[logical_id] = step.physical_id
    if foreign:
        raise ConfigurationError("nothing was changed:\n  - " + "\n  - ".join(foreign))
    return Plan((*steps, *_dropped(resources, record)))


def _step(resources: Resources, logical_id: str, record: Record) -> tuple[Step, list[str]]:
    aws, kind = resources.aws, resources.kind(logical_id)
    wanted = resources.properties(logical_id)
    step = Step(CREATE, logical_id, kind.type)
    recorded = record.id_of(logical_id, kind.type)
    present, physical_id = None, None
    if recorded is not None:
        present, physical_id = kind.read(aws, recorded), recorded
    if present is None and not has_unknown({name: wanted.get(name) for name in kind.identity()}):
        physical_id = kind.find(aws, wanted)
        present = kind.read(aws, physical_id) if physical_id is not None else None
    if present is None:
        return step, []
    if Made(kind.type, physical_id) not in record.resources.values():
        owner = kind.owner(aws, physical_id, present)
        if owner != aws.prefix:
            whose = f"belongs to {owner}" if owner else "was not made by Sluice"
            return step, [
                f"{kind.type} {physical_id} exists and {whose} (its tag sluice:stage says so): delete or rename it, "
                "or, if it may be taken over, tag it `sluice:stage` = " + aws.prefix
            ]
    changed = tuple(differences(kind, present, wanted))
    step = replace(step, physical_id=physical_id, differences=changed)
    if not changed:
        return replace(step, action=UNCHANGED), []
    replaced = sorted({difference.name for difference in changed} & set(kind.replaced_by))
    if replaced and kind.keeps_data:
        return step, [
            f"{kind.type} {physical_id} would be replaced, since {', '.join(replaced)} differs, and what is in it "
            "lost: take the setting back, or destroy the stage with its data first"
        ]
    return replace(step, action=REPLACE if replaced else UPDATE), []


def _dropped(resources: Resources, record: Record) -> Iterator[Step]:
    """What was made and is not wanted any more: the last made first."""
    gone = [(name, made) for name, made in record.resources.items() if name not in resources.resources]
    gone += [("", made) for made in record.dropped]
    wanted = {Made(resources.kind(name).type, id) for name, id in resources.ids.items()}
    for name, made in sorted(gone, key=lambda pair: (-KINDS[pair[1].type].phase, pair[1].id)):
        kind = KINDS[made.type]
        if made not in wanted and not kind.keeps_data and kind.read(resources.aws, made.id) is not None:
            yield Step(DELETE, name or made.id, made.type, made.id)


def _leaves(path: str, present: Any, wanted: Any) -> Iterator[tuple[str, Any, Any]]:
    """The values that differ, with their paths."""
    if isinstance(present, dict) and isinstance(wanted, dict):
        for name in sorted({*present, *wanted}):
            if present.get(name) != wanted.get(name):
                yield from _leaves(f"{path}.{name}", present.get(name), wanted.get(name))
    elif isinstance(present, list) and isinstance(wanted, list) and len(present) == len(wanted):
        for index, (have, want) in enumerate(zip(present, wanted, strict=True)):
            if have != want:
                yield from _leaves(f"{path}[{index}]", have, want)
    else:
        yield path, present, wanted


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else str(value) if isinstance(value, Unknown | Path) else _json(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _json(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
