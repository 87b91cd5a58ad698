"""What triggers are sent to: the stage's queues, and the functions that schedules invoke."""

from __future__ import annotations

import json

from chalicelib.errors import NotFound, TerminalError
from cli.session import Session


def url(session: Session, name: str) -> str:
    """The address of a queue; raises NotFound."""
    client = session.client("sqs")
    try:
        return client.get_queue_url(QueueName=name)["QueueUrl"]
    except client.exceptions.QueueDoesNotExist:
        raise NotFound(f"there is no queue {name}", next_step="deploy the stage again, or sluice down and up") from None


def send(session: Session, name: str, text: str) -> None:
    session.client("sqs").send_message(QueueUrl=url(session, name), MessageBody=text)


def invoke(session: Session, function: str, text: str):
    """What a function that a schedule invokes answers."""
    answer = session.client("lambda").invoke(FunctionName=function, Payload=text.encode())
    said = answer["Payload"].read().decode()
    if answer.get("FunctionError"):
        raise TerminalError(f"{function} failed: {said}", next_step="see the functions' log")
    return json.loads(said)
