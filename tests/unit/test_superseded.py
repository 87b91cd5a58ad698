"""Of rows with the same key the last in raw order stays, whichever way the others are found."""

import contextlib
import io
import random

import pytest
from psycopg2 import sql

from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.conversion import encode
from chalicelib.errors import AccountError
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, copy_text, filling, ledger, publishing, superseded, tables
from chalicelib.warehouse.queries import statement

RUN = "run"
CHUNK_ROWS = 700
# as on a large table, of which a test has none; `debug_parallel_query` would plan a worker where none is of use
PARALLEL = "SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL parallel_setup_cost = 0"


class Single(Source):
    name = "single"
    key = ("id",)
    columns = (Column("id", "bigint"), Column("name", "text"))


class Text(Source):
    name = "texts"
    key = ("code",)
    columns = (Column("code", "text"), Column("name", "text"))


class Composite(Source):
    name = "composite"
    key = ("place", "last")  # names that the statements have too
    columns = (Column("place", "integer"), Column("last", "text"), Column("name", "text"))


def single(number):
    return (number,)


def text(number):  # alike but for case, accents or a space at the end
    return (f"{'ÄäAa'[number % 4]}{number // 8}{' ' * (number // 4 % 2)}",)


def composite(number):  # neither column alone tells the keys apart
    return (number % 60, str(number // 60))


KEYS = [
    pytest.param(Single, single, id="a number"),
    pytest.param(Text, text, id="a text"),
    pytest.param(Composite, composite, id="two columns"),
]


@pytest.fixture
def staged(database_url):
    """staged(source, keys) is a run's transaction with a row for each of `keys`; its name tells its place.

    The rows come by chunks, the last of the raw rows first, as workers may bring them.
    """
    with contextlib.ExitStack() as opened:

        def transaction(source, keys):
            rows = [(*key, str(place)) for place, key in enumerate(keys)]
            with connection.transaction(database_url) as conn, conn.cursor() as cursor:
                cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(tables.curated(source)))
                cursor.execute("DELETE FROM pipeline.runs")
                tables.ensure_curated(cursor, source)
                ledger.open_run(cursor, source, RUN, "arn", {}, Window(), "2024-02-01")
                tables.create_staging(cursor, source, RUN)
                copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
                    tables.staging(source.table, RUN), tables.copy_columns(source)
                )
                for begin in reversed(range(0, len(rows), CHUNK_ROWS)):
                    chunk = rows[begin : begin + CHUNK_ROWS]
                    texts = [
                        encode(list(values), column)[0]
                        for values, column in zip(zip(*chunk, strict=True), source.columns, strict=True)
                    ]
                    seqs = list(range(begin + 1, begin + len(chunk) + 1))
                    cursor.copy_expert(copy, io.BytesIO(copy_text.write(texts, seqs)))
            conn = opened.enter_context(connection.transaction(database_url))
            cursor = opened.enter_context(conn.cursor())
            cursor.execute(PARALLEL)
            return cursor

        yield transaction


@pytest.fixture
def in_parallel(monkeypatch):
    monkeypatch.setattr(superseded, "ROWS", 100)


def ways(monkeypatch):
    """What `statement` was asked for from now on."""
    asked = []

    def told(file, name, **identifiers):
        asked.append(name)
        return statement(file, name, **identifiers)

    monkeypatch.setattr(superseded, "statement", told)
    return asked


def again_and_again(key, keys=4_000, again=300):
    """Each key, some of them up to four times, in no order; and the names of the rows that stay, by key."""
    chosen = random.Random(7)
    numbers = [*range(keys), *(number for _ in range(3) for number in chosen.sample(range(keys), again))]
    chosen.shuffle(numbers)
    given = [key(number) for number in numbers]
    return given, {found: str(place) for place, found in enumerate(given)}


def dropped(cursor, source):
    """How many rows `drop` says it dropped, and the names of those that are left, by key."""
    staging, count = tables.staging(source.table, RUN), len(source.key)
    cursor.execute(sql.SQL("ANALYZE {}").format(staging))
    number = superseded.drop(cursor, source, RUN)
    columns = sql.SQL(", ").join(map(sql.Identifier, source.column_names))
    cursor.execute(sql.SQL("SELECT {} FROM {}").format(columns, staging))
    left = [(row[:count], row[count]) for row in cursor.fetchall()]
    assert len(left) == len(dict(left))
    return number, dict(left)


@pytest.mark.parametrize("workers", [0, 2], ids=["no workers", "two workers"])
@pytest.mark.parametrize(("source", "key"), KEYS)
def test_the_last_row_of_each_key_stays_however_many_look(staged, in_parallel, monkeypatch, source, key, workers):
    keys, expected = again_and_again(key)
    cursor, asked = staged(source(), keys), ways(monkeypatch)
    cursor.execute(f"SET LOCAL max_parallel_workers_per_gather = {workers}")
    assert dropped(cursor, source()) == (len(keys) - len(expected), expected)
    assert "drop_found" in asked and "drop_superseded" not in asked


@pytest.mark.parametrize(("source", "key"), KEYS)
def test_so_it_does_below_the_number_of_rows_from_which_many_look(staged, monkeypatch, source, key):
    keys, expected = again_and_again(key)
    cursor, asked = staged(source(), keys), ways(monkeypatch)
    assert dropped(cursor, source()) == (len(keys) - len(expected), expected)
    assert "drop_found" not in asked


@pytest.mark.parametrize("keys", [1, 40], ids=["one key", "few keys"])
def test_many_rows_of_few_keys_are_dropped_by_the_one_statement(staged, in_parallel, monkeypatch, keys):
    given = [(place % keys,) for place in range(3_000)]
    cursor, asked = staged(Single(), given), ways(monkeypatch)
    number, left = dropped(cursor, Single())
    assert (number, left) == (3_000 - keys, {key: str(place) for place, key in enumerate(given)})
    assert "drop_found" not in asked


def test_many_rows_of_a_few_among_many_keys_are_found_too(staged, in_parallel, monkeypatch):
    """A key that comes a thousand times is as little work for the search as one that comes twice."""
    given = [*((place,) for place in range(5_000)), *((7,) for _ in range(1_000)), *((8,) for _ in range(1_000))]
    cursor, asked = staged(Single(), given), ways(monkeypatch)
    number, left = dropped(cursor, Single())
    assert (number, left[(7,)], left[(8,)], len(left)) == (2_000, "5999", "6999", 5_000)
    assert "drop_found" in asked


def test_nothing_is_dropped_where_no_key_comes_again(staged, in_parallel, monkeypatch):
    cursor, asked = staged(Single(), [(place,) for place in range(1_000)]), ways(monkeypatch)
    assert dropped(cursor, Single())[0] == 0
    assert "drop_found" in asked


def test_the_search_is_planned_for_several_processes_and_within_the_memory_of_one(staged):
    cursor = staged(Single(), [(place,) for place in range(5_000)])
    cursor.execute(sql.SQL("ANALYZE {}").format(tables.staging("single", RUN)))
    cursor.execute("SET LOCAL max_parallel_workers_per_gather = 3; SET LOCAL work_mem = '256MB'")
    cursor.execute(statement("publish", "share_memory"))
    cursor.execute("SHOW work_mem")
    assert cursor.fetchone() == ("64MB",)
    find = statement(
        "publish",
        "find_superseded",
        found=sql.Identifier("staging", "found"),
        staging=tables.staging("single", RUN),
        key=sql.Identifier("id"),
        same_key=tables.equal("s", "d", ("id",)),
    )
    cursor.execute(sql.SQL("EXPLAIN ") + find)
    plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Parallel Hash Semi Join" in plan and "Workers Planned" in plan


def test_the_settings_are_as_before_afterwards(staged, in_parallel):
    def settings():
        found = []
        for name in ("work_mem", "parallel_tuple_cost", "max_parallel_workers_per_gather"):
            cursor.execute(f"SHOW {name}")
            found.append(cursor.fetchone()[0])
        return found

    cursor = staged(Single(), [(place // 2,) if place < 200 else (place,) for place in range(1_000)])
    cursor.execute("SET LOCAL work_mem = '99MB'")
    before = settings()
    assert dropped(cursor, Single())[0] == 100
    assert settings() == before


@pytest.mark.parametrize("code", ["53100", "53200"], ids=["disk full", "out of memory"])
def test_where_there_is_no_memory_to_share_one_process_does_it(staged, in_parallel, monkeypatch, code):
    """An event trigger says what Postgres does where /dev/shm is too small, to whoever has workers planned."""
    keys, expected = again_and_again(single)
    cursor, asked = staged(Single(), keys), ways(monkeypatch)
    cursor.execute(f"""
        CREATE FUNCTION pg_temp.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            IF current_setting('max_parallel_workers_per_gather')::int > 0 THEN
                RAISE 'could not resize shared memory segment' USING ERRCODE = '{code}';
            END IF;
        END $$;
        CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE TABLE AS')
            EXECUTE FUNCTION pg_temp.refuse();
    """)
    try:
        assert dropped(cursor, Single()) == (len(keys) - len(expected), expected)
        assert asked[-1] == "drop_superseded"
        cursor.execute("SHOW max_parallel_workers_per_gather")
        assert cursor.fetchone() == ("0",)
    finally:
        cursor.connection.rollback()


def test_nobody_moves_a_row_between_the_search_and_the_deletion(staged, in_parallel, database_url):
    cursor = staged(Single(), [(place,) for place in range(1_000)])
    dropped(cursor, Single())
    with contextlib.closing(connection.connect(database_url)) as other, other.cursor() as late:
        late.execute(
            "SELECT 1 FROM pg_locks WHERE mode = 'ShareRowExclusiveLock' AND relation = %s::regclass",
            (f'staging."{tables.staging_name("single", RUN)}"',),
        )
        assert late.fetchone()


@pytest.mark.parametrize("held", [False, True], ids=["an empty table", "a table with rows"])
@pytest.mark.parametrize(("source", "key"), KEYS)
def test_a_publish_that_finds_in_parallel_balances(staged, in_parallel, monkeypatch, source, key, held):
    monkeypatch.setattr(filling, "ROWS", 100)
    keys, expected = again_and_again(key)
    cursor = staged(source(), keys)
    if held:  # one in ten is there already, one in ten has another value
        table, columns = tables.curated(source()), sql.SQL(", ").join(map(sql.Identifier, source().column_names))
        begin = sql.SQL(
            "INSERT INTO {} SELECT {}, 'old', '0:1', _fingerprint + (name::int %% 20) / 10, now() FROM {}"
            " WHERE name::int %% 10 = 0 AND name = ANY(%s)"
        ).format(table, columns, tables.staging(source().table, RUN))
        cursor.execute(begin, (list(expected.values()),))
    account = publishing.merge(cursor, source(), RUN, len(keys) + 5, 5)
    names = list(map(int, expected.values()))
    same = sum(name % 20 == 0 for name in names) if held else 0
    other = sum(name % 20 == 10 for name in names) if held else 0
    assert (account.inserted, account.updated, account.unchanged, account.duplicates) == (
        len(expected) - same - other,
        other,
        same,
        len(keys) - len(expected),
    )
    cursor.execute(sql.SQL("SELECT name FROM {}").format(tables.curated(source())))
    assert sorted(int(name) for (name,) in cursor.fetchall()) == sorted(names)
    cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'staging' AND tablename ~ %s", (source.name,))
    assert cursor.fetchone() == (0,)


def test_a_row_too_few_or_too_many_in_staging_is_no_balanced_account(staged, in_parallel):
    keys, _ = again_and_again(single)
    for lost, told in ((1, "accounted for"), (-1, "accounted for")):
        cursor = staged(Single(), keys)
        with pytest.raises(AccountError, match=told):
            publishing.merge(cursor, Single(), RUN, len(keys) + lost, 0)
        cursor.connection.rollback()


def test_a_row_that_was_never_fetched_is_found_where_all_others_are_unchanged(staged, in_parallel):
    keys = [(place,) for place in range(1_000)]
    cursor = staged(Single(), keys)
    publishing.merge(cursor, Single(), RUN, 1_000, 0)
    tables.create_staging(cursor, Single(), RUN)
    cursor.execute(
        sql.SQL(
            "INSERT INTO {} SELECT id, name, _fingerprint, id FROM curated.single UNION ALL SELECT -1, 'x', 1, -1"
        ).format(tables.staging("single", RUN))
    )
    with pytest.raises(AccountError, match="1000 rows were fetched, 1001 are accounted for"):
        publishing.merge(cursor, Single(), RUN, 1_000, 0)
    cursor.connection.rollback()
