"""Who is told of a batch: the queue of what could not be used, and people when a mapped table changes its shape."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.changes.record import Control
from chalicelib.settings import Settings
from chalicelib.sources.base import Source
from chalicelib.telemetry import logger

if TYPE_CHECKING:
    from chalicelib.changes.batch import Batch

# of a mapped table; creating it is how every stream begins
_MAILED = (
    "drop-table",
    "rename-table",
    "truncate-table",
    "add-column",
    "drop-column",
    "rename-column",
    "change-columns",
    "column-type-change",
)
_SUBJECT = 100  # characters that SNS takes
_QUOTED = 1000  # characters of a record in a message


@functools.cache
def _sqs():
    return boto3.client("sqs")


@functools.cache
def _sns():
    return boto3.client("sns")


def send(batch: Batch, mapped: dict[tuple[str, str], Source], settings: Settings) -> None:
    """Tell of malformed records and of changed tables. A failure is logged: the ledger has all of it already."""
    try:
        for arrival, reason in batch.malformed:
            message = {
                "kind": "change record",
                "stream": batch.stream,
                "shard": batch.shard,
                "sequence": str(arrival.sequence),
                "reason": reason,
                "record": (arrival.payload or b"").decode(errors="backslashreplace")[:_QUOTED],
            }
            logger.warning("change record quarantined", **{k: v for k, v in message.items() if k != "record"})
            _sqs().send_message(QueueUrl=settings.undelivered_url, MessageBody=json.dumps(message))
        for _, control in batch.controls:
            source = mapped.get((control.schema, control.table))
            logger.info("table changed", operation=control.operation, table=f"{control.schema}.{control.table}")
            if source is not None and control.operation in _MAILED:
                subject, text = _mail(control, source)
                _sns().publish(TopicArn=settings.topic_arn, Subject=subject, Message=text)
    except (ClientError, BotoCoreError) as error:
        logger.error("nobody could be told", reason=str(error))


def _mail(control: Control, source: Source) -> tuple[str, str]:
    """Subject and text of the email about a mapped table that changed."""
    table = f"{control.schema}.{control.table}"
    subject = f"[sluice] {source.name}: {control.operation} of {table}"
    subject = subject.encode("ascii", "replace").decode()[:_SUBJECT]
    lines = [
        f"The table {table}, whose changes go to curated.{source.table},",
        f"was changed at its source: {control.operation}.",
        "",
        "The lake takes the change as it is. The curated table keeps the columns that the source declares:",
        "a new column is not applied, and rows without a declared one go to pipeline.quarantined_changes.",
        "",
        f"Next: bring `columns` in chalicelib/sources/{source.name}.py up to date, or let it be.",
        "",
        f"At: {control.timestamp.isoformat()}",
        f"Record: {json.dumps(control.control, default=str)[:_QUOTED]}",
    ]
    return subject, "\n".join(lines)
