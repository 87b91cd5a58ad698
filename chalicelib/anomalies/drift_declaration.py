"""What a suite's `meta.sluice.drift` says: how unlike earlier runs a run may be.

    "drift": {"row_count": {"tolerance": 0.5, "severity": "critical"},
              "null_rate": {"columns": ["humidity"], "tolerance": 0.05},
              "mean": {"columns": ["temperature"], "tolerance": 1.0},
              "freshness": {"column": "measured_at", "max_age": "2d"},
              "runs": 20, "minimum_runs": 5}

Each of the four is left out where it is not wanted. `severity` is a warning where it is not given; `columns` are all
that the measure fits.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.columns import Column
from chalicelib.quality import arguments
from chalicelib.quality.catalogue import NUMBER, TEMPORAL, family

ROW_COUNT, NULL_RATE, MEAN, FRESHNESS = "row_count", "null_rate", "mean", "freshness"

_KEYS = {
    ROW_COUNT: {"severity", "tolerance"},
    NULL_RATE: {"severity", "tolerance", "columns"},
    MEAN: {"severity", "tolerance", "columns"},
    FRESHNESS: {"severity", "column", "max_age"},
}
# of the row count a share of itself, of a null rate a share of the rows, of a mean standard deviations of the column
_TOLERANCES = {ROW_COUNT: 0.4, NULL_RATE: 0.05, MEAN: 1.0}
_NUMBERS = {"runs": (1, 1000), "minimum_runs": (1, 1000)}
_AGE = re.compile(r"(\d{1,5})([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


@dataclass(frozen=True)
class Limit:
    """One measure that is judged; `columns` is empty for the row count and holds one for freshness."""

    kind: str
    severity: str
    columns: tuple[str, ...] = ()
    tolerance: float = 0.0
    max_age: dt.timedelta | None = None


@dataclass(frozen=True)
class Drift:
    """`runs`: how many earlier runs count at most. With fewer than `minimum_runs`, only freshness is judged."""

    limits: tuple[Limit, ...]
    runs: int = 20
    minimum_runs: int = 5


def read(
    given: object, columns: Sequence[Column], severities: Sequence[str], default: str, problems: list[str]
) -> Drift | None:
    """The declaration, or None where there is none; everything that is wrong with it is added to `problems`."""
    if given is None:
        return None
    where = "meta.sluice.drift"
    if not isinstance(given, dict):
        problems.append(f"{where} is {type(given).__name__}, expected an object")
        return None
    found = _unknown(given, {*_KEYS, *_NUMBERS}, where)
    numbers = {}
    for name, (least, most) in _NUMBERS.items():
        value = numbers[name] = given.get(name, getattr(Drift, name))
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            found.append(f"{where}.{name} is {value!r}, expected a whole number from {least} to {most}")
    if not found and numbers["minimum_runs"] > numbers["runs"]:
        if "minimum_runs" in given:
            found.append(f"{where}: minimum_runs {numbers['minimum_runs']} is above runs {numbers['runs']}")
        numbers["minimum_runs"] = min(numbers.values())
    wanted = [kind for kind in _KEYS if kind in given]
    if not wanted:
        found.append(f"{where}: nothing is judged; give one of {', '.join(_KEYS)}")
    limits = [_limit(kind, given[kind], columns, severities, default, found) for kind in wanted]
    problems += found
    return None if found else Drift(tuple(limits), **numbers)


def _limit(kind, given, columns, severities, default, found: list[str]) -> Limit | None:
    where = f"meta.sluice.drift.{kind}"
    if not isinstance(given, dict):
        found.append(f"{where} is {type(given).__name__}, expected an object")
        return None
    found += _unknown(given, _KEYS[kind], where)
    severity = given.get("severity", default)
    if severity not in severities:
        found.append(f"{where}.severity is {severity!r}, use one of {', '.join(severities)}")
    if kind == FRESHNESS:
        return Limit(kind, severity, _columns(given, where, columns, found), max_age=_age(given, where, found))
    tolerance = given.get("tolerance", _TOLERANCES[kind])
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < 1e9:
        found.append(f"{where}.tolerance is {tolerance!r}, expected 0 or a number above it")
    named = () if kind == ROW_COUNT else _columns(given, where, columns, found)
    return Limit(kind, severity, named, tolerance)


def _columns(given: dict, where: str, columns: Sequence[Column], found: list[str]) -> tuple[str, ...]:
    """The columns that are judged, each of a type that it can be."""
    kind = where.rsplit(".", 1)[1]
    fits = {
        NULL_RATE: [column.name for column in columns if column.nullable],
        MEAN: [column.name for column in columns if family(column.base) == NUMBER],
        FRESHNESS: [column.name for column in columns if family(column.base) in TEMPORAL],
    }[kind]
    expected = {NULL_RATE: "may be null", MEAN: "holds numbers", FRESHNESS: "holds dates or times"}[kind]
    if kind == FRESHNESS:
        named = [given.get("column")]
        if not isinstance(named[0], str):
            found.append(f"{where}.column: name the column whose newest value tells how old the data are")
            return ()
    else:
        named = given.get("columns", fits)
        if not isinstance(named, list) or not named or not all(isinstance(name, str) for name in named):
            found.append(f"{where}.columns: expected an array of columns of which each {expected}")
            return ()
    names = [column.name for column in columns]
    for name in named:
        if name not in names:
            found.append(f"{where}: the table has no column {name!r}{arguments.closest(name, names)}")
        elif name not in fits:
            found.append(f"{where}: {name} is not a column that {expected}")
    return tuple(dict.fromkeys(named))


def _age(given: dict, where: str, found: list[str]) -> dt.timedelta | None:
    age = given.get("max_age")
    match = _AGE.fullmatch(age) if isinstance(age, str) else None
    if match is None:
        found.append(f'{where}.max_age is {age!r}, expected a number of days, hours or minutes such as "2d" or "90m"')
        return None
    return dt.timedelta(**{_UNITS[match[2]]: int(match[1])})


def _unknown(given: dict, known: set[str], where: str) -> list[str]:
    return [f"{where} has no {name!r}{arguments.closest(name, known)}" for name in given if name not in known]
