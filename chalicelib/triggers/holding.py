"""All messages of a queue at once: taken, looked at, and put back unless they were deleted meanwhile.

A queue cannot be looked into.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import boto_errors
from chalicelib.errors import TerminalError, TransientError

SECONDS = 120  # for which nobody else is given what is held
_TOGETHER = 10  # messages that SQS gives at once
_WAIT_SECONDS = 1  # with any wait SQS asks all its servers, without one only some
_TRANSIENT_CODES = frozenset({"RequestThrottled", "ThrottlingException", "KmsThrottled"})


@contextmanager
def held(sqs, url: str) -> Iterator[list[dict]]:
    """The messages as SQS gives them, oldest first. Raises TransientError or TerminalError for what SQS refuses."""
    found: dict[str, dict] = {}
    receive = functools.partial(
        sqs.receive_message,
        QueueUrl=url,
        MaxNumberOfMessages=_TOGETHER,
        VisibilityTimeout=SECONDS,
        WaitTimeSeconds=_WAIT_SECONDS,
        AttributeNames=["All"],
        MessageAttributeNames=["All"],
    )
    try:
        while True:
            messages = _asked(url, receive).get("Messages", ())
            if all(message["MessageId"] in found for message in messages):
                break
            found |= {message["MessageId"]: message for message in messages}
        yield sorted(found.values(), key=lambda message: int(message.get("Attributes", {}).get("SentTimestamp", 0)))
    finally:
        receipts = [message["ReceiptHandle"] for message in found.values()]
        for begin in range(0, len(receipts), _TOGETHER):
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for number, receipt in enumerate(receipts[begin : begin + _TOGETHER])
            ]
            # of those that were deleted it says that they failed, and does the others
            _asked(url, functools.partial(sqs.change_message_visibility_batch, QueueUrl=url, Entries=entries))


def delete(sqs, url: str, receipt: str) -> None:
    """Delete a message that is held; raises as `held` does."""
    _asked(url, functools.partial(sqs.delete_message, QueueUrl=url, ReceiptHandle=receipt))


def _asked(url: str, call: Callable[[], dict]) -> dict:
    try:
        return call()
    except (ClientError, BotoCoreError) as error:
        name = url.rsplit("/", 1)[-1]
        if boto_errors.may_pass(error, _TRANSIENT_CODES):
            raise TransientError(f"SQS could not serve the queue {name}: {error}", next_step="try again") from error
        raise TerminalError(
            f"SQS refused the queue {name}: {error}",
            next_step="check the credentials: they must be allowed to receive, delete and change the visibility "
            "of its messages",
        ) from error
