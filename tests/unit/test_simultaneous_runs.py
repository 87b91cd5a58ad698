"""Runs of one source at once: no update is lost, the later run's rows stay, the cursor ends at the furthest."""

import concurrent.futures
import datetime as dt
import io
import itertools
import uuid

import pytest
from psycopg2 import sql

from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.conversion import encode
from chalicelib.lake.position import LINE_BITS
from chalicelib.redriving import planning
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, copy_text, cursors, ledger, publishing, tables


class Shop(Source):
    name = "corner_shop"
    key = ("id",)
    columns = (Column("id", "integer"), Column("name", "text"))


class Store:
    """open_(run) enters a run in the ledger; publish(run, rows) publishes it; rows() are those of the table."""

    def __init__(self, database_url):
        self.url = database_url
        self.source = Shop()

    def open(self, run_id, window=("2024-01-01", "2024-01-31"), started="2024-02-01T00:00:00Z", **given):
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            tables.ensure_curated(cursor, self.source)
            # all began in the same second: not what Step Functions says of their start counts, but the ledger's order
            ledger.open_run(cursor, self.source, run_id, "arn", given, Window(*window, True), started)
            tables.create_staging(cursor, self.source, run_id)

    def redrive(self, run_id, failed):
        """Enter a run that keeps the first raw object, which the failed one fetched, and fetches the second."""
        self.plan_redrive(run_id, failed)
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            stored = [
                (part, f"raw/source=shop/date=2026-01-01/run={by}/part-{part}.csv", 1, "")
                for part, by in enumerate((failed, run_id))
            ]
            ledger.add_raw_objects(cursor, run_id, stored)

    def plan_redrive(self, run_id, failed):
        self.open(run_id, redrive=failed)
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            row = ledger.get_run(conn, failed)
            planning.enter(cursor, run_id, planning.Failed(failed, (row,), {"a partition": "its listing"}))

    def publish(self, run_id, rows, parts=None):
        """`parts`: the raw object of each row, the first one where nothing is said."""
        lines = [part << LINE_BITS | line for line, part in enumerate(parts or [0] * len(rows), 1)]
        conn = connection.connect(self.url)  # its own: threads publish at the same time
        try:
            with conn, conn.cursor() as cursor:
                columns = [
                    encode(list(v), c)[0] for v, c in zip(zip(*rows, strict=True), self.source.columns, strict=True)
                ]
                copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
                    tables.staging(self.source.table, run_id), tables.copy_columns(self.source)
                )
                cursor.copy_expert(copy, io.BytesIO(copy_text.write(columns, lines)))
            with conn, conn.cursor() as cursor:
                publishing.lock(cursor, self.source)
                account = publishing.merge(cursor, self.source, run_id, len(rows), 0)
                ledger.publish(cursor, run_id, "pass", account)
        finally:
            conn.close()
        return account

    def query(self, text, *values):
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def rows(self):
        return self.query("SELECT id, name, _run_id FROM curated.corner_shop ORDER BY id")

    def position(self):
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            return cursors.position(cursor, "corner_shop")


@pytest.fixture
def store(database_url):
    store = Store(database_url)
    store.query("DROP TABLE IF EXISTS curated.corner_shop")
    store.query("DELETE FROM pipeline.cursors WHERE source = 'corner_shop'")
    store.query("DELETE FROM pipeline.cursor_moves WHERE source = 'corner_shop'")
    store.query("DELETE FROM pipeline.runs WHERE source = 'corner_shop'")
    return store


@pytest.fixture
def names():
    """Names of runs, in an order that says nothing about theirs."""
    return sorted(uuid.uuid4().hex for _ in range(3))


@pytest.mark.parametrize("published", list(itertools.permutations(range(3))))
def test_the_run_that_was_entered_last_wins_in_whatever_order_they_publish(store, names, published):
    for name in names:
        store.open(name)
    for number in published:
        store.publish(names[number], [(1, f"version {number}"), (10 + number, "mine alone")])
    assert store.rows() == [
        (1, "version 2", names[2]),
        (10, "mine alone", names[0]),
        (11, "mine alone", names[1]),
        (12, "mine alone", names[2]),
    ]


def test_a_row_that_came_too_late_is_a_duplicate_of_the_newer_one(store, names):
    for name in names[:2]:
        store.open(name)
    store.publish(names[1], [(1, "new"), (2, "same")])
    account = store.publish(names[0], [(1, "old"), (2, "same"), (3, "mine alone")])
    assert (account.inserted, account.updated, account.unchanged, account.duplicates) == (1, 0, 1, 1)


@pytest.mark.parametrize("status", ["failed", "rejected"])
def test_nor_is_it_by_an_older_one_that_failed_and_is_redriven(store, names, status):
    first, failed, later = names
    store.open(first)
    store.publish(first, [(1, "as it was")])
    store.open(failed)
    store.query("UPDATE pipeline.runs SET status = %s, finished_at = now() WHERE run_id = %s", status, failed)
    store.open(later)
    store.publish(later, [(1, "as it was")])
    assert store.rows() == [(1, "as it was", later)]
    store.open("repeated")
    store.publish("repeated", [(1, "as it was")])
    assert store.rows() == [(1, "as it was", later)]  # written once for a failed run, not by each load from then on
    store.open("redriven")
    entry = "UPDATE pipeline.runs SET entry = (SELECT entry FROM pipeline.runs WHERE run_id = %s) WHERE run_id = %s"
    store.query(entry, failed, "redriven")
    account = store.publish("redriven", [(1, "for a while")])
    assert store.rows() == [(1, "as it was", later)] and account.duplicates == 1


@pytest.fixture
def redriven(store, names):
    """A run that failed, one that was entered since, and the one that redrives the first: its second part is newer."""
    failed, between, again = names
    store.open(failed)
    store.query("UPDATE pipeline.runs SET status = 'failed', finished_at = now() WHERE run_id = %s", failed)
    store.open(between)
    store.redrive(again, failed)
    return between, again


@pytest.mark.parametrize("published", list(itertools.permutations(("between", "again", "last"))), ids="-".join)
def test_what_a_redriven_run_fetches_itself_is_newer_than_what_came_since_and_what_it_keeps_is_not(
    store, redriven, published
):
    between, again = redriven
    store.open("last")
    publish = {
        "between": lambda: store.publish(between, [(1, "between"), (2, "between"), (3, "between")]),
        "again": lambda: store.publish(again, [(1, "kept"), (2, "fetched"), (3, "fetched")], (0, 1, 1)),
        "last": lambda: store.publish("last", [(3, "last")]),
    }
    for name in published:
        publish[name]()
    assert store.rows() == [(1, "between", between), (2, "fetched", again), (3, "last", "last")]


def test_a_redriven_run_whose_plan_is_done_twice_keeps_the_place_of_what_it_fetches_itself(store, names, redriven):
    """The answer of the first Plan was lost: the state machine asked once more."""
    between, again = redriven
    store.plan_redrive(again, names[0])
    store.publish(between, [(1, "between"), (2, "between")])
    store.publish(again, [(1, "kept"), (2, "fetched")], (0, 1))
    assert store.rows() == [(1, "between", between), (2, "fetched", again)]


def test_a_row_that_a_redriven_run_fetches_and_finds_as_it_is_is_not_replaced_by_what_came_since(
    store, names, redriven
):
    between, again = redriven
    store.open("before")
    store.query("UPDATE pipeline.runs SET entry = 0 WHERE run_id = 'before'")
    store.publish("before", [(1, "as it is"), (2, "as it is")])
    assert store.publish(again, [(1, "as it is"), (2, "as it is")], (0, 1)).unchanged == 2
    account = store.publish(between, [(1, "for a while"), (2, "for a while")])
    assert (account.updated, account.duplicates) == (1, 1)
    assert store.rows() == [(1, "for a while", between), (2, "as it is", again)]


def test_a_row_that_a_redriven_run_fetched_keeps_its_place_where_a_run_before_finds_it_as_it_is(store, redriven):
    between, again = redriven
    store.open("open")
    store.query("UPDATE pipeline.runs SET entry = 0 WHERE run_id = 'open'")  # may overwrite what nobody confirms
    store.publish(again, [(1, "kept"), (2, "fetched")], (0, 1))
    assert store.publish(between, [(1, "kept"), (2, "fetched")]).unchanged == 2
    assert store.rows() == [(1, "kept", again), (2, "fetched", again)]


def test_a_replay_of_rows_that_a_redriven_run_fetched_itself_has_their_place(store, redriven):
    between, again = redriven
    store.publish(again, [(1, "kept"), (2, "fetched")], (0, 1))
    store.publish(between, [(3, "between"), (4, "between")])
    store.open("replay")
    store.query(
        "UPDATE pipeline.runs AS r SET replay_of = o.run_id, entry = o.entry, fetched_entry = o.fetched_entry"
        " FROM pipeline.runs AS o WHERE r.run_id = 'replay' AND o.run_id = %s",
        again,
    )
    store.publish("replay", [(3, "kept"), (4, "fetched")], (0, 1))
    assert store.rows()[2:] == [(3, "between", between), (4, "fetched", "replay")]


def test_a_value_that_a_later_run_found_unchanged_is_not_replaced_by_an_older_one(store, names):
    first, late, third = names
    store.open(first)
    store.publish(first, [(1, "as it is"), (2, "untouched")])
    store.open(late)
    store.open(third)
    assert store.publish(third, [(1, "as it is")]).unchanged == 1
    store.publish(late, [(1, "as it was in between"), (2, "changed")])
    assert store.rows() == [(1, "as it is", third), (2, "changed", late)]


def test_a_repeated_load_touches_no_row_where_no_other_run_is_under_way(store, names):
    for name in names[:2]:
        store.open(name)
        store.publish(name, [(1, "as it is")])
    assert store.rows() == [(1, "as it is", names[0])]


def test_a_run_that_is_started_again_counts_from_its_second_start(store, names):
    first, second = names[:2]
    store.open(first)
    store.open(second)
    store.publish(second, [(1, "in between")])
    store.open(first, started="2024-02-02T00:00:00Z")
    store.publish(first, [(1, "fetched again")])
    assert store.rows() == [(1, "fetched again", first)]


def test_a_plan_that_comes_late_makes_its_run_neither_a_later_one_nor_one_of_other_days(store, names):
    """It derived its window from a cursor that another run has moved meanwhile: these days nobody has fetched."""
    first, second = names[:2]
    store.open(first, ("2024-01-01", "2024-01-10"))
    store.open(second, ("2024-01-01", "2024-01-10"))
    store.publish(second, [(1, "as it is now")])
    store.open(first, ("2024-01-11", "2024-01-20"))
    store.publish(first, [(1, "as it was")])
    assert store.rows() == [(1, "as it is now", second)]
    assert store.position() == "2024-01-10"


@pytest.mark.parametrize("runs", [2, 5])
def test_runs_that_publish_at_once_neither_lose_a_row_nor_wait_for_each_other_for_ever(store, runs):
    names = [uuid.uuid4().hex for _ in range(runs)]
    for number, name in enumerate(names):
        store.open(name, ("2024-01-01", f"2024-01-{10 + number}"))
    # the shared keys in another order each: whoever locked them row by row would deadlock
    shared = list(range(200))
    with concurrent.futures.ThreadPoolExecutor(runs) as pool:
        tasks = [
            pool.submit(
                store.publish,
                name,
                [(key, f"{key} by {number}") for key in (shared if number % 2 else shared[::-1])]
                + [(1000 * (number + 1) + extra, "mine alone") for extra in range(50)],
            )
            for number, name in enumerate(names)
        ]
        accounts = [task.result(timeout=60) for task in tasks]
    for account in accounts:
        assert account.fetched == 250 == account.inserted + account.updated + account.unchanged + account.duplicates
    found = store.rows()
    assert len(found) == 200 + 50 * runs
    assert [(row[1], row[2]) for row in found[:200]] == [(f"{key} by {runs - 1}", names[-1]) for key in shared]
    assert store.position() == f"2024-01-{10 + runs - 1}"


@pytest.mark.parametrize("off", ["1 second", "2 days"])
def test_a_clock_of_postgres_that_goes_back_makes_no_newer_row_an_older_one(store, names, off):
    """It may, where a standby takes over whose clock is behind."""
    for number, name in enumerate(names[:2]):
        store.open(name)
        store.publish(name, [(1, f"version {number}"), (10 + number, "mine alone")])
        moved = "UPDATE pipeline.runs SET entered_at = entered_at + %s::interval WHERE run_id = %s"
        store.query(moved, off, name)
    assert store.rows() == [(1, "version 1", names[1]), (10, "mine alone", names[0]), (11, "mine alone", names[1])]


# --- the cursor ------------------------------------------------------------------------------


def test_the_cursor_ends_at_the_furthest_day_and_never_goes_back(store, names):
    far, near = names[:2]
    store.open(far, ("2024-01-01", "2024-01-31"))
    store.open(near, ("2024-01-01", "2024-01-20"))
    store.publish(far, [(1, "x")])
    store.publish(near, [(1, "x")])
    assert store.position() == "2024-01-31"


def put(store, day, why="late data"):
    with connection.transaction(store.url) as conn, conn.cursor() as cursor:
        return cursors.put(cursor, "corner_shop", dt.date.fromisoformat(day), "ada", why)


def test_a_cursor_that_was_set_back_during_a_run_is_not_moved_over_the_days_between(store, names):
    put(store, "2024-01-31")
    store.open(names[0], ("2024-01-29", "2024-02-10"))
    assert put(store, "2024-01-10") == "2024-01-31"
    store.publish(names[0], [(1, "x")])
    assert store.position() == "2024-01-10"
    store.open(names[1], ("2024-01-11", "2024-02-10"))
    store.publish(names[1], [(1, "x")])
    assert store.position() == "2024-02-10"


def test_a_gap_that_is_wanted_is_passed(store, names):
    put(store, "2024-01-10")
    store.open(names[0], ("2024-03-01", "2024-03-02"), move_cursor=True, allow_gap=True)
    store.publish(names[0], [(1, "x")])
    assert store.position() == "2024-03-02"


def test_every_move_is_recorded_with_who_and_why(store, names):
    store.open(names[0])
    store.publish(names[0], [(1, "x")])
    put(store, "2024-01-10", "the archive was corrected")
    with connection.transaction(store.url) as conn, conn.cursor() as cursor:
        moves = cursors.moves(cursor, "corner_shop")
    assert [(m.before, m.after, m.run_id, m.moved_by, m.why) for m in moves] == [
        ("2024-01-31", "2024-01-10", None, "ada", "the archive was corrected"),
        (None, "2024-01-31", names[0], None, None),
    ]


def test_a_run_that_is_not_published_leaves_the_cursor_where_it_is(store, names):
    store.open(names[0])
    with (
        pytest.raises(RuntimeError),
        connection.transaction(store.url) as conn,
        conn.cursor() as cursor,
    ):
        account = publishing.merge(cursor, store.source, names[0], 0, 0)
        ledger.publish(cursor, names[0], "pass", account)
        raise RuntimeError("the connection broke before the commit")
    assert store.position() is None
