"""Parse lines of JSON objects. orjson does the work; what it would let through wrongly is found here."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import orjson

from chalicelib.lake.lines import newlines


@dataclass(frozen=True)
class Bad:
    """A record that cannot be parsed; `line` counts from 0 within the text that was parsed."""

    line: int
    reason: str
    text: bytes


@dataclass(frozen=True)
class Parsed:
    """The records of a text, and for each the line it begins at, from 0: int64, shape (records,)."""

    records: list
    lines: np.ndarray
    bad: list[Bad]


def parse(data: bytes, blank_is_bad: bool = False, exact: Collection[str] = (), whole: Collection[str] = ()) -> Parsed:
    """The objects in `data`, one per line.

    A blank line is no record, unless `blank_is_bad`: in an array it was a place between two commas.
    A number in one of the fields `exact` is a Decimal where a float would be another number, and one
    in the fields `whole` where a float may be another whole number, such as 9007199254740993.0.
    """
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    risky = _risky_lines(data, exact)
    records: list[dict] = []
    bad: list[Bad] = []
    left_out: list[int] = []
    for i, line in enumerate(lines):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            left_out.append(i)
            if line.strip():
                bad.append(Bad(i, f"not valid JSON: {error}", line.strip()))
            elif blank_is_bad:
                bad.append(Bad(i, "there is nothing between two commas", b""))
            continue
        if type(record) is not dict or i in risky:
            try:
                record = checked(record, line, exact)
            except ValueError as error:
                left_out.append(i)
                bad.append(Bad(i, str(error), line.strip()))
                continue
        records.append(record)
    at = np.delete(np.arange(len(lines)), left_out)
    may_be_long = bool(whole) and _may_hold_long_decimal(data)
    for name in whole:
        _make_exact(name, records, lines, at, may_be_long)
    return Parsed(records, at, bad)


def checked(record: Any, text: bytes, exact: Collection[str] = ()) -> dict:
    """`record`, which orjson read from `text`, with integers exact, and all numbers in the fields `exact`.

    Raises ValueError if it is no record.
    """
    if type(record) is not dict:
        raise ValueError(f"not a JSON object but {_json_type(record)}")
    if LONG_NUMBER.search(text):
        record = json.loads(text)
    if exact and LONG_DECIMAL.search(text):
        decimals = json.loads(text, parse_float=_float_or_decimal)
        record |= {name: decimals[name] for name in exact if type(decimals.get(name)) is Decimal}
    for name, value in record.items():
        if "\0" in name:
            raise ValueError(f"the name of column {name!r} contains a NUL character")
        if _holds_nul(value):
            raise ValueError(f"column {name} contains a NUL character")
    return record


def columns(records: list[dict]) -> dict[str, list]:
    """The records by field, in order of appearance; None where a record lacks the field."""
    if not records:
        return {}
    names = list(records[0])
    # a union of sets over all records is four times as fast as a dict, but forgets the order
    if len(set(names).union(*records)) > len(names):
        names = list(dict.fromkeys(name for record in records for name in record))
    return {name: [record.get(name) for record in records] for name in names}


# an integer beyond 64 bits, which orjson turns into a float, has at least as many digits
LONG_NUMBER = re.compile(rb"-[0-9]{19}|[0-9]{20}")
# a number with a point or an exponent that a float, of 15 to 17 digits, may not hold; begins where a run of digits
# does, or it would take the square of the time in a text of many digits
LONG_DECIMAL = re.compile(rb"(?<![0-9.])(?=[0-9.]{16})[0-9]++(?:\.[0-9]|[eE])")
NUL = rb"\u0000"  # valid JSON, but Postgres stores no such text
_FLOAT_STEP = 2.0**53  # from here on a float may be the next whole number


def _risky_lines(data: bytes, exact: Collection[str]) -> set[int]:
    """The lines, from 0, that orjson accepts but that may hold a NUL or a number that it does not hold exactly."""
    hits = []
    if NUL in data:
        hits += [found.start() for found in re.finditer(re.escape(NUL), data)]
    if exact and _may_hold_long_decimal(data):
        hits += [found.start() for found in LONG_DECIMAL.finditer(data)]
    if _may_hold_long_number(data):
        hits += [found.start() for found in LONG_NUMBER.finditer(data)]
    if not hits:
        return set()
    return set(np.searchsorted(newlines(data), hits).tolist())


def _may_hold_long_number(data: bytes) -> bool:
    """False where there is no run of 19 digits: such a run covers four neighbours of every fourth byte.

    0.03 µs per row of 150 bytes; searching with the regular expression takes 3.3.
    """
    return _has_run(data, ord("0"), ord("9"))


def _may_hold_long_decimal(data: bytes) -> bool:
    """False where there is no run of 16 digits and points (and slashes, which lie between the two)."""
    return _has_run(data, ord("."), ord("9"))


def _has_run(data: bytes, first: int, last: int) -> bool:
    inside = (np.frombuffer(data, np.uint8)[::4] - np.uint8(first)) <= last - first
    return bool((inside[:-3] & inside[1:-2] & inside[2:-1] & inside[3:]).any())


def _float_or_decimal(text: str) -> float | Decimal:
    """A float where its shortest text says the same number, as 0.30000000000000004 does."""
    number = float(text)
    try:
        exact = Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return number
    return number if exact == Decimal(repr(number)) else exact


def _make_exact(name: str, records: list[dict], lines: list[bytes], at: np.ndarray, may_be_long: bool) -> None:
    """Read again the lines where the field `name` is a float that may be another whole number than the text says.

    Numbers of whole columns come without a point almost always: 0.09 µs per record to see that.
    """
    for i, record in enumerate(records):
        value = record.get(name)
        if type(value) is float and value.is_integer():
            line = lines[at[i]]
            if abs(value) >= _FLOAT_STEP or (may_be_long and LONG_DECIMAL.search(line)):
                record[name] = json.loads(line, parse_float=_decimal)[name]


def _decimal(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return float(text)


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(name) or _holds_nul(inner) for name, inner in value.items())
    return isinstance(value, list) and any(map(_holds_nul, value))


def _json_type(value: Any) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")
