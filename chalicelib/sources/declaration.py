"""A source as a small TOML file, for the source `files`.

location = "orders/*.csv.gz"   # path, glob, directory, http(s) or s3://, relative to this file
table    = "orders"
key      = ["order_id"]
nulls    = ["NA"]              # optional; an empty field is null anyway
personal = ["email"]           # optional; columns whose values no log, report or email shows
delimiter = ";"                # optional; found out by itself
format   = "csv"               # optional: auto, csv, ndjson or json
suite    = "orders.suite.json" # optional; default: expectations/files.json
schema_contract = "evolve"     # optional: discard (default), freeze, evolve
day      = "ordered"           # optional: the date or time by which rows are counted and asked for
indexes  = ["total"]           # optional: other columns by which many rows are sorted or filtered

[columns]
order_id  = "bigint not null"
ordered   = "date"
total     = "numeric(12,2)"

[[anomalies]]                  # optional: values judged by their history, see docs/quality.md
column = "total"
time = "ordered"

[rename]                       # optional: field in the file = column in the table
"Order ID" = "order_id"
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.anomalies.declaration import Anomaly
from chalicelib.anomalies.declaration import read as read_anomalies
from chalicelib.columns import Column
from chalicelib.errors import DeclarationError
from chalicelib.lake import formats
from chalicelib.schema import CONTRACTS, DISCARD

AUTO = "auto"
FORMATS = (AUTO, formats.CSV, formats.NDJSON, formats.JSON)

_NOT_NULL = " not null"
_KINDS = {
    "location": str,
    "table": str,
    "key": list,
    "columns": dict,
    "nulls": list,
    "personal": list,
    "delimiter": str,
    "format": str,
    "rename": dict,
    "suite": (str, dict),
    "anomalies": list,
    "schema_contract": str,
    "day": str,
    "indexes": list,
}
_REQUIRED = ("location", "table", "key", "columns")


@dataclass(frozen=True)
class Declaration:
    """A declaration that holds together. `suite` is the parsed suite, or None for the built-in one."""

    location: str
    table: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    nulls: tuple[str, ...] = ()
    delimiter: str | None = None
    format: str = AUTO
    rename: dict[str, str] = field(default_factory=dict)
    suite: dict | None = None
    anomalies: tuple[Anomaly, ...] = ()
    schema_contract: str = DISCARD
    day: str | None = None
    indexes: tuple[str, ...] = ()


def load(text: str, file: str) -> dict[str, Any]:
    """The TOML as plain values, not checked yet; raises DeclarationError where it is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DeclarationError(f"not valid TOML: {error}", file=file) from None


def load_suite(text: str, file: str) -> dict:
    """A suite that a declaration names; only that it is a JSON object is checked here."""
    try:
        suite = json.loads(text)
    except ValueError as error:
        raise DeclarationError(
            f"the suite {file} is not JSON: {error}", next_step=f"correct {file} there and run again"
        ) from None
    if not isinstance(suite, dict):
        raise DeclarationError(
            f"the suite {file} is not a JSON object",
            next_step="write one with name and expectations, see docs/quality.md",
        )
    return suite


def parse(values: dict[str, Any], file: str | None = None) -> Declaration:
    """`values` as a Declaration; raises one DeclarationError that lists everything that is wrong."""
    problems = [f"unknown key {name!r}; known are {', '.join(_KINDS)}" for name in values if name not in _KINDS] + [
        f"{name!r} is missing" for name in _REQUIRED if name not in values
    ]
    usable = {}
    for name, kind in _KINDS.items():
        if name not in values or values[name] is None:
            continue
        if isinstance(values[name], kind):
            usable[name] = values[name]
        else:
            problems.append(f"{name!r} is {_toml_type(values[name])}, expected {_toml_type(kind)}")

    columns = _columns(usable.get("columns", {}), problems)
    names = usable.get("columns", {}).keys()  # also those with a problem of their own
    for name in ("key", "nulls", "personal", "indexes"):
        if any(not isinstance(item, str) for item in usable.get(name, ())):
            problems.append(f"{name!r} holds something that is not text")
            usable[name] = [item for item in usable[name] if isinstance(item, str)]
    if "key" in usable and not usable["key"]:
        problems.append("'key' is empty; name the columns that identify a row")
    for column in usable.get("key", ()):
        if "columns" in usable and column not in names:
            problems.append(f"key column {column!r} is not among the columns {', '.join(names)}")
    for role, wanted in (
        ("personal", usable.get("personal", ())),
        ("indexes", usable.get("indexes", ())),
        ("day", (usable["day"],) if "day" in usable else ()),
    ):
        for column in wanted:
            if "columns" in usable and column not in names:
                problems.append(f"{role} column {column!r} is not among the columns {', '.join(names)}")
    for source_field, column in usable.get("rename", {}).items():
        if "columns" in usable and column not in names:
            problems.append(f"[rename] maps {source_field!r} to {column!r}, which is not among the columns")
    if "table" in usable:
        try:
            Column(usable["table"], "text")
        except DeclarationError:
            problems.append(f"table {usable['table']!r} is not a lower-case SQL name")
    if usable.get("format", AUTO) not in FORMATS:
        problems.append(f"format {usable['format']!r} is none of {', '.join(FORMATS)}")
    if "delimiter" in usable and usable["delimiter"] not in tuple(formats.DELIMITERS):
        problems.append(f"delimiter {usable['delimiter']!r} is none of {' '.join(map(repr, formats.DELIMITERS))}")
    anomalies = () if problems else read_anomalies(usable.get("anomalies", ()), columns, problems)
    if (contract := usable.get("schema_contract", DISCARD)) not in CONTRACTS:
        problems.append(f"schema_contract {contract!r} is none of {', '.join(CONTRACTS)}")
    if problems:
        raise DeclarationError(
            "the declaration cannot be used:\n  - " + "\n  - ".join(problems) + "\n",
            file=file,
            next_step="correct these and run again",
        )
    return Declaration(
        location=usable["location"],
        table=usable["table"],
        key=tuple(usable["key"]),
        columns=tuple(replace(c, personal=c.name in usable.get("personal", ())) for c in columns),
        nulls=tuple(usable.get("nulls", ())),
        delimiter=usable.get("delimiter"),
        format=usable.get("format", AUTO),
        rename=usable.get("rename", {}),
        suite=usable.get("suite") if isinstance(usable.get("suite"), dict) else None,
        anomalies=anomalies,
        schema_contract=usable.get("schema_contract", DISCARD),
        day=usable.get("day"),
        indexes=tuple(usable.get("indexes", ())),
    )


def _columns(declared: dict[str, Any], problems: list[str]) -> tuple[Column, ...]:
    columns = []
    for name, type in declared.items():
        if not isinstance(type, str):
            problems.append(f"the type of column {name!r} is {_toml_type(type)}, expected text")
            continue
        base = type.strip().lower()
        try:
            columns.append(Column(name, base.removesuffix(_NOT_NULL).strip(), not base.endswith(_NOT_NULL)))
        except DeclarationError as error:
            problems.append(str(error))
    return tuple(columns)


def _toml_type(value: Any) -> str:
    names = {str: "text", list: "an array", dict: "a table", bool: "true or false", int: "a number"}
    kind = value if isinstance(value, type | tuple) else type(value)
    return " or ".join(names.get(k, k.__name__) for k in (kind if isinstance(kind, tuple) else (kind,)))
