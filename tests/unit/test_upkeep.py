"""A table with rows gets totals and indexes while others write to it; what cannot be made is told and fails nobody."""

import contextlib
import threading

import psycopg2
import pytest

from chalicelib.columns import Column
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, counting, indexes, tables, totals, upkeep
from chalicelib.warehouse.deadline import Deadline

COLUMNS = (Column("id", "integer"), Column("sold", "timestamptz"), Column("name", "text"), Column("price", "integer"))
TABLE = "kept_sales"


class Plain(Source):
    name = "kept_plain"
    table = TABLE
    key = ("id",)
    columns = COLUMNS


class Dated(Plain):
    name = "kept_dated"
    table = TABLE
    key = ("id",)
    columns = COLUMNS
    day = "sold"


class Indexed(Plain):
    name = "kept_indexed"
    table = TABLE
    key = ("id",)
    columns = COLUMNS
    indexes = ("name",)


def keep_up(source, seconds, url):
    return list(upkeep.keep_up(source, seconds, url).left)


class Store:
    def __init__(self, url):
        self.url = url
        self.execute(f"DROP TABLE IF EXISTS curated.{TABLE} CASCADE")
        self.execute("DELETE FROM pipeline.upkeep_failures")
        with connection.transaction(url) as opened, opened.cursor() as cursor:
            tables.ensure_curated(cursor, Plain())

    def insert(self, *rows):
        for id, sold in rows:
            self.execute(
                f"INSERT INTO curated.{TABLE} VALUES (%s, %s, 'x', 1, 'r', '0:1', 1, now())",
                (id, sold),
            )

    def execute(self, text, values=None):
        with connection.transaction(self.url) as opened, opened.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def indexes(self):
        found = self.execute("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", (TABLE,))
        return {name: definition.rpartition("USING ")[2] for name, definition in found}

    def kept(self):
        [(rows, known, pending)] = self.execute(
            "SELECT rows, rows_known, counting IS NOT NULL FROM pipeline.totals"
            f" WHERE table_id = 'curated.{TABLE}'::regclass"
        )
        days = self.execute(
            f"SELECT day, rows FROM pipeline.totals_by_day WHERE table_id = 'curated.{TABLE}'::regclass AND rows <> 0"
        )
        return rows if known else None, None if pending else dict(days)

    def counted(self):
        [(rows,)] = self.execute(f"SELECT count(*) FROM curated.{TABLE}")
        by_day = f"SELECT (sold AT TIME ZONE 'UTC')::date, count(*) FROM curated.{TABLE} GROUP BY 1"
        return rows, dict(self.execute(by_day))


@pytest.fixture
def store(database_url):
    return Store(database_url)


@contextlib.contextmanager
def session(url):
    opened = connection.connect(url)
    try:
        yield opened
    finally:
        opened.close()


class Meddled:
    """A cursor that does something else before, or after, the statement that counts."""

    def __init__(self, cursor, meddle, when):
        self.cursor, self.meddle, self.when = cursor, meddle, when

    def execute(self, statement, values=None):
        counts = "count(*)" in str(statement)
        if counts and self.when == "before":
            self.meddle()
        self.cursor.execute(statement, values)
        if "COMMIT" in str(statement) and self.when == "after":
            self.meddle()

    def fetchall(self):
        return self.cursor.fetchall()


# --- totals ----------------------------------------------------------------------------------

MEDDLING = {
    "insert": f"INSERT INTO curated.{TABLE} VALUES (9, '2026-01-09', 'x', 1, 'r', '0:1', 1, now())",
    "update": f"UPDATE curated.{TABLE} SET sold = '2026-03-01' WHERE id < 3",
    "delete": f"DELETE FROM curated.{TABLE} WHERE id = 1",
    "delete-all": f"DELETE FROM curated.{TABLE}",
    "another-count": f"SELECT pipeline.begin_totals('curated.{TABLE}', 'kept_dated', 'sold')",
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", MEDDLING)
@pytest.mark.parametrize("unknown", [False, True], ids=["days-alone", "rows-and-days"])
def test_what_is_written_while_a_table_is_counted_is_in_the_totals_once(store, what, when, unknown):
    store.insert((1, "2026-01-01"), (2, "2026-01-02"), (3, "2026-01-02"), (4, None))
    if unknown:
        store.execute("DELETE FROM pipeline.totals; DELETE FROM pipeline.totals_by_day")
    with session(store.url) as own:
        own.autocommit = True
        with own.cursor() as cursor:
            meddled = Meddled(cursor, lambda: store_in_another_thread(store, MEDDLING[what]), when)
            counting.count(meddled, Dated(), Deadline(60), store.url)
    assert store.kept() == store.counted()
    store.insert((20, "2026-02-01"), (21, None))
    store.execute(f"DELETE FROM curated.{TABLE} WHERE id = 3")
    assert store.kept() == store.counted()


def store_in_another_thread(store, text):
    """By a connection of its own: the process' warm one is the count's."""

    def write():
        with session(store.url) as opened, opened, opened.cursor() as cursor:
            cursor.execute(text)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()


def test_a_table_that_is_emptied_after_it_was_counted_has_no_rows(store):
    store.insert((1, "2026-01-01"), (2, None))
    store.execute("DELETE FROM pipeline.totals; DELETE FROM pipeline.totals_by_day")
    with session(store.url) as own:
        own.autocommit = True
        with own.cursor() as cursor:
            meddled = Meddled(cursor, lambda: store_in_another_thread(store, f"TRUNCATE curated.{TABLE}"), "after")
            counting.count(meddled, Dated(), Deadline(60), store.url)
    assert store.kept() == store.counted() == (0, {})
    store.insert((3, "2026-01-03"))
    assert store.kept() == store.counted()


def test_totals_are_exact_while_many_write(store):
    store.insert(*((id, "2026-01-01") for id in range(1, 50)))
    store.execute("DELETE FROM pipeline.totals; DELETE FROM pipeline.totals_by_day")
    ended = threading.Event()

    def write(first):
        with session(store.url) as opened:
            id = first
            while not ended.is_set():
                id += 10
                with opened, opened.cursor() as cursor:
                    cursor.execute(
                        f"INSERT INTO curated.{TABLE}"
                        " VALUES (%s, now() - interval '1 day' * %s, 'x', 1, 'r', '0:1', 1, now());"
                        f" DELETE FROM curated.{TABLE} WHERE id = %s;"
                        f" UPDATE curated.{TABLE} SET sold = NULL WHERE id = %s",
                        (id, id % 7, id - 30, id - 20),
                    )

    writers = [threading.Thread(target=write, args=(1000 + n,)) for n in range(3)]
    for writer in writers:
        writer.start()
    try:
        for source in (Plain(), Dated(), Plain(), Dated()):
            assert keep_up(source, 60, store.url) == []
    finally:
        ended.set()
        for writer in writers:
            writer.join()
    assert store.kept() == store.counted()


def test_a_count_that_breaks_off_leaves_days_unknown_and_rows_as_they_are_and_the_next_one_ends_it(store):
    store.insert((1, "2026-01-01"), (2, None))

    def die():
        raise psycopg2.OperationalError("the connection is gone")

    with session(store.url) as own:
        own.autocommit = True
        with own.cursor() as cursor, pytest.raises(psycopg2.OperationalError):
            counting.count(Meddled(cursor, die, "before"), Dated(), Deadline(60), store.url)
    assert store.kept() == (2, None)
    store.insert((3, "2026-01-03"))
    assert store.kept() == (3, None)
    assert keep_up(Dated(), 60, store.url) == []
    assert store.kept() == store.counted()


def test_a_table_that_is_counted_is_not_counted_again(store):
    assert keep_up(Dated(), 60, store.url) == []
    before = store.execute("SELECT xmin, ctid FROM pipeline.totals")
    assert keep_up(Dated(), 60, store.url) == []
    assert store.execute("SELECT xmin, ctid FROM pipeline.totals") == before


def test_a_count_waits_for_who_wrote_before_and_has_those_rows(store):
    store.insert((1, "2026-01-01"))
    with session(store.url) as other:
        with other.cursor() as cursor:
            cursor.execute(MEDDLING["insert"])  # and is not committed yet
            counted = threading.Thread(target=keep_up, args=(Dated(), 60, store.url))
            counted.start()
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
            with session(store.url) as third, third, third.cursor() as looking:
                while True:
                    looking.execute(waiting, (f"curated.{TABLE}",))
                    if looking.fetchone()[0]:
                        break
        other.commit()
        counted.join()
    assert store.kept() == store.counted() == (2, store.counted()[1])


# --- indexes ---------------------------------------------------------------------------------


def test_declared_columns_and_the_day_get_an_index_with_the_rest_of_the_key_once(store):
    class Both(Indexed):
        name = "kept_both"
        table = TABLE
        key = ("id",)
        columns = COLUMNS
        day = "sold"
        indexes = ("name", "id")

    store.insert((1, "2026-01-01"))
    for _ in range(2):
        assert keep_up(Both(), 60, store.url) == []
        assert sorted(store.indexes().values()) == ["btree (id)", "btree (name, id)", "btree (sold, id)"]


@pytest.mark.parametrize(
    "definition",
    [
        "(name) INCLUDE (id)",
        "(name, id) WHERE price > 0",
        "USING brin (name, id)",
        "(name text_pattern_ops, id)",
        '(name COLLATE "C", id)',
        "(name, id DESC)",
        "(name NULLS FIRST, id NULLS FIRST)",
        "(lower(name), id)",
        "(id, name)",
    ],
    ids=["include", "partial", "brin", "pattern", "collation", "mixed", "nulls-first", "expression", "other-order"],
)
def test_an_index_that_is_not_sorted_as_pages_are_does_not_stand_for_one_that_is(store, definition):
    store.execute(f"CREATE INDEX ON curated.{TABLE} {definition}")
    assert keep_up(Indexed(), 60, store.url) == []
    assert list(store.indexes().values()).count("btree (name, id)") == 1


@pytest.mark.parametrize(
    "definition",
    ["(name, id)", "(name, id, price)", "(name, id) INCLUDE (price)", "(name DESC, id DESC)"],
    ids=["same", "longer", "with-include", "down"],
)
def test_one_that_is_stays_whatever_it_is_called(store, definition):
    store.execute(f"CREATE INDEX somebodys_own ON curated.{TABLE} {definition}")
    before = store.indexes()
    assert keep_up(Indexed(), 60, store.url) == []
    assert store.indexes() == before


def test_names_differ_by_table_and_columns_and_fit_postgres():
    long = "t" * 63
    wanted = [("t", ("a_b", "c")), ("t", ("a", "b", "c")), (long, ("a",)), (long[:-1], ("a",)), ("t_by_a", ("b",))]
    names = {indexes._name(table, columns) for table, columns in wanted}
    assert len(names) == len(wanted) and max(map(len, names)) <= 63


def test_a_table_that_has_the_name_of_a_renamed_one_gets_its_indexes(store):
    assert keep_up(Indexed(), 60, store.url) == []
    store.execute(f"ALTER TABLE curated.{TABLE} RENAME TO {TABLE}_before")
    try:
        with connection.transaction(store.url) as opened, opened.cursor() as cursor:
            tables.ensure_curated(cursor, Indexed())
            indexes.ensure(cursor, Indexed())
        assert "btree (name, id)" in store.indexes().values()
    finally:
        store.execute(f"DROP TABLE curated.{TABLE}_before")


def test_an_index_that_takes_too_long_is_told_dropped_and_made_by_the_command_while_others_write(store):
    store.insert((1, "2026-01-01"))
    with session(store.url) as other, other.cursor() as cursor:
        cursor.execute(MEDDLING["update"])  # an index waits for who wrote before it began
        left = keep_up(Indexed(), 1, store.url)
        other.commit()
    assert left == [f"the index (name, id) of curated.{TABLE}: it took more than the 1 s there were"]
    assert store.execute("SELECT task, reason FROM pipeline.upkeep_failures") == [
        ("the index (name, id)", "it took more than the 1 s there were")
    ]
    assert keep_up(Indexed(), 60, store.url) == []
    assert list(store.indexes().values()) == ["btree (id)"], "on the same day nothing but its remains go"
    assert keep_up(Indexed(), None, store.url) == []
    assert "btree (name, id)" in store.indexes().values()
    assert store.execute("SELECT task FROM pipeline.upkeep_failures") == []


def test_what_is_left_of_a_broken_index_is_made_anew(store):
    store.insert((1, "2026-01-01"))
    name = indexes._name(TABLE, ("name", "id"))
    store.execute(f"CREATE INDEX {name} ON curated.{TABLE} (name, id)")
    store.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", (f"curated.{name}",))
    assert keep_up(Indexed(), 60, store.url) == []
    assert store.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", (f"curated.{name}",)) == [
        (True,)
    ]


def test_a_text_that_no_index_takes_is_told_by_its_reason_and_not_by_its_value(store):
    # random, so that Postgres cannot make it shorter
    store.execute(
        f"INSERT INTO curated.{TABLE} SELECT 1, NULL, string_agg(md5(n::text), ''), 1, 'r', '0:1', 1, now()"
        " FROM generate_series(1, 200) AS n"
    )
    [left] = keep_up(Indexed(), 60, store.url)
    assert left.endswith("longer than an index takes, 2,704 bytes; take the column out of `indexes`")
    assert list(store.indexes().values()) == ["btree (id)"]


# --- turns -----------------------------------------------------------------------------------


def test_a_table_is_kept_up_by_one_at_a_time_and_what_changes_its_columns_waits(store):
    with upkeep._turn(Indexed(), store.url) as first:
        assert first is not None
        with upkeep._turn(Indexed(), store.url) as second:
            assert second is None
        assert keep_up(Indexed(), 60, store.url) == []
        assert list(store.indexes().values()) == ["btree (id)"]
        waiting = threading.Thread(target=upkeep.wait_for, args=(Indexed(), 60, f"{store.url}&application_name=other"))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join()
    assert keep_up(Indexed(), 60, store.url) == []


def test_a_database_out_of_reach_fails_nobody(store, monkeypatch):
    unreachable = "postgresql://nobody@127.0.0.1:1/none"
    [left] = keep_up(Indexed(), 60, unreachable)
    assert left.startswith(f"upkeep of curated.{TABLE}: Postgres is out of reach")


def test_a_table_that_there_is_not_needs_nothing(store):
    store.execute(f"DROP TABLE curated.{TABLE}")
    assert keep_up(Dated(), 60, store.url) == []


def test_a_day_that_is_gone_is_counted_by_no_more_at_once(store):
    assert keep_up(Dated(), 60, store.url) == []
    store.execute(f"ALTER TABLE curated.{TABLE} RENAME COLUMN sold TO bought")
    with connection.transaction(store.url) as opened, opened.cursor() as cursor:
        totals.forget_lost_day(cursor, Dated())
    store.execute(f"INSERT INTO curated.{TABLE} VALUES (1, NULL, 'x', 1, 'r', '0:1', 1, now())")
    assert store.kept() == (1, {})
