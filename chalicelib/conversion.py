"""Values of records as text that Postgres' COPY takes for a typed column.

Conversion and encoding are one pass, because both look at every value once: a column of 100,000
values comes in as Python values (JSON's, CSV's strings, or what a pandas transform made of them)
and goes out as COPY text, with a problem for each value that its column cannot hold. Conversion is
lossless: "12" is an integer, 12.5 and "12 apples" are not. What is canonical here (one text per
value) is what row fingerprints are taken over.

COPY's text format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
"""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation

import numpy as np
import orjson

from chalicelib.columns import Column

NULL = "\\N"

_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"})
_TO_ESCAPE = re.compile(r"[\\\t\n\r\b\f\v]")

_BOUNDS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
_BOOLEANS = {"true": "t", "t": "t", "yes": "t", "1": "t", "false": "f", "f": "f", "no": "f", "0": "f"}
_INTEGER_TEXT = re.compile(r"[+-]?\d+", re.ASCII)
_FLOAT_TEXT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

Problems = dict[int, str]  # row position -> what is wrong with its value


class _Unfit(ValueError):
    """The value does not fit its column."""


def encode(values: Sequence, column: Column) -> tuple[list[str], Problems]:
    """`values` of one column as COPY text, and the problems by position.

    None, NaN, NaT and pandas' NA are null. At a position with a problem the text is `NULL`.
    """
    kinds = set(map(type, values))
    if _is_plain(kinds, column):
        texts = _DENSE[column.base](list(values), column)
        if texts is not None:
            return texts, {}
    return _with_nulls(values, kinds, column)


def _is_plain(kinds: set[type], column: Column) -> bool:
    """Whether all values are of a type that is converted column-wise: all texts (a CSV), or all of the type itself."""
    return kinds <= _PLAIN[column.base] or (kinds == {str} and column.base in _FROM_TEXT)


def _with_nulls(values: Sequence, kinds: set[type], column: Column) -> tuple[list[str], Problems]:
    if kinds <= {str, int, bool, dict, list, type(None)}:
        present = [i for i, value in enumerate(values) if value is not None]
    else:
        present = [i for i, value in enumerate(values) if not _is_null(value)]
    problems: Problems = {}
    if len(present) < len(values) and not column.nullable:
        missing = set(range(len(values))).difference(present)
        problems = dict.fromkeys(sorted(missing), f"{column.name} is null or missing")
    texts = [NULL] * len(values)
    dense = [values[i] for i in present]
    fast = _DENSE[column.base](dense, column) if _is_plain(set(map(type, dense)), column) else None
    if fast is not None:
        for i, text in zip(present, fast, strict=True):
            texts[i] = text
        return texts, problems
    one = _ONE[column.base]
    for i, value in zip(present, dense, strict=True):
        try:
            texts[i] = one(value, column)
        except _Unfit as unfit:
            problems[i] = f"{column.name} is {shorten(value)}, {unfit}"
    return texts, problems


def shorten(value, limit: int = 80) -> str:
    """A value as a person would quote it, cut to `limit` characters."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _is_null(value) -> bool:
    # NaN and NaT are the only values that differ from themselves; pandas.NA refuses to say
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


# --- whole columns of a plain type: None means "look at each value" ----------------------------


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
    bound = _BOUNDS[column.base]
    if not (-bound <= min(values) and max(values) < bound):
        return None
    # orjson writes numbers 5 to 8 times as fast as str() and repr()
    return orjson.dumps(values)[1:-1].decode().split(",")


def _floats(values: list, column: Column) -> list[str] | None:
    if not values:
        return []
    if isinstance(values[0], str) and not all(map(_FLOAT_TEXT.fullmatch, values)):
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
    if "\x00" in everything or not _encodable(everything):
        return None
    if _TO_ESCAPE.search(everything):
        return [value.translate(_ESCAPED) if _TO_ESCAPE.search(value) else value for value in values]
    return values


def _booleans(values: list, column: Column) -> list[str] | None:
    return ["t" if value else "f" for value in values]


def _repeated(one: Callable[[str, Column], str]) -> Callable[[list, Column], list[str] | None]:
    """Convert each distinct text once: dates and times repeat."""

    def whole(values: list, column: Column) -> list[str] | None:
        try:
            known = {value: one(value, column) for value in set(values)}
        except _Unfit:
            return None
        return list(map(known.__getitem__, values))

    return whole


def _utc_moments(values: list, column: Column) -> list[str] | None:
    """`YYYY-MM-DDTHH:MM:SSZ` all through, the commonest form: 0.5 instead of 2.5 microseconds a value."""
    if not all(len(value) == 20 and value[10] == "T" and value[19] == "Z" for value in values):
        return _repeated(_timestamptz)(values, column)
    cut = [value[:19] for value in values]
    try:
        np.array(cut, dtype="datetime64[s]")  # refuses days and hours that do not exist
    except ValueError:
        return None
    return [f"{value[:10]} {value[11:]}+00" for value in cut]


def _look_at_each(values: list, column: Column) -> list[str] | None:
    return None if values else []


# --- one value ---------------------------------------------------------------------------------


def _integer(value, column: Column) -> str:
    if isinstance(value, bool):
        raise _Unfit(f"expected {column.type}")
    if isinstance(value, float) or type(value).__module__ == "numpy":
        if value != int(value) if math.isfinite(value) else True:
            raise _Unfit(f"expected {column.type}, a whole number")
        value = int(value)
    elif isinstance(value, str):
        stripped = value.strip()
        if not _INTEGER_TEXT.fullmatch(stripped):
            raise _Unfit(f"expected {column.type}")
        # Python refuses to convert more than 4,300 digits; no column takes more than 19 anyway
        if len(stripped) > 40:
            raise _Unfit(f"beyond the range of {column.type}")
        value = int(stripped)
    elif not isinstance(value, int):
        raise _Unfit(f"expected {column.type}")
    bound = _BOUNDS[column.base]
    if not -bound <= value < bound:
        raise _Unfit(f"beyond the range of {column.type}")
    return str(value)


def _float(value, column: Column) -> str:
    if isinstance(value, bool):
        raise _Unfit("expected a number")
    if isinstance(value, str):
        if not _FLOAT_TEXT.fullmatch(value.strip()):
            raise _Unfit("expected a number")
    elif not isinstance(value, (int, float)) and type(value).__module__ != "numpy":
        raise _Unfit("expected a number")
    try:
        number = float(value)
    except (OverflowError, ValueError, TypeError):
        raise _Unfit(f"beyond the range of {column.type}") from None
    if not math.isfinite(number):
        raise _Unfit(f"beyond the range of {column.type}")
    return orjson.dumps(number).decode()


def _numeric(value, column: Column) -> str:
    if isinstance(value, (bool, dict, list)):
        raise _Unfit("expected a number")
    try:
        number = Decimal(value.strip() if isinstance(value, str) else str(value))
    except InvalidOperation:
        raise _Unfit("expected a number") from None
    if not number.is_finite() or abs(number.adjusted()) > 1000:
        raise _Unfit(f"beyond the range of {column.type}")
    if column.precision:
        precision, scale = column.precision
        number = round(number, scale)
        if number and number.adjusted() >= precision - scale:
            raise _Unfit(f"beyond the range of {column.type}")
    return f"{number:f}"


def _boolean(value, column: Column) -> str:
    text = str(value).strip().lower()
    if isinstance(value, (dict, list, float)) or text not in _BOOLEANS:
        raise _Unfit("expected true or false")
    return _BOOLEANS[text]


def _text(value, column: Column) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        raise _Unfit("expected text; declare the column as jsonb to keep objects and lists")
    text = str(value)
    if "\x00" in text:
        raise _Unfit("and Postgres cannot store a NUL character")
    if not _encodable(text):
        raise _Unfit("and has half a surrogate pair, which is no Unicode character")
    return text.translate(_ESCAPED)


def _date(value, column: Column) -> str:
    if isinstance(value, dt.datetime):
        if value.time() != dt.time():
            raise _Unfit("expected a date without a time of day")
        return value.date().isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    try:
        if len(value) == 10:
            return dt.date.fromisoformat(value).isoformat()
        return _date(dt.datetime.fromisoformat(value), column) if len(value) > 10 else _no_date()
    except (TypeError, ValueError) as error:
        if isinstance(error, _Unfit):
            raise
        raise _Unfit("expected a date as YYYY-MM-DD that exists") from None


def _no_date() -> str:
    raise _Unfit("expected a date as YYYY-MM-DD that exists")


def _moment(value, expected: str) -> dt.datetime:
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)
    try:
        if len(value) < 10:
            raise ValueError
        return dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _Unfit(expected) from None


def _timestamp(value, column: Column) -> str:
    moment = _moment(value, "expected a time as YYYY-MM-DDTHH:MM:SS that exists")
    if moment.tzinfo is not None:
        raise _Unfit("which has a time zone; declare the column as timestamptz")
    return moment.isoformat(sep=" ")


def _timestamptz(value, column: Column) -> str:
    """A time without a zone is taken as UTC."""
    moment = _moment(value, "expected a time as YYYY-MM-DDTHH:MM:SS with a zone, that exists")
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
        except OverflowError:
            raise _Unfit(f"beyond the range of {column.type}") from None
    return moment.isoformat(sep=" ") + "+00"


def _json(value, column: Column) -> str:
    """A text that is a JSON object or array, as a CSV has it, is taken as that object or array."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            value = orjson.loads(value)
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except (TypeError, ValueError) as error:
        raise _Unfit(f"which is no JSON: {error}") from None
    if "\\u0000" in text.replace("\\\\", ""):
        raise _Unfit("and Postgres cannot store a NUL character")
    return text.translate(_ESCAPED)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_INTEGER_TYPES = {name: _integer for name in _BOUNDS}

_ONE: dict[str, Callable[[object, Column], str]] = {
    **_INTEGER_TYPES,
    "double precision": _float,
    "numeric": _numeric,
    "boolean": _boolean,
    "text": _text,
    "date": _date,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
    "jsonb": _json,
}

_DENSE: dict[str, Callable[[list, Column], list[str] | None]] = {
    **{name: _integers for name in _BOUNDS},
    "double precision": _floats,
    "numeric": _look_at_each,
    "boolean": _booleans,
    "text": _texts,
    "date": _repeated(_date),
    "timestamp": _repeated(_timestamp),
    "timestamptz": _utc_moments,
    "jsonb": _look_at_each,
}

# the sets of Python types that the whole-column functions take; any other mixture goes value by value
_PLAIN: dict[str, frozenset[type]] = {
    **{name: frozenset({int}) for name in _BOUNDS},
    "double precision": frozenset({int, float}),
    "numeric": frozenset(),
    "boolean": frozenset({bool}),
    "text": frozenset({str}),
    "date": frozenset({str}),
    "timestamp": frozenset({str}),
    "timestamptz": frozenset({str}),
    "jsonb": frozenset(),
}

_FROM_TEXT = frozenset({*_BOUNDS, "double precision"})
