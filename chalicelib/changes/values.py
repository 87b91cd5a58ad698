"""Values of DMS's JSON for the typed columns of a curated table.

DMS writes every time with a Z, that of a column without a zone too; JSON documents and arrays as text; numbers
beyond 2**53 with a fraction of zero where UseLargeIntegerValue is off. Of a numeric or double precision, NaN and
infinity are values and no gaps, other than in the files and answers that runs read.
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

# https://www.postgresql.org/docs/current/datatype-numeric.html
_SPECIAL = {
    "nan": "NaN",
    "infinity": "Infinity",
    "+infinity": "Infinity",
    "inf": "Infinity",
    "-infinity": "-Infinity",
    "-inf": "-Infinity",
}
_UNESCAPED = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}


def copy_texts(values: Sequence[Any], column: Column) -> tuple[list[str], Problems]:
    """`values` of one column as COPY text, and what is wrong with them by place, as `conversion.encode` gives it."""
    if column.base == "jsonb":
        return _documents(values, column)
    if column.base in ("numeric", "double precision") and not _SPECIAL.keys().isdisjoint(_texts(values)):
        return _with_specials(values, column)
    if column.base in BOUNDS:
        values = [int(v) if isinstance(v, Decimal) and v == v.to_integral_value() else v for v in values]
    elif column.base == "double precision":
        values = [float(v) if isinstance(v, Decimal) else v for v in values]
    elif column.base == "timestamp":
        values = [v[:-1] if isinstance(v, str) and v[-1:] == "Z" else v for v in values]
    return encode(values, column)


def _texts(values: Sequence[Any]) -> set[str]:
    return {value.lower() for value in values if isinstance(value, str)}


def _with_specials(values: Sequence[Any], column: Column) -> tuple[list[str], Problems]:
    """JSON has no NaN and no infinity: they come as the texts that Postgres has for them, which its columns take."""
    special = {
        place: _SPECIAL[value.lower()]
        for place, value in enumerate(values)
        if isinstance(value, str) and value.lower() in _SPECIAL
    }
    plain_values = [None if place in special else value for place, value in enumerate(values)]
    texts, problems = copy_texts(plain_values, column)
    for place, text in special.items():
        problems.pop(place, None)  # a column that is not nullable
        if column.precision and text != "NaN":  # Postgres refuses it: "A field with precision cannot hold infinity"
            problems[place] = f"{column.name} is {quoted(values[place], column)}, beyond the range of {column.type}"
        else:
            texts[place] = text
    return texts, problems


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
