"""The totals of a curated table are what count(*) says, whatever changed its rows."""

import concurrent.futures
import io
import json

import pytest
from change_events import change
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import sql

from chalicelib.changes import apply as changes
from chalicelib.changes.record import read
from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.conversion import encode
from chalicelib.errors import DeclarationError
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, copy_text, evolution, ledger, publishing, tables, upkeep

COLUMNS = (Column("id", "integer"), Column("sold", "timestamptz"), Column("name", "text"))


class Sales(Source):
    name = "sales"
    key = ("id",)
    columns = COLUMNS
    day = "sold"
    changes = ("public", "sales")


class Undated(Source):
    name = "undated"
    table = "sales"
    key = ("id",)
    columns = COLUMNS


class Store:
    """Everything that changes rows of `curated.sales`, and what is kept of their number."""

    def __init__(self, url):
        self.url, self.number = url, 0

    def clear(self):
        self.execute("DROP TABLE IF EXISTS curated.sales")
        self.execute("TRUNCATE pipeline.runs, pipeline.cursors CASCADE")
        self.execute("DELETE FROM pipeline.change_keys WHERE table_name = 'sales'")
        self.ensure()

    def ensure(self, source=None):
        """As the source's next run does."""
        source = source or Sales()
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            tables.ensure_curated(cursor, source)
        assert upkeep.keep_up(source, 60, self.url).left == ()

    def execute(self, text):
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else []

    def stage(self, rows):
        self.number += 1
        run_id = f"sales-{self.number}"
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            ledger.open_run(cursor, Sales(), run_id, "arn", {}, Window(), "2026-02-01")
            tables.create_staging(cursor, Sales(), run_id)
            columns = [encode(list(v), c)[0] for v, c in zip(zip(*rows, strict=True), COLUMNS, strict=True)]
            copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
                tables.staging("sales", run_id), tables.copy_columns(Sales())
            )
            cursor.copy_expert(copy, io.BytesIO(copy_text.write(columns, list(range(1, len(rows) + 1)))))
        return run_id

    def publish(self, run_id, rows, fails=False):
        conn = connection.connect(self.url)
        try:
            with conn, conn.cursor() as cursor:
                publishing.lock(cursor, Sales())
                account = publishing.merge(cursor, Sales(), run_id, len(rows), 0)
                ledger.publish(cursor, run_id, "pass", account)
                if fails:
                    conn.rollback()
        finally:
            conn.close()

    def change(self, operation, row):
        self.number += 1
        names = ("id",) if operation == "delete" else ("id", "sold", "name")
        data = dict(zip(names, row, strict=False))
        found = read(json.dumps(change(operation, data, at=self.number, table="sales")).encode())
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            changes.apply(cursor, Sales(), [(self.number, found)], self.number)

    def kept(self):
        """(rows, {day: rows}) as kept."""
        of_table = "table_id = 'curated.sales'::regclass"
        [(rows,)] = self.execute(f"SELECT rows FROM pipeline.totals WHERE {of_table}")
        days = self.execute(f"SELECT day, rows FROM pipeline.totals_by_day WHERE {of_table} AND rows <> 0")
        return rows, dict(days)

    def counted(self):
        [(rows,)] = self.execute("SELECT count(*) FROM curated.sales")
        by_day = "SELECT (sold AT TIME ZONE 'UTC')::date, count(*) FROM curated.sales GROUP BY 1"
        return rows, dict(self.execute(by_day))


@pytest.fixture
def store(database_url):
    made = Store(database_url)
    made.clear()
    return made


# the last is the same day in UTC as the second
MOMENTS = st.sampled_from([None, "2026-01-01T23:30:00Z", "2026-01-02T00:10:00Z", "2026-01-01T22:30:00-02:00"])
ROWS = st.tuples(st.integers(1, 8), MOMENTS, st.sampled_from(["tea", "salt", None]))
STEPS = st.one_of(
    st.tuples(st.sampled_from(["publish", "again", "broken"]), st.lists(ROWS, min_size=1, max_size=6)),
    st.tuples(st.sampled_from(["insert", "update", "delete"]), ROWS),
    st.tuples(st.just("together"), st.lists(st.lists(ROWS, min_size=1, max_size=4), min_size=2, max_size=3)),
    st.tuples(
        st.just("statement"),
        st.sampled_from(
            [
                "DELETE FROM curated.sales WHERE id < 4",
                "UPDATE curated.sales SET sold = sold + interval '1 day' WHERE id > 3",
                "UPDATE curated.sales SET id = (SELECT max(id) + 1 FROM curated.sales) WHERE id = 5",
                "TRUNCATE curated.sales",
                "DROP TABLE curated.sales",
                "ALTER TABLE curated.sales RENAME COLUMN name TO other; ALTER TABLE curated.sales RENAME other TO name",
            ]
        ),
    ),
)


def take(store, what, given):
    if what == "statement":
        store.execute(given)
        store.ensure()
    elif what == "together":
        runs = [(store.stage(rows), rows) for rows in given]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda run: store.publish(*run), runs))
    elif what in ("publish", "again", "broken"):
        store.publish(store.stage(given), given, fails=what == "broken")
        if what == "again":
            store.publish(store.stage(given), given)
    else:
        store.change(what, given)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=1, max_size=8))
def test_after_any_sequence_of_changes_the_totals_are_those_that_counting_finds(store, steps):
    store.clear()
    for what, rows in steps:
        take(store, what, rows)
        assert store.kept() == store.counted(), what


def test_a_table_that_was_there_is_counted_once_and_kept_from_then_on(store):
    store.publish(store.stage([(1, "2026-01-01", "a"), (2, None, "b")]), [0, 0])
    store.execute("DELETE FROM pipeline.totals; DELETE FROM pipeline.totals_by_day")
    store.ensure()
    assert store.kept() == store.counted()
    before = store.execute("SELECT xmin, ctid FROM pipeline.totals")
    store.ensure()
    assert store.execute("SELECT xmin, ctid FROM pipeline.totals") == before


def test_a_source_that_declares_its_day_later_is_counted_by_it_then_and_no_more_when_it_takes_it_back(store):
    store.execute("DROP TABLE curated.sales")
    store.ensure(Undated())
    store.publish(store.stage([(1, "2026-01-01", "a"), (2, None, "b")]), [0, 0])
    assert store.kept() == (2, {})
    store.ensure(Sales())
    assert store.kept() == store.counted() == (2, store.counted()[1])
    store.execute("UPDATE curated.sales SET sold = NULL")
    assert store.kept() == store.counted() == (2, {None: 2})
    store.ensure(Undated())
    store.execute("DELETE FROM curated.sales WHERE id = 1")
    assert store.kept() == (1, {})
    of_updates = (
        "SELECT count(*) FROM pg_trigger WHERE tgname = 'totals_updated' AND tgrelid = 'curated.sales'::regclass"
    )
    assert store.execute(of_updates) == [(0,)]


def test_another_table_of_the_same_name_has_totals_of_its_own(store):
    store.publish(store.stage([(1, "2026-01-01", "a")]), [0])
    store.execute("ALTER TABLE curated.sales RENAME TO earlier_sales")
    store.ensure()
    assert store.kept() == store.counted() == (0, {})
    store.execute("INSERT INTO curated.earlier_sales SELECT 2, now(), 'x', 'r', '0:1', 1, now()")
    assert store.kept() == store.counted() == (0, {})
    store.execute("DROP TABLE curated.earlier_sales")


def test_a_day_that_becomes_a_text_is_no_day_any_more(store):
    store.publish(store.stage([(1, "2026-01-01", "a")]), [0])
    store.execute("ALTER TABLE curated.sales ALTER COLUMN sold TYPE text")
    evolved = Sales()
    evolved.columns = (COLUMNS[0], Column("sold", "text"), COLUMNS[2])
    store.ensure(evolved)
    assert store.kept() == (1, {})
    store.execute("INSERT INTO curated.sales SELECT 2, 'soon', 'x', 'r', '0:1', 1, now()")
    assert store.kept() == (2, {})


def test_a_column_that_a_run_makes_a_text_is_no_day_from_that_publish_on(store):
    from chalicelib.schema.model import Schema

    store.publish(store.stage([(1, "2026-01-01", "a")]), [0])
    source = Sales()
    source.columns = (Column("id", "integer", nullable=False), Column("sold", "text"), COLUMNS[2])
    source.schema = Schema(0, source.columns, {}, ())
    run_id = store.stage([(2, "2026-01-02", "b")])
    store.execute(f"ALTER TABLE staging.{tables.staging_name('sales', run_id)} ALTER COLUMN sold TYPE text")
    with connection.transaction(store.url) as conn, conn.cursor() as cursor:
        publishing.lock(cursor, source)
        wider = evolution.apply(cursor, source, run_id)
        publishing.merge(cursor, wider, run_id, 1, 0)
    assert store.kept() == (2, {})
    store.execute("DELETE FROM pipeline.schema_changes; DELETE FROM pipeline.schema_columns")


@pytest.mark.parametrize(
    ("day", "wanted", "told"),
    [
        ("name", (), "day names name, which is no date and no time"),
        ("born", (), "day names born, which is personal: the numbers by day would tell its values"),
        ("when", (), "day names columns that are not declared: when"),
        (None, ("x",), "indexes names columns that are not declared: x"),
        (None, ("tags",), "indexes names tags, and jsonb has no order"),
    ],
    ids=["text", "personal", "unknown-day", "unknown-index", "jsonb"],
)
def test_a_day_or_an_index_that_cannot_be_is_refused(day, wanted, told):
    class Wrong(Source):
        name = "wrong"
        key = ("id",)
        columns = (*COLUMNS, Column("tags", "jsonb"), Column("born", "date", personal=True))

    Wrong.day, Wrong.indexes = day, wanted
    with pytest.raises(DeclarationError, match=told):
        Wrong().check()
