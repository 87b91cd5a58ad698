"""CollectEvents: what webhooks brought in the last minute becomes one object per source in the inbox."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote_plus

from chalicelib import settings
from chalicelib.errors import ContractError, SluiceError
from chalicelib.lake import keys
from chalicelib.lake.store import Lake
from chalicelib.telemetry import logger, tellable
from chalicelib.webhooks import body as bodies

# S3 answers in 10 to 100 ms: 1,000 objects in 10 s
_AT_ONCE = 16

_KEY = re.compile(r"webhooks/([a-z][a-z0-9_]*)/[0-9]{4}-[0-9]{2}-[0-9]{2}/([A-Za-z0-9_-]+)\.json", re.ASCII)


@dataclass(frozen=True)
class _Delivery:
    """A delivery that was kept: what it is ordered by, and its events as JSON text."""

    key: str
    source: str
    order: tuple[int, str]  # the signed time stamp, the delivery's id
    events: tuple[str, ...]


def collect_events(event: dict) -> dict:
    """An SQS batch of S3's notifications; returns {"batchItemFailures": [{"itemIdentifier": …}]}.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html

    Per source the events, in order of time stamp and delivery, are written as one NDJSON object whose key
    stands for the deliveries: the same batch again writes the same object, which starts no other run. A
    message whose object is gone, or holds no events, fails and is received again until the queue gives it up.
    """
    lake = Lake(settings.current().bucket)
    failed: set[str] = set()
    by_source: dict[str, dict[str, list[_Delivery]]] = defaultdict(dict)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        read = pool.map(lambda message: _read(lake, message), event["Records"])
        for message, deliveries in zip(event["Records"], read, strict=True):
            if deliveries is None:
                failed.add(message["messageId"])
            for delivery in deliveries or ():
                by_source[delivery.source].setdefault(message["messageId"], []).append(delivery)
    for source, messages in sorted(by_source.items()):
        # S3 may notify twice of one object
        deliveries = {each.key: each for message in messages.values() for each in message}
        try:
            _write(lake, source, sorted(deliveries.values(), key=lambda each: each.order))
        except SluiceError as error:
            told = tellable(error, source)
            logger.error("events not collected", source=source, error=type(told).__name__, reason=str(told))
            failed |= set(messages)
    return {"batchItemFailures": [{"itemIdentifier": each} for each in sorted(failed)]}


def _write(lake: Lake, source: str, deliveries: list[_Delivery]) -> None:
    lines = [line for delivery in deliveries for line in delivery.events]
    digest = hashlib.sha256("\n".join(sorted(each.key for each in deliveries)).encode()).hexdigest()[:32]
    body = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    key = lake.put(keys.collected(source, digest), body, "application/x-ndjson")
    logger.info("events collected", source=source, deliveries=len(deliveries), events=len(lines), key=key)


def _read(lake: Lake, message: dict) -> list[_Delivery] | None:
    """The deliveries that a message tells of; None where one of them cannot be read."""
    source, deliveries = None, []
    try:
        for key in _keys(message):
            found = _KEY.fullmatch(key)
            source = found and found[1]
            deliveries.append(_delivery(lake, key))
    except (SluiceError, ValueError) as error:
        told = tellable(error, source)
        logger.error(
            "delivery not collected", message_id=message["messageId"], error=type(told).__name__, reason=str(told)
        )
        return None
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


def _delivery(lake: Lake, key: str) -> _Delivery:
    found = _KEY.fullmatch(key)
    if not found:
        raise ContractError(f"{key} is no key of a webhook's delivery")
    body, metadata = lake.get_with_metadata(key)
    timestamp = metadata.get("timestamp", "")
    order = (int(timestamp) if timestamp.isdecimal() else 0, found[2])
    return _Delivery(key, found[1], order, tuple(bodies.events(body)))
