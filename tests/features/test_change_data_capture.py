"""Changes of a real Postgres, by logical replication and a stream, into the lake and a curated table.

None is lost and none counts twice, whatever breaks in between. The source is a database of its own on the stack's
server; the table that it feeds is mapped by a source in a checkout.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2
import pytest

from chalicelib.changes.replay import records, replay
from chalicelib.lake import Lake
from local import processes, provision
from local.provision import CHANGE_STREAM
from local.stack import Stack

SOURCE = """
from chalicelib.columns import Column
from chalicelib.sources.change_stream import ChangeStream


class Orders(ChangeStream):
    name = "orders"
    changes = ("public", "orders")
    key = ("region", "id")
    columns = (
        Column("region", "text"),
        Column("id", "bigint"),
        Column("amount", "numeric(18,4)"),
        Column("placed", "timestamptz"),
        Column("wall", "timestamp"),
        Column("day", "date"),
        Column("open", "boolean"),
        Column("weight", "double precision"),
        Column("note", "text"),
        Column("extra", "jsonb"),
        Column("tags", "text"),
    )
"""

TABLE = """
CREATE TABLE public.orders (
    region text, id bigint, amount numeric(18,4), placed timestamptz, wall timestamp, day date, open boolean,
    weight double precision, note text, extra jsonb, tags text[], PRIMARY KEY (region, id)
);
ALTER TABLE public.orders ALTER COLUMN note SET STORAGE EXTERNAL;
CREATE TABLE public.visits (id bigint PRIMARY KEY, page text);
"""
COLUMNS = ("region", "id", "amount", "placed", "wall", "day", "open", "weight", "note", "extra", "tags")

# one row, of numbers: NULLs in a fifth, amounts of 18 digits, times that end a day, texts that need escaping
ROW = """
SELECT (ARRAY['north', 'söuth', E'e\\\\ast\\t'])[1 + g % 3], g,
       CASE WHEN g % 5 <> 0 THEN (g * 123456789.0123 % 99999999999999)::numeric(18,4) * (1 - 2 * (g % 2)) END,
       CASE WHEN g % 7 <> 0 THEN timestamptz '1999-12-31 23:59:59.999999+05:30' + g * interval '17 h 0.000001 s' END,
       CASE WHEN g % 6 <> 0 THEN timestamp '2024-02-29 12:00' + g * interval '1 minute' END,
       CASE WHEN g % 8 <> 0 THEN date '1900-01-01' + (g % 60000)::int END,
       CASE WHEN g % 4 <> 0 THEN g % 3 = 0 END,
       CASE WHEN g % 9 <> 0 THEN g / 7.0::float8 END,
       CASE WHEN g % 10 = 0 THEN (SELECT string_agg(md5(g::text || x), '') FROM generate_series(1, 80) AS x)
            WHEN g % 11 <> 0 THEN 'note ' || g END,
       CASE WHEN g % 12 <> 0 THEN jsonb_build_object('n', g::numeric / 3, 'deep', jsonb_build_array(g, NULL, 'ü')) END,
       CASE WHEN g % 13 <> 0 THEN ARRAY['a' || g, 'b,c', NULL] END
FROM generate_series({first}, {last}) AS g
"""
LOADED = 2_000
CHANGES = 50_000


@dataclass
class Shop:
    """The stack of a checkout, and the database `shop` on its server."""

    folder: Path
    stack: Stack

    def __post_init__(self):
        self.home = self.folder / ".sluice"
        self.env = self.stack.env()
        self.url = self.env["DATABASE_URL"].replace("/sluice?", "/shop?")
        self.changed = 0

    def sluice(self, *arguments, status=0):
        ran = subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "SLUICE_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == status, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def client(self, service):
        return provision.client(service, self.env["AWS_ENDPOINT_URL"])

    def execute(self, *statements):
        """Statements in one transaction of the source; counts the rows that they change."""
        connection = psycopg2.connect(self.url)
        try:
            with connection, connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                    self.changed += max(cursor.rowcount, 0)
        finally:
            connection.close()

    def rows(self, database_url, table):
        names = ", ".join(f"{name}::text" for name in COLUMNS)
        connection = psycopg2.connect(database_url, options="-c timezone=UTC")
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {names} FROM {table}")
                return {row[:2]: row for row in cursor.fetchall()}
        finally:
            connection.close()

    def query(self, statement, *values):
        connection = psycopg2.connect(self.env["DATABASE_URL"])
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall()
        finally:
            connection.close()

    def taken(self):
        """Records that the function has taken, the duplicates among them aside."""
        [(count,)] = self.query("SELECT coalesce(sum(stored), 0)::int FROM pipeline.change_batches")
        return count

    def until_taken(self, count, seconds=240):
        deadline = time.monotonic() + seconds
        while self.taken() < count:
            assert time.monotonic() < deadline, (
                f"{self.taken()} of {count} records came: {self.sluice('changes', 'status')}"
            )
            time.sleep(0.1)

    @property
    def lake(self):
        return Lake(self.env["SLUICE_BUCKET"], self.client("s3"))


@pytest.fixture(scope="module")
def shop(checkout):
    folder = checkout()
    (folder / "chalicelib" / "sources" / "orders.py").write_text(SOURCE)
    stack = Stack(folder / ".sluice")
    up = [sys.executable, "-m", "cli", "up"]
    env = {**os.environ, "PYTHONPATH": str(folder), "SLUICE_HOME": str(folder / ".sluice")}
    subprocess.run(up, cwd=folder, env=env, check=True, capture_output=True, timeout=120)
    try:
        connection = psycopg2.connect(stack.env()["DATABASE_URL"])
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE shop")
        connection.close()
        made = Shop(folder, stack)
        made.execute(TABLE)
        yield made
    finally:
        stack.down()


def kill_task(shop):
    [task] = json.loads(shop.sluice("changes", "status", "--json"))["tasks"]
    victim = psutil.Process(task["pid"])
    victim.send_signal(signal.SIGKILL)
    assert not processes.wait([victim], 10)


def kill_functions(shop):
    """The workers, and the server that forks them: whatever a function was doing is broken off."""
    server = psutil.Process(shop.stack.info().pid)
    for process in server.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "local.worker" in process.cmdline():
                process.kill()


def work(shop, begin, end, dice):
    """Changes of the rows `begin` to `end`, in transactions of up to some hundred rows."""
    step = 400
    for first in range(begin, end, step):
        last = min(first + step, end) - 1
        rows = ROW.format(first=first, last=last)
        among, orders = f"id BETWEEN {first} AND {last}", "public.orders"
        shop.execute(
            f"INSERT INTO {orders} {rows}",
            "INSERT INTO public.visits SELECT max(id), 'p' FROM public.orders ON CONFLICT DO NOTHING",
        )
        more = f"{dice.random():.4f}"
        shop.execute(
            # toasted notes stay as they are, and so are not in the log
            f"UPDATE {orders} SET amount = amount + {more}, placed = placed + interval '1 h' WHERE {among}",
            f"UPDATE {orders} SET weight = NULL, note = CASE WHEN id % 20 = 0 THEN note || 'x' ELSE note END"
            f" WHERE {among} AND id % 2 = 0",
        )
        shop.execute(f"UPDATE {orders} SET id = id + 10000000 WHERE {among} AND id % 5 = 0")
        shop.execute(
            f"DELETE FROM {orders} WHERE {among} AND id % 7 = 0",
            # keys that were left are taken again
            f"INSERT INTO {orders} {rows} WHERE g % 35 = 0",
            f"UPDATE {orders} SET region = 'söuth' WHERE region = 'north' AND {among} AND id % 11 = 0",
        )


def as_source(row):
    """A row of the lake's replay as Postgres prints it."""

    def plain(name, value):
        if value is None:
            return None
        if name in ("placed", "wall"):
            text = value.isoformat(sep=" ").replace("+00:00", "")
            text = text.rstrip("0") if "." in text else text
            return text + ("+00" if name == "placed" else "")
        if name == "open":
            return "true" if value else "false"
        return f"{value:.17g}" if name == "weight" else str(value)

    return tuple(plain(name, row.get(name)) for name in COLUMNS)


def comparable(rows):
    """Floats as numbers: Postgres prints the shortest text."""
    place = COLUMNS.index("weight")
    return {
        key: (*row[:place], None if row[place] is None else float(row[place]), *row[place + 1 :])
        for key, row in rows.items()
    }


@pytest.mark.timeout(600)  # measured: 138 s, and 23 s for its stack, on 2 cores at a load of 12
def test_fifty_thousand_changes_with_kills_and_duplicates_end_as_the_source_is(shop):
    shop.execute(f"INSERT INTO public.orders {ROW.format(first=1, last=LOADED)}")
    tables = ("--table", "public.orders", "--table", "public.visits")
    assert "following" in shop.sluice("changes", "start", "--database", shop.url, *tables)
    shop.changed, dice = 0, random.Random(1)

    broken = []

    def disturb():
        try:
            shop.until_taken(LOADED + 5_000)
            kill_functions(shop)
            shop.until_taken(LOADED + 12_000)
            kill_task(shop)
            kill_functions(shop)
            assert "public.orders" in shop.sluice("changes", "start")
        except BaseException as error:
            broken.append(error)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    begin = 10_000
    while shop.changed < CHANGES:
        work(shop, begin, begin + 2_000, dice)
        begin += 2_000
    disturber.join()
    assert not broken, broken[0]

    shop.until_taken(LOADED + shop.changed)
    duplicate(shop, 500)
    deadline = time.monotonic() + 60
    while not shop.query("SELECT 1 FROM pipeline.change_batches WHERE duplicates >= 400 LIMIT 1"):
        [(count,)] = shop.query("SELECT sum(duplicates)::int FROM pipeline.change_batches")
        if count >= 500:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)

    source = shop.rows(shop.url, "public.orders")
    assert len(source) > 5_000 and any(row[8] and len(row[8]) > 2_000 for row in source.values())
    assert shop.rows(shop.env["DATABASE_URL"], "curated.orders") == source
    replayed = replay(shop.lake, "public", "orders", ("region", "id"))
    assert comparable({key: as_source(row) for key, row in replayed.items()}) == comparable(source)
    # each once: as many records as changes, no two of them the same
    found = [row for table in ("orders", "visits") for row in records(shop.lake, "public", table)]
    identities = {(row["_transaction_id"], row["_record_id"]) for row in found if row["_operation"] != "load"}
    assert len(identities) == shop.changed
    assert len(found) == shop.changed + LOADED
    [unbalanced] = shop.query(
        "SELECT count(*) FROM pipeline.change_accounts"
        " WHERE read <> inserted + updated + deleted + unchanged + skipped + quarantined"
    )
    assert unbalanced == (0,) and shop.query("SELECT count(*) FROM pipeline.quarantined_changes") == [(0,)]


def duplicate(shop, count):
    """Put the last `count` records of the stream into it again, as DMS does after a restart."""
    kinesis, left = shop.client("kinesis"), count
    for shard in kinesis.list_shards(StreamName=CHANGE_STREAM)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=CHANGE_STREAM, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        found = []
        while batch := kinesis.get_records(ShardIterator=iterator, Limit=5_000):
            found += batch["Records"]
            iterator = batch["NextShardIterator"]
            if not batch["Records"]:
                break
        again = [
            {"Data": r["Data"], "PartitionKey": r["PartitionKey"]} for r in found if b'"control"' not in r["Data"]
        ][-left:]
        left -= len(again)
        for start in range(0, len(again), 250):
            kinesis.put_records(StreamName=CHANGE_STREAM, Records=again[start : start + 250])
        if not left:
            break


def test_what_is_no_change_record_is_set_aside_and_the_stream_goes_on(shop):
    [(before,)] = shop.query("SELECT count(*) FROM pipeline.quarantined_changes")
    poison = [
        b"\xff\xfe",
        b"no JSON",
        b'{"hello": "world"}',
        b'{"data": {"id": 1}, "metadata": {"record-type": "data"}}',
    ]
    kinesis = shop.client("kinesis")
    kinesis.put_records(StreamName=CHANGE_STREAM, Records=[{"Data": data, "PartitionKey": "poison"} for data in poison])
    taken = shop.taken()
    shop.execute("INSERT INTO public.visits VALUES (-1, 'after the poison')")
    shop.until_taken(taken + 1)
    deadline = time.monotonic() + 30
    while shop.query("SELECT count(*) FROM pipeline.quarantined_changes") != [(before + 4,)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    messages = []
    queue = shop.env["SLUICE_UNDELIVERED_URL"]
    while found := shop.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        messages += [json.loads(message["Body"]) for message in found]
    told = [message for message in messages if message.get("kind") == "change record"]
    assert len(told) == 4 and len([message for message in told if "no metadata" in message["reason"]]) == 1
    assert not any("hello" in str(message) for message in told)
    assert all(message["shard"].startswith("shardId-") and message["sequence"].isdigit() for message in told)


def test_a_column_that_is_added_at_the_source_is_mailed_and_its_values_are_in_the_lake(shop):
    taken = shop.taken()
    shop.execute("ALTER TABLE public.orders ADD COLUMN colour text")
    shop.execute("INSERT INTO public.orders (region, id, colour) VALUES ('west', 1, 'red')")
    shop.until_taken(taken + 1)
    [found] = [row for row in records(shop.lake, "public", "orders") if row["region"] == "west"]
    assert found["colour"] == "red"
    mails = [mail for mail in shop.stack.sent_emails() if "orders: add-column of public.orders" in mail["subject"]]
    assert len(mails) == 1 and "curated.orders" in mails[0]["message"]
    assert shop.query("SELECT region, id FROM curated.orders WHERE region = 'west'") == [("west", 1)]


def test_a_table_that_is_emptied_and_filled_at_the_source_is_so_once_somebody_says_when(shop):
    before = shop.rows(shop.env["DATABASE_URL"], "curated.orders")
    shop.execute("TRUNCATE public.orders", "INSERT INTO public.orders (region, id) VALUES ('east', 1)")
    deadline = time.monotonic() + 60
    while [held["records"] for held in json.loads(shop.sluice("changes", "status", "--json"))["held"]] != [1]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert len(before) > 5_000 and shop.rows(shop.env["DATABASE_URL"], "curated.orders") == before
    [inserted] = [row for row in records(shop.lake, "public", "orders") if row["region"] == "east"]
    said = shop.sluice("changes", "resume", "orders", "--truncate", "--at", inserted["_timestamp"].isoformat())
    assert f"Rows removed: {len(before):,}" in said
    assert list(shop.rows(shop.env["DATABASE_URL"], "curated.orders")) == [("east", "1")]


def test_a_task_is_stopped_and_goes_on_and_a_replay_can_be_printed(shop):
    assert "is stopped" in shop.sluice("changes", "stop")
    taken = shop.taken()
    shop.execute("INSERT INTO public.visits VALUES (-2, 'while it was stopped')")
    assert "following" in shop.sluice("changes", "start")
    shop.until_taken(taken + 1)
    lines = shop.sluice("changes", "replay", "public.visits", "--key", "id").splitlines()
    pages = {json.loads(line)["id"]: json.loads(line)["page"] for line in lines}
    assert pages["-2"] == "while it was stopped"
    status = json.loads(shop.sluice("changes", "status", "--json"))
    assert "password" not in json.dumps(status) and {row["source"] for row in status["sources"]} == {"orders"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--table", "public.orders"), "give --database"),
        (("--database", "postgresql:///nowhere?host=/nowhere", "--table", "public.x"), "cannot be reached"),
        (("--database", "{url}", "--table", "orders"), "is not schema.table"),
        (("--database", "{url}", "--table", "public.nothing"), "has no table public.nothing"),
        (("--database", "{url}", "--table", "public.keyless"), "has no primary key"),
        (("--database", "{url}", "--table", "public.orders", "--before-images"), "REPLICA IDENTITY FULL"),
    ],
)
def test_what_cannot_be_replicated_is_said_at_once(shop, arguments, said):
    shop.execute("CREATE TABLE IF NOT EXISTS public.keyless (id int)")
    arguments = [argument.format(url=shop.url) for argument in arguments]
    status = 2 if said in ("give --database", "is not schema.table") else 1
    told = shop.sluice("changes", "start", "--name", "other", *arguments, status=status)
    assert said in told and "replicating" not in told  # the cause, and not what was logged before
