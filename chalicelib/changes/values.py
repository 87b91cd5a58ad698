"""Values of DMS's JSON for the typed columns of a curated table.

DMS writes every time with a Z, that of a column without a zone too; JSON documents and arrays as text; numbers
beyond 2**53 with a fraction of zero where UseLargeIntegerValue is off.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson

from chalicelib.changes.record import number
from chalicelib.columns import Column
from chalicelib.conversion import NULL, Problems, encode, quoted
from chalicelib.conversion.values import BOUNDS, ESCAPED

_UNESCAPED = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}


def copy_texts(values: Sequence[Any], column: Column) -> tuple[list[str], Problems]:
    """`values` of one column as COPY text, and what is wrong with them by place, as `conversion.encode` gives it."""
    if column.base == "jsonb":
        return _documents(values, column)
    if column.base in BOUNDS:
        values = [int(v) if isinstance(v, Decimal) and v == v.to_integral_value() else v for v in values]
    elif column.base == "double precision":
        values = [float(v) if isinstance(v, Decimal) else v for v in values]
    elif column.base == "timestamp":
        values = [v[:-1] if isinstance(v, str) and v[-1:] == "Z" else v for v in values]
    return encode(values, column)


def _documents(values: Sequence[Any], column: Column) -> tuple[list[str], Problems]:
    """A text is a JSON document: its numbers keep all their digits, which orjson's would not."""
    texts, problems = [], {}
    for place, value in enumerate(values):
        texts.append(NULL)
        if value is None:
            if not column.nullable:
                problems[place] = f"{column.name} is null or missing"
            continue
        try:
            text = json_text(json.loads(value, parse_float=number) if isinstance(value, str) else value, sort=True)
        except (ValueError, RecursionError) as error:
            problems[place] = f"{column.name} is {quoted(value, column)}, which is no JSON: {error}"
            continue
        if "\\u0000" in text.replace("\\\\", ""):
            problems[place] = f"{column.name} is {quoted(value, column)}, and Postgres cannot store a NUL character"
            continue
        texts[-1] = text.translate(ESCAPED)
    return texts, problems


def plain(text: str) -> str | None:
    """COPY text as the text it stands for."""
    if text == NULL:
        return None
    if "\\" not in text:
        return text
    out, characters = [], iter(text)
    for character in characters:
        out.append(_UNESCAPED[next(characters)] if character == "\\" else character)
    return "".join(out)


def json_text(value: Any, sort: bool = False) -> str:
    """JSON with every digit of its numbers, which Python's own encoder takes for floats."""
    try:
        # a tenth of the time of what follows
        return orjson.dumps(value, default=_fragment, option=orjson.OPT_SORT_KEYS if sort else None).decode()
    except TypeError:  # integers beyond 64 bits
        return _json_text(value, sort)


def _fragment(value: Any) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(f"{value:f}")
    raise TypeError(f"{type(value).__name__} is none of JSON's types")


def _json_text(value: Any, sort: bool) -> str:
    if isinstance(value, dict):
        items = sorted(value.items()) if sort else value.items()
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{_json_text(v, sort)}" for k, v in items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_json_text(item, sort) for item in value) + "]"
    return f"{value:f}" if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False, allow_nan=False)
