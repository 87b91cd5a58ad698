"""A whole column of one plain type as COPY text: several times as fast as value by value.

Each converter takes a list of values of the types in `PLAIN` (or all texts, for `FROM_TEXT`) and
answers None when it meets a value that must be looked at by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import orjson

from chalicelib.columns import Column
from chalicelib.conversion.values import BOUNDS, CONVERTERS, ESCAPED, FLOAT_TEXT, Unfit
from chalicelib.warehouse.texts import is_storable

# numpy would take signs, blanks and the year 0 too
_UTC = re.compile(r"(?!0000)\d{4}-\d\d-\d\dT[0-2]\d:[0-5]\d:[0-5]\dZ", re.ASCII)
_TO_ESCAPE = re.compile(r"[\\\t\n\r\b\f\v]")


def _integers(values: list, column: Column) -> list[str] | None:
    if values and isinstance(values[0], str):
        digits = "".join(values).replace("-", "")
        if not (digits.isascii() and digits.isdigit() and max(map(len, values)) < 40):
            return None
        try:
            values = list(map(int, values))
        except ValueError:  # an empty one, or a sign in the wrong place
            return None
    if not values:
        return []
    bound = BOUNDS[column.base]
    if not (-bound <= min(values) and max(values) < bound):
        return None
    # orjson writes numbers 5 to 8 times as fast as str() and repr()
    return orjson.dumps(values)[1:-1].decode().split(",")


def _floats(values: list, column: Column) -> list[str] | None:
    if not values:
        return []
    if isinstance(values[0], str) and not all(map(FLOAT_TEXT.fullmatch, values)):
        return None
    try:
        numbers = list(map(float, values))
    except OverflowError:
        return None
    # null stands for what JSON cannot say: infinity, and NaN
    texts = orjson.dumps(numbers)[1:-1].decode().split(",")
    return None if "null" in texts else texts


def _texts(values: list, column: Column) -> list[str] | None:
    everything = "".join(values)
    if not is_storable(everything):
        return None
    if _TO_ESCAPE.search(everything):
        return [value.translate(ESCAPED) if _TO_ESCAPE.search(value) else value for value in values]
    return values


def _booleans(values: list, column: Column) -> list[str] | None:
    return ["t" if value else "f" for value in values]


def _repeated(values: list, column: Column) -> list[str] | None:
    """Convert each distinct text once: dates and times repeat."""
    one = CONVERTERS[column.base]
    try:
        known = {value: one(value, column) for value in set(values)}
    except Unfit:
        return None
    return list(map(known.__getitem__, values))


def _utc_moments(values: list, column: Column) -> list[str] | None:
    """`YYYY-MM-DDTHH:MM:SSZ` all through, the commonest form: 0.5 instead of 2.5 microseconds a value."""
    if not all(map(_UTC.fullmatch, values)):
        return _repeated(values, column)
    import numpy as np  # not at the top: plan and others need the messages of this package, and no values

    cut = [value[:19] for value in values]
    try:
        np.array(cut, dtype="datetime64[s]")  # refuses days that do not exist
    except ValueError:
        return None
    return [f"{value[:10]} {value[11:]}+00" for value in cut]


def _look_at_each(values: list, column: Column) -> list[str] | None:
    return None if values else []


CONVERTERS_OF_COLUMNS: dict[str, Callable[[list, Column], list[str] | None]] = {
    **{name: _integers for name in BOUNDS},
    "double precision": _floats,
    "numeric": _look_at_each,
    "boolean": _booleans,
    "text": _texts,
    "date": _repeated,
    "timestamp": _repeated,
    "timestamptz": _utc_moments,
    "jsonb": _look_at_each,
}

# the sets of Python types that the whole-column functions take; any other mixture goes value by value
PLAIN: dict[str, frozenset[type]] = {
    **{name: frozenset({int}) for name in BOUNDS},
    "double precision": frozenset({int, float}),
    "numeric": frozenset(),
    "boolean": frozenset({bool}),
    "text": frozenset({str}),
    "date": frozenset({str}),
    "timestamp": frozenset({str}),
    "timestamptz": frozenset({str}),
    "jsonb": frozenset(),
}

FROM_TEXT = frozenset({*BOUNDS, "double precision"})
