"""Faults of a suite that only Great Expectations can find: its models, and a trial on a few rows.

The models know which arguments an expectation takes. The trial evaluates the row-wise items on a
small frame with a row of plain values and, for each column that may be null, a row without it: what
raises there (a broken regular expression, an invalid JSON schema, a comparison that cannot deal
with a missing value) would raise in the middle of a run.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from chalicelib.columns import Column
from chalicelib.quality import arguments, catalogue, engine, rows
from chalicelib.quality.suite import Item, Suite

_PLAIN = {
    catalogue.NUMBER: 1,
    catalogue.TEXT: "a",
    catalogue.BOOLEAN: True,
    catalogue.DATE: "2024-01-01",
    catalogue.TIMESTAMP: "2024-01-01 00:00:00",
    catalogue.TIMESTAMPTZ: "2024-01-01 00:00:00+00",
    catalogue.JSON: "{}",
}


def problems(suite: Suite) -> list[tuple[Item, str]]:
    """Every item that Great Expectations refuses or cannot evaluate, with what it says."""
    found = [(item, problem) for item in suite.items for problem in _model_problems(item, suite)]
    refused = {item.id for item, _ in found}
    tried = [item for item in suite.row_items if item.id not in refused]
    for item, outcome in rows.outcomes(_frame(suite), suite, tried):
        if outcome.error:
            advice = ""
            if len(item.columns) > 1 and "ignore_row_if" not in item.kwargs:
                advice = '; where a value may be missing, add "ignore_row_if": "either_value_is_missing"'
            found.append((item, f"it cannot be evaluated: {outcome.error}{advice}"))
    return sorted(found, key=lambda pair: pair[0].index)


def _frame(suite: Suite):
    import pandas as pd

    used = [column for column in suite.columns if column.name in suite.row_columns]
    nullable = [column for column in used if column.nullable]
    return pd.DataFrame({column.name: _values(column, nullable) for column in used})


def _values(column: Column, nullable: list[Column]) -> list:
    value = _PLAIN[catalogue.family(column.base)]
    if column.base == "double precision" or column.base == "numeric":
        value = float(value)
    return [value, *(None if other is column else value for other in nullable)]


def _model_problems(item: Item, suite: Suite) -> Iterator[str]:
    engine.context()
    from great_expectations.compatibility.pydantic import ValidationError
    from great_expectations.expectations.registry import get_expectation_impl

    try:
        model = engine.configuration(item, suite).to_domain_obj()
    except ValidationError as error:
        known = set(get_expectation_impl(item.type).__fields__) - set(arguments.NOT_ARGUMENTS)
        yield from _readable(error.errors(), known)
        return
    except Exception as error:  # whatever else a model raises, it is about this item
        yield f"{type(error).__name__}: {error}"
        return
    for name, given in item.kwargs.items():
        taken = getattr(model, name, given)
        if not _same_kind(given, taken):
            yield f"{name} is {given!r} and would be taken for {taken!r}; write it as it is meant"


def _readable(errors: list[dict], known: set[str]) -> Iterator[str]:
    """A model's complaints, one line per argument; a union of types complains once per member."""
    by_argument: dict[str, list[str]] = {}
    for error in errors:
        by_argument.setdefault(str(error["loc"][0]), []).append(error["msg"])
    for argument, messages in by_argument.items():
        if messages == ["extra fields not permitted"]:
            yield f"it takes no argument {argument!r}{arguments.closest(argument, known)}"
        elif messages == ["field required"]:
            yield f"argument {argument!r} is missing"
        else:
            # objects are only accepted as suite parameters, which are refused before
            told = dict.fromkeys(message for message in messages if "dict" not in message)
            place = "" if argument == "__root__" else f"{argument}: "
            yield place + " or ".join(told or messages)


def _same_kind(given: object, taken: object) -> bool:
    """Whether a model kept an argument's meaning: "1" for 1, or true for 1.0, it did not."""
    if isinstance(given, bool) or isinstance(taken, bool):
        return isinstance(given, bool) and isinstance(taken, bool)
    if isinstance(given, int | float):
        return given == taken
    if isinstance(given, str):
        return isinstance(taken, str | dt.date)
    return True
