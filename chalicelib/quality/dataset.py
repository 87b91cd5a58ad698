"""Dataset-wide expectations: what only all rows together can tell, judged on the staging table in Postgres."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.errors

from chalicelib.conversion import shorten
from chalicelib.errors import GateError, SluiceError, WarehouseUnavailable
from chalicelib.quality import catalogue, engine, results
from chalicelib.quality.results import ItemResult
from chalicelib.quality.rows import EXAMPLES, Example
from chalicelib.quality.suite import Item, Suite
from chalicelib.redaction import MASK
from chalicelib.warehouse import connection

if TYPE_CHECKING:
    import sqlalchemy

_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": EXAMPLES, "return_unexpected_index_query": False}
# uniqueness groups the whole table: 1,000,000 rows took 1.2 s with Postgres' default of 4 MB, 0.7 s with this
# (uniqueness of two columns together takes 5 s either way)
_SET_MEMORY = "SET work_mem = '64MB'"
# SQLAlchemy's texts begin with the driver's exception: "(psycopg2.errors.AdminShutdown) …"
_DRIVER_ERROR = re.compile(r"\(psycopg2\.(?:errors\.)?(\w+)\)")


def check(suite: Suite, database_url: str, schema: str, table: str) -> list[ItemResult]:
    """One result per dataset-wide item of `suite`, in its order, for the rows of `schema.table`.

    `database_url` is whatever libpq takes. Raises GateError for an item that could not be
    evaluated, WarehouseUnavailable where Postgres was at fault. Leaves no table and no connection.
    """
    if not suite.dataset_items:
        return []
    failures: list[SluiceError] = []
    connections = _connections(database_url, failures)
    try:
        found = engine.evaluate(engine.on_table(connections, schema, table), suite, suite.dataset_items, _FORMAT)
    finally:
        connections.dispose()
    if failures:
        raise failures[0]
    return [_result(item, found[item.id], suite, f"{schema}.{table}") for item in suite.dataset_items]


def _connections(database_url: str, failures: list[SluiceError]) -> sqlalchemy.Engine:
    """The pipeline's own connections, with its timeouts, for SQLAlchemy; `failures` collects those that failed.

    Handing it a way to connect instead of an address spares translating libpq's addresses: its
    sockets, and characters that Great Expectations would take for a variable. It is a pool because
    Great Expectations reads results after it has given the connection back. It also turns a failed
    connection into a failed expectation, so the error is kept here.
    """
    import sqlalchemy

    def connect():
        try:
            made = connection.connect(database_url)
        except SluiceError as error:
            failures.append(error)
            raise
        with made, made.cursor() as cursor:
            cursor.execute(_SET_MEMORY)
        return made

    return sqlalchemy.create_engine("postgresql+psycopg2://", creator=connect, pool_size=1, max_overflow=1)


def _result(item: Item, outcome: engine.Outcome, suite: Suite, table: str) -> ItemResult:
    if outcome.error:
        message = f"{suite.where(item)} of {suite.file} could not be evaluated on {table}"
        if _is_transient(outcome.error):
            raise WarehouseUnavailable(message, quote=outcome.error, suite=suite.name)
        raise GateError(
            message, quote=outcome.error, suite=suite.name, next_step=f"correct the expectation in {suite.file}"
        )
    found = outcome.result
    measured: dict = {}
    if "element_count" in found:
        measured["evaluated"] = int(found["element_count"] or 0) - int(found.get("missing_count") or 0)
        measured["unexpected"] = int(found.get("unexpected_count") or 0)
        examples = found.get("partial_unexpected_list") or ()
        hidden = suite.is_personal(item)
        measured["examples"] = tuple(Example(MASK if hidden else _text(value)) for value in examples[:EXAMPLES])
    else:
        hidden = suite.is_personal(item) and item.type not in catalogue.COUNTING
        measured["observed"] = MASK if hidden else _observed(found)
    return results.of(item, outcome.success, _told(item, measured, suite), **measured)


def _is_transient(error: str) -> bool:
    found = _DRIVER_ERROR.search(error)
    if not found:
        return False
    kind = getattr(psycopg2.errors, found[1], None) or getattr(psycopg2, found[1], None)
    return isinstance(kind, type) and issubclass(kind, (psycopg2.OperationalError, psycopg2.InterfaceError))


def _observed(found: dict) -> str:
    """What was measured; sets that differ are told by what is missing and what is too much."""
    if (value := found.get("observed_value")) is not None:
        return value if isinstance(value, str) else _text(value)
    parts = []
    for name, words in (("partial_unexpected_list", "unexpected"), ("partial_missing_list", "missing")):
        if found.get(name):
            parts.append(f"{words} {', '.join(_text(value) for value in found[name][:EXAMPLES])}")
    if parts:
        return "; ".join(parts)
    return "as expected" if "unexpected_count" in found or "missing_count" in found else "no value"


def _text(value: object) -> str:
    if isinstance(value, dict) and set(value) == {"quantiles", "values"}:
        value = value["values"]
    if isinstance(value, list | tuple):
        shown = ", ".join(_text(one) for one in value[:8]) or "none"
        return f"{shown}, … ({len(value)} in all)" if len(value) > 8 else shown
    if isinstance(value, float):
        return catalogue.number(float(value))
    if value is None:
        return "null"
    return shorten(value) if isinstance(value, str) else str(value)[:80]


def _told(item: Item, measured: dict, suite: Suite) -> str:
    if "observed" in measured:
        return f"{item.subject}: {measured['observed']} (expected {item.expected})"
    if not measured["unexpected"]:
        return f"{item.title} in all {measured['evaluated']} rows"
    told = f"{item.subject} not {item.expected} in {measured['unexpected']} of {measured['evaluated']} rows"
    if set(item.columns) == set(suite.key) and "unique" in item.type:
        told += "; publishing keeps the last row of each key by raw order"
    return told
