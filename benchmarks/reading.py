"""How long reading takes: pages of records, one record, the analytics.

    python -m benchmarks.reading [--rows 1000000] [--times 200]

Through the API's handlers, as Lambda calls them, in a Postgres of its own: a table of generated orders with an index by
a declared column and by the day, and a ledger of 10,000 runs. CPU is that of the handler and of Postgres' process, per
request: what a machine that does nothing else takes. Then what the totals cost a publish: the CPU seconds of
Postgres' process for the same publish with and without their triggers, in turns.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from chalicelib import settings, sources
from chalicelib.api import answering, callers, places, table
from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, indexes, ledger, migrations, publishing, tables
from local.postgres import Postgres

RUNS = 10_000
PER_PAGE = 100
CALLER = callers.Caller("bench", (table.ADMIN,))

FILL = """
INSERT INTO curated.orders
SELECT n, mod(n * 7919, 200000), (ARRAY['Lisbon', 'Oslo', 'Seattle', 'Nairobi'])[1 + mod(n, 4)],
       round((mod(n * 104729, 1000000) / 100.0)::numeric, 2)::double precision,
       timestamptz '2025-01-01' + make_interval(mins => mod(n * 31, 525600)::integer),
       'order ' || n || ' of a seeded run', 'bench', '0:' || n, n, now()
FROM generate_series(1::bigint, %s) AS n
"""
LEDGER = """
INSERT INTO pipeline.runs (run_id, source, table_name, execution, input, status, verdict, fetched, inserted, updated,
    unchanged, duplicates, quarantined, expectations, unmet, started_at, published_at)
SELECT 'run-' || n, 'orders', 'orders', 'arn', '{}', 'succeeded', 'pass', 100, 90, 0, 5, 0, 5, 7, 1, moment, moment
FROM generate_series(1, %(runs)s) AS n, LATERAL (SELECT now() - make_interval(mins => n * 4) AS moment) AS m;
INSERT INTO pipeline.quality_results (run_id, expectation, type, title, severity, success, evaluated, unexpected)
SELECT 'run-' || n, 'e' || e, CASE WHEN e = 8 THEN 'anomaly' ELSE 'expect' END, 'title', 'critical', e < 7, 100, 1
FROM generate_series(1, %(runs)s) AS n, generate_series(1, 8) AS e;
INSERT INTO pipeline.raw_objects VALUES ('bench', 0, 'raw/orders.ndjson', 1, '0');
"""
STAGE = "INSERT INTO {} SELECT id, customer, city, amount, ordered_at, note, _fingerprint + %s, id FROM curated.filled"


class Orders(Source):
    name = "orders"
    key = ("id",)
    columns = (
        Column("id", "bigint"),
        Column("customer", "integer"),
        Column("city", "text"),
        Column("amount", "double precision"),
        Column("ordered_at", "timestamptz"),
        Column("note", "text"),
    )
    day = "ordered_at"
    indexes = ("amount",)


class Undated(Orders):
    name = "undated"
    table = "orders"
    key = Orders.key
    columns = Orders.columns
    day = None


@click.command()
@click.option("--rows", default=1_000_000, show_default=True)
@click.option("--times", default=200, show_default=True, help="Of each request.")
@click.option("--publishes", default=3, show_default=True, help="Of each kind; 0 leaves them out.")
def main(rows: int, times: int, publishes: int) -> None:
    """Measure reading, and what keeping totals costs."""
    with tempfile.TemporaryDirectory(prefix="sluice-reading-") as folder:
        postgres = Postgres(Path(folder, "data"), Path(folder, "log"))
        postgres.start()
        try:
            os.environ["SLUICE_DATABASE_URL"] = postgres.database_url
            settings.current.cache_clear()
            registered = sources.get
            sources.get = lambda name: Orders() if name == "orders" else registered(name)
            migrations.apply()
            _fill(rows)
            _reading(rows, times)
            if publishes:
                _publishing(rows, publishes)
        finally:
            postgres.stop()


def _fill(rows: int) -> None:
    with connection.transaction() as opened, opened.cursor() as cursor:
        tables.ensure_curated(cursor, Orders())
        indexes.ensure(cursor, Orders())
        ledger.open_run(cursor, Orders(), "bench", "arn", {}, Window(), "2026-01-01")
        cursor.execute(FILL, (rows,))
        cursor.execute(LEDGER, {"runs": RUNS})
    opened = connection.connect(settings.current().database_url)
    opened.autocommit = True
    with contextlib.closing(opened), opened.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")  # as autovacuum does within a minute of a load


# --- reading -------------------------------------------------------------------------------------


def _reading(rows: int, times: int) -> None:
    listed, shown, numbers = (_route(name) for name in ("get_records", "get_records_id", "get_analytics"))

    def page(**query) -> Callable[[], dict]:
        given = {"source": ["orders"], "limit": [str(PER_PAGE)], **{name: [str(v)] for name, v in query.items()}}
        return lambda: listed(query=given)

    def behind(query: dict, share: float) -> dict:
        """The query of the page that begins at this share of the rows, as the one before it links to it."""
        with connection.transaction() as opened, opened.cursor() as cursor:
            column = query.get("sort", "id").lstrip("-")
            down = " DESC" if query.get("sort", "").startswith("-") else ""
            shown_as = f"{column}::text" if column == "ordered_at" else column
            order = f"{column}{down}, id{down}" if column != "id" else f"id{down}"
            cursor.execute(
                f"SELECT {shown_as}, id FROM curated.orders ORDER BY {order} OFFSET %s LIMIT 1", (int(rows * share),)
            )
            value, id = cursor.fetchone()
        position = [id] if column == "id" else [value, id]
        given = {"source": "orders", "filter": [], "limit": PER_PAGE, **query}
        return {**query, "page": places.following("/records", given, position).rsplit("page=", 1)[1]}

    kept = page()()["records"][0]["id"]
    cases = {"by key, first page": page()}
    for sort in (None, "-amount", "ordered_at"):
        query = {"sort": sort} if sort else {}
        told = f"by {sort or 'key'}"
        cases[f"{told}, first page"] = page(**query)
        cases[f"{told}, middle page"] = page(**behind(query, 0.5))
        cases[f"{told}, last page"] = page(**behind(query, 1 - PER_PAGE / rows))
    cases["a day, by key"] = page(**{"from": "2025-06-01", "to": "2025-06-01"})
    cases["filter on an indexed column"] = page(filter="amount:ge:9999", sort="amount")
    cases["filter that a quarter meets"] = page(filter="city:eq:Oslo")
    cases["filter without an index, few meet"] = page(filter="customer:eq:7")
    cases["sort without an index"] = page(sort="customer")
    cases["a record by id"] = lambda: shown(path={"id": kept})
    cases[f"analytics, 30 days of {RUNS:,} runs"] = lambda: numbers(query={})
    click.echo(f"{rows:,} rows, {PER_PAGE} to a page, {times} times each\n")
    click.echo(f"{'':40}{'p50, ms':>10}{'p95, ms':>10}{'CPU, ms':>10}")
    for title, ask in cases.items():
        slow = "without an index" in title
        took = []
        before = time.process_time() + _served()
        for _ in range(max(5, times // 20) if slow else times):
            started = time.perf_counter()
            ask()
            took.append((time.perf_counter() - started) * 1000)
        spent = (time.process_time() + _served() - before) / len(took) * 1000
        late = sorted(took)[int(len(took) * 0.95)]
        click.echo(f"{title:40}{statistics.median(took):>10.1f}{late:>10.1f}{spent:>10.1f}")


def _served() -> float:
    with connection.transaction() as opened:
        return _cpu_seconds(opened)


def _route(name: str) -> Callable[..., dict]:
    route = next(route for route in table.ROUTES if route.name == name)

    def ask(path: dict | None = None, query: dict | None = None) -> dict:
        arrived = answering.Arrived(path or {}, query or {}, {}, b"", CALLER)
        return json.loads(answering.answer(route, arrived).content)

    return ask


# --- what it costs -------------------------------------------------------------------------------


def _publishing(rows: int, times: int) -> None:
    """A first load and a reload of which every row differs, without totals, with them, and with those by day."""
    with connection.transaction() as opened, opened.cursor() as cursor:
        cursor.execute("ALTER TABLE curated.orders RENAME TO filled")
    kinds = {"without totals": None, "totals": Undated(), "totals by day": Orders()}
    took: dict[str, list[tuple]] = {kind: [] for kind in kinds}
    number = 0
    for _ in range(times):
        for kind, source in kinds.items():
            with connection.transaction() as opened, opened.cursor() as cursor:
                cursor.execute("DROP TABLE IF EXISTS curated.orders")
                tables.ensure_curated(cursor, source or Undated())
                if source is None:
                    for trigger in ("inserted", "deleted", "truncated"):
                        cursor.execute(f"DROP TRIGGER totals_{trigger} ON curated.orders")
            spent = []
            for change in range(2):
                number += 1
                spent.append(_publish(source or Undated(), f"publish-{number}", rows, change))
            took[kind].append(tuple(spent))
    click.echo(f"\npublishing {rows:,} rows, median CPU seconds of Postgres, {times} times each in turns\n")
    click.echo(f"{'':40}{'all new':>12}{'all differ':>12}")
    for kind, found in took.items():
        first, again = (statistics.median(seconds) for seconds in zip(*found, strict=True))
        click.echo(f"{kind:40}{first:>12.2f}{again:>12.2f}")


def _publish(source: Source, run_id: str, rows: int, change: int) -> float:
    with connection.transaction() as opened, opened.cursor() as cursor:
        ledger.open_run(cursor, source, run_id, "arn", {}, Window(), dt.datetime.now(dt.UTC).isoformat())
        tables.create_staging(cursor, source, run_id)
        text = STAGE.format(tables.staging(source.table, run_id).as_string(cursor))
        cursor.execute(text, (change,))
    with connection.transaction() as opened, opened.cursor() as cursor:
        before = _cpu_seconds(opened)
        publishing.lock(cursor, source)
        account = publishing.merge(cursor, source, run_id, rows, 0)
        ledger.publish(cursor, run_id, "pass", account)
    with connection.transaction() as opened:
        return _cpu_seconds(opened) - before


def _cpu_seconds(opened) -> float:
    """Of the connection's process: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html."""
    fields = Path(f"/proc/{opened.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
