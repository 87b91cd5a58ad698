"""Numbers of what was published and of the runs that did it: in all, by source, by day.

Rows are not counted here: their totals are kept by whoever changes them (`warehouse.totals`). Runs are added up from
the ledger, whose index gives those of the days that are asked for.
"""

from __future__ import annotations

import datetime as dt

from chalicelib import sources
from chalicelib.errors import ContractError, UnknownSource
from chalicelib.reading import days
from chalicelib.warehouse.queries import rows

DAYS, MOST_DAYS = 30, 366
MOST_EXPECTATIONS = 50


def read(connection, source: str | None = None, first: dt.date | None = None, last: dt.date | None = None) -> dict:
    """Of all sources, or of one; a dict of JSON values:

    `rows` in all and `sources`, each with its table, rows, and the first and last of its days that has any; `rows` are
    None while a table is counted for the first time, its days while it is counted by them;
    `rows_by_day`, by the source's own day column, those from `first` to `last`, without these its newest MOST_DAYS;
    `runs_by_day`, `quality_by_day` and `anomalies_by_day`, by the day (UTC) on which a run started, from `first` to
    `last`, without these the last DAYS days; `unmet_expectations` of these runs, the most often missed first.
    A share is of the rows that were fetched, 0 to 1.
    Raises UnknownSource, ContractError for days the wrong way round or too many.
    """
    today = dt.datetime.now(dt.UTC).date()
    end = last or max(today, first or today)
    start = first or end - dt.timedelta(days=min(DAYS - 1, end.toordinal() - 1))
    days.check(first, last)
    if (end - start).days >= MOST_DAYS:
        raise ContractError(
            f"from {start} to {end} are {(end - start).days + 1} days", next_step=f"ask for at most {MOST_DAYS}"
        )
    with connection.cursor() as cursor:
        tables = rows(cursor, "analytics", "totals", source=source)
        # one that only applies a change stream has no runs; one that never ran has no totals
        if source is not None and not tables and source not in sources.names():
            raise UnknownSource(f"no source is called {source[:100]!r}")
        # of a table whose days are yet to come, `first` alone asks for none that the rest of the answer has not
        of_rows = {"source": source, "first": first, "last": end if first else last, "most": MOST_DAYS}
        begin = dt.datetime.combine(start, dt.time(), dt.UTC)  # moments, so that the index of `started_at` serves
        length = dt.timedelta(days=(end - start).days, hours=23, minutes=59, seconds=59, microseconds=999_999)
        of_runs = {"source": source, "begin": begin, "until": begin + length}
        runs = rows(cursor, "analytics", "runs_by_day", **of_runs)
        return {
            "from": start.isoformat(),
            "to": end.isoformat(),
            "rows": None if any(table["rows"] is None for table in tables) else sum(table["rows"] for table in tables),
            "sources": tables,
            "rows_by_day": rows(cursor, "analytics", "rows_by_day", **of_rows),
            "runs_by_day": runs,
            "quality_by_day": [_quality(day) for day in runs if day["judged"]],
            "anomalies_by_day": rows(cursor, "analytics", "anomalies_by_day", **of_runs),
            "unmet_expectations": rows(cursor, "analytics", "unmet_expectations", most=MOST_EXPECTATIONS, **of_runs),
        }


def _quality(day: dict) -> dict:
    fetched = day["fetched"]
    return {
        **{name: day[name] for name in ("source", "day", "judged", "passed", "warned", "expectations", "unmet")},
        "failed": day["not_passed"],
        "quarantined_share": round(day["quarantined"] / fetched, 6) if fetched else None,
    }
