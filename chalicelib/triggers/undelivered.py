"""The queue `undelivered`: what is in it, by kind, and where each message came from.

- message: one of our own form, or of none, that no run could be started for
- object: S3's notice of an object in the inbox
- schedule: what EventBridge Scheduler could not send, or a schedule's message that was refused
  (https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html)
- webhook: S3's notice of a webhook's delivery that was not collected
- change: a record of the change stream that was quarantined, or a batch that Lambda gave up
  (https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html)
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chalicelib.errors import ContractError, NotFound, TerminalError
from chalicelib.lake import keys
from chalicelib.triggers import holding

MESSAGE, OBJECT, SCHEDULE, WEBHOOK, CHANGE = KINDS = ("message", "object", "schedule", "webhook", "change")

_DELETED = "messages are gone after 14 days, or held for two minutes by whoever looks at them at this moment"


@dataclass(frozen=True)
class Undelivered:
    """`error` and `reason` say why it is here; `came_from` is the ARN of the queue that SQS moved it from, or None."""

    id: str
    kind: str
    body: str
    attributes: dict[str, str]
    error: str
    reason: str
    sent_at: dt.datetime
    came_from: str | None
    receipt: str

    @property
    def content(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def target(self, prefix: str) -> str:
        """The ARN of the function, or the name of the queue, that it is for; `prefix` is that of the stage's queues.

        Raises TerminalError where it cannot be sent back.
        """
        if self.kind == CHANGE:
            raise TerminalError(
                "a record of the change stream cannot be sent back",
                id=self.id,
                next_step="mend its cause and put the record into the stream again (docs/change-data-capture.md), "
                f"then `sluice undelivered discard {self.id}`",
            )
        if self.attributes.get("IS_PAYLOAD_TRUNCATED") == "true":
            raise TerminalError("EventBridge Scheduler has cut what it sent", id=self.id)
        if arn := self.attributes.get("TARGET_ARN"):
            return arn if arn.split(":")[2] == "lambda" else arn.rsplit(":", 1)[1]
        return f"{prefix}-webhook-events" if self.kind == WEBHOOK else f"{prefix}-triggers"

    def again(self) -> str:
        """The body to send: a message without an id is known by the one that it has here, sent again how often."""
        content = self.content
        if self.kind == MESSAGE and isinstance(content, dict) and "source" in content and "id" not in content:
            return json.dumps({**content, "id": self.id})
        return self.body


@contextmanager
def taken(sqs, url: str) -> Iterator[list[Undelivered]]:
    """All messages of the queue, oldest first, as `holding.held` holds them."""
    with holding.held(sqs, url) as messages:
        yield [_read(message) for message in messages]


def chosen(messages: list[Undelivered], ids: tuple[str, ...], kind: str | None) -> list[Undelivered]:
    """Those with these ids, or beginnings of ids, and of this kind; raises NotFound for an id that none has."""
    found = {}
    for given in ids:
        matching = [message for message in messages if message.id.startswith(given)]
        if not matching:
            raise NotFound(f"no message {given} is in the queue", next_step=f"`sluice undelivered list`; {_DELETED}")
        if len(matching) > 1:
            raise ContractError(
                f"{len(matching)} messages have ids that begin with {given}", next_step="give more of it"
            )
        found[matching[0].id] = matching[0]
    wanted = list(found.values()) if ids else messages
    return [message for message in wanted if kind in (None, message.kind)]


def _read(message: dict) -> Undelivered:
    attributes = {name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()}
    system, body = message.get("Attributes", {}), message["Body"]
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    content = content if isinstance(content, dict) else {}
    came_from = system.get("DeadLetterQueueSourceArn")
    kind = _kind(content, attributes, came_from)
    error, reason = _why(kind, content, attributes)
    sent_at = dt.datetime.fromtimestamp(int(system.get("SentTimestamp", 0)) / 1000, dt.UTC)
    identity, receipt = message["MessageId"], message["ReceiptHandle"]
    return Undelivered(identity, kind, body, attributes, error, reason, sent_at, came_from, receipt)


def _kind(content: dict, attributes: dict[str, str], came_from: str | None) -> str:
    if content.get("kind") == "change record" or "KinesisBatchInfo" in content:
        return CHANGE
    if "SCHEDULE_ARN" in attributes or "scheduled" in content:
        return SCHEDULE
    if (came_from or "").endswith("-webhook-events") or _is_of_a_webhook(content):
        return WEBHOOK
    return OBJECT if "Records" in content else MESSAGE


def _is_of_a_webhook(content: dict) -> bool:
    try:
        return all(record["s3"]["object"]["key"].startswith(keys.WEBHOOKS) for record in content["Records"])
    except (KeyError, TypeError, AttributeError):
        return False


def _why(kind: str, content: dict, attributes: dict[str, str]) -> tuple[str, str]:
    """(error, reason) in the words of whoever put it here; SQS puts messages here without a word."""
    if kind == CHANGE:
        told = content.get("requestContext")
        condition = told.get("condition", "") if isinstance(told, dict) else ""
        return ("ChangeError", str(content["reason"])) if "reason" in content else ("given up", str(condition))
    if "error" in attributes:
        return attributes["error"], attributes.get("reason", "")
    if "ERROR_CODE" in attributes:
        return attributes["ERROR_CODE"], attributes.get("ERROR_MESSAGE", "")
    function = "collect_events" if kind == WEBHOOK else "start_run"
    return "given up", f"it failed as often as it may; the log of {function} says why"
