"""What triggers are sent to: the stage's queues, and the functions that schedules invoke."""

from __future__ import annotations

import json
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import boto_errors
from chalicelib.errors import NotFound, TerminalError, TransientError
from cli.session import Session

_TRANSIENT_CODES = frozenset({"RequestThrottled", "ThrottlingException", "KmsThrottled", "TooManyRequestsException"})


def url(session: Session, name: str) -> str:
    """The address of a queue; raises NotFound, TransientError, or TerminalError where AWS refuses it."""
    client = session.client("sqs")

    def get() -> dict:
        try:
            return client.get_queue_url(QueueName=name)
        except client.exceptions.QueueDoesNotExist:
            next_step = "deploy the stage again, or sluice down and up"
            raise NotFound(f"there is no queue {name}", next_step=next_step) from None

    return _asked(f"the queue {name}", "sqs:GetQueueUrl", get)["QueueUrl"]


def send(session: Session, name: str, text: str) -> None:
    """Raises as `url` does."""
    address, client = url(session, name), session.client("sqs")
    _asked(f"the queue {name}", "sqs:SendMessage", lambda: client.send_message(QueueUrl=address, MessageBody=text))


def invoke(session: Session, function: str, text: str):
    """What a function that a schedule invokes answers.

    Raises TransientError, or TerminalError where it fails or AWS refuses it.
    """
    client = session.client("lambda")
    answer = _asked(
        f"the function {function}",
        "lambda:InvokeFunction",
        lambda: client.invoke(FunctionName=function, Payload=text.encode()),
    )
    said = answer["Payload"].read().decode()
    if answer.get("FunctionError"):
        raise TerminalError(f"{function} failed: {said}", next_step="see the functions' log")
    return json.loads(said)


def _asked(what: str, action: str, call: Callable[[], dict]) -> dict:
    try:
        return call()
    except (ClientError, BotoCoreError) as error:
        if boto_errors.may_pass(error, _TRANSIENT_CODES):
            raise TransientError(f"AWS could not serve {what}: {error}", next_step="try again") from error
        raise TerminalError(
            f"AWS refused {what}: {error}", next_step=f"check the credentials: they must be allowed {action}"
        ) from error
