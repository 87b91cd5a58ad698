"""One value as COPY text for a typed column, or `Unfit`, which says what is wrong with it."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import re
from collections.abc import Callable
from decimal import Context, Decimal, InvalidOperation

import orjson

from chalicelib.columns import Column
from chalicelib.warehouse.texts import is_encodable

# COPY's escapes: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"})

BOUNDS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
FLOAT_TEXT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

# more than any column of money needs; Postgres itself takes 131,072 digits
_NUMERIC_DIGITS = 1000
_EXACT = Context(prec=3 * _NUMERIC_DIGITS)

# Python refuses to convert more than 4,300 digits; no column of integers takes more than 19 anyway
_INTEGER_DIGITS = 40

# from here on floats lie further apart than whole numbers, so that one may stand for its neighbour
_FLOAT_STEP = 2**53

_BOOLEANS = {"true": "t", "t": "t", "yes": "t", "1": "t", "false": "f", "f": "f", "no": "f", "0": "f"}
# pandas writes integers beside gaps as 8.0
_INTEGER_TEXT = re.compile(r"([+-]?\d+)(?:\.0*)?", re.ASCII)


class Unfit(ValueError):
    """The value does not fit its column."""


def _integer(value, column: Column) -> str:
    if isinstance(value, bool):
        raise Unfit(f"expected {column.type}")
    if isinstance(value, Decimal):
        if not value.is_finite() or value != value.to_integral_value():
            raise Unfit(f"expected {column.type}, a whole number")
        if value.adjusted() > _INTEGER_DIGITS:
            raise Unfit(f"beyond the range of {column.type}")
        value = int(value)
    elif isinstance(value, float) or type(value).__module__ == "numpy":
        if value != int(value) if math.isfinite(value) else True:
            raise Unfit(f"expected {column.type}, a whole number")
        if isinstance(value, float) and abs(value) >= _FLOAT_STEP:
            raise Unfit(f"expected {column.type}, and a float this large may stand for another number")
        value = int(value)
    elif isinstance(value, str):
        found = _INTEGER_TEXT.fullmatch(value.strip())
        if not found:
            raise Unfit(f"expected {column.type}")
        if len(found[1]) > _INTEGER_DIGITS:
            raise Unfit(f"beyond the range of {column.type}")
        value = int(found[1])
    elif not isinstance(value, int):
        raise Unfit(f"expected {column.type}")
    bound = BOUNDS[column.base]
    if not -bound <= value < bound:
        raise Unfit(f"beyond the range of {column.type}")
    return str(value)


def _float(value, column: Column) -> str:
    if isinstance(value, bool):
        raise Unfit("expected a number")
    if isinstance(value, str):
        if not FLOAT_TEXT.fullmatch(value.strip()):
            raise Unfit("expected a number")
    elif not isinstance(value, (int, float, Decimal)) and type(value).__module__ != "numpy":
        raise Unfit("expected a number")
    try:
        number = float(value)
    except (OverflowError, ValueError, TypeError):
        raise Unfit(f"beyond the range of {column.type}") from None
    if not math.isfinite(number):
        raise Unfit(f"beyond the range of {column.type}")
    return orjson.dumps(number).decode()


def _numeric(value, column: Column) -> str:
    if isinstance(value, (bool, dict, list)):
        raise Unfit("expected a number")
    text = value.strip() if isinstance(value, str) else str(value)
    if isinstance(value, str) and not FLOAT_TEXT.fullmatch(text):  # Decimal takes more: 1_000, Arabic digits
        raise Unfit("expected a number")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise Unfit("expected a number") from None
    if not number.is_finite() or abs(number.adjusted()) > _NUMERIC_DIGITS:
        raise Unfit(f"beyond the range of {column.type}")
    if column.precision:
        precision, scale = column.precision
        if number and number.adjusted() >= precision - scale:
            raise Unfit(f"beyond the range of {column.type}")
        exact = number.quantize(Decimal(1).scaleb(-scale), context=_EXACT)
        if number != exact:
            raise Unfit(f"expected {column.type}, at most {scale} decimals")
        number = exact
    return f"{number:f}"


def _boolean(value, column: Column) -> str:
    text = str(value).strip().lower()
    if isinstance(value, (dict, list, float)) or text not in _BOOLEANS:
        raise Unfit("expected true or false")
    return _BOOLEANS[text]


def _text(value, column: Column) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        raise Unfit("expected text; declare the column as jsonb to keep objects and lists")
    text = str(value)
    if "\x00" in text:
        raise Unfit("and Postgres cannot store a NUL character")
    if not is_encodable(text):
        raise Unfit("and has half a surrogate pair, which is no Unicode character")
    return text.translate(ESCAPED)


def _date(value, column: Column) -> str:
    if isinstance(value, dt.datetime):
        if value.time() != dt.time():
            raise Unfit("expected a date without a time of day")
        return value.date().isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    try:
        if len(value) == 10:
            return dt.date.fromisoformat(value).isoformat()
        return _date(dt.datetime.fromisoformat(value), column) if len(value) > 10 else _no_date()
    except (TypeError, ValueError) as error:
        if isinstance(error, Unfit):
            raise
        raise Unfit("expected a date as YYYY-MM-DD that exists") from None


def _no_date() -> str:
    raise Unfit("expected a date as YYYY-MM-DD that exists")


def _moment(value, expected: str) -> dt.datetime:
    """To the microsecond, as Postgres keeps it. Further digits, of a text or of pandas, are cut.

    Not refused: clocks that give nanoseconds give them with each value. Not rounded, as Postgres would: the last
    instant of a day stays in its day.
    """
    if isinstance(value, dt.datetime):
        is_plain = type(value) is dt.datetime
        return value if is_plain else dt.datetime.combine(value.date(), value.time(), value.tzinfo)
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)
    try:
        if len(value) < 10:
            raise ValueError
        return dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Unfit(expected) from None


def _timestamp(value, column: Column) -> str:
    moment = _moment(value, "expected a time as YYYY-MM-DDTHH:MM:SS that exists")
    if moment.tzinfo is not None:
        raise Unfit("which has a time zone; declare the column as timestamptz")
    return moment.isoformat(sep=" ")


def _timestamptz(value, column: Column) -> str:
    """A time without a zone is taken as UTC."""
    moment = _moment(value, "expected a time as YYYY-MM-DDTHH:MM:SS with a zone, that exists")
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
        except OverflowError:
            raise Unfit(f"beyond the range of {column.type}") from None
    return moment.isoformat(sep=" ") + "+00"


def _json(value, column: Column) -> str:
    """A text that is a JSON object or array, as a CSV has it, is taken as that object or array."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            value = orjson.loads(value)
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except (TypeError, ValueError) as error:
        if "64-bit" not in str(error):
            raise Unfit(f"which is no JSON: {error}") from None
        # an integer that orjson does not write; jsonb holds it
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    if "\\u0000" in text.replace("\\\\", ""):
        raise Unfit("and Postgres cannot store a NUL character")
    return text.translate(ESCAPED)


CONVERTERS: dict[str, Callable[[object, Column], str]] = {
    **{name: _integer for name in BOUNDS},
    "double precision": _float,
    "numeric": _numeric,
    "boolean": _boolean,
    "text": _text,
    "date": _date,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
    "jsonb": _json,
}
