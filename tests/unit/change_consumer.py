"""The function that takes change records, with a stream and a table of its own, on a real Postgres."""

import itertools
import json
import uuid
from types import SimpleNamespace

from change_events import change, event, failures
from memory_s3 import MemoryS3

from chalicelib import settings, sources
from chalicelib.changes import notices
from chalicelib.changes.mapping import Changes
from chalicelib.changes.replay import records, replay
from chalicelib.columns import Column
from chalicelib.events.apply_changes import apply_changes
from chalicelib.lake import Lake, store
from chalicelib.settings import Settings
from chalicelib.sources.change_stream import ChangeStream
from chalicelib.warehouse import connection

COLUMNS = (
    Column("id", "bigint"),
    Column("city", "text"),
    Column("amount", "numeric(12,2)"),
    Column("at", "timestamptz"),
    Column("seen", "timestamp"),
    Column("note", "text"),
    Column("extra", "jsonb"),
    Column("open", "boolean"),
    Column("weight", "double precision"),
)
ROW = {
    "city": "Lisbon",
    "amount": 12.5,
    "at": "2026-03-01T12:00:00.123456Z",
    "seen": "2026-03-01T14:00:00Z",
    "note": "a\tb\\c",
    "extra": '{"b": 1.10, "a": [12345678901234567.891]}',
    "open": True,
    "weight": 0.25,
}


def row(number, **values):
    return {"id": number, **ROW, **values}


class Recorder:
    """Stands in for the clients of SQS and SNS; `sent` has what they were given."""

    def __init__(self):
        self.sent = []

    def send_message_batch(self, **given):
        self.sent += [json.loads(entry["MessageBody"]) for entry in given["Entries"]]
        return {"Successful": [{"Id": entry["Id"]} for entry in given["Entries"]]}

    def publish(self, **given):
        self.sent.append(given)


class Consumer:
    """The function with a bucket of its own, a stream of its own, and a table `name` that is mapped."""

    def __init__(self, monkeypatch, database_url, **declared):
        self.s3, self.told, self.monkeypatch = MemoryS3(), Recorder(), monkeypatch
        self.name = f"orders_{uuid.uuid4().hex[:8]}"
        self.stream = f"arn:aws:kinesis:us-east-1:123456789012:stream/{self.name}"
        attributes = {"changes": Changes("public", self.name), "columns": COLUMNS, "key": ("id",), **declared}
        self.source = type("Orders", (ChangeStream,), {"name": self.name, **attributes})()
        self.source.check()
        self.settings = Settings(bucket="lake", database_url=database_url, undelivered_url="queue", topic_arn="topic")
        self.numbers = itertools.count(1)
        monkeypatch.setattr(settings, "current", lambda: self.settings)
        monkeypatch.setattr(store, "_client", lambda: self.s3)
        monkeypatch.setattr(notices, "_sqs", lambda: self.told)
        monkeypatch.setattr(notices, "_sns", lambda: self.told)
        monkeypatch.setattr(sources, "names", lambda: (self.name,))
        monkeypatch.setattr(sources, "get", lambda name: self.source)
        self.first = 1

    @property
    def lake(self):
        return Lake("lake", self.s3)

    def change(self, operation, data, at=None, **given):
        return change(operation, data, next(self.numbers) if at is None else at, table=self.name, **given)

    def event(self, *items, first=None, shard="shardId-000000000000"):
        first = self.first if first is None else first
        return event(items, shard=shard, first=first, stream=self.stream)

    def __call__(self, *items, first=None, shard="shardId-000000000000"):
        """Give records to the function; returns the sequence numbers that it reports as failed."""
        given = self.event(*items, first=first, shard=shard)
        if first is None:
            self.first += len(items)
        return failures(apply_changes(given))

    def query(self, statement, *values):
        with connection.transaction(self.settings.database_url) as conn, conn.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    @property
    def rows(self):
        names = ", ".join(f"{name}::text" for name in self.source.column_names)
        return {int(found[0]): found for found in self.query(f"SELECT {names} FROM curated.{self.name}")}

    @property
    def account(self):
        names = "read, inserted, updated, deleted, unchanged, skipped, quarantined, held"
        sums = ", ".join(f"sum({name})::int" for name in names.split(", "))
        [found] = self.query(f"SELECT {sums} FROM pipeline.change_accounts WHERE source = %s", self.name)
        return SimpleNamespace(**dict(zip(names.split(", "), found, strict=True)))

    @property
    def quarantine(self):
        found = self.query(
            "SELECT sequence, reasons FROM pipeline.quarantined_changes WHERE stream = %s ORDER BY 1", self.name
        )
        return [(int(sequence), [reason["message"] for reason in reasons]) for sequence, reasons in found]

    @property
    def stored(self):
        """(operation, id) of every record in the lake, in the order of the stream."""
        found = sorted(records(self.lake, "public", self.name), key=lambda record: int(record["_sequence"]))
        return [(record["_operation"], int(record["id"])) for record in found]

    def replayed(self):
        return replay(self.lake, "public", self.name, self.source.key, self.source.changes.absent)
