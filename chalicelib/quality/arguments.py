"""What can be wrong with one expectation's arguments, told from the JSON and the table's columns.

Great Expectations' models convert what they are given ("1" becomes 1.0, 5 becomes "5", a set of
texts passes for a column of integers and then fails every row). A suite is written by hand, so
such a value is a slip, and is said so.
"""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Collection, Iterator, Sequence

from chalicelib.columns import Column
from chalicelib.quality import catalogue

# accepted by Great Expectations' models among the arguments, but not ours to leave to a suite
NOT_ARGUMENTS = {
    "severity": "put it beside kwargs",
    "meta": "put it beside kwargs",
    "id": "put it beside kwargs",
    "description": "put it beside kwargs",
    "notes": "put it beside kwargs",
    "result_format": "remove it; the pipeline sets it",
    "catch_exceptions": "remove it; an expectation that raises is an error of the gate",
    "batch_id": "remove it",
    "rendered_content": "remove it",
    "library_metadata": "remove it",
    "windows": "remove it; there are no earlier runs to compare with here",
    "condition_parser": "remove it; give row_condition as an object",
}
_CONDITION = '{"type": "comparison", "column": {"name": COLUMN}, "operator": "==", "parameter": VALUE}'
_CONDITION_TYPES = ("comparison", "nullity", "and", "or")


def closest(name: str, known: Collection[str]) -> str:
    """The end of a message about an unknown name: the known one it is near to, or the whole choice."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    if near:
        return f"; did you mean {near[0]}?"
    return "; known ones are " + ", ".join(sorted(known)) if len(known) <= 20 else ""


def columns_of(kwargs: dict) -> tuple[str, ...]:
    """The columns that an expectation's arguments name, row condition excepted."""
    named = [kwargs.get(argument) for argument in ("column", "column_A", "column_B")]
    listed = kwargs.get("column_list")
    named += listed if isinstance(listed, list) else []
    return tuple(dict.fromkeys(name for name in named if isinstance(name, str)))


def condition_columns(condition: object) -> list[str]:
    return [str(part.get("column", {}).get("name")) for part in _leaves(condition)]


def condition_text(condition: dict) -> str:
    """A row condition as a person would say it: "kind == 'post' and title is not null"."""
    if condition.get("type") in ("and", "or"):
        parts = (condition_text(part) for part in condition["conditions"])
        return f" {condition['type']} ".join(parts)
    name = condition["column"]["name"]
    if condition.get("type") == "nullity":
        return f"{name} is {'null' if condition['is_null'] else 'not null'}"
    return f"{name} {condition['operator'].lower().replace('_', ' ')} {condition['parameter']!r}"


def _leaves(condition: object) -> Iterator[dict]:
    if not isinstance(condition, dict):
        return
    if condition.get("type") in ("and", "or"):
        for part in condition.get("conditions") or []:
            yield from _leaves(part)
    elif isinstance(condition.get("column"), dict):
        yield condition


def problems(kind: str, kwargs: dict, columns: Sequence[Column]) -> list[str]:
    """Every fault in the arguments of an expectation of type `kind`, as text."""
    entry = catalogue.ENTRIES[kind]
    families = {column.name: catalogue.family(column.base) for column in columns}
    found = [f"{name!r} is not an argument: {advice}" for name, advice in NOT_ARGUMENTS.items() if name in kwargs]
    for name, value in kwargs.items():
        if isinstance(value, dict) and "$PARAMETER" in value:
            found.append(f"{name} is a suite parameter; give the value itself")
    found += _condition_problems(kwargs, families)
    used = columns_of(kwargs)
    if missing := [name for name in used if name not in families]:
        found += [_no_column(name, families) for name in missing]
        return found
    found += _family_problems(entry, used, families)
    if not found:
        found += _bound_problems(kind, kwargs, [families[name] for name in used])
        found += _set_problems(kwargs, families, used)
    if kind == "unexpected_rows_expectation" and "{batch}" not in str(kwargs.get("unexpected_rows_query")):
        found.append("unexpected_rows_query does not select from {batch}, which stands for the run's staging table")
    return found


def _no_column(name: str, families: dict[str, str]) -> str:
    return f"the table has no column {name!r}{closest(name, families)}"


def _condition_problems(kwargs: dict, families: dict[str, str]) -> list[str]:
    if "row_condition" not in kwargs:
        return []
    condition = kwargs["row_condition"]
    if not _is_condition(condition):
        return [f"row_condition must be an object, such as {_CONDITION}"]
    return [_no_column(name, families) for name in condition_columns(condition) if name not in families]


def _is_condition(condition: object) -> bool:
    if not isinstance(condition, dict) or condition.get("type") not in _CONDITION_TYPES:
        return False
    if condition["type"] in ("and", "or"):
        parts = condition.get("conditions")
        return isinstance(parts, list) and bool(parts) and all(map(_is_condition, parts))
    wanted = {"operator", "parameter"} if condition["type"] == "comparison" else {"is_null"}
    column = condition.get("column")
    return isinstance(column, dict) and isinstance(column.get("name"), str) and wanted <= set(condition)


def _family_problems(entry: catalogue.Entry, used: tuple[str, ...], families: dict[str, str]) -> list[str]:
    found = [
        f"column {name} holds {families[name]} values, this expectation is for {', '.join(entry.families)}"
        for name in used
        if families[name] not in entry.families
    ]
    if not found and entry.alike and len({families[name] for name in used}) > 1:
        kinds = ", ".join(f"{name} holds {families[name]} values" for name in used)
        found.append(f"it compares columns of different types: {kinds}")
    return found


def _bound_problems(kind: str, kwargs: dict, families: list[str]) -> list[str]:
    if not kind.endswith("_to_be_between") or "quantile_ranges" in kwargs:
        return []
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is None and high is None:
        return ["give min_value, max_value or both; without them it accepts everything"]
    # bounds of a length, a count or a share are numbers whatever the column holds
    family = families[0] if catalogue.ENTRIES[kind].families == catalogue.ORDERED else catalogue.NUMBER
    found = [
        f"{name} is {value!r}, expected {_SAMPLES[family]}"
        for name, value in (("min_value", low), ("max_value", high))
        if value is not None and not fits(value, family)
    ]
    if not found and low is not None and high is not None and moment(low, family) > moment(high, family):
        found.append(f"min_value {low} is above max_value {high}")
    return found


_SAMPLES = {
    catalogue.NUMBER: "a number",
    catalogue.TEXT: "a text",
    catalogue.BOOLEAN: "true or false",
    catalogue.DATE: 'a date such as "2024-12-31"',
    catalogue.TIMESTAMP: 'a time without offset such as "2024-12-31T23:59:59"',
    catalogue.TIMESTAMPTZ: 'a time such as "2024-12-31T23:59:59+00:00"',
}


def fits(value: object, family: str) -> bool:
    """Whether a JSON value can be compared with the values of a column of that family."""
    if family == catalogue.BOOLEAN:
        return isinstance(value, bool)
    if family == catalogue.NUMBER:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if family in catalogue.TEMPORAL:
        try:
            return moment(value, family) is not None
        except (TypeError, ValueError):
            return False
    return isinstance(value, str)


def moment(value: object, family: str):
    """A bound as what it is compared with: a date, a datetime (aware for timestamptz), or itself.

    A time zone column's bound without offset is taken as UTC. Raises TypeError or ValueError.
    """
    if family == catalogue.DATE:
        return dt.date.fromisoformat(value)
    if family not in catalogue.TEMPORAL:
        return value
    read = dt.datetime.fromisoformat(value)
    if family == catalogue.TIMESTAMPTZ:
        return read if read.tzinfo else read.replace(tzinfo=dt.UTC)
    if read.tzinfo:
        raise ValueError("an offset where the column has none")
    return read


def _set_problems(kwargs: dict, families: dict[str, str], used: tuple[str, ...]) -> list[str]:
    found = []
    values = kwargs.get("value_set")
    if isinstance(values, list):
        found += _misfits("value_set", values, used[0], families)
    pairs = kwargs.get("value_pairs_set")
    if isinstance(pairs, list):
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            return ["value_pairs_set must be a list of pairs, such as [[1, 2], [3, 4]]"]
        for side, column in enumerate(("column_A", "column_B")):
            name = kwargs.get(column)
            if name in families:
                found += _misfits("value_pairs_set", [pair[side] for pair in pairs], name, families)
    return found


def _misfits(argument: str, values: list, column: str, families: dict[str, str]) -> list[str]:
    if not values:
        return [f"{argument} is empty, so every value fails"]
    family = families[column]
    if family == catalogue.JSON:
        return []
    wrong = [value for value in values if value is not None and not fits(value, family)]
    if not wrong:
        return []
    return [f"{argument} has {wrong[0]!r}, but column {column} holds {family} values; use {_SAMPLES[family]}"]
