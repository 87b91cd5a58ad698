"""CollectEvents: batches of notifications become one inbox object per source; what cannot be read comes back."""

import io
import json
import sys
import tracemalloc
from typing import ClassVar
from urllib.parse import quote_plus

import pytest
from memory_s3 import MemoryS3

from chalicelib import telemetry
from chalicelib.errors import LakeUnavailable
from chalicelib.events import collect_events as module
from chalicelib.events.collect_events import collect_events
from chalicelib.lake.store import Lake
from chalicelib.webhooks.intake import LARGEST


class Webhooks:
    """Deliveries that were kept, and the inbox."""

    def __init__(self):
        self.s3 = MemoryS3()
        self.lake = Lake("lake", self.s3)

    def deliver(self, delivery, body, timestamp=1, source="orders"):
        key = f"webhooks/{source}/{delivery}.json"
        self.lake.put_new(
            key, body if isinstance(body, bytes) else json.dumps(body).encode(), "", {"timestamp": str(timestamp)}
        )
        return key

    def inbox(self):
        return {key: body.decode() for key, body in self.s3.objects.items() if key.startswith("inbox/")}


@pytest.fixture
def webhooks(monkeypatch):
    found = Webhooks()
    monkeypatch.setattr(module, "Lake", lambda bucket: found.lake)
    return found


def message(number, *keys, body=None):
    notification = {
        "Records": [{"s3": {"bucket": {"name": "lake"}, "object": {"key": quote_plus(key)}}} for key in keys]
    }
    return {"messageId": f"m{number}", "body": json.dumps(notification) if body is None else body}


def batch(*messages):
    return {"Records": list(messages)}


def failures(answer):
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


def test_events_of_a_source_become_one_object_in_order_of_time_and_delivery(webhooks):
    late = webhooks.deliver("a", {"id": 3}, timestamp=30)
    second = webhooks.deliver("z", [{"id": 1}, {"id": 2}], timestamp=9)
    first = webhooks.deliver("y", {"id": 0}, timestamp=9)
    other = webhooks.deliver("b", {"id": 9}, source="payments")
    answer = collect_events(batch(message(1, late), message(2, second), message(3, other), message(4, first)))
    assert answer == {"batchItemFailures": []}
    found = {key.split("/")[1]: text for key, text in webhooks.inbox().items()}
    assert found == {
        "orders": '{"id": 0}\n{"id": 1}\n{"id": 2}\n{"id": 3}\n',
        "payments": '{"id": 9}\n',
    }


class Writes(MemoryS3):
    """Notes which keys of the inbox were written how often: in a bucket with versions each is an object that came."""

    def __init__(self):
        super().__init__()
        self.written = []

    def put_object(self, Key, **more):
        super().put_object(Key=Key, **more)
        if Key.startswith("inbox/"):
            self.written.append(Key)


def test_the_same_deliveries_are_written_once_however_they_are_batched(webhooks):
    webhooks.lake.client = webhooks.s3 = Writes()
    keys = [webhooks.deliver(f"d{n}", {"id": n}, timestamp=n) for n in range(3)]
    collect_events(batch(*(message(n, key) for n, key in enumerate(keys))))
    again = batch(message(7, keys[2], keys[0]), message(8, keys[1]), message(9, keys[1]))
    assert collect_events(again) == {"batchItemFailures": []}
    # a crash between the object and the marks
    for key in [key for key in webhooks.s3.objects if key.startswith("collected/")]:
        webhooks.lake.delete(key)
    assert collect_events(again) == {"batchItemFailures": []}
    assert len(webhooks.s3.written) == 1


def test_a_notice_that_comes_again_in_other_company_brings_its_event_no_second_time(webhooks):
    old, new = webhooks.deliver("a", {"id": 1, "v": "old"}, 1), webhooks.deliver("b", {"id": 1, "v": "new"}, 2)
    collect_events(batch(message(1, old)))
    collect_events(batch(message(2, new)))
    later = webhooks.deliver("c", {"id": 2}, 3)
    assert collect_events(batch(message(3, old), message(4, later))) == {"batchItemFailures": []}
    assert sorted(webhooks.inbox().values()) == sorted(
        ['{"id": 1, "v": "old"}\n', '{"id": 1, "v": "new"}\n', '{"id": 2}\n']
    )
    # a delivery whose name begins like one that was collected is another one
    longer = webhooks.deliver("aa", {"id": 3}, 4)
    collect_events(batch(message(5, longer)))
    assert '{"id": 3}\n' in webhooks.inbox().values()


def test_a_batch_of_the_largest_bodies_becomes_objects_of_a_bounded_size_within_the_functions_memory(
    webhooks,
):
    body = '{"x": "\U0001f600' + "a" * (LARGEST - 13) + '"}'  # as a text it has 800 kB
    body = body.encode()
    assert len(body) <= LARGEST

    class Generated(MemoryS3):
        """Makes the deliveries up when they are read, and keeps of the inbox its sizes."""

        sizes: ClassVar[list[int]] = []

        def get_object(self, Bucket, Key, **_):
            return {"Body": io.BytesIO(body), "Metadata": {"timestamp": Key[-8:-5]}}

        def put_object(self, Bucket, Key, Body, **more):
            if Key.startswith("inbox/"):
                self.sizes.append(len(Body))

        def paginate(self, Bucket, Prefix):
            yield {}

    webhooks.lake.client = Generated()
    messages = [message(n, f"webhooks/orders/d{n:03d}.json") for n in range(1000)]
    tracemalloc.start()
    try:
        assert collect_events(batch(*messages)) == {"batchItemFailures": []}
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(Generated.sizes) == 1000 * (len(body) + 1)
    assert max(Generated.sizes) <= module.OBJECT_BYTES
    assert len(Generated.sizes) == 13
    assert peak < 500_000_000  # of 1,024 MB


@pytest.mark.parametrize(
    "faulty",
    [
        message(2, "webhooks/orders/gone.json"),
        message(2, "webhooks/orders/broken.json"),
        message(2, "webhooks/orders/fine.json", "webhooks/orders/gone.json"),
        message(2, "webhooks/orders/2026-11-21/elsewhere.json"),
        message(2, "raw/source=orders/x.json"),
        message(2, body="not JSON"),
        message(2, body="[]"),
        message(2, body='{"Records": [{}]}'),
        message(2, body='{"Records": null}'),
    ],
)
def test_a_message_that_cannot_be_collected_comes_back_and_holds_up_no_other(webhooks, faulty):
    webhooks.deliver("broken", b"{")
    webhooks.deliver("fine", {"id": 2})
    fine = webhooks.deliver("other", {"id": 1})
    assert failures(collect_events(batch(faulty, message(1, fine)))) == ["m2"]
    assert list(webhooks.inbox().values()) == ['{"id": 1}\n']


def test_where_the_inbox_cannot_be_written_all_messages_of_that_source_come_back(webhooks, monkeypatch):
    mine, theirs = webhooks.deliver("a", {"id": 1}), webhooks.deliver("b", {"id": 2}, source="payments")
    put = webhooks.lake.put_new

    def unavailable(key, *arguments):
        if "/orders/" in key:
            raise LakeUnavailable
        return put(key, *arguments)

    monkeypatch.setattr(webhooks.lake, "put_new", unavailable)
    assert failures(collect_events(batch(message(1, mine), message(2, theirs), message(3, mine)))) == ["m1", "m3"]
    assert list(webhooks.inbox().values()) == ['{"id": 2}\n']


def test_what_a_batch_brought_is_measured_and_a_failure_is_of_a_message(webhooks, monkeypatch, capsys):
    for handler in telemetry.logger.handlers:  # it keeps the stream that it was made with
        monkeypatch.setattr(handler, "stream", sys.stdout)
    mine, theirs = webhooks.deliver("a", [{"id": 1}, {"id": 2}]), webhooks.deliver("b", {"id": 3}, source="payments")
    put = webhooks.lake.put_new

    def unavailable(key, *arguments):
        if "/payments/" in key:
            raise LakeUnavailable
        return put(key, *arguments)

    monkeypatch.setattr(webhooks.lake, "put_new", unavailable)
    # one message tells of both, S3 tells of one delivery twice, and one message is none
    messages = [message(1, mine, theirs), message(2, mine), message(3, theirs), message(4, body="[]")]
    assert failures(collect_events(batch(*messages))) == ["m1", "m3", "m4"]
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [measured] = [line for line in logged if "_aws" in line]
    assert (measured["state"], measured["source"]) == ("collect_events", "unknown")
    assert (measured["RowsIn"], measured["RowsOut"], measured["Failures"]) == ([3.0], [2.0], [3.0])
    assert [line["message_id"] for line in logged if line.get("level") == "ERROR"] == ["m1", "m3", "m4"]


@pytest.mark.parametrize(("source", "quoted"), [("people", False), ("posts", True)])
def test_what_is_logged_quotes_no_event_of_a_source_with_personal_columns(
    webhooks, monkeypatch, capsys, source, quoted
):
    def unavailable(*_):
        raise LakeUnavailable("S3 is out of reach", quote="Marker-4711")

    for handler in telemetry.logger.handlers:  # it keeps the stream that it was made with
        monkeypatch.setattr(handler, "stream", sys.stdout)
    kept = webhooks.deliver("a", {"id": 1}, source=source)
    for method in ("put", "get_with_metadata"):
        with monkeypatch.context() as patched:
            patched.setattr(webhooks.lake, method, unavailable)
            assert failures(collect_events(batch(message(1, kept)))) == ["m1"]
        logged = capsys.readouterr().out
        assert "LakeUnavailable" in logged and "S3 is out of reach" in logged
        assert ("Marker-4711" in logged) == quoted


def test_the_message_with_which_s3_tries_a_queue_is_done_with(webhooks):
    tried = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "lake"}
    assert collect_events(batch(message(1, body=json.dumps(tried)))) == {"batchItemFailures": []}
    assert not webhooks.inbox()
