"""Publishing counts every row, changes only what differs, and rolls back when the account does not balance."""

import concurrent.futures
import contextlib
import io
import json
import uuid

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg2 import errors, sql

from chalicelib import settings, sources
from chalicelib.columns import Column
from chalicelib.contracts import PublishRequest, Window
from chalicelib.conversion import encode
from chalicelib.errors import AccountError, ContractError, SchemaMismatch
from chalicelib.settings import Settings
from chalicelib.sources.base import Source
from chalicelib.stages import publish as stage
from chalicelib.warehouse import connection, copy_text, filling, ledger, publishing, tables
from chalicelib.warehouse.queries import statement


class Shop(Source):
    name = "shop"
    key = ("id",)
    columns = (Column("id", "integer"), Column("name", "text"), Column("price", "numeric(10,2)"))


class Pairs(Source):
    name = "pairs"
    key = ("a", "b")
    columns = (Column("a", "integer"), Column("b", "text"))


@pytest.fixture
def publish(database_url):
    """publish(run_id, rows, …) stages `rows` and publishes them; gives the account.

    `set_aside` are the keys of its quarantined rows by line.
    """

    def published(run_id, rows, source=None, fetched=None, quarantined=0, seqs=None, set_aside=None, replay_of=None):
        source = source or Shop()
        with connection.transaction(database_url) as conn, conn.cursor() as cursor:
            tables.ensure_curated(cursor, source)
            ledger.open_run(cursor, source, run_id, "arn", {}, Window("2024-01-01", "2024-01-31", True), "2024-02-01")
            if replay_of:
                cursor.execute(statement("quarantine", "enter_replay"), {"run_id": run_id, "original": replay_of})
            for line, key in (set_aside or {}).items():
                cursor.execute(
                    "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record, key)"
                    " VALUES (%s, %s, 0, 0, %s, '[]', '', %s)",
                    (run_id, source.name, line, json.dumps(key)),
                )
            tables.create_staging(cursor, source, run_id)
            columns = [encode(list(v), c)[0] for v, c in zip(zip(*rows, strict=True), source.columns, strict=True)]
            copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
                tables.staging(source.table, run_id), tables.copy_columns(source)
            )
            text = copy_text.write(columns, seqs or list(range(1, len(rows) + 1)))
            cursor.copy_expert(copy, io.BytesIO(text))
        with connection.transaction(database_url) as conn, conn.cursor() as cursor:
            account = publishing.merge(
                cursor, source, run_id, len(rows) if fetched is None else fetched, quarantined, replay_of
            )
            ledger.publish(cursor, run_id, "pass", account)
        return account

    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS curated.shop, curated.pairs")
        cursor.execute("DROP SCHEMA staging CASCADE; CREATE SCHEMA staging")
        cursor.execute("TRUNCATE pipeline.runs, pipeline.cursors CASCADE")
    return published


@pytest.fixture
def query(database_url):
    def rows(text):
        with connection.transaction(database_url) as conn, conn.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()

    return rows


ROWS = [(1, "tea", "2.50"), (2, "salt", "0.80"), (3, None, None)]


def numbers(account):
    return (account.inserted, account.updated, account.unchanged, account.duplicates)


def test_a_first_run_inserts_every_row_with_its_lineage(publish, query):
    assert numbers(publish("r1", ROWS, seqs=[1, 2, (5 << 40) + 7])) == (3, 0, 0, 0)
    assert query("SELECT id, name, price::text, _run_id, _raw FROM curated.shop ORDER BY id") == [
        (1, "tea", "2.50", "r1", "0:1"),
        (2, "salt", "0.80", "r1", "0:2"),
        (3, None, None, "r1", "5:7"),
    ]


def test_the_same_rows_again_change_nothing(publish, query):
    publish("r1", ROWS)
    before = query("SELECT xmin, ctid, * FROM curated.shop ORDER BY id")
    assert numbers(publish("r2", ROWS)) == (0, 0, 3, 0)
    assert query("SELECT xmin, ctid, * FROM curated.shop ORDER BY id") == before


def test_only_rows_that_differ_are_updated(publish, query):
    publish("r1", ROWS)
    assert numbers(publish("r2", [(1, "tea", "2.50"), (2, "salt", "0.90"), (4, "oil", "7.00")])) == (1, 1, 1, 0)
    assert query("SELECT id, _run_id FROM curated.shop ORDER BY id") == [(1, "r1"), (2, "r2"), (3, "r1"), (4, "r2")]


def test_of_duplicate_keys_the_last_in_raw_order_wins(publish, query):
    rows = [(1, "last", "3.00"), (1, "first", "1.00"), (1, "middle", "2.00"), (2, "x", "1.00")]
    assert numbers(publish("r1", rows, seqs=[30, 10, 20, 5])) == (2, 0, 0, 2)
    assert query("SELECT name FROM curated.shop WHERE id = 1") == [("last",)]


def test_a_table_that_is_all_key_publishes(publish, query):
    assert numbers(publish("r1", [(1, "x"), (1, "y"), (1, "x")], Pairs())) == (2, 0, 0, 1)
    assert numbers(publish("r2", [(1, "x"), (2, "x")], Pairs())) == (1, 0, 1, 0)


def test_an_account_that_does_not_balance_publishes_nothing(publish, query):
    publish("r1", ROWS)
    with pytest.raises(AccountError, match="5 rows were fetched, 4 are accounted for"):
        publish("r2", [(1, "new", "1.00"), (9, "new", "1.00"), (9, "newer", "1.00")], fetched=5, quarantined=1)
    assert query("SELECT id, name FROM curated.shop ORDER BY id") == [(1, "tea"), (2, "salt"), (3, None)]
    assert query("SELECT status, published_at FROM pipeline.runs WHERE run_id = 'r2'") == [("running", None)]


def test_a_staging_table_that_was_lost_is_an_error(publish, database_url):
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        tables.ensure_curated(cursor, Shop())
    with (
        pytest.raises(AccountError, match="staging table of the run is gone"),
        connection.transaction(database_url) as conn,
        conn.cursor() as cursor,
    ):
        publishing.merge(cursor, Shop(), "never-staged", 0, 0)


def test_publishing_moves_the_cursor_forwards_and_drops_the_staging_table(publish, query):
    publish("r1", ROWS)
    assert query("SELECT position, run_id FROM pipeline.cursors WHERE source = 'shop'") == [("2024-01-31", "r1")]
    assert query("SELECT count(*) FROM pg_tables WHERE schemaname = 'staging'") == [(0,)]


def test_no_rows_are_published_too(publish):
    assert numbers(publish("r1", [(1, "x", "1")])) == (1, 0, 0, 0)


def test_a_table_with_other_columns_is_refused_with_the_statements_that_mend_it(database_url):
    class Changed(Source):
        name = "changed"
        key = ("id",)
        columns = (Column("id", "integer"), Column("price", "numeric(12,2)"), Column("since", "timestamptz"))

    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS curated.changed")
        tables.ensure_curated(cursor, Changed())
        tables.ensure_curated(cursor, Changed())  # the same declaration again is fine
    Changed.columns = (Column("id", "bigint"), Column("price", "numeric(12,2)"), Column("extra", "text"))
    with (
        pytest.raises(SchemaMismatch) as mismatch,
        connection.transaction(database_url) as conn,
        conn.cursor() as cursor,
    ):
        tables.ensure_curated(cursor, Changed())
    for part in ("ADD COLUMN extra text", "ALTER COLUMN id TYPE bigint", "DROP COLUMN since"):
        assert part in str(mismatch.value)


def test_staging_names_fit_postgres_and_differ_between_runs():
    names = {tables.staging_name("t" * 63, run_id) for run_id in ("a" * 80, "a" * 79 + "b")}
    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)


def open_again(database_url, run_id, source, given, started="2024-02-01"):
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        ledger.open_run(cursor, source, run_id, "arn", given, Window("2024-01-01", "2024-01-31", True), started)


def test_a_run_that_was_lost_is_entered_anew_under_its_name(publish, database_url, query):
    open_again(database_url, "lost", Shop(), {"input": "a"})
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        ledger.judge(cursor, "lost", "fail", "report", 10, 5)
        ledger.fail(cursor, "lost", "shop", "arn", {}, {"error": "RunLost"})
    open_again(database_url, "lost", Shop(), {"input": "a"}, "2024-02-02")
    assert query("SELECT status, verdict, fetched, report_key, error, finished_at FROM pipeline.runs") == [
        ("running", None, None, None, None, None)
    ]


@pytest.mark.parametrize(("source", "given"), [(Pairs(), {"input": "a"}), (Shop(), {"input": "b"})])
def test_a_name_stands_for_one_source_and_input(publish, database_url, query, source, given):
    open_again(database_url, "taken", Shop(), {"input": "a"})
    with pytest.raises(ContractError, match="start it under another name"):
        open_again(database_url, "taken", source, given, "2024-02-02")
    assert query("SELECT source, input FROM pipeline.runs") == [("shop", {"input": "a"})]


def test_a_retry_beside_a_publish_that_still_runs_finds_it_published(publish, database_url, monkeypatch):
    rows = [(1, "tea", "2.50")]
    publish("before", rows)
    monkeypatch.setattr(settings, "current", lambda: Settings(bucket="bucket", database_url=database_url))
    monkeypatch.setattr(sources, "for_run", lambda *_: Shop())
    monkeypatch.setattr(stage, "Lake", lambda bucket: None)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        first = connection.connect(database_url)
        with first, first.cursor() as cursor:
            ledger.open_run(cursor, Shop(), "slow", "arn", {}, Window(), "2024-02-01")
            tables.create_staging(cursor, Shop(), "slow")
        with first, first.cursor() as cursor:
            publishing.lock(cursor, Shop())
            retry = threads.submit(stage.publish, PublishRequest("slow", "shop", "pass", False))
            account = publishing.merge(cursor, Shop(), "slow", 0, 0)
            ledger.publish(cursor, "slow", "pass", account)
        assert retry.result(timeout=60).fetched == 0
        first.close()


def test_the_columns_of_the_key_are_never_null():
    assert [column.nullable for column in Pairs.columns] == [False, False]
    assert [column.nullable for column in Shop.columns] == [False, True, True]


def test_connections_do_not_wait_for_ever_and_use_no_option_that_a_proxy_refuses(database_url):
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        assert not conn.get_dsn_parameters().get("options")
        limits = {}
        for name in ("lock_timeout", "statement_timeout", "timezone"):
            cursor.execute(f"SHOW {name}")
            limits[name] = cursor.fetchone()[0]
    assert limits == {"lock_timeout": "45s", "statement_timeout": "14min", "timezone": "UTC"}


@pytest.fixture
def filling_from_two_rows(monkeypatch):
    monkeypatch.setattr(filling, "ROWS", 2)


KEY = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'curated.shop'::regclass"
INDEX = "SELECT 'curated.shop_pkey'::regclass::oid"


def test_an_empty_table_is_filled_and_its_key_enforced_as_before(publish, query, filling_from_two_rows, database_url):
    publish("r0", [(0, "nothing", None)])
    query("DELETE FROM curated.shop RETURNING 1")
    [key], [index] = query(f"{KEY} AND contype = 'p'"), query(INDEX)
    assert numbers(publish("r1", [*ROWS, (3, "later", "1.00")], seqs=[1, 2, 3, 4])) == (3, 0, 0, 1)
    assert query("SELECT id, name, price::text, _run_id, _raw FROM curated.shop ORDER BY id") == [
        (1, "tea", "2.50", "r1", "0:1"),
        (2, "salt", "0.80", "r1", "0:2"),
        (3, "later", "1.00", "r1", "0:4"),
    ]
    assert query(f"{KEY} AND contype = 'p'") == [key] == [("shop_pkey", "PRIMARY KEY (id)")]
    assert query(INDEX) != [index]
    with pytest.raises(errors.UniqueViolation), connection.transaction(database_url) as conn, conn.cursor() as cursor:
        cursor.execute("INSERT INTO curated.shop SELECT * FROM curated.shop")


def test_a_table_with_rows_is_merged_into_and_keeps_its_index(publish, query, filling_from_two_rows):
    publish("r1", ROWS[:1])
    [index] = query(INDEX)
    assert numbers(publish("r2", [(4, "rice", "1.00"), *ROWS])) == (3, 0, 1, 0)
    assert numbers(publish("r3", [(5, "oats", "1.00"), (6, "milk", "2.00")])) == (2, 0, 0, 0)
    assert query(INDEX) == [index]


@pytest.mark.parametrize(
    ("prepare", "undo"),
    [
        ("CREATE VIEW curated.by_key AS SELECT id, name FROM curated.shop GROUP BY id", "DROP VIEW curated.by_key"),
        ("ALTER TABLE curated.shop REPLICA IDENTITY USING INDEX shop_pkey", None),
    ],
    ids=["a view needs the key", "change streams know rows by it"],
)
def test_a_key_that_cannot_be_made_anew_stays(publish, query, filling_from_two_rows, prepare, undo):
    publish("r0", ROWS[:1])
    query(f"{prepare}; DELETE FROM curated.shop RETURNING 1")
    [index] = query(INDEX)
    assert numbers(publish("r1", ROWS)) == (3, 0, 0, 0)
    assert query(INDEX) == [index]
    if undo:
        query(f"{undo}; SELECT 1")


def test_an_empty_table_that_somebody_reads_is_merged_into_at_once(publish, query, filling_from_two_rows, database_url):
    publish("r0", ROWS[:1])
    query("DELETE FROM curated.shop RETURNING 1")
    [index] = query(INDEX)
    with contextlib.closing(connection.connect(database_url)) as reader, reader.cursor() as cursor:
        cursor.execute("SELECT * FROM curated.shop")
        assert numbers(publish("r1", ROWS)) == (3, 0, 0, 0)
    assert query(INDEX) == [index]


_ROWS = st.tuples(st.integers(1, 4), st.sampled_from([None, "a", "b"]))  # few keys, so that they come again


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_ROWS, min_size=1, max_size=6), min_size=1, max_size=4))
def test_any_runs_after_each_other_leave_the_last_row_of_each_key_and_balance(publish, query, runs):
    """Against a dict: of every key the last row of the last run that has it, and each row counted once."""
    if query("SELECT to_regclass('curated.shop')")[0][0]:
        query("DELETE FROM curated.shop RETURNING 1")
    expected: dict[int, str | None] = {}
    name = uuid.uuid4().hex[:8]
    for number, rows in enumerate(runs):
        account = publish(f"{name}-{number}", [(key, value, None) for key, value in rows])
        last = dict(rows)
        inserted = sum(key not in expected for key in last)
        unchanged = sum(key in expected and expected[key] == value for key, value in last.items())
        updated = len(last) - inserted - unchanged
        assert numbers(account) == (inserted, updated, unchanged, len(rows) - len(last))
        expected |= last
        assert dict(query("SELECT id, name FROM curated.shop")) == expected


_JUDGED = st.tuples(st.integers(1, 2), st.sampled_from(["a", "b"]), st.booleans())
_RUN = st.lists(_JUDGED, min_size=1, max_size=6)
_STREAMED = st.tuples(st.integers(1, 2), st.sampled_from(["a", "b"]))


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_RUN | _STREAMED, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_replays_of_any_rows_at_any_time_leave_what_one_load_of_all_rows_would(publish, stream, query, events, chance):
    """Against a dict: whatever was set aside, and whatever was there already, the last row of each key is left."""
    if query("SELECT to_regclass('curated.shop')")[0][0]:
        query("DELETE FROM curated.shop RETURNING 1")
    query("DELETE FROM pipeline.quarantine RETURNING 1")
    name = uuid.uuid4().hex[:8]
    waiting: dict[str, list] = {}
    expected: dict[int, str] = {}

    def replay_some():
        run_id = chance.choice(sorted(waiting))
        lines = chance.sample(waiting[run_id], chance.randint(1, len(waiting[run_id])))
        publish_lines(publish, f"{run_id}-again-{uuid.uuid4().hex[:8]}", lines, replay_of=run_id)
        settled = ", ".join(str(line) for line, *_ in lines)
        query(f"DELETE FROM pipeline.quarantine WHERE run_id = '{run_id}' AND line IN ({settled}) RETURNING 1")
        waiting[run_id] = [each for each in waiting[run_id] if each not in lines]
        if not waiting[run_id]:
            del waiting[run_id]

    for number, event in enumerate(events):
        if isinstance(event, tuple):
            # what is there already the stream leaves alone, and then nothing shows that it came
            if stream(*event):
                expected |= [event]
        else:
            good = [(line, key, value) for line, (key, value, fits) in enumerate(event) if fits]
            bad = [(line, key, value) for line, (key, value, fits) in enumerate(event) if not fits]
            publish_lines(publish, f"{name}-{number}", good, set_aside={line: [str(key)] for line, key, _ in bad})
            expected |= {key: value for key, value, _ in event}
            waiting |= {f"{name}-{number}": bad} if bad else {}
        while waiting and chance.random() < 0.5:
            replay_some()
    while waiting:
        replay_some()
    assert dict(query("SELECT id, name FROM curated.shop WHERE id > 0")) == expected


def test_a_replay_that_finds_a_row_as_it_is_takes_it_from_no_newer_one(publish, stream, query):
    """Neither from a later line of its own run nor from a stream: the next replay would write over what it took."""
    set_aside = {0: ["1"], 1: ["1"], 10: ["2"], 11: ["2"]}
    publish_lines(publish, "orders", [(2, 1, "a")], set_aside=set_aside)
    assert stream(2, "a")
    publish_lines(publish, "orders-again", [(0, 1, "a"), (10, 2, "a")], replay_of="orders")
    query("DELETE FROM pipeline.quarantine WHERE line IN (0, 10) RETURNING 1")
    assert query("SELECT id, _run_id FROM curated.shop WHERE id > 0 ORDER BY id") == [(1, "orders"), (2, "changes-1")]
    publish_lines(publish, "orders-later", [(1, 1, "b"), (11, 2, "b")], replay_of="orders")
    assert query("SELECT id, name FROM curated.shop WHERE id > 0 ORDER BY id") == [(1, "a"), (2, "a")]


def publish_lines(publish, run_id, lines, **given):
    """As `publish`, of (line, key, value); the fixture takes no run without rows, hence one that is no test's."""
    rows = [(key, value, None) for _, key, value in lines]
    publish(run_id, [*rows, (0, None, None)], seqs=[*(line for line, *_ in lines), 99], **given)


@pytest.fixture
def stream(database_url):
    """stream(key, value) writes a row as a change stream does; gives whether it was another one before."""

    def streamed(key, value):
        texts = [encode([cell], column)[0] for cell, column in zip((key, value, None), Shop().columns, strict=True)]
        fingerprint = int(copy_text.write(texts, [0]).split(b"\t")[-2])
        with connection.transaction(database_url) as conn, conn.cursor() as cursor:
            tables.ensure_curated(cursor, Shop())
            cursor.execute(
                "INSERT INTO curated.shop AS t (id, name, _run_id, _raw, _fingerprint, _loaded_at)"
                " VALUES (%s, %s, 'changes-1', '0:0', %s, now())"
                " ON CONFLICT (id) DO UPDATE SET name = excluded.name, price = NULL, _run_id = excluded._run_id,"
                " _raw = excluded._raw, _fingerprint = excluded._fingerprint, _loaded_at = excluded._loaded_at"
                " WHERE t._fingerprint <> excluded._fingerprint",
                (key, value, fingerprint),
            )
            return bool(cursor.rowcount)

    return streamed
