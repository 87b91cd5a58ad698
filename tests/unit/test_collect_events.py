"""CollectEvents: batches of notifications become one inbox object per source; what cannot be read comes back."""

import json
import sys
from urllib.parse import quote_plus

import pytest
from memory_s3 import MemoryS3

from chalicelib import telemetry
from chalicelib.errors import LakeUnavailable
from chalicelib.events import collect_events as module
from chalicelib.events.collect_events import collect_events
from chalicelib.lake.store import Lake

DAY = "2026-11-21"


class Webhooks:
    """Deliveries that were kept, and the inbox."""

    def __init__(self):
        self.s3 = MemoryS3()
        self.lake = Lake("lake", self.s3)

    def deliver(self, delivery, body, timestamp=1, source="orders"):
        key = f"webhooks/{source}/{DAY}/{delivery}.json"
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


def test_the_same_deliveries_make_the_same_object_however_they_are_batched(webhooks):
    keys = [webhooks.deliver(f"d{n}", {"id": n}, timestamp=n) for n in range(3)]
    collect_events(batch(*(message(n, key) for n, key in enumerate(keys))))
    before = webhooks.inbox()
    collect_events(batch(message(7, keys[2], keys[0]), message(8, keys[1]), message(9, keys[1])))
    assert webhooks.inbox() == before
    collect_events(batch(message(1, keys[0])))
    assert len(webhooks.inbox()) == 2


@pytest.mark.parametrize(
    "faulty",
    [
        message(2, f"webhooks/orders/{DAY}/gone.json"),
        message(2, f"webhooks/orders/{DAY}/broken.json"),
        message(2, f"webhooks/orders/{DAY}/fine.json", f"webhooks/orders/{DAY}/gone.json"),
        message(2, "webhooks/orders/elsewhere.json"),
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
    put = webhooks.lake.put

    def unavailable(key, *arguments):
        if "/orders/" in key:
            raise LakeUnavailable
        return put(key, *arguments)

    monkeypatch.setattr(webhooks.lake, "put", unavailable)
    assert failures(collect_events(batch(message(1, mine), message(2, theirs), message(3, mine)))) == ["m1", "m3"]
    assert list(webhooks.inbox().values()) == ['{"id": 2}\n']


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
