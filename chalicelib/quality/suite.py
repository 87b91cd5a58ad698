"""Expectation suites: Great Expectations' own JSON, read strictly.

A suite is a file in `expectations/`, in the format that Great Expectations itself writes
(https://docs.greatexpectations.io/docs/core/define_expectations/organize_expectation_suites):

    {"name": "weather",
     "expectations": [{"type": "expect_…", "kwargs": {…}, "severity": "critical"}, …],
     "meta": {"sluice": {"quarantine": {"warn": 0.0, "fail": 0.05}}}}

`severity` decides about rows: a row that fails a `critical` row-wise expectation is quarantined, a
`warning` is counted and makes the run warn, `info` is counted only. `mostly` decides about the run.
`meta.sluice.quarantine` says which share of the fetched rows may be quarantined before the run
warns, and before it fails; `meta.sluice.drift` how unlike earlier runs it may be (see `anomalies.drift_declaration`).

Great Expectations' own loader logs and drops an expectation that it does not know, and a suite
without expectations passes: a gate built on it stands open. Here every fault is an error, and all
of them are reported at once.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib import personal
from chalicelib.columns import Column
from chalicelib.errors import SuiteError
from chalicelib.quality import arguments, catalogue

if TYPE_CHECKING:
    from chalicelib.anomalies.drift_declaration import Drift
    from chalicelib.sources.base import Source

# below `chalicelib/`, which Chalice packs with the code; `expectations` in the root is a link to it
FOLDER = Path(__file__).resolve().parents[1] / "expectations"

CRITICAL, WARNING, INFO = "critical", "warning", "info"
SEVERITIES = (CRITICAL, WARNING, INFO)
_OURS = {"quarantine", "drift"}  # in meta.sluice

# what Great Expectations writes into a file; the last four carry nothing that we use
_SUITE_KEYS = {"name", "expectations", "meta", "id", "notes", "suite_parameters"}
_ITEM_KEYS = {"type", "kwargs", "severity", "id", "meta", "description"} | {
    "notes",
    "rendered_content",
    "success_on_last_run",
    "expectation_context",
}


@dataclass(frozen=True)
class Tolerance:
    """Shares of the fetched rows, 0 to 1: above `warn` the run warns, above `fail` it fails."""

    warn: float = 0.0
    fail: float = 0.05


@dataclass(frozen=True, eq=False)
class Item:
    """One expectation of a suite. `mostly` is None where the file does not set it."""

    index: int
    id: str
    type: str
    kwargs: dict
    severity: str = CRITICAL
    description: str | None = None

    @property
    def entry(self) -> catalogue.Entry:
        return catalogue.ENTRIES[self.type]

    @property
    def mostly(self) -> float | None:
        return self.kwargs.get("mostly")

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns it judges, without those of its row condition."""
        return arguments.columns_of(self.kwargs)

    @functools.cached_property
    def read_columns(self) -> tuple[str, ...]:
        """Every column it reads, those of its row condition included."""
        return tuple(dict.fromkeys([*self.columns, *arguments.condition_columns(self.kwargs.get("row_condition"))]))

    @functools.cached_property
    def expected(self) -> str:
        """What it expects, as the words after "expected": "between -90 and 60"."""
        words = self.description or self.entry.expected(self.kwargs)
        condition = self.kwargs.get("row_condition")
        return f"{words} where {arguments.condition_text(condition)}" if condition else words

    @property
    def subject(self) -> str:
        return self.entry.subject.format(columns=", ".join(self.columns))

    @property
    def title(self) -> str:
        """A line for reports: "temperature_max: between -90 and 60"."""
        return f"{self.subject}: {self.expected}" if self.subject else self.expected

    @property
    def breach(self) -> str:
        """What to say of rows that fail it: "temperature_max, expected between -90 and 60"."""
        return f"{self.subject}, expected {self.expected}" if self.subject else f"expected {self.expected}"


@dataclass(frozen=True, eq=False)
class Suite:
    """A suite that has been checked against the columns of its table."""

    name: str
    file: str
    items: tuple[Item, ...]
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    quarantine: Tolerance = field(default_factory=Tolerance)
    drift: Drift | None = None

    @functools.cached_property
    def row_items(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.entry.scope == catalogue.ROW)

    @functools.cached_property
    def dataset_items(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.entry.scope == catalogue.DATASET)

    @functools.cached_property
    def row_columns(self) -> tuple[str, ...]:
        """The columns that the row-wise expectations read, in the table's order."""
        read = {name for item in self.row_items for name in item.read_columns}
        return tuple(column.name for column in self.columns if column.name in read)

    def of_events(self) -> Suite:
        """The same for events that came one by one: each is judged alone, and no share of them fails a run.

        What happened to be collected together says nothing of the single event. Dataset-wide expectations stay.
        """
        items = [
            dataclasses.replace(item, kwargs={name: value for name, value in item.kwargs.items() if name != "mostly"})
            if item.severity == CRITICAL and item.entry.scope == catalogue.ROW
            else item
            for item in self.items
        ]
        return dataclasses.replace(self, items=tuple(items), quarantine=Tolerance(self.quarantine.warn, 1.0))

    def of_replays(self) -> Suite:
        """The same for quarantined rows that are judged again: each alone, as events are.

        A few rows of a run do not show what must hold for a whole one: dataset-wide expectations warn, and the
        rows are not compared with earlier runs.
        """
        alone = self.of_events()
        items = tuple(
            dataclasses.replace(item, severity=WARNING)
            if item.severity == CRITICAL and item.entry.scope == catalogue.DATASET
            else item
            for item in alone.items
        )
        return dataclasses.replace(alone, items=items, drift=None)

    def where(self, item: Item) -> str:
        """An item's place, for messages: "expectations[3] (expect_…)"."""
        return f"expectations[{item.index}] ({item.type})"

    def is_personal(self, item: Item) -> bool:
        """Whether what the item judges is personal."""
        return not personal.names(self.columns).isdisjoint(item.columns)

    def family(self, column: str) -> str:
        return catalogue.family(next(c.base for c in self.columns if c.name == column))


def load(source: Source, folder: Path = FOLDER) -> Suite:
    """The suite of a source; raises SuiteError naming the file and every fault in it."""
    text, file = _text(source, folder)
    return parse(text, file, tuple(source.columns), tuple(source.key))


def judges(source: Source, columns: tuple[Column, ...], folder: Path = FOLDER) -> bool:
    """Whether the source's suite could judge a table of these columns, by their types.

    True as well for a suite with faults of its own, which the gate tells. Nothing is tried out, so
    Great Expectations is not imported.
    """
    try:
        listed = json.loads(_text(source, folder)[0]).get("expectations")
    except (SuiteError, ValueError, AttributeError):
        return True
    faults: dict[str, list[str]] = {"before": [], "after": []}
    _items(listed, tuple(source.columns), faults["before"])
    _items(listed, columns, faults["after"])
    return len(faults["after"]) <= len(faults["before"])


def goes_by_the_day(source: Source, folder: Path = FOLDER) -> bool:
    """Whether a row that passes the source's suite today may fail on another day, or the other way round.

    True as well for a suite with faults of its own, which the gate tells. Great Expectations is not imported.
    """
    try:
        listed = json.loads(_text(source, folder)[0])["expectations"]
        types = [item["type"] for item in listed]
        return any(catalogue.ENTRIES[kind].by_the_day for kind in types) or _refers_elsewhere(listed)
    except (SuiteError, ValueError, LookupError, TypeError):
        return True


def _refers_elsewhere(given: object) -> bool:
    """Whether a JSON schema in it refers to another document, which jsonschema fetches when it judges by it."""
    if isinstance(given, dict):
        where = given.get("$ref")
        return (isinstance(where, str) and not where.startswith("#")) or any(map(_refers_elsewhere, given.values()))
    return isinstance(given, list) and any(map(_refers_elsewhere, given))


def _text(source: Source, folder: Path) -> tuple[str, str]:
    """The suite of a source as JSON, and what to call it."""
    if source.suite_document is not None:
        return json.dumps(source.suite_document), f"the suite of {source.table}.toml"
    path = Path(folder) / source.suite
    try:
        return path.read_text(encoding="utf-8"), f"expectations/{source.suite}"
    except FileNotFoundError:
        raise SuiteError(
            f"expectations/{source.suite} does not exist",
            source=source.name,
            next_step=f"write it; a suite needs at least one expectation (see expectations/{_example(folder)})",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"expectations/{source.suite} cannot be read: {error}", source=source.name) from error


def _example(folder: Path) -> str:
    return next((path.name for path in sorted(Path(folder).glob("*.json"))), "weather.json")


# a warm process judges chunk after chunk by the same suite; checking it takes 50 to 150 ms
@functools.lru_cache(maxsize=32)
def parse(text: str, file: str, columns: tuple[Column, ...], key: tuple[str, ...]) -> Suite:
    """A suite from its JSON, checked for a table of `columns`.

    Raises SuiteError with every fault found: not JSON, no or unknown expectations, arguments that
    are missing, extra or of the wrong type, columns that the table does not have, severities and
    settings that do not exist, the same expectation twice, and what Great Expectations itself
    cannot evaluate on a column of that type, such as a broken regular expression.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise SuiteError(f"{file} is not JSON: {error}", next_step=f"correct {file} there and run again") from error
    if not isinstance(document, dict):
        raise SuiteError(f"{file} holds {type(document).__name__}, expected an object with name and expectations")
    problems: list[str] = _unknown(document, _SUITE_KEYS, "the suite")
    name = document.get("name")
    if not isinstance(name, str) or not name:
        problems.append("name: give the suite a name, such as that of its source")
    tolerance, drift = _ours(document.get("meta"), columns, problems)
    items = _items(document.get("expectations"), columns, problems)
    suite = Suite(str(name), file, tuple(items), columns, key, tolerance, drift)
    problems += _evaluation_problems(suite)
    if problems:
        count = "1 fault" if len(problems) == 1 else f"{len(problems)} faults"
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise SuiteError(f"{file} has {count}:\n{listed}", next_step=f"correct {file} and run again")
    return suite


def _evaluation_problems(suite: Suite) -> list[str]:
    from chalicelib.quality import trial  # takes seconds: it imports Great Expectations

    return [f"{suite.where(item)}: {problem}" for item, problem in trial.problems(suite)]


def _items(listed: object, columns: Sequence[Column], problems: list[str]) -> list[Item]:
    """The items that are sound as far as can be told without evaluating them."""
    if not isinstance(listed, list) or not listed:
        problems.append("expectations: there are none, so every row would pass; add at least one")
        return []
    items: list[Item] = []
    seen: dict[str, int] = {}
    for index, given in enumerate(listed):
        item, found = _item(index, given, columns)
        kind = given.get("type") if isinstance(given, dict) else type(given).__name__
        problems += [f"expectations[{index}] ({kind}): {problem}" for problem in found]
        if item is None:
            continue
        if item.id in seen:
            problems.append(
                f"expectations[{index}] ({item.type}): the id or all arguments are those of "
                f"expectations[{seen[item.id]}]; remove one"
            )
        seen.setdefault(item.id, index)
        if not found:
            items.append(item)
    return items


def _item(index: int, given: object, columns: Sequence[Column]) -> tuple[Item | None, list[str]]:
    if not isinstance(given, dict):
        return None, ["an expectation is an object with type and kwargs"]
    problems = _unknown(given, _ITEM_KEYS, "an expectation")
    kind, kwargs, severity = given.get("type"), given.get("kwargs", {}), given.get("severity", CRITICAL)
    if severity not in SEVERITIES:
        problems.append(f"severity is {severity!r}, use one of {', '.join(SEVERITIES)}")
    if kind in catalogue.REFUSED:
        return None, [*problems, f"it cannot be used here: {catalogue.REFUSED[kind]}"]
    if kind not in catalogue.ENTRIES:
        return None, [*problems, "no such expectation" + arguments.closest(str(kind), catalogue.ENTRIES)]
    if not isinstance(kwargs, dict):
        return None, [*problems, f"kwargs is {type(kwargs).__name__}, expected an object"]
    if given.get("description") is not None and not isinstance(given["description"], str):
        problems.append("description must be text")
    if given.get("id") is not None and not (isinstance(given["id"], str) and given["id"]):
        problems.append("id must be text")
    problems += arguments.problems(kind, kwargs, columns)
    identity = given.get("id") or _identity(kind, kwargs)
    description = given.get("description")
    return Item(index, str(identity), kind, kwargs, severity, description), problems


def _identity(kind: str, kwargs: dict) -> str:
    """An id that stays the same as long as the expectation does."""
    canonical = json.dumps([kind, kwargs], sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(canonical.encode(), digest_size=6).hexdigest()


def _ours(meta: object, columns: Sequence[Column], problems: list[str]) -> tuple[Tolerance, Drift | None]:
    """What `meta.sluice` says; the rest of `meta` is not ours to read."""
    from chalicelib.anomalies import drift_declaration  # what is beside it in its package needs our severities

    meta = {} if meta is None else meta
    if not isinstance(meta, dict):
        problems.append(f"meta is {type(meta).__name__}, expected an object")
        return Tolerance(), None
    ours = meta.get("sluice", {})
    if not isinstance(ours, dict) or not isinstance(ours.get("quarantine", {}), dict):
        problems.append('meta.sluice: expected {"quarantine": {"warn": share, "fail": share}}')
        return Tolerance(), None
    problems += [f"meta.{name} is not read: put it into meta.sluice" for name in _OURS if name in meta]
    problems += _unknown(ours, _OURS, "meta.sluice")
    drift = drift_declaration.read(ours.get("drift"), columns, SEVERITIES, WARNING, problems)
    return _tolerance(ours.get("quarantine", {}), problems), drift


def _tolerance(limits: dict, problems: list[str]) -> Tolerance:
    problems += _unknown(limits, {"warn", "fail"}, "meta.sluice.quarantine")
    values = {}
    for name in ("warn", "fail"):
        value = limits.get(name, getattr(Tolerance, name))
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            problems.append(f"meta.sluice.quarantine.{name} is {value!r}, expected a share between 0 and 1")
            value = getattr(Tolerance, name)
        values[name] = float(value)
    if "warn" not in limits:
        values["warn"] = min(values["warn"], values["fail"])
    if values["warn"] > values["fail"]:
        problems.append(f"meta.sluice.quarantine: warn {values['warn']} is above fail {values['fail']}")
    return Tolerance(**values)


def _unknown(given: dict, known: set[str], owner: str) -> list[str]:
    return [f"{owner} has no {name!r}{arguments.closest(name, known)}" for name in given if name not in known]
