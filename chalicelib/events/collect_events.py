"""CollectEvents: what webhooks brought in the last minute becomes objects of the inbox, mostly one per source."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote_plus

from chalicelib import settings
from chalicelib.errors import ContractError
from chalicelib.lake import keys
from chalicelib.lake.store import Lake
from chalicelib.telemetry import batch, logger, tellable
from chalicelib.webhooks import body as bodies

# S3 answers in 10 to 100 ms: 1,000 objects in 10 s
_AT_ONCE = 16
# a batch may bring 200 MB: 1,000 deliveries of 200 kB
OBJECT_BYTES = 16 * 1000 * 1000

_KEY = re.compile(r"webhooks/([a-z][a-z0-9_]*)/([A-Za-z0-9_-]+)\.json", re.ASCII)


@dataclass(frozen=True)
class _Delivery:
    """A delivery that was kept: what it is ordered by, and its events as NDJSON.

    As bytes: one character beyond Latin-1 makes a text four times as large.
    """

    key: str
    source: str
    id: str
    timestamp: int  # the signed one
    events: bytes
    count: int

    @property
    def order(self) -> tuple[int, str]:
        return self.timestamp, self.id


def collect_events(event: dict) -> dict:
    """An SQS batch of S3's notifications; returns {"batchItemFailures": [{"itemIdentifier": …}]}.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html

    Per source the events, in order of time stamp and delivery, are written as NDJSON objects of at most
    OBJECT_BYTES, or one delivery, whose keys stand for their deliveries. A key is written once, so that the
    same batch again starts no other run, not in a bucket with versions either. Deliveries are marked once their
    events are in the inbox: a notice that comes again later, in other company, brings nothing.
    A message whose object is gone, or holds no events, fails and is received again until the queue gives it up.
    """
    lake = Lake(settings.current().bucket)
    with batch("collect_events") as tried:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            read = list(pool.map(lambda message: _read(lake, message), event["Records"]))
        by_source: dict[str, dict[str, _Delivery]] = defaultdict(dict)
        for deliveries in read:
            for delivery in deliveries if isinstance(deliveries, list) else ():
                by_source[delivery.source][delivery.key] = delivery  # S3 may notify twice of one object
        tried.rows = {"RowsIn": _events(by_source), "RowsOut": 0}
        refused = {}
        for source, found in sorted(by_source.items()):
            try:
                for piece in _pieces(sorted(found.values(), key=lambda each: each.order)):
                    _write(lake, source, piece)
                    tried.rows["RowsOut"] += sum(each.count for each in piece)
            except Exception as error:
                refused[source] = tellable(error, source)
        for message, deliveries in zip(event["Records"], read, strict=True):
            with tried(message["messageId"]):
                if isinstance(deliveries, Exception):
                    raise deliveries
                if errors := [refused[each.source] for each in deliveries if each.source in refused]:
                    raise errors[0]
    return tried.answer


def _events(by_source: dict[str, dict[str, _Delivery]]) -> int:
    return sum(delivery.count for deliveries in by_source.values() for delivery in deliveries.values())


def _pieces(deliveries: list[_Delivery]) -> Iterator[list[_Delivery]]:
    piece, size = [], 0
    for delivery in deliveries:
        if piece and size + len(delivery.events) > OBJECT_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(delivery)
        size += len(delivery.events)
    if piece:
        yield piece


def _write(lake: Lake, source: str, deliveries: list[_Delivery]) -> None:
    digest = hashlib.sha256("\n".join(sorted(each.key for each in deliveries)).encode()).hexdigest()[:32]
    key, body = keys.collected(source, digest), b"".join(each.events for each in deliveries)
    new = lake.put_new(key, body, "application/x-ndjson", {})
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        # after the object: a mark without it would lose the events
        list(pool.map(lambda each: _mark(lake, each, key), deliveries))
    events = sum(each.count for each in deliveries)
    logger.info("events collected", source=source, deliveries=len(deliveries), events=events, key=key, new=new)


def _mark(lake: Lake, delivery: _Delivery, collected: str) -> None:
    lake.put_json(keys.collection(delivery.source, delivery.id), {"object": collected})


def _read(lake: Lake, message: dict) -> list[_Delivery] | Exception:
    """The deliveries that a message tells of and that are not collected yet, or why one of them cannot be read.

    The error may be logged. Returned, for the others are read at the same time.
    """
    source, deliveries = None, []
    try:
        for key in _keys(message):
            found = _KEY.fullmatch(key)
            source = found and found[1]
            delivery = _delivery(lake, key)
            deliveries += [delivery] if delivery else []
    except Exception as error:
        return tellable(error, source)
    return deliveries


def _keys(message: dict) -> list[str]:
    """The keys in a notification; none in the one that S3 sends when notifications are set up."""
    try:
        notification = json.loads(message["body"])
    except ValueError:
        raise ContractError("the message is not JSON, expected a notification of S3") from None
    if not isinstance(notification, dict):
        raise ContractError("the message is no notification of S3")
    if notification.get("Event") == "s3:TestEvent":
        return []
    try:
        return [unquote_plus(record["s3"]["object"]["key"]) for record in notification["Records"]]
    except (KeyError, TypeError):
        raise ContractError("the message is no notification of S3") from None


def _delivery(lake: Lake, key: str) -> _Delivery | None:
    """None where its events are in the inbox already."""
    found = _KEY.fullmatch(key)
    if not found:
        raise ContractError(f"{key} is no key of a webhook's delivery")
    source, delivery = found[1], found[2]
    if lake.has(keys.collection(source, delivery)):
        logger.info("the delivery was collected before", source=source, delivery=delivery)
        return None
    body, metadata = lake.get_with_metadata(key)
    timestamp = metadata.get("timestamp", "")
    try:
        events = bodies.events(body)
    except ValueError as error:
        raise ContractError(f"{key} is no delivery: {error}") from None
    lines = "".join(f"{event}\n" for event in events).encode("utf-8", "surrogatepass")
    return _Delivery(key, source, delivery, int(timestamp) if timestamp.isdecimal() else 0, lines, len(events))
