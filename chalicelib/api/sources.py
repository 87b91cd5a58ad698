"""`GET /sources`: what is declared, up to where it was read, and the last run of each."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from chalicelib import sources
from chalicelib.api import runs
from chalicelib.api.answering import Request
from chalicelib.api.models import Answer, Moment
from chalicelib.api.runs import Run
from chalicelib.errors import DeclarationError
from chalicelib.sources import Source
from chalicelib.warehouse import ledger, queries, reader


class ColumnOf(Answer):
    name: str
    type: Annotated[str, Field(description="Postgres'.", examples=["double precision"])]
    nullable: bool
    personal: Annotated[bool, Field(description="Whether its values are masked wherever they are shown.")]


class Cursor(Answer):
    position: Annotated[str, Field(description="The last day that was read.")]
    moved_at: Moment


class SourceOf(Answer):
    """`columns` is empty where each run declares its own, as those of `files` do."""

    name: str
    table: str
    key: list[str]
    columns: list[ColumnOf]
    text: Annotated[list[str], Field(description="Columns that get vectors.")]
    schedule: Annotated[str | None, Field(description="EventBridge Scheduler's expression.")]
    timezone: str
    schema_contract: Annotated[str, Field(description="What becomes of fields that are not declared.")]
    cursor: Annotated[Cursor | None, Field(description="Null where it has no windows, or was never read.")]
    last_run: Run | None
    error: Annotated[str | None, Field(description="Why its declaration cannot be used; null where it can.")]


class Sources(Answer):
    sources: list[SourceOf]


def listed(request: Request) -> dict[str, Any]:
    with reader.transaction() as connection, connection.cursor() as cursor:
        last = {row["source"]: row for row in ledger.rows(cursor, "last_runs", sources=list(sources.names()))}
        positions = {row["source"]: row for row in queries.rows(cursor, "cursors", "all")}
    return {"sources": [_described(name, positions.get(name), last.get(name)) for name in sources.names()]}


def _described(name: str, cursor: dict | None, last_run: dict | None) -> dict[str, Any]:
    state = {"cursor": cursor, "last_run": last_run and runs.described(last_run)}
    try:
        return {**_declared(sources.get(name)), **state, "error": None}
    except DeclarationError as error:
        empty = {"table": "", "key": [], "columns": [], "text": [], "schedule": None}
        return {"name": name, **empty, "timezone": "", "schema_contract": "", **state, "error": error.message}


def _declared(source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "table": source.table,
        "key": list(source.key),
        "columns": [vars(column) for column in source.columns],
        "text": list(source.text),
        "schedule": source.schedule,
        "timezone": source.timezone,
        "schema_contract": source.schema_contract,
    }
