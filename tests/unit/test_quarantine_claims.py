"""Claims on quarantined rows: one replay at a time, settled with what it publishes, in the original run's place."""

import concurrent.futures
import datetime as dt
import io
import json
import threading
import uuid

import psycopg2
import pytest
from psycopg2 import sql

from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.conversion import encode
from chalicelib.errors import AccountError, ContractError, NotFound
from chalicelib.lake import keys
from chalicelib.quarantine import claims, planning, rows
from chalicelib.quarantine.rows import Filter
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, copy_text, ledger, publishing, queries, tables


class Kiosk(Source):
    name = "kiosk"
    key = ("id",)
    columns = (Column("id", "integer"), Column("name", "text"))


class Diary(Source):
    name = "kiosk"
    table = "kiosk_by_day"
    key = ("id",)
    columns = (Column("id", "integer"), Column("name", "text"), Column("day", "date"))
    day = "day"


class Store:
    """run() enters and publishes a run; set_aside() puts lines into its quarantine; replay() judges claimed lines."""

    def __init__(self, url, source):
        self.url, self.source = url, source

    def query(self, text, *values):
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def enter(self, run_id, window=None, **given):
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            tables.ensure_curated(cursor, self.source)
            ledger.open_run(
                cursor, self.source, run_id, "arn", given, window or Window(), dt.datetime.now(dt.UTC).isoformat()
            )
            tables.create_staging(cursor, self.source, run_id)

    def stage(self, run_id, values):
        """`values`: {line: (id, name)}."""
        if values:
            columns = [
                encode(list(v), c)[0]
                for v, c in zip(zip(*values.values(), strict=True), self.source.columns, strict=True)
            ]
            copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
                tables.staging(self.source.table, run_id), tables.copy_columns(self.source)
            )
            with connection.transaction(self.url) as conn, conn.cursor() as cursor:
                cursor.copy_expert(copy, io.BytesIO(copy_text.write(columns, list(values))))

    def publish(self, run_id, fetched, quarantined=0, settle=None):
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            publishing.lock(cursor, self.source)
            run = ledger.get_run(conn, run_id)
            settle = run["replay_of"] and (
                lambda staging: claims.settle(cursor, run["input"]["replay"], run_id, staging, fetched)
            )
            account = publishing.merge(
                cursor, self.source, run_id, fetched, quarantined, run["replay_of"], settle or None
            )
            ledger.publish(cursor, run_id, "pass", account)
        return account

    def run(self, run_id, values, bad=(), **given):
        self.enter(run_id, **given)
        self.stage(run_id, values)
        self.set_aside(run_id, bad)
        return self.publish(run_id, len(values) + len(bad), len(bad))

    def set_aside(self, run_id, lines, message="name is '?', expected a name"):
        reason = {"kind": "expectation", "message": message, "column": "name", "value": "?", "expectation": "named"}
        for line in lines:
            self.query(
                "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)"
                " VALUES (%s, 'kiosk', 0, 0, %s, %s, '{}')",
                run_id,
                line,
                json.dumps([reason]),
            )

    def take(self, **wanted):
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            return claims.take(cursor, Filter(**{"source": "kiosk", **wanted}))

    def replay(self, claim, run_id, passed, failed=()):
        self.enter(run_id, replay=claim)
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            planning.enter(cursor, self.source, run_id, claim)
        self.stage(run_id, passed)
        self.set_aside(run_id, failed, "name is '?', expected a longer name")
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            claims.failed_again(cursor, run_id, 0)
        return self.publish(run_id, len(passed) + len(failed), len(failed))

    def states(self, run_id):
        with connection.transaction(self.url) as conn, conn.cursor() as cursor:
            return {state: number for state, number in rows.states(cursor, run_id).items() if number}

    def names(self):
        return dict(self.query("SELECT id, name FROM curated.kiosk ORDER BY id"))


@pytest.fixture
def store(database_url):
    return emptied(Store(database_url, Kiosk()))


@pytest.fixture
def diary(database_url):
    return emptied(Store(database_url, Diary()))


def emptied(store):
    store.query("DROP TABLE IF EXISTS curated.kiosk, curated.kiosk_by_day")
    store.query("DELETE FROM pipeline.runs WHERE source = 'kiosk'")
    return store


@pytest.fixture
def ids():
    """Names of runs, in an order that says nothing about theirs."""
    return [uuid.uuid4().hex for _ in range(6)]


def numbers(account):
    return (
        account.fetched,
        account.inserted,
        account.updated,
        account.unchanged,
        account.duplicates,
        account.quarantined,
    )


def test_what_passes_is_settled_and_what_fails_again_stays_once_with_todays_reason(store, ids):
    store.run(ids[0], {1: (1, "a")}, bad=(2, 3))
    [claim] = store.take().claims
    assert (claim.run_id, claim.rows, store.states(ids[0])) == (ids[0], 2, {"replaying": 2})
    assert numbers(store.replay(claim.name, ids[1], {2: (2, "b")}, failed=(3,))) == (2, 1, 0, 0, 0, 1)
    assert store.states(ids[0]) == {"published": 1, "open": 1}
    with connection.transaction(store.url) as conn, conn.cursor() as cursor:
        [again, passed], _ = rows.page(cursor, Filter(run_id=ids[0]), 10)
        assert rows.page(cursor, Filter(run_id=ids[1]), 10) == ([again, passed], None)  # a replay means its original's
        [reason] = rows.reasons(cursor, Filter(run_id=ids[0], state="open"))
        attempts = rows.one(cursor, again["id"])["attempts"]
    assert (again["line"], again["replays"], again["settled_by"]) == (3, 1, None)
    assert again["reasons"][0]["message"] == reason["example"] == "name is '?', expected a longer name"
    assert [attempt["run_id"] for attempt in attempts] == [ids[1]]
    assert (passed["line"], passed["state"], passed["settled_by"]) == (2, "published", ids[1])
    [next_claim] = store.take().claims
    assert next_claim.name != claim.name and next_claim.rows == 1


def test_rows_that_are_claimed_keep_their_claim_however_often_and_at_once_they_are_asked_for(store, ids):
    store.run(ids[0], {1: (1, "a")}, bad=range(2, 30))

    def ask(_):
        conn = connection.connect(store.url)
        try:
            with conn, conn.cursor() as cursor:
                return claims.take(cursor, Filter(source="kiosk")).claims
        finally:
            conn.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        taken = set(pool.map(ask, range(8)))
    [[claim]] = taken
    assert claim.rows == 28
    store.set_aside(ids[0], (30,))
    assert {(one.name == claim.name, one.rows) for one in store.take().claims} == {(True, 28), (False, 1)}


def test_a_claim_that_is_released_is_taken_under_its_name_unless_its_rows_were_judged(store, ids):
    store.run(ids[0], {1: (1, "a")}, bad=(2, 3))
    names = []
    for judged in (False, True, False):
        [claim] = store.take().claims
        names.append(claim.name)
        with connection.transaction(store.url) as conn, conn.cursor() as cursor:
            claims.release(cursor, claim.name, judged)
        assert store.states(ids[0]) == {"open": 2}
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(("found", "is_lost"), [(None, True), (59, False), (61, True)])
def test_a_claim_that_somebody_has_just_found_is_not_lost_for_he_begins_its_replay(store, ids, found, is_lost):
    """Free, its rows could be discarded under the replay that he is about to begin."""
    store.run(ids[0], {1: (1, "a")}, bad=(2, 3))
    [claim] = store.take().claims
    when = "now() - %s * interval '1 second'"
    store.query(f"UPDATE pipeline.quarantine SET claimed_at = {when} WHERE run_id = %s", 3600, ids[0])
    first = "UPDATE pipeline.quarantine SET claim_found_at = {} WHERE run_id = %s AND line = 2"
    store.query(first.format(when), found, ids[0])
    with connection.transaction(store.url) as conn, conn.cursor() as cursor:
        assert bool(claims.held(cursor, Filter(source="kiosk"))) == is_lost
        claims.release_lost(cursor, claim.name)
    assert store.states(ids[0]) == ({"open": 2} if is_lost else {"replaying": 2})


def test_a_row_loses_against_every_version_that_was_entered_after_its_original_run(store, ids):
    original, later, replay = ids[:3]
    store.run(original, {1: (1, "a"), 9: (9, "nine")}, bad=(2, 3, 4, 5))
    # before the original's rows: older data, which the replay replaces; behind them in the same object: newer
    store.query("UPDATE curated.kiosk SET _raw = '0:9' WHERE id = 9")
    store.run(later, {1: (2, "newer"), 2: (3, "the same")})
    [claim] = store.take().claims
    account = store.replay(
        claim.name, replay, {2: (2, "older"), 3: (3, "the same"), 4: (9, "earlier line"), 5: (1, "later")}
    )
    assert numbers(account) == (4, 0, 1, 1, 2, 0)
    assert store.names() == {1: "later", 2: "newer", 3: "the same", 9: "nine"}
    assert store.states(original) == {"published": 2, "duplicate": 2}


def test_a_run_that_was_entered_between_the_original_and_its_replay_wins_though_it_is_published_last(store, ids):
    original, between, replay = ids[:3]
    store.run(original, {1: (1, "a")}, bad=(2, 3))
    store.enter(between)
    [claim] = store.take().claims
    assert numbers(store.replay(claim.name, replay, {2: (2, "older"), 3: (3, "same")})) == (2, 2, 0, 0, 0, 0)
    store.stage(between, {1: (2, "newer"), 2: (3, "same")})
    assert numbers(store.publish(between, 2)) == (2, 0, 1, 1, 0, 0)
    assert store.names() == {1: "a", 2: "newer", 3: "same"}


def test_a_value_that_a_later_run_finds_unchanged_while_a_replay_is_open_is_not_replaced(store, ids):
    original, replay, later = ids[:3]
    store.run(ids[3], {1: (1, "as it is")})
    store.run(original, {}, bad=(2,))
    [claim] = store.take().claims
    store.enter(replay, replay=claim.name)
    with connection.transaction(store.url) as conn, conn.cursor() as cursor:
        planning.enter(cursor, store.source, replay, claim.name)
    assert numbers(store.run(later, {1: (1, "as it is")})) == (1, 0, 0, 1, 0, 0)
    store.stage(replay, {2: (1, "as it was in between")})
    assert numbers(store.publish(replay, 1)) == (1, 0, 0, 0, 1, 0)
    assert store.names() == {1: "as it is"}


def test_a_value_of_a_file_that_a_later_run_found_as_it_is_is_replaced_until_the_file_is_loaded_again(store, ids):
    """Nothing says that the later run had the row at all: 0031, Consequences."""
    first, original, later, replay, once_more = ids[:5]
    store.run(first, {1: (1, "as it is")})
    store.run(original, {}, bad=(2,))
    assert numbers(store.run(later, {1: (1, "as it is")})) == (1, 0, 0, 1, 0, 0)
    [claim] = store.take().claims
    assert numbers(store.replay(claim.name, replay, {2: (1, "in between")})) == (1, 0, 1, 0, 0, 0)
    assert store.names() == {1: "in between"}
    assert numbers(store.run(once_more, {1: (1, "as it is")})) == (1, 0, 1, 0, 0, 0)
    assert store.names() == {1: "as it is"}


@pytest.mark.parametrize(
    ("window", "first_given", "given", "kept"),
    [
        (Window("2024-01-01", "2024-01-31"), {}, {}, True),
        (Window("2024-01-01", "2024-01-31"), {}, {"input": "a part"}, False),
        (Window("2024-01-01", "2024-01-31"), {"input": "a part"}, {"input": "a part"}, True),
        (Window("2024-01-01", "2024-01-31"), {"input": "a part"}, {"input": "another"}, False),
        (Window("2024-02-01", "2024-02-29"), {}, {}, False),
    ],
    ids=["all of the day", "a part of the source", "the same part", "another part", "other days"],
)
def test_a_value_that_a_later_run_of_that_day_has_found_as_it_is_is_not_replaced(
    diary, ids, window, first_given, given, kept
):
    first, original, later, replay = ids[:4]
    day = "2024-01-07"
    diary.run(first, {1: (1, "as it is", day), 2: (2, "of another day", "2023-12-31")})
    diary.run(original, {}, bad=(5, 6), **first_given)
    diary.run(later, {1: (1, "as it is", day)}, window=window, **given)
    [claim] = diary.take().claims
    account = diary.replay(claim.name, replay, {5: (1, "in between", day), 6: (2, "changed", "2023-12-31")})
    assert numbers(account) == (2, 0, 2 - kept, 0, int(kept), 0)
    names = dict(diary.query("SELECT id, name FROM curated.kiosk_by_day"))
    assert names == {1: "as it is" if kept else "in between", 2: "changed"}


def test_what_a_change_stream_has_written_since_is_newer_too(store, ids):
    store.run(ids[0], {1: (1, "a")}, bad=(2,))
    store.query(
        "UPDATE curated.kiosk SET name = 'changed', _run_id = 'batch-7', _loaded_at = now(),"
        " _fingerprint = _fingerprint + 1"
    )
    [claim] = store.take().claims
    assert numbers(store.replay(claim.name, ids[1], {2: (1, "older")})) == (1, 0, 0, 0, 1, 0)
    assert store.names() == {1: "changed"}


def test_a_replay_that_does_not_find_all_its_rows_publishes_nothing(store, ids):
    store.run(ids[0], {1: (1, "a")}, bad=(2, 3))
    [claim] = store.take().claims
    with pytest.raises(AccountError, match="2 rows were to be replayed, 1 were found"):
        store.replay(claim.name, ids[1], {2: (2, "b")})
    assert store.names() == {1: "a"} and store.states(ids[0]) == {"replaying": 2}


def test_rows_of_runs_that_published_nothing_are_counted_and_left(store, ids):
    store.enter(ids[0])
    store.set_aside(ids[0], (1, 2))
    taken = store.take()
    assert (taken.claims, taken.unpublished, store.states(ids[0])) == ((), 2, {"open": 2})


def test_a_replay_without_a_claim_or_of_another_table_is_refused(store, ids):
    store.run(ids[0], {1: (1, "a")}, bad=(2,))
    store.enter(ids[1], replay="nothing")
    refused = pytest.raises(ContractError, match="claim on rows of 0 runs")
    with connection.transaction(store.url) as conn, conn.cursor() as cursor, refused:
        planning.enter(cursor, store.source, ids[1], "nothing")
    [claim] = store.take().claims
    other = Kiosk()
    other.table = "another"
    refused = pytest.raises(ContractError, match="the table kiosk, the source writes to another")
    with connection.transaction(store.url) as conn, conn.cursor() as cursor, refused:
        planning.enter(cursor, other, ids[1], claim.name)


@pytest.mark.parametrize(
    ("wanted", "lines"),
    [
        ({}, {2, 3, 4}),
        ({"reason": "named"}, {2, 3}),
        ({"reason": "name"}, {2, 3}),
        ({"reason": "A NAME"}, {2, 3}),
        ({"reason": "record"}, {4}),
        ({"reason": "not valid"}, {4}),
        ({"reason": "100% _"}, set()),
        ({"since": dt.date(2999, 1, 1)}, set()),
        ({"since": dt.date(2020, 1, 1)}, {2, 3, 4}),
        ({"state": "discarded"}, set()),
        ({"source": "another"}, set()),
        ({"run_id": "another"}, set()),
    ],
    ids=str,
)
def test_a_filter_means_the_rows_that_it_names(store, ids, wanted, lines):
    store.run(ids[0], {1: (1, "a")}, bad=(2, 3))
    store.query(
        "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)"
        """ VALUES (%s, 'kiosk', 0, 0, 4, '[{"kind": "record", "message": "not valid JSON"}]', '{')""",
        ids[0],
    )
    with connection.transaction(store.url) as conn, conn.cursor() as cursor:
        found, _ = rows.page(cursor, Filter(**{"source": "kiosk", **wanted}), 10)
    assert {row["line"] for row in found} == lines


def test_pages_hold_every_row_once_newest_first(store, ids):
    store.run(ids[0], {1: (1, "a")}, bad=range(2, 9))
    found, before = [], None
    with connection.transaction(store.url) as conn, conn.cursor() as cursor:
        while True:
            page, before = rows.page(cursor, Filter(source="kiosk"), 3, before)
            found += [row["line"] for row in page]
            if before is None:
                break
    assert found == list(range(8, 1, -1))


def test_discarding_says_who_and_why_deletes_nothing_and_leaves_what_is_being_replayed(store, ids):
    store.run(ids[0], {1: (1, "a")}, bad=(2, 3))
    with connection.transaction(store.url) as conn, conn.cursor() as cursor:
        [second, first], _ = rows.page(cursor, Filter(run_id=ids[0]), 10)
        claims.take(cursor, Filter(ids=(first["id"],)))
        done = claims.discard(cursor, Filter(run_id=ids[0]), "ada", "test data")
        assert (done.discarded, done.left, done.replaying) == (1, 0, 1)
        found = rows.one(cursor, second["id"])
    assert (found["state"], found["settled_by"], found["why"]) == ("discarded", "ada", "test data")
    assert store.states(ids[0]) == {"replaying": 1, "discarded": 1}
    assert {claim.rows for claim in store.take().claims} == {1}


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({"run_id": "kiosk-7"}, "quarantine_by_run"),
        ({"state": "discarded"}, "quarantine_by_state"),
        ({"since": dt.date(2999, 1, 1)}, "quarantine_by_time"),
    ],
    ids=["run", "state", "since"],
)
def test_a_page_is_found_by_an_index_whatever_is_asked_for(store, ids, wanted, index):
    store.query(
        "INSERT INTO pipeline.runs (run_id, source, table_name, execution, input, status, started_at)"
        " SELECT 'kiosk-' || n, 'kiosk', 'kiosk', 'arn', '{}', 'succeeded', now() FROM generate_series(0, 199) AS n"
    )
    store.query(
        "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)"
        " SELECT 'kiosk-' || n / 101, 'kiosk', 0, 0, n, '[]', repeat('x', 100) FROM generate_series(1, 20000) AS n"
    )
    store.query(
        "UPDATE pipeline.quarantine SET outcome = 'discarded', settled_by = 'ada', settled_at = now()"
        " WHERE run_id = 'kiosk-3' AND mod(line, 50) = 0"
    )
    with psycopg2.connect(store.url) as conn, conn.cursor() as cursor:
        cursor.execute("ANALYZE pipeline.quarantine")
        page = queries.statement("quarantine", "list_rows", matching=rows.matching())
        values = {**Filter(**wanted).values(), "limit": 50, "before": None}
        cursor.execute(sql.SQL("EXPLAIN ") + page, values)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert index in plan, plan


class Shelves:
    """A lake whose objects are read by several at once, or not at all."""

    def __init__(self, together):
        self.read, self.meeting = [], threading.Barrier(together, timeout=20)

    def get_json(self, key):
        self.read.append(key)
        self.meeting.wait()
        if key == keys.declaration("gone"):
            raise NotFound("no such object")
        return {**DECLARED, "personal": ["name"] if key == keys.declaration("masked") else []}


DECLARED = {
    "location": "x.csv",
    "table": "kiosk",
    "key": ["id"],
    "columns": {"id": "bigint", "name": "text"},
}


def test_the_declaration_of_each_run_is_read_once_and_several_at_the_same_time():
    runs = ["masked", "whole", "gone", "masked", "whole", "masked"]
    lake, record = Shelves(together=3), '{"id":1,"name":"Ada"}'
    found = rows.masked([{"source": "files", "run_id": run, "record": record} for run in runs], lake)
    assert len(lake.read) == 3
    shown = {"masked": '{"id":1,"name":"***"}', "whole": record, "gone": "***"}
    assert [row["record"] for row in found] == [shown[run] for run in runs]


def test_a_row_that_is_not_there_is_told(store):
    refused = pytest.raises(NotFound, match="no quarantined row has the number 987654321")
    with connection.transaction(store.url) as conn, conn.cursor() as cursor, refused:
        rows.one(cursor, 987654321)


def test_rows_whose_numbers_come_again_are_claimed_by_another_name(store, ids):
    """A database restored from a backup gives numbers again; the executions of replays keep their names."""
    names = set()
    for run_id in ids[:2]:
        store.run(run_id, {1: (1, "a")}, bad=(2,))
        store.query("SELECT setval(pg_get_serial_sequence('pipeline.quarantine', 'id'), 1000000)")
        store.query("UPDATE pipeline.quarantine SET id = DEFAULT WHERE run_id = %s", run_id)
        [claim] = store.take(run_id=run_id).claims
        names.add(claim.name)
        store.query("DELETE FROM pipeline.quarantine WHERE run_id = %s", run_id)
    assert len(names) == 2
