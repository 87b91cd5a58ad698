"""The bodies of the queue's messages: our own, S3's and the scheduler's, each read as what it asks for.

- ours: `{"source", "from", "to", "input", "embed", "move_cursor", "allow_gap", "from_scratch", "id"}`, all but the
  source optional
- S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
- the scheduler: `{"source", "scheduled"}`, as `deploy.schedules` writes it, and `{"sweep": true, "scheduled"}`
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import unquote_plus

from chalicelib import redaction
from chalicelib.errors import ContractError
from chalicelib.lake import keys
from chalicelib.lake.inbox_object import InboxObject
from chalicelib.run_input import RunInput
from chalicelib.triggers import trigger as triggers
from chalicelib.triggers.trigger import QUEUE, Trigger

_CREATED = "ObjectCreated:"
_OWN = ("source", "from", "to", "input", "embed", "move_cursor", "allow_gap", "from_scratch", "id")
_SCHEDULED = ("source", "scheduled")
SWEEP = "sweep"


@dataclass(frozen=True)
class Sweep:
    """No run: what others left is to be swept, see `housekeeping`."""

    source: str | None = None


def read(body: str, message_id: str, bucket: str) -> list[Trigger | InboxObject | Sweep]:
    """What a message asks for; nothing for S3's test message.

    `bucket` is the one whose inbox is ours. Raises ContractError for a message that is none.
    """
    try:
        given = json.loads(body)
        _expect_text(given)
    except (ValueError, RecursionError) as error:
        raise ContractError(
            f"the message is not JSON: {error}", next_step='send {"source": …} as docs/triggers.md shows'
        ) from None
    if not isinstance(given, dict):
        raise ContractError(f"the message is {type(given).__name__}, expected an object")
    if given.get("Event") == "s3:TestEvent":
        return []
    if "Records" in given:
        return [_object(record, bucket) for record in _records(given)]
    if given.get(SWEEP) is True and set(given) == {SWEEP, "scheduled"}:
        return [Sweep()]
    if "scheduled" in given:
        return [_scheduled(given)]
    return [_own(given, message_id)]


def shown(body: str) -> str:
    """What may be told of a message: what it asks for, without secrets; nothing of one that is not of our form.

    That may be somebody's record, sent to the wrong queue, and nobody knows what is personal in it.
    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(given, dict) or not set(given) <= {*_OWN, *_SCHEDULED}:
        return ""
    told = {name: value for name, value in given.items() if name != "id" and isinstance(value, str | bool)}
    return json.dumps(redaction.strings(told), ensure_ascii=False) if told else ""


def _expect_text(given) -> None:
    """Raise ValueError for what neither a name nor Postgres can hold: half a surrogate pair, a NUL."""
    text = json.dumps(given, ensure_ascii=False)
    text.encode()
    if "\\u0000" in text:
        raise ValueError("it has a NUL character")


def _records(given: dict) -> list[dict]:
    records = given["Records"]
    if not isinstance(records, list) or not records or not all(isinstance(record, dict) for record in records):
        raise ContractError("Records is no array of S3's events")
    return records


def _object(record: dict, bucket: str) -> InboxObject:
    try:
        event, s3 = record["eventName"], record["s3"]
        name, about = s3["bucket"]["name"], s3["object"]
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html: a form's encoding
        key = unquote_plus(about["key"], errors="strict")
        version = InboxObject.known_by(about.get("versionId"), about["eTag"])
        size = int(about.get("size", 0))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ContractError(f"Records holds something that is no event of S3: {type(error).__name__} {error}") from None
    if not str(event).startswith(_CREATED):
        raise ContractError(f"{event} of s3://{name}/{key} is no arrival of an object")
    if name != bucket or not key.startswith(keys.INBOX):
        raise ContractError(
            f"s3://{name}/{key} is outside of s3://{bucket}/{keys.INBOX}",
            next_step=f"let the bucket tell of {keys.INBOX} alone",
        )
    return InboxObject(name, key, str(version), size)


def _scheduled(given: dict) -> Trigger:
    if set(given) != set(_SCHEDULED) or not all(isinstance(value, str) for value in given.values()):
        raise ContractError(f"a schedule's message has source and scheduled, this one {', '.join(sorted(given))}")
    return triggers.scheduled(given["source"], given["scheduled"])


def _own(given: dict, message_id: str) -> Trigger:
    if unknown := sorted(set(given) - set(_OWN)):
        raise ContractError(
            f"the message has fields that are not known: {', '.join(unknown)}",
            next_step=f"a message may have {', '.join(_OWN)}",
        )
    identity = given.get("id", message_id)
    if not isinstance(identity, str) or not identity:
        raise ContractError(
            "id is an empty text" if identity == "" else f"id is {type(identity).__name__}, expected text"
        )
    asked = {name: value for name, value in given.items() if name != "id"}
    return triggers.asked(QUEUE, identity, RunInput.from_json(asked))
