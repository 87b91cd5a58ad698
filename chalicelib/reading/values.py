"""Values of records as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from psycopg2 import sql

from chalicelib.columns import ANOMALIES
from chalicelib.reading.tables import Field
from chalicelib.redaction import MASK

# as text from Postgres: a numeric keeps its digits, a time may be one that Python has not, such as infinity
_TEXTS = frozenset({"numeric", "date", "timestamp", "timestamptz"})
# what a mark tells of a masked column
_TOLD = frozenset({"column", "of"})


def selected(columns: Iterable[Field]) -> sql.Composable:
    """The columns of the table `t`, in the order of `shown`."""
    return sql.SQL(", ").join(
        sql.SQL("{}::text" if column.base in _TEXTS else "{}").format(sql.Identifier("t", column.name))
        for column in columns
    )


def shown(column: Field, value: Any) -> Any:
    """As `selected` brought it, as JSON has it: days and times in ISO 8601, numerics and what is no number as text."""
    if value is None:
        return None
    if column.base == "timestamptz":  # the session's zone is UTC
        return value.replace(" ", "T", 1).replace("+00", "Z")
    if column.base == "timestamp":
        return value.replace(" ", "T", 1)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def masked(values: dict[str, Any], hidden: frozenset[str]) -> dict[str, Any]:
    return {name: MASK if name in hidden and value is not None else value for name, value in values.items()}


def marks(found: dict[str, Any], hidden: frozenset[str]) -> list[dict] | None:
    """What the row's `_anomalies` say; of a masked column, that it is marked."""
    return found.get(ANOMALIES) and [
        {name: value for name, value in mark.items() if name in _TOLD} if mark.get("column") in hidden else mark
        for mark in found[ANOMALIES]
    ]
