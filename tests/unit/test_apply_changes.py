"""A shard's records go into the lake and the curated table, in order and once, whatever breaks in between."""

import datetime as dt
import hashlib
import json
import sys
import threading
import time
import uuid
from dataclasses import replace

import psycopg2
import pytest
from botocore.exceptions import EndpointConnectionError
from change_consumer import COLUMNS, ROW, row
from change_events import START, change, control

from chalicelib import telemetry
from chalicelib.anomalies import Anomaly
from chalicelib.changes import apply, stored
from chalicelib.changes import batch as batches
from chalicelib.changes.mapping import Changes
from chalicelib.changes.replay import records, replay, unfinished
from chalicelib.columns import Column
from chalicelib.errors import ContractError, LakeUnavailable, SchemaMismatch
from chalicelib.events.apply_changes import apply_changes
from chalicelib.lake import Lake, parquet
from chalicelib.warehouse import connection, publishing

# --- the curated table -----------------------------------------------------------------------


def test_loads_inserts_updates_and_deletes_end_in_the_table_with_every_type_as_it_was(consumer):
    assert (
        consumer(
            consumer.change("load", row(1)),
            consumer.change("insert", row(2)),
            consumer.change("update", row(1, city="Porto", amount=0)),
            consumer.change(
                "insert", row(3, city=None, note=None, extra=None, open=None, weight=None, at=None, seen=None)
            ),
            consumer.change("delete", {"id": 2, **dict.fromkeys(ROW)}),
        )
        == []
    )
    assert set(consumer.rows) == {1, 3}
    assert consumer.rows[1] == (
        "1",
        "Porto",
        "0.00",
        "2026-03-01 12:00:00.123456+00",
        "2026-03-01 14:00:00",
        "a\tb\\c",
        '{"a": [12345678901234567.891], "b": 1.10}',
        "true",
        "0.25",
    )
    assert consumer.rows[3] == ("3", None, "12.50", *[None] * 6)
    assert vars(consumer.account) == {
        "read": 5, "inserted": 3, "updated": 1, "deleted": 1, "unchanged": 0, "skipped": 0, "quarantined": 0, "held": 0,
    }  # fmt: skip


def test_a_row_leads_to_the_record_that_made_it(consumer):
    consumer(consumer.change("insert", row(1)), consumer.change("insert", row(2)))
    [(key, line)] = consumer.query(
        f"SELECT key, line FROM curated.{consumer.name} AS t, pipeline.raw_line(t._run_id, t._raw) WHERE id = 2"
    )
    assert line == 2 and key in consumer.s3.objects


def test_an_update_may_change_the_key(consumer):
    consumer(consumer.change("insert", row(1)), consumer.change("insert", row(2)))
    consumer(consumer.change("update", row(9, city="Faro"), before={"id": 1}))
    assert set(consumer.rows) == {2, 9} and consumer.rows[9][1] == "Faro"
    # and what the row left may be taken again
    consumer(consumer.change("update", row(1), before={"id": 2}), consumer.change("update", row(2), before={"id": 9}))
    assert set(consumer.rows) == {1, 2}
    assert consumer.account.updated == 3


def test_a_deleted_row_is_kept_in_the_ledger_as_it_was(consumer):
    consumer(consumer.change("insert", row(1)))
    consumer(consumer.change("delete", {"id": 1}))
    [(kept,)] = consumer.query("SELECT row FROM pipeline.deleted_rows WHERE table_name = %s", consumer.name)
    assert kept["city"] == "Lisbon" and kept["amount"] == 12.5


def test_a_source_may_keep_what_is_deleted(consumer_of):
    consumer = consumer_of(changes=Changes("public", "kept", deletes="keep"))
    consumer.name, name = "kept", consumer.name
    items = [consumer.change("insert", row(1)), consumer.change("delete", {"id": 1})]
    consumer.name = name
    consumer(*items)
    assert set(consumer.rows) == {1} and consumer.account.unchanged == 1


def test_a_column_that_an_update_does_not_name_is_unchanged(consumer):
    consumer(consumer.change("insert", row(1, note="long, and toasted")))
    update = row(1, city=None)
    del update["note"]
    consumer(consumer.change("update", update))
    assert consumer.rows[1][1] is None and consumer.rows[1][5] == "long, and toasted"


def test_where_the_source_says_so_it_is_null(consumer_of):
    consumer = consumer_of()
    consumer.source.changes = Changes("public", consumer.name, absent="null")
    consumer(consumer.change("insert", row(1)))
    update = row(1)
    del update["note"], update["city"]
    consumer(consumer.change("update", update))
    assert consumer.rows[1][1] is None and consumer.rows[1][5] is None
    assert consumer.replayed()["1",].get("note") is None


def test_a_column_that_an_update_does_not_name_moves_along_with_the_key(consumer):
    consumer(consumer.change("insert", row(1, note="toasted")))
    update = row(2)
    del update["note"]
    consumer(consumer.change("update", update, before={"id": 1}))
    assert set(consumer.rows) == {2} and consumer.rows[2][5] == "toasted"


def test_what_an_update_does_not_name_is_taken_from_the_older_change_that_comes_later(consumer):
    update = row(1, city="new")
    del update["note"]
    consumer(consumer.change("update", update, at=20))
    assert consumer.rows[1][1] == "new" and consumer.rows[1][5] is None
    consumer(consumer.change("update", row(1, note="in between", city="old"), at=15), shard="shardId-000000000001")
    consumer(consumer.change("insert", row(1, note="first"), at=10), shard="shardId-000000000001", first=9)
    assert (consumer.rows[1][1], consumer.rows[1][5]) == ("new", "in between")
    assert consumer.account.updated == 1 and consumer.account.skipped == 1


def test_so_it_is_when_the_key_has_changed_meanwhile_and_for_no_other_row_that_had_the_key(consumer):
    first, second = row(2, city="moved"), row(3, city="moved again")
    del first["note"], second["note"]
    consumer(consumer.change("update", first, at=30, before={"id": 1}), consumer.change("insert", row(1), at=50))
    consumer(consumer.change("update", second, at=40, before={"id": 2}))
    # older ones, of another shard: of the row that is 3 now, and of one that was 2 before
    other = [
        consumer.change("insert", row(2, note="another row"), at=21),
        consumer.change("delete", {"id": 2}, at=22),
        consumer.change("insert", row(1, note="mine"), at=10),
        consumer.change("update", row(1, note="mine as well"), at=20),
    ]
    consumer(*other, shard="shardId-000000000001")
    assert {key: found[5] for key, found in consumer.rows.items()} == {1: "a\tb\\c", 3: "mine as well"}
    assert {key: found["note"] for (key,), found in consumer.replayed().items()} == {
        "1": "a\tb\\c",
        "3": "mine as well",
    }


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one by one"])
def test_a_row_that_moves_to_a_key_that_another_row_had_has_its_own_text(consumer, together):
    def moved(number, old, at):
        return consumer.change(
            "update", {k: v for k, v in row(number).items() if k != "note"}, at=at, before={"id": old}
        )

    # 2 goes to 3, which another row had until then, and back; the shard of 2 is read first
    of_two = [consumer.change("insert", row(2, note="mine"), at=5), moved(2, 3, at=11)]
    of_three = [
        consumer.change("insert", row(3, note="another row's"), at=6),
        consumer.change("delete", {"id": 3}, at=7),
        moved(3, 2, at=10),
    ]
    if together:
        consumer(*of_two, shard="shardId-000000000002")
        consumer(*of_three, shard="shardId-000000000003")
    else:
        for shard, items in ((2, of_two), (3, of_three)):
            for first, item in enumerate(items, 1):
                consumer(item, first=first, shard=f"shardId-00000000000{shard}")
    assert {key: found[5] for key, found in consumer.rows.items()} == {2: "mine"}


def test_of_keys_that_were_all_moved_up_by_one_a_change_reads_its_own(consumer, monkeypatch):
    consumer(*(consumer.change("insert", row(n)) for n in range(1, 8)))
    consumer(*(consumer.change("update", row(n + 1), before={"id": n}) for n in range(7, 0, -1)))
    read, asked = apply._read_keys, []

    def reading(cursor, source, states):
        asked.extend(states)
        return read(cursor, source, states)

    monkeypatch.setattr(apply, "_read_keys", reading)
    consumer(consumer.change("update", row(2, city="Faro")))
    assert asked == [("2",)] and consumer.rows[2][1] == "Faro" and set(consumer.rows) == set(range(2, 9))


def test_what_a_key_remembers_of_rows_that_left_is_forgotten_after_fourteen_days(consumer):
    def remembered():
        return consumer.query(
            "SELECT jsonb_array_length(past), jsonb_array_length(departed), kept_since IS NULL"
            " FROM pipeline.change_keys WHERE table_name = %s AND key = '[\"1\"]'",
            consumer.name,
        )

    def age(name, days):
        consumer.query(
            f"UPDATE pipeline.change_keys SET kept_since = now() - interval '{days} days', {name} ="
            f" (SELECT jsonb_agg(e || jsonb_build_object('kept_at', now() - interval '{days} days'))"
            f" FROM jsonb_array_elements({name}) e) WHERE table_name = %s AND key = '[\"1\"]' RETURNING 1",
            consumer.name,
        )

    consumer(consumer.change("insert", row(1)), consumer.change("update", row(2), before={"id": 1}))
    assert remembered() == [(1, 1, False)]
    age("past", 13)
    consumer(consumer.change("insert", row(9)))
    assert remembered() == [(1, 1, False)]
    age("past", 15)
    consumer(consumer.change("insert", row(10)))
    assert remembered() == [(0, 1, False)]
    age("departed", 15)
    consumer(consumer.change("insert", row(11)))
    assert remembered() == [(0, 0, True)]
    assert set(consumer.rows) == {2, 9, 10, 11}


def test_an_update_of_a_row_that_is_not_there_needs_its_required_columns_or_a_before_image(consumer_of):
    columns = tuple(Column(c.name, c.type, nullable=c.name != "note") for c in COLUMNS)
    consumer = consumer_of(columns=columns)
    update = row(1)
    del update["note"]
    consumer(consumer.change("update", update))
    assert consumer.rows == {}
    assert consumer.quarantine[0][1] == ["the update leaves note as it was, of a row that is not there"]
    others = {**update, "id": 2}
    consumer(consumer.change("update", others, before={"note": "as it was"}), consumer.change("update", row(3)))
    assert set(consumer.rows) == {2, 3} and consumer.rows[2][5] == "as it was"


def test_a_change_that_is_older_than_what_the_key_has_is_skipped(consumer):
    consumer(consumer.change("insert", row(1), at=10), consumer.change("update", row(1, city="new"), at=30))
    consumer(consumer.change("update", row(1, city="late"), at=20), consumer.change("delete", {"id": 1}, at=15))
    assert consumer.rows[1][1] == "new"
    assert consumer.account.skipped == 2
    # nor does it bring back what was deleted
    consumer(consumer.change("delete", {"id": 1}, at=40), consumer.change("insert", row(1), at=35))
    assert consumer.rows == {}


def test_a_key_that_moved_on_another_shard_is_not_brought_back_by_what_was_older(consumer):
    consumer(consumer.change("update", row(2), at=20, before={"id": 1}), shard="shardId-000000000001")
    consumer(consumer.change("insert", row(1), at=10), shard="shardId-000000000000")
    assert set(consumer.rows) == {2}


def test_a_row_is_loaded_again_over_older_changes_and_not_over_newer_ones(consumer):
    consumer(
        consumer.change("update", row(1, city="old"), at=10), consumer.change("update", row(2, city="new"), at=500)
    )
    consumer(*(consumer.change("load", row(n, city="loaded"), at=100) for n in (1, 2)))
    assert [consumer.rows[n][1] for n in (1, 2)] == ["loaded", "new"]


def test_the_same_values_again_are_unchanged(consumer):
    consumer(consumer.change("insert", row(1)))
    consumer(consumer.change("update", row(1)))
    assert consumer.account.unchanged == 1
    [(run,)] = consumer.query(f"SELECT _run_id FROM curated.{consumer.name}")
    assert consumer.query(f"SELECT count(*) FROM curated.{consumer.name} WHERE _run_id = %s", run) == [(1,)]


def test_a_row_that_a_change_overwrites_loses_the_mark_of_its_old_values_and_another_keeps_its_own(consumer_of):
    consumer = consumer_of(anomalies=(Anomaly("weight", time="at", minimum=10),))
    consumer(*(consumer.change("load", row(number)) for number in (1, 2, 3)))
    with connection.transaction(consumer.settings.database_url) as conn, conn.cursor() as cursor:
        cursor.execute(f"""UPDATE curated.{consumer.name} SET _anomalies = '[{{"column": "weight"}}]'""")
    assert consumer(consumer.change("update", row(1, weight=9.5)), consumer.change("update", row(2))) == []
    marks = dict(consumer.query(f"SELECT id, _anomalies IS NOT NULL FROM curated.{consumer.name}"))
    assert marks == {1: False, 2: True, 3: True}


def test_changes_wait_for_a_run_that_publishes_to_their_table_and_go_over_what_it_wrote(consumer, database_url):
    consumer(consumer.change("insert", row(1)))
    publisher = connection.connect(database_url)
    taken = threading.Thread(target=consumer, args=(consumer.change("update", row(1, city="Porto")),))
    try:
        with publisher.cursor() as cursor:
            publishing.lock(cursor, consumer.source)
            taken.start()
            waits = (
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND %s = ANY (pg_blocking_pids(pid))"
            )
            while True:
                cursor.execute(waits, (publisher.info.backend_pid,))
                if cursor.fetchone()[0]:
                    break
                assert taken.is_alive(), "it did not wait"
                time.sleep(0.02)
            cursor.execute(f"UPDATE curated.{consumer.name} SET city = 'Faro', _fingerprint = 0")
        publisher.commit()
        taken.join(60)
    finally:
        publisher.close()
    assert not taken.is_alive()
    assert consumer.rows[1][1] == "Porto"
    assert (consumer.account.inserted, consumer.account.updated) == (1, 1)


def test_a_key_of_several_columns_of_several_types(consumer_of):
    columns = (Column("shop", "text"), Column("day", "date"), Column("n", "smallint"), Column("total", "numeric"))
    consumer = consumer_of(columns=columns, key=("shop", "day", "n"))
    first = {"shop": 'a"\\\t', "day": "2026-01-31", "n": 7, "total": 1}
    consumer(consumer.change("insert", first), consumer.change("insert", {**first, "n": 8}))
    consumer(
        consumer.change("update", {**first, "day": "2026-02-01"}, before={"day": "2026-01-31"}),
        consumer.change("delete", {**first, "n": 8, "total": None}),
    )
    names = "shop, day::text, n, total"
    assert consumer.query(f"SELECT {names} FROM curated.{consumer.name}") == [('a"\\\t', "2026-02-01", 7, 1)]


def test_a_change_that_does_not_fit_its_columns_is_quarantined_with_every_reason_and_the_others_go_on(consumer):
    consumer(
        consumer.change("insert", row(1, amount="much", at="soon")),
        consumer.change("insert", row("one")),
        consumer.change("insert", row(2, extra="{", weight="1e400")),
        consumer.change("delete", {"city": "nobody"}),
        consumer.change("insert", row(3)),
    )
    assert set(consumer.rows) == {3}
    assert [len(reasons) for _, reasons in consumer.quarantine] == [2, 1, 2, 1]
    assert consumer.account.quarantined == 4 and consumer.account.inserted == 1
    # they are in the lake all the same
    assert len(consumer.s3.objects) == 1 and len(list(records(consumer.lake, "public", consumer.name))) == 5


def test_a_table_that_differs_from_the_declaration_stops_the_shard_and_loses_nothing(consumer):
    consumer(consumer.change("insert", row(1)))
    consumer.query(f"ALTER TABLE curated.{consumer.name} DROP COLUMN city; SELECT 1")
    with pytest.raises(SchemaMismatch):
        consumer(consumer.change("insert", row(2)), first=2)
    consumer.query(f"DROP TABLE curated.{consumer.name}; SELECT 1")
    assert consumer(consumer.change("insert", row(2)), first=2) == []
    assert set(consumer.rows) == {2} and len(consumer.stored) == 2


# --- exactly once ----------------------------------------------------------------------------


def test_a_batch_that_comes_again_changes_nothing(consumer):
    items = [consumer.change("insert", row(n)) for n in range(5)]
    for _ in range(2):
        consumer(*items, first=1)
    # with another range, as after a partial failure: what is new in it is taken
    items += [consumer.change("insert", row(5))]
    consumer(*items[3:], first=4)
    assert consumer.stored == [("insert", n) for n in range(6)]
    assert consumer.account.read == 6 and set(consumer.rows) == set(range(6))


class Killed(BaseException):
    @classmethod
    def now(cls, *_):
        raise cls


@pytest.mark.parametrize("retried", [6, 3, 1])
def test_what_was_written_before_a_kill_is_not_in_the_lake_twice_however_much_comes_again(
    consumer, monkeypatch, retried
):
    # of two hours, so of two files
    items = [consumer.change("insert", row(n), at=n, seconds=n * 700) for n in range(6)]

    with monkeypatch.context() as patch:
        patch.setattr(batches, "_finish", Killed.now)
        with pytest.raises(Killed):
            consumer(*items, first=1)
    assert len(consumer.s3.objects) == 2 and consumer.query(
        "SELECT 1 WHERE to_regclass(%s) IS NULL", f"curated.{consumer.name}"
    )
    consumer(*items[:retried], first=1)
    assert consumer.stored == [("insert", n) for n in range(retried)]
    consumer(*items[retried:], first=1 + retried) if retried < 6 else None
    assert consumer.stored == [("insert", n) for n in range(6)] and set(consumer.rows) == set(range(6))


def test_an_invocation_that_was_given_up_and_goes_on_takes_nothing(consumer, monkeypatch):
    items = [consumer.change("insert", row(n)) for n in range(3)]
    finish = batches._finish

    def overtaken(*given):
        monkeypatch.setattr(batches, "_finish", finish)
        consumer(*items, first=1)  # the next attempt, while this one still lives
        return finish(*given)

    monkeypatch.setattr(batches, "_finish", overtaken)
    assert len(consumer(*items, first=1)) == 1
    assert consumer.account.inserted == 3
    assert consumer(*items, first=1) == []
    assert consumer.stored == [("insert", n) for n in range(3)]


def test_when_s3_is_out_of_reach_the_batch_comes_again_from_its_first_new_record(consumer, monkeypatch):
    items = [consumer.change("insert", row(n)) for n in range(4)]
    consumer(*items[:2], first=1)

    def unavailable(*_):
        raise LakeUnavailable("S3 asked to slow down")

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "put", unavailable)
        [failed] = consumer(*items, first=1)
        # at the latest from the first new one: an earlier one does no harm
        assert int(failed) <= int(consumer.event(*items, first=1)["Records"][2]["kinesis"]["sequenceNumber"])
    assert consumer(*items, first=1) == []
    assert consumer.stored == [("insert", n) for n in range(4)]


def test_what_dms_delivers_twice_is_in_the_lake_once_also_after_the_stream_was_divided(consumer):
    items = [consumer.change("insert", row(1), transaction=7, record=n) for n in (1, 2, 3)]
    consumer(*items, items[1])
    consumer(*items, shard="shardId-000000000007")
    assert len(consumer.stored) == 3
    assert consumer.account.skipped >= 4 and set(consumer.rows) == {1}
    [(duplicates,)] = consumer.query(
        "SELECT sum(duplicates)::int FROM pipeline.change_batches WHERE stream = %s", consumer.name
    )
    assert duplicates == 4


def test_two_changes_of_a_transaction_at_the_same_position_are_two(consumer):
    consumer(
        consumer.change("insert", row(1), at=5, transaction=5, record=1),
        consumer.change("update", row(1, city="Faro"), at=5, transaction=5, record=2),
    )
    assert len(consumer.stored) == 2 and consumer.rows[1][1] == "Faro"


# --- the lake --------------------------------------------------------------------------------


def test_the_lake_is_partitioned_by_schema_table_and_the_hour_of_the_commit(consumer):
    consumer(
        consumer.change("insert", row(1), at=1, seconds=0),
        consumer.change("insert", row(2), at=2, seconds=20),
        consumer.change("insert", row(3), at=3, seconds=1),  # late: it lands in its own hour
    )
    prefix = f"cdc/schema=public/table={consumer.name}/date=2026-03-01"
    assert sorted(key.rpartition("/")[0] for key in consumer.s3.objects) == [f"{prefix}/hour=12", f"{prefix}/hour=13"]


def test_the_lake_keeps_what_the_record_said_beside_the_columns(consumer):
    consumer(consumer.change("update", {"id": 1, "city": None, "amount": 1.5}, at=16, before={"id": 2}, transaction=77))
    [found] = records(consumer.lake, "public", consumer.name)
    assert (found["id"], found["city"], found["amount"]) == (1, None, "1.5")
    assert found["_operation"] == "update" and found["_transaction_id"] == "77" and found["_record_id"] == 1
    assert found["_before"] == {"id": 2} and found["_columns"] == ["id", "city", "amount"]
    assert found["_position"] == "00000002/00000010.1.00000002/00000010"
    assert found["_timestamp"] == dt.datetime(2026, 3, 1, 13, 0, 6, tzinfo=dt.UTC)
    assert found["_shard"] == "shardId-000000000000" and found["_sequence"].isdigit()


def test_all_files_of_a_table_have_the_same_types_whatever_comes_first_and_lose_nothing(consumer):
    consumer(consumer.change("insert", {"id": 1, "open": None, "weight": None}))
    consumer(consumer.change("insert", {"id": 2, "open": True, "weight": 1}))
    consumer(consumer.change("insert", {"id": 2**70, "open": "perhaps", "weight": "heavy", "city": "Rome"}))
    found = sorted(records(consumer.lake, "public", consumer.name), key=lambda record: int(record["_sequence"]))
    assert [record["open"] for record in found] == [None, True, "perhaps"]
    assert [record["weight"] for record in found] == [None, 1.0, "heavy"]
    assert [int(record["id"]) for record in found] == [1, 2, 2**70]
    import io

    import fastparquet

    kinds = [
        {name: str(kind) for name, kind in fastparquet.ParquetFile(io.BytesIO(body)).dtypes.items()}
        for _, body in sorted(consumer.s3.objects.items())
    ]
    for name in ("id", "open", "weight"):
        assert len({kind[name] for kind in kinds}) == 1


def test_a_table_that_no_source_is_mapped_to_is_in_the_lake_as_text(consumer):
    name = f"other_{uuid.uuid4().hex[:8]}"
    other = [
        change(
            "insert", {"id": 1, "Big Amount": 0.1, "_shard": "theirs", "flag": False, "list": [1]}, at=77, table=name
        )
    ]
    consumer(*other, consumer.change("insert", row(1)))
    [found] = records(consumer.lake, "public", name)
    assert [found[column] for column in ("id", "Big Amount", "flag", "list")] == ["1", "0.1", "false", "[1]"]
    assert consumer.account.read == 1


def test_json_lines_on_request(consumer):
    consumer.settings = replace(consumer.settings, changes_format="json")
    consumer(consumer.change("insert", row(1)))
    [(key, body)] = consumer.s3.objects.items()
    assert key.endswith(".ndjson") and json.loads(body)["city"] == "Lisbon"
    assert consumer.replayed()["1",]["city"] == "Lisbon"


def test_the_replay_of_the_lake_is_the_table(consumer):
    consumer(*(consumer.change("load", row(n)) for n in range(8)))
    update = row(0, city="Faro")
    del update["note"]
    consumer(
        consumer.change("update", update),
        consumer.change("update", row(20), before={"id": 1}),
        consumer.change("delete", {"id": 2}),
        consumer.change("update", row(3, city="late"), at=2),
        consumer.change("update", row(3, city="later"), at=90),
        consumer.change("update", row(3, city="too late"), at=50),
    )
    replayed = consumer.replayed()
    assert sorted(int(key) for (key,) in replayed) == sorted(consumer.rows)
    for (key,), found in replayed.items():
        assert (found["city"], found["note"]) == (consumer.rows[int(key)][1], consumer.rows[int(key)][5])


def test_a_replay_leaves_out_files_of_batches_that_are_not_finished(consumer, monkeypatch):
    consumer(consumer.change("insert", row(1)))
    items = [consumer.change("insert", row(2)), consumer.change("update", row(1, city="unfinished"))]
    with monkeypatch.context() as patch:
        patch.setattr(batches, "_finish", Killed.now)
        with pytest.raises(Killed):
            consumer(*items, first=2)
    asked = unfinished(consumer.settings.database_url)
    replayed = replay(consumer.lake, "public", consumer.name, ("id",), unfinished=asked)
    assert {key: found["city"] for (key,), found in replayed.items()} == {"1": "Lisbon"}
    assert len(consumer.replayed()) == 2  # who does not ask takes them all
    consumer(*items, first=2)
    replayed = replay(consumer.lake, "public", consumer.name, ("id",), unfinished=asked)
    assert {key: found["city"] for (key,), found in replayed.items()} == {"1": "unfinished", "2": "Lisbon"}


# --- what cannot be used ---------------------------------------------------------------------


def test_poison_is_quarantined_with_its_reason_told_to_the_queue_and_never_blocks_the_shard(consumer):
    poison = [b"\xff\x00", b"no JSON", b'{"a": 1}', json.dumps(control("explode-table")).encode(), b""]
    assert consumer(*poison, consumer.change("insert", row(1)), *poison) == []
    assert set(consumer.rows) == {1}
    assert len(consumer.quarantine) == 10 and "not UTF-8" in consumer.quarantine[0][1][0]
    assert [told["reason"] for told in consumer.told.sent] == [reasons[0] for _, reasons in consumer.quarantine]
    assert {told["shard"] for told in consumer.told.sent} == {"shardId-000000000000"}
    assert [int(told["sequence"]) for told in consumer.told.sent] == [sequence for sequence, _ in consumer.quarantine]


def test_a_record_that_nobody_foresaw_is_found_and_quarantined_alone(consumer, monkeypatch):
    body = stored.body

    def fails(file, *given):
        if any(arrived.data["id"] == 3 for _, arrived in file.rows):
            raise ValueError("unforeseen")
        return body(file, *given)

    monkeypatch.setattr(stored, "body", fails)
    assert consumer(*(consumer.change("insert", row(n)) for n in range(7))) == []
    assert set(consumer.rows) == {0, 1, 2, 4, 5, 6}
    assert [reasons for _, reasons in consumer.quarantine] == [["it cannot be taken: ValueError: unforeseen"]]


@pytest.mark.parametrize("error", [TypeError("unforeseen"), RecursionError("too deep"), KeyError("unforeseen")])
def test_so_it_is_whatever_the_record_made_the_code_raise(consumer, monkeypatch, error):
    text = stored.text

    def fails(value):
        if value == "poison":
            raise error
        return text(value)

    monkeypatch.setitem(stored._CONVERTERS, stored.TEXT, fails)
    items = [consumer.change("insert", row(n, city="poison" if n == 2 else "Lisbon")) for n in range(5)]
    assert consumer(*items) == []
    assert set(consumer.rows) == {0, 1, 3, 4} and len(consumer.quarantine) == 1
    assert consumer.quarantine[0][1][0].startswith(f"it cannot be taken: {type(error).__name__}")


@pytest.mark.parametrize("error", [OSError("the disk is full"), MemoryError(), SchemaMismatch("another table")])
def test_what_no_record_is_to_blame_for_buries_none(consumer, monkeypatch, error):
    items = [consumer.change("insert", row(n)) for n in range(3)]

    def fails(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(stored, "body", fails)
        with pytest.raises(type(error)):
            consumer(*items, first=1)
    assert consumer.quarantine == []
    assert consumer(*items, first=1) == [] and set(consumer.rows) == {0, 1, 2}


def test_records_beyond_what_encoders_or_postgres_hold_never_block_the_shard(consumer_of):
    consumer = consumer_of(columns=(Column("id", "bigint"), Column("code", "text"), *COLUMNS[1:]), key=("id", "code"))
    deep = []
    for _ in range(600):
        deep = [deep]
    # longer than a key of an index may be, and it cannot be compressed
    code = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(200))
    poison = [
        consumer.change("insert", row(2, code="b", extra=deep)),
        consumer.change("insert", row(3, code=code)),
        json.dumps(consumer.change("insert", row(4, code="d"))).replace("12.5", "1e999999999").encode(),
        consumer.change("insert", row(5, code="e", extra='{"n": 1e999999999}')),
    ]
    assert (
        consumer(consumer.change("insert", row(1, code="a")), *poison, consumer.change("insert", row(6, code="f")))
        == []
    )
    assert set(consumer.rows) == {1, 6} and len(consumer.quarantine) == 4


@pytest.mark.parametrize("personal", [True, False])
def test_neither_log_nor_reason_quotes_a_record_where_a_source_is_personal(consumer_of, monkeypatch, capsys, personal):
    consumer = consumer_of(columns=(*COLUMNS[:1], Column("city", "text", personal=personal), *COLUMNS[2:]))
    for handler in telemetry.logger.handlers:  # it keeps the stream that it was made with
        monkeypatch.setattr(handler, "stream", sys.stdout)
    body = stored.body

    def fails(file, *given):
        for _, arrived in file.rows:
            int(arrived.data["city"])  # the error quotes it
        return body(file, *given)

    monkeypatch.setattr(stored, "body", fails)
    malformed = b'{"city": "Marker-4711"'
    assert consumer(consumer.change("insert", row(1, city="Marker-4711")), malformed) == []
    logged = capsys.readouterr().out
    assert logged.count("change record quarantined") == 2 and logged.count("change record cannot be taken") == 1
    said = logged + json.dumps(consumer.quarantine) + json.dumps(consumer.told.sent)
    assert ("Marker-4711" in said) != personal
    assert [reasons[0].partition(":")[0] for _, reasons in consumer.quarantine] == [
        "it cannot be taken",
        "the record is no JSON",
    ]


def test_a_control_record_is_recorded_and_mailed_where_it_changes_a_mapped_table(consumer):
    consumer(
        control("create-table", consumer.name, id={"type": "INT64"}),
        control("add-column", consumer.name, age={"type": "INT32"}),
        control("drop-table", "unmapped"),
    )
    found = consumer.query(
        "SELECT operation, source FROM pipeline.change_controls WHERE stream = %s ORDER BY sequence", consumer.name
    )
    assert found == [("create-table", consumer.name), ("add-column", consumer.name), ("drop-table", None)]
    [mail] = consumer.told.sent
    assert (
        mail["TopicArn"] == "topic"
        and "add-column" in mail["Subject"]
        and f"curated.{consumer.name}" in mail["Message"]
    )
    [key] = consumer.s3.objects
    assert key.startswith("cdc/controls/date=2026-03-01/hour=12/shardId-000000000000-")
    lines = parquet.read(consumer.s3.objects[key]).to_dict("records")
    assert [(line["_operation"], line["table_name"]) for line in lines] == [
        ("create-table", consumer.name),
        ("add-column", consumer.name),
        ("drop-table", "unmapped"),
    ]
    assert json.loads(lines[1]["control"]) == {"table-def": {"columns": {"age": {"type": "INT32"}}}}
    assert lines[0]["_timestamp"] == START and lines[0]["schema_name"] == "public"
    consumer.settings = replace(consumer.settings, changes_format="json")
    consumer(control("drop-table", "unmapped"), consumer.change("insert", row(1)))
    [added] = [
        json.loads(body) for key, body in consumer.s3.objects.items() if key.endswith(".ndjson") and "controls" in key
    ]
    assert (added["_operation"], added["control"]) == ("drop-table", "{}")
    assert consumer.query(
        f"SELECT line, key LIKE %s FROM curated.{consumer.name} AS t, pipeline.raw_line(t._run_id, t._raw)",
        f"%table={consumer.name}%",
    ) == [(1, True)]


def test_an_event_of_something_else_is_refused(consumer):
    for given in ({}, {"Records": []}, {"Records": [{"body": "of a queue"}]}, {"Records": [1]}):
        with pytest.raises(ContractError):
            apply_changes(given)


def test_who_is_told_is_told_when_everything_is_committed_and_nothing_is_locked(consumer, monkeypatch, database_url):
    seen, sent = [], consumer.told.send_message_batch

    def looking(**given):
        other = psycopg2.connect(database_url)
        with other, other.cursor() as cursor:
            cursor.execute("SET lock_timeout = '1s'")
            cursor.execute(f"LOCK TABLE curated.{consumer.name} IN ACCESS EXCLUSIVE MODE")
            cursor.execute("SELECT 1 FROM pipeline.change_shards WHERE stream = %s FOR UPDATE", (consumer.name,))
            cursor.execute("SELECT records FROM pipeline.change_batches WHERE stream = %s", (consumer.name,))
            seen.extend(cursor.fetchall())
        other.close()
        return sent(**given)

    monkeypatch.setattr(consumer.told, "send_message_batch", looking)
    assert consumer(consumer.change("insert", row(1)), b"poison", control("add-column", consumer.name)) == []
    assert seen == [(3,)] and len(consumer.told.sent) == 2


@pytest.mark.parametrize("refused", ["all", "one"])
def test_what_nobody_could_be_told_of_is_told_by_the_next_invocation_once(consumer, monkeypatch, refused):
    sent = consumer.told.send_message_batch

    def fails(**given):
        if refused == "all":
            raise EndpointConnectionError(endpoint_url="https://sqs")
        answer = sent(Entries=given["Entries"][1:])
        return {**answer, "Failed": [{"Id": given["Entries"][0]["Id"], "Code": "InternalError"}]}

    poison = [b"poison %d" % n for n in range(23)]
    with monkeypatch.context() as patch:
        patch.setattr(consumer.told, "send_message_batch", fails)
        assert consumer(*poison, first=1) == []
    assert len(consumer.told.sent) == (0 if refused == "all" else 9)
    # also when nothing in it is new, or it is of another shard
    consumer(*poison[:2], first=1)
    consumer(consumer.change("insert", row(1)), shard="shardId-000000000001")
    told = [int(message["sequence"]) for message in consumer.told.sent]
    assert sorted(told) == [sequence for sequence, _ in consumer.quarantine] and len(told) == 23


def test_every_record_is_accounted_for(consumer):
    consumer(
        b"poison",
        control("create-table", consumer.name),
        consumer.change("insert", row(1), transaction=1),
        consumer.change("insert", row(1), at=1, transaction=1),
        consumer.change("insert", row("x")),
        consumer.change("update", row(1)),
        change("insert", {"id": 1}, at=77, table="unmapped"),
    )
    [found] = consumer.query(
        "SELECT records, stored, duplicates, controls, malformed FROM pipeline.change_batches WHERE stream = %s",
        consumer.name,
    )
    assert found == (7, 4, 1, 1, 1)
    account = consumer.account
    assert account.read == account.inserted + account.unchanged + account.skipped + account.quarantined == 4


def test_a_table_that_only_a_stream_writes_to_gets_the_day_and_the_indexes_that_are_declared_later(
    consumer, monkeypatch
):
    assert consumer(consumer.change("insert", row(1)), consumer.change("insert", row(2, at=None))) == []
    consumer.source.day, consumer.source.indexes = "at", ("city",)
    monkeypatch.setattr(sys.modules[apply_changes.__module__], "_kept_up", False)  # as in the process of a new release
    assert consumer(consumer.change("insert", row(3))) == []
    table = f"curated.{consumer.name}"
    totals = "SELECT rows, day_column, counting FROM pipeline.totals WHERE table_id = %s::regclass"
    assert consumer.query(totals, table) == [(3, "at", None)]
    by_day = "SELECT day::text, rows FROM pipeline.totals_by_day WHERE table_id = %s::regclass ORDER BY 1"
    assert consumer.query(by_day, table) == [("2026-03-01", 2), (None, 1)]
    found = consumer.query("SELECT indexdef FROM pg_indexes WHERE tablename = %s", consumer.name)
    assert sorted(definition.rpartition("USING ")[2] for (definition,) in found) == [
        "btree (at, id)",
        "btree (city, id)",
        "btree (id)",
    ]


def test_a_text_that_its_index_does_not_take_is_quarantined_and_the_shard_goes_on(consumer_of):
    consumer = consumer_of(indexes=("note",))
    long = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(100))
    changes = [consumer.change("insert", row(1, note=long)), consumer.change("insert", row(2))]
    assert consumer(*changes, consumer.change("update", row(2, note=long))) == []
    assert set(consumer.rows) == {2} and consumer.rows[2][5] == "a\tb\\c"
    told = [message for _, messages in consumer.quarantine for message in messages]
    assert len(told) == 2 and all(message.endswith("2,600 bytes of text together") for message in told)
