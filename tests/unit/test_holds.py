"""A mapped table that is emptied at its source is held until somebody says when that was."""

import datetime as dt
import threading
import time

import pytest
from change_consumer import row
from change_events import START, control

from chalicelib.changes import holds
from chalicelib.changes.mapping import Changes
from chalicelib.changes.replay import records
from chalicelib.errors import NotFound
from chalicelib.warehouse import connection

OTHER = "shardId-000000000001"


@pytest.fixture
def emptied(consumer):
    """Three rows of before, one that another shard brought of after; then the control record, which came late."""
    consumer(*(consumer.change("insert", row(n), at=10 + n) for n in (1, 2)), consumer.change("load", row(3)))
    consumer(consumer.change("insert", row(4), at=40), shard=OTHER)
    consumer(consumer.change("insert", row(5), at=41), control("truncate-table", consumer.name, seconds=60))
    return consumer


def resume(consumer, seconds=None):
    at = None if seconds is None else START + dt.timedelta(seconds=seconds)
    with connection.transaction(consumer.settings.database_url) as conn, conn.cursor() as cursor:
        return holds.resume(cursor, consumer.source, at)


def held(consumer):
    with connection.transaction(consumer.settings.database_url) as conn, conn.cursor() as cursor:
        return [found for found in holds.listed(cursor) if found["source"] == consumer.name]


def test_nothing_is_applied_from_then_on_and_the_lake_goes_on(emptied):
    emptied(emptied.change("delete", {"id": 1}, at=50), emptied.change("insert", row("x"), at=51))
    emptied(emptied.change("update", row(4, city="Faro"), at=52), shard=OTHER)
    assert set(emptied.rows) == {1, 2, 3, 4} and emptied.rows[4][1] == "Lisbon"
    assert len(list(records(emptied.lake, "public", emptied.name))) == 8
    assert emptied.account.held == 4 and emptied.account.read == 8 and emptied.quarantine == []
    [hold] = held(emptied)
    assert (hold["operation"], hold["records"]) == ("truncate-table", 4)
    assert hold["happened_at"] == START + dt.timedelta(seconds=60)
    [mail] = emptied.told.sent
    assert "truncate-table" in mail["Subject"] and f"sluice changes resume {emptied.name} --truncate" in mail["Message"]


@pytest.mark.parametrize("seconds", [30, 40], ids=["before the new rows", "at their commit"])
def test_rows_of_before_go_and_those_of_after_stay_whatever_came_first(emptied, seconds):
    resumed = resume(emptied, seconds)
    assert resumed.removed == 3 and resumed.counts["inserted"] == 1
    assert set(emptied.rows) == {4, 5} and held(emptied) == []
    kept = emptied.query("SELECT row ->> 'id' FROM pipeline.deleted_rows WHERE table_name = %s", emptied.name)
    assert sorted(kept) == [("1",), ("2",), ("3",)]
    # what a slow shard brings of before stays out, what is new goes in
    emptied(
        emptied.change("insert", row(6), at=29),
        emptied.change("insert", row(1, city="new"), at=70),
        shard=OTHER,
        first=9,
    )
    assert set(emptied.rows) == {1, 4, 5} and emptied.rows[1][1] == "new"
    assert emptied.account.skipped == 1 and emptied.account.held == 0


def test_what_was_held_and_is_older_is_skipped_and_what_does_not_fit_is_quarantined(emptied):
    emptied(emptied.change("insert", row(7), at=20), emptied.change("insert", row("x"), at=45))
    resumed = resume(emptied, 30)
    assert (resumed.counts["skipped"], resumed.counts["quarantined"]) == (1, 1)
    assert set(emptied.rows) == {4, 5} and len(emptied.quarantine) == 1
    account = emptied.account
    assert (account.read, account.held, account.skipped, account.quarantined) == (7, 0, 1, 1)


def test_a_row_that_was_held_leads_to_its_record_in_the_lake(emptied):
    emptied(emptied.change("insert", row(8), at=45), emptied.change("insert", row(9), at=46))
    resume(emptied, 30)
    [(key, line)] = emptied.query(
        f"SELECT key, line FROM curated.{emptied.name} AS t, pipeline.raw_line(t._run_id, t._raw) WHERE id = 9"
    )
    assert line == 2 and key in emptied.s3.objects and f"table={emptied.name}" in key


def test_the_table_may_keep_its_rows(emptied):
    emptied(emptied.change("delete", {"id": 1}, at=50))
    resumed = resume(emptied)
    assert resumed.removed == 0 and set(emptied.rows) == {2, 3, 4, 5}
    emptied(emptied.change("insert", row(6), at=29))
    assert 6 in emptied.rows


def test_where_rows_never_leave_they_stay_and_older_changes_are_skipped(consumer):
    consumer.source.changes = Changes("public", consumer.name, deletes="keep")
    consumer(consumer.change("insert", row(1), at=1))
    consumer(control("truncate-table", consumer.name), consumer.change("insert", row(2), at=20))
    assert resume(consumer, 30).removed == 0 and set(consumer.rows) == {1}
    consumer(consumer.change("insert", row(3), at=2), consumer.change("insert", row(4), at=40))
    assert set(consumer.rows) == {1, 4}


def test_a_table_that_is_not_held_is_not_resumed(consumer):
    consumer(consumer.change("insert", row(1)))
    with pytest.raises(NotFound, match="not held"):
        resume(consumer, 30)
    assert set(consumer.rows) == {1}


def test_another_table_of_the_stream_goes_on(emptied):
    emptied(control("truncate-table", "unmapped"))
    assert [hold["source"] for hold in held(emptied)] == [emptied.name]


def test_changes_that_come_while_it_is_resumed_wait_and_are_applied_after(emptied):
    opened = connection.connect(emptied.settings.database_url)
    taken = threading.Thread(target=emptied, args=(emptied.change("update", row(5, city="Porto"), at=80),))
    try:
        with opened.cursor() as cursor:
            holds.resume(cursor, emptied.source, START + dt.timedelta(seconds=30))
            taken.start()
            while True:
                cursor.execute(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted AND %s = ANY (pg_blocking_pids(pid))",
                    (opened.info.backend_pid,),
                )
                if cursor.fetchone()[0]:
                    break
                assert taken.is_alive(), "it did not wait"
                time.sleep(0.02)
        opened.commit()
        taken.join(60)
    finally:
        opened.close()
    assert not taken.is_alive()
    assert set(emptied.rows) == {4, 5} and emptied.rows[5][1] == "Porto" and emptied.account.held == 0
