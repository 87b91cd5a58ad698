"""`column:operator:value`, the one way to say which records are wanted.

    station:eq:Seattle    price:ge:10    closed:null:true    station:in:Seattle,"Oslo, Norway"    name:prefix:Ada

Operators are those of OPERATORS. A value is read by the type of its column, as a CSV's field would be. Several
filters hold together.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

from psycopg2 import sql

from chalicelib.columns import Column
from chalicelib.conversion.values import CONVERTERS, Unfit
from chalicelib.errors import ContractError
from chalicelib.reading.tables import Field, Table
from chalicelib.warehouse.texts import is_storable

COMPARISONS = {"eq": "=", "ne": "IS DISTINCT FROM", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
IN, NULL, PREFIX = "in", "null", "prefix"
OPERATORS = (*COMPARISONS, IN, NULL, PREFIX)

MOST_FILTERS, MOST_VALUES = 20, 100
_EXAMPLE = "write it as price:ge:10"


@dataclass(frozen=True)
class Condition:
    """A piece of SQL and the values of its placeholders."""

    text: sql.Composable
    values: dict[str, object]


def conditions(table: Table, filters: tuple[str, ...]) -> list[Condition]:
    """Raises ContractError that names the filter, its column or its value; RequestRefused (403) for masked columns."""
    if len(filters) > MOST_FILTERS:
        raise ContractError(f"{len(filters)} filters are too many", next_step=f"send at most {MOST_FILTERS}")
    return [_condition(table, text, f"f{number}") for number, text in enumerate(filters)]


def _condition(table: Table, text: str, place: str) -> Condition:
    name, operator, value = (*text.split(":", 2), "", "")[:3]
    if text.count(":") < 2:
        raise ContractError(f"the filter {text[:100]!r} is no column:operator:value", next_step=_EXAMPLE)
    column = table.column(name)
    table.require_visible(name)
    if operator not in OPERATORS:
        raise ContractError(
            f"the filter {text[:100]!r} has no operator {operator[:20]!r}", next_step=f"use {', '.join(OPERATORS)}"
        )
    identifier = sql.Identifier("t", name)
    if operator == NULL:
        if value not in ("true", "false"):
            raise ContractError(f"the filter {text[:100]!r} says neither true nor false")
        return Condition(sql.SQL("{} IS NULL" if value == "true" else "{} IS NOT NULL").format(identifier), {})
    if column.base == "jsonb" or column.base not in CONVERTERS:
        told = f"{name} is {column.type}, which cannot be compared with"
        raise ContractError(told, next_step=f"use {name}:{NULL}:true or false")
    if operator == PREFIX:
        if column.base != "text":
            raise ContractError(f"{name} is {column.type}, and {PREFIX} is for texts")
        test = sql.SQL("starts_with({}, {})").format(identifier, sql.Placeholder(place))
        return Condition(test, {place: typed(column, value)})
    kind = sql.SQL(column.base)
    if operator == IN:
        test = sql.SQL("{} = ANY ({}::{}[])").format(identifier, sql.Placeholder(place), kind)
        return Condition(test, {place: [typed(column, one) for one in _list(text, value)]})
    test = sql.SQL("{} {} {}::{}").format(identifier, sql.SQL(COMPARISONS[operator]), sql.Placeholder(place), kind)
    return Condition(test, {place: typed(column, value)})


def _list(text: str, value: str) -> list[str]:
    """The fields of one line of CSV."""
    try:
        found = next(csv.reader([value], strict=True), [])
    except csv.Error:
        raise ContractError(
            f"the filter {text[:100]!r} has no list of values", next_step='write a,b or "a,b",c'
        ) from None
    if not 0 < len(found) <= MOST_VALUES:
        raise ContractError(f"the filter {text[:100]!r} has {len(found)} values, expected 1 to {MOST_VALUES}")
    return found


def typed(column: Field, value: str) -> str:
    """What stands in SQL for `value`; raises ContractError naming the column where it is none of its values."""
    try:
        if column.base == "text":
            if not is_storable(value):
                raise Unfit("expected text")
            return value
        # compared, not stored: 9.999 is a price to compare with also where prices have two digits
        return CONVERTERS[column.base](value, Column("value", column.base))
    except Unfit:
        raise ContractError(f"{column.name} is {column.type}, and {value[:100]!r} is no such value") from None
