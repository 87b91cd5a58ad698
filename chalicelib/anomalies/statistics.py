"""The numbers of a run, and those of the earlier runs that it can be compared with."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass

from psycopg2 import sql

from chalicelib.anomalies.outliers import measurable
from chalicelib.columns import Column
from chalicelib.lake import keys
from chalicelib.quality import catalogue
from chalicelib.run_input import RunInput
from chalicelib.sources.base import Source
from chalicelib.sources.files import FileSource
from chalicelib.warehouse import tables
from chalicelib.warehouse.queries import statement

_WINDOW, _INPUT = "window", "input"
# the newest value as Unix seconds, UTC's midnight of a date
_NEWEST = {
    catalogue.DATE: "extract(epoch FROM max({})::timestamp)",
    catalogue.TIMESTAMP: "extract(epoch FROM max({}))",
    catalogue.TIMESTAMPTZ: "extract(epoch FROM max({}))",
}


@dataclass(frozen=True)
class Statistics:
    """The numbers of one run.

    `scope` and `extent` say what it asked for, see `asked`; runs are compared with runs of the same scope and an
    extent between half and twice theirs. `columns` has per column `nulls` (rows), of numbers `mean` and `deviation`
    (standard; null without values), of dates and times `newest` (Unix seconds).
    """

    scope: str
    extent: float
    rows: int
    columns: dict[str, dict[str, float | None]]

    @property
    def is_by_hand(self) -> bool:
        """Whether somebody chose the window or the files."""
        return self.scope.split()[0] in (_WINDOW, _INPUT)

    @property
    def rate(self) -> float:
        """Rows per day, or whatever else the extent counts."""
        return self.rows / self.extent


def asked(source: Source, run: dict, raw_objects: int, bucket: str) -> tuple[str, float]:
    """What a run of the ledger asked its source for, as (scope, extent).

    - "cursor", "window": the days of a window, derived from the cursor or given by hand; the extent is their number.
      With an input (some of the stations) it is part of the scope: "window Oslo".
    - "inbox", "input": files given to a source of files; the extent is their number of raw objects.
    - "whole": everything that the source has, however many files that is; the extent is 1.
    """
    given = RunInput.from_json(run["input"])
    named = None if source.is_declared_by_run else given.input or None
    if run["window_start"] and run["window_end"]:
        kind = "cursor" if run["by_cursor"] and not given.start else _WINDOW
        days = (run["window_end"] - run["window_start"]).days + 1
        return (f"{kind} {named}" if named else kind), float(days)
    if named and isinstance(source, FileSource):
        return ("inbox" if named.startswith(f"s3://{bucket}/{keys.INBOX}") else _INPUT), float(max(raw_objects, 1))
    return (f"whole {named}" if named else "whole"), 1.0


def measure(cursor, source: Source, run_id: str, run: dict, bucket: str) -> Statistics:
    """Measure the run's staging table; a repeated key counts as often as it was staged."""
    measures, places = [sql.SQL("NULL")], []
    for column in source.columns:
        for name, expression in _measures(column).items():
            measures.append(expression)
            places.append((column.name, name))
    staging = tables.staging(source.table, run_id)
    cursor.execute(statement("statistics", "measure", measures=sql.SQL(", ").join(measures), staging=staging))
    rows, _, *values = cursor.fetchone()
    columns: dict[str, dict] = {column.name: {} for column in source.columns}
    for (column, name), value in zip(places, values, strict=True):
        columns[column][name] = None if value is None else float(value)
    cursor.execute(statement("statistics", "count_raw_objects"), {"run_id": run_id})
    return Statistics(*asked(source, run, cursor.fetchone()[0], bucket), rows, columns)


def _measures(column: Column) -> dict[str, sql.Composable]:
    name = sql.SQL("s.{}").format(sql.Identifier(column.name))
    found = {"nulls": sql.SQL("count(*) - count({})").format(name)}
    kind = catalogue.family(column.base)
    if kind == catalogue.NUMBER:
        value = measurable(column, "s")
        found["mean"] = sql.SQL("avg({})").format(value)
        found["deviation"] = sql.SQL("stddev_pop({})").format(value)
    elif kind in _NEWEST:
        found["newest"] = sql.SQL(_NEWEST[kind]).format(name)
    return found


def record(cursor, source: Source, run_id: str, found: Statistics) -> None:
    values = {**vars(found), "columns": json.dumps(found.columns), "run_id": run_id, "table": source.table}
    cursor.execute(statement("statistics", "record"), values)


def earlier(cursor, source: Source, run_id: str, found: Statistics, runs: int) -> list[Statistics]:
    """Those of at most `runs` comparable runs, published, the newest first."""
    values = {"run_id": run_id, "table": source.table, "scope": found.scope, "extent": found.extent, "runs": runs}
    cursor.execute(statement("statistics", "earlier"), values)
    return [Statistics(found.scope, *row) for row in cursor.fetchall()]


def reference(run: dict) -> dt.datetime:
    """What the age of a run's data is counted to: the end of its window, or its start where it has none."""
    if run["window_end"]:
        return dt.datetime.combine(run["window_end"] + dt.timedelta(days=1), dt.time(), dt.UTC)
    return run["started_at"]
