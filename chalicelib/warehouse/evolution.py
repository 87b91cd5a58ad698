"""Curated tables that become wider: what they are, what a run may add, and adding it.

Planning looks and changes nothing; `apply` changes the table in the publishing transaction, where
it looks again: another run may have changed it meanwhile.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import psycopg2.errors
from psycopg2 import sql

from chalicelib.columns import Column
from chalicelib.errors import SchemaMismatch
from chalicelib.schema import ladder
from chalicelib.schema.model import ADD, WIDEN, Change, Schema, ordered
from chalicelib.warehouse import tables, totals
from chalicelib.warehouse.queries import statement
from chalicelib.warehouse.table_columns import Known, known, types

if TYPE_CHECKING:
    from chalicelib.sources.base import Source


def planned(cursor, source: Source) -> Schema:
    """The columns that a run begins with, and what the declaration wants changed.

    The caller has compared table and declaration (`tables.ensure_curated`).
    """
    found, known_columns = types(cursor, tables.CURATED, source.table), known(cursor, source.table)
    late = {name: column.field for name, column in known_columns.items() if column.added and name in found}
    columns, changes = {}, []
    for column in source.columns:
        kind = found.get(column.name)
        if kind is None:
            late[column.name] = column.name
            changes.append(Change(change=ADD, column=column.name, to_type=column.type, field=column.name))
        elif ladder.is_wider(column.type, kind):
            field = late.get(column.name, column.name)
            changes.append(Change(change=WIDEN, column=column.name, from_type=kind, to_type=column.type, field=field))
        elif ladder.is_wider(kind, column.type):
            column = dataclasses.replace(column, type=kind)
        columns[column.name] = column
    for name in late:
        if name not in columns:
            columns[name] = Column(name, found[name])
    return Schema(0, ordered(columns.values(), source.columns), late, tuple(changes))


def apply(cursor, source: Source, run_id: str) -> Source:
    """Make the curated table and the run's staging table as wide as each needs, and enter what was changed.

    The caller holds the table's lock (`publishing.lock`). Gives the source with the columns that
    both have then. A column that another run added meanwhile comes to staging as nulls: this run
    has no record with that field. Raises SchemaMismatch where two fields want one name, and where
    a view depends on a column that is to be widened.
    """
    schema = source.schema
    if schema is None:
        return source
    found, known_columns = types(cursor, tables.CURATED, source.table), known(cursor, source.table)
    _expect_same_fields(source, schema, known_columns)
    columns, late = {column.name: column for column in schema.columns}, dict(schema.late)
    curated = tables.curated(source)
    staging = tables.staging(source.table, run_id)
    for name, column in known_columns.items():
        if column.added and name in found and name not in columns:
            columns[name], late[name] = Column(name, found[name]), column.field
            _add(cursor, staging, columns[name])
    applied = []
    for name, column in columns.items():
        if name not in found:
            _add(cursor, curated, column)
            applied.append((ADD, column, None))
            continue
        kind = ladder.common(found[name], column.type)
        wider = dataclasses.replace(column, type=kind)
        if kind != found[name]:
            _widen(cursor, source, curated, wider, found[name])
            applied.append((WIDEN, wider, found[name]))
        if kind != column.type:
            _widen(cursor, source, staging, wider, column.type)
        columns[name] = wider
    for change, column, from_type in applied:
        _enter(cursor, source, schema, run_id, change, column, from_type)
    if applied:  # the day's column may be a text from now on
        totals.forget_lost_day(cursor, source)
    if columns == {column.name: column for column in schema.columns}:
        return source
    wider_source = copy.copy(source)
    wider_source.columns = tuple(columns.values())
    wider_source.schema = dataclasses.replace(schema, columns=wider_source.columns, late=late)
    return wider_source


def _expect_same_fields(source: Source, schema: Schema, known_columns: Mapping[str, Known]) -> None:
    for name, field in schema.late.items():
        if name in known_columns and known_columns[name].added and known_columns[name].field != field:
            raise SchemaMismatch(
                f"{tables.CURATED}.{source.table}.{name} was added meanwhile by another run for the field"
                f" {known_columns[name].field!r}; here it is to hold {field!r}",
                source=source.name,
                next_step="run the source again: the field then gets a name of its own",
            )


def _enter(cursor, source, schema: Schema, run_id: str, change: str, column: Column, from_type: str | None) -> None:
    plan = next((c for c in schema.changes if c.column == column.name), None)
    field = schema.late.get(column.name, column.name)
    values = {"table": source.table, "column": column.name, "run_id": run_id, "field": field}
    cursor.execute(statement("schema", "remember"), {**values, "added": change == ADD})
    cursor.execute(
        statement("schema", "add_change"),
        {
            **values,
            "source": source.name,
            "change": change,
            "from_type": from_type,
            "to_type": column.type,
            "records": plan and plan.records,
            "raw": plan and plan.raw,
            "line": plan and plan.line,
        },
    )


def _add(cursor, table: sql.Composable, column: Column) -> None:
    cursor.execute(
        sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(table, sql.Identifier(column.name), sql.SQL(column.type))
    )


def _widen(cursor, source: Source, table: sql.Composable, column: Column, kind: str) -> None:
    """Give the column of the type `kind` its new type, its values as they would have been converted."""
    name = sql.Identifier(column.name)
    try:
        cursor.execute(
            sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE {} USING {}").format(
                table, name, sql.SQL(column.type), _cast(name, kind, column.type)
            )
        )
    except (psycopg2.errors.FeatureNotSupported, psycopg2.errors.DependentObjectsStillExist) as error:
        statement_text = f"ALTER TABLE {tables.CURATED}.{source.table} ALTER COLUMN {column.name} TYPE {column.type};"
        raise SchemaMismatch(
            f"{column.name} cannot be widened from {kind} to {column.type}: {str(error).strip()}",
            source=source.name,
            next_step=f"drop the view, run {statement_text} make the view again, and run the source again",
        ) from error


def _cast(name: sql.Identifier, kind: str, to: str) -> sql.Composable:
    if to == "jsonb":
        return sql.SQL("to_jsonb({})").format(name)
    if to == "timestamptz":  # what has no zone is UTC, as in conversion
        return sql.SQL("{}::timestamp AT TIME ZONE 'UTC'").format(name)
    if kind == "double precision":  # its numeric has 15 digits, its text all of them
        return sql.SQL("{}::text::{}").format(name, sql.SQL(to))
    return sql.SQL("{}::{}").format(name, sql.SQL(to))
