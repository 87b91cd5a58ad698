"""What a value looks like, and the column type that holds all values of a new field."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Collection, Sequence
from decimal import Decimal, InvalidOperation

from chalicelib.columns import Column
from chalicelib.conversion import fits, is_null
from chalicelib.schema import ladder

INTEGER, FLOAT, EXACT = "integer", "float", "numeric"  # EXACT: a number that no double holds
NUMBERS = frozenset({INTEGER, FLOAT, EXACT})
_NUMERIC = Column("number", "numeric")

_INTEGER = re.compile(r"-?(0|[1-9]\d*)", re.ASCII)  # with leading zeros it is a code, such as a zip code
_FLOAT = re.compile(r"-?(0|[1-9]\d*)?\.?\d+([eE][+-]?\d+)?|-?(0|[1-9]\d*)\.", re.ASCII)
_LEADING_ZERO = re.compile(r"-?0\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?", re.ASCII)


def kind(value: object, is_csv: bool) -> tuple[str, object]:
    """(what a scalar looks like, the number or day that it is). In a CSV all are text that may look like a number.

    Of EXACT the number is the nearest double, which may be infinite.
    """
    if isinstance(value, bool):
        return "boolean", None
    if isinstance(value, int):
        return INTEGER, value
    if isinstance(value, float):
        return FLOAT, value
    if isinstance(value, Decimal):
        return EXACT, float(value)
    if is_csv:
        if _INTEGER.fullmatch(value) and len(value) < 40:
            return INTEGER, int(value)
        if _FLOAT.fullmatch(value) and not _LEADING_ZERO.match(value) and len(value) < 40:
            return _fraction(value)
        if value.lower() in ("true", "false"):
            return "boolean", None
    if _MOMENT.fullmatch(value):
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            return "text", None
        if len(value) == 10:
            return "date", moment.date()
        return ("timestamptz" if moment.tzinfo else "timestamp"), moment.date()
    return "text", None


def _fraction(text: str) -> tuple[str, object]:
    number = float(text)
    # 15 digits and a point always come back from a double; to look at each takes three times as long
    if len(text) <= 16 and "e" not in text and "E" not in text:
        return FLOAT, number
    try:
        if Decimal(repr(number)) == Decimal(text):
            return FLOAT, number
    except InvalidOperation:  # an exponent of twenty digits
        return "text", None
    return (EXACT, number) if fits(text, _NUMERIC) else ("text", None)


def numbers(found: Collection[str], low: int | None, high: int | None) -> str:
    """The type that holds numbers that look like `found`, of which the integers lie between `low` and `high`."""
    types = {FLOAT: "double precision", EXACT: "numeric"}
    kind = None
    for looks in found:
        kind = together(kind, types.get(looks) or _integers(low, high))
    return kind


def together(one: str | None, other: str | None) -> str | None:
    """The type of a field that has values of both types; None stands for no value at all."""
    if one is None or other is None or one == other:
        return other if one is None else one
    if {one, other} == {"integer", "double precision"}:
        return "double precision"  # which holds every integer of 32 bits
    return ladder.common(one, other)


def inferred(values: Sequence, is_csv: bool) -> str | None:
    """The type that holds `values`; None where all are null. Integers of 32 bits are "integer", see `column_type`."""
    found = None
    types = set(map(type, values))
    types.discard(type(None))
    for of in types:
        own = [value for value in values if type(value) is of and not is_null(value)]
        found = together(found, _of(of, own, is_csv) if own else None)
        if found == "jsonb":
            break
    return found


def column_type(found: str) -> str:
    """The type of a new column: integers are given room to grow."""
    return "bigint" if found == "integer" else found


def _of(of: type, values: Collection, is_csv: bool) -> str:
    """The type of values, none of them null, of one Python type."""
    if of in (dict, list):
        return "jsonb"
    if of is int:
        return _integers(min(values), max(values))
    if of is float:
        return "double precision" if all(map(math.isfinite, values)) else "text"
    if of is str:
        return _texts(set(values), is_csv)
    if of is bool:
        return "boolean"
    # what a transform() may have made
    if of.__module__ == "numpy":
        return inferred([value.item() for value in values], is_csv) or "text"
    if issubclass(of, dt.datetime):
        return "timestamptz" if any(value.tzinfo for value in values) else "timestamp"
    if issubclass(of, dt.date):
        return "date"
    return "numeric" if of is Decimal and all(value.is_finite() for value in values) else "text"


def _integers(low: int, high: int) -> str:
    if low >= -(2**31) and high < 2**31:
        return "integer"
    return "bigint" if low >= -(2**63) and high < 2**63 else "numeric"


def _texts(values: Collection[str], is_csv: bool) -> str:
    found = None
    for value in values:
        looks, known = kind(value, is_csv)
        if looks in NUMBERS:
            looks = numbers((looks,), known, known)
        found = together(found, looks)
        if found == "text":
            break
    return found
