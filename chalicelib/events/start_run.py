"""StartRun: the messages of the queue `Triggers` become runs: our own, S3's of the inbox, the scheduler's. One of
these, every hour, is a sweep instead.

What may pass is left in the queue, which delivers it again; what never will goes to the queue
`Undelivered` with the reason, so that it keeps nobody waiting.
"""

from __future__ import annotations

import functools

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import boto_clients, housekeeping
from chalicelib import settings as settings_module
from chalicelib.contracts import Alert
from chalicelib.errors import ContractError, SluiceError, SourceError, TriggerConflict, UnknownSource
from chalicelib.lake.inbox_object import InboxObject
from chalicelib.settings import Settings
from chalicelib.telemetry import batch, logger, tellable
from chalicelib.triggers import Trigger, inbox, messages, start
from chalicelib.triggers.alerts import object_alert, undelivered_alert
from chalicelib.warehouse import connection, migrations, quarantined_objects

# what no later delivery would change; anything else may be our own fault, and is tried again
_REFUSED = (ContractError, TriggerConflict, UnknownSource)
_REASON = 1_000  # characters in a message's attribute


def start_run(event: dict) -> dict:
    """`event` is what Lambda makes of a batch of messages; returns which of them are to come again.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html: `Records` with messageId and body, and
    `{"batchItemFailures": [{"itemIdentifier": …}]}`.
    """
    settings = settings_module.current()
    settings.require("bucket", "database_url", "state_machine_arn", "topic_arn", "undelivered_url")
    refused: list[tuple[str, str, SluiceError]] = []
    with batch("start_run") as tried:
        for record in event["Records"]:
            with tried(record["messageId"]):
                try:
                    _receive(record, settings)
                except _REFUSED as error:
                    _set_aside(record, error, settings)
                    refused.append((record["messageId"], messages.shown(record["body"]), error))
    if refused:
        _tell_of_refused(refused, settings)
    return tried.answer


def _receive(record: dict, settings: Settings) -> None:
    """Do all that a message asks for; raises the error that matters most once the rest is done.

    What it raises may be logged, mailed and kept beside the message.
    """
    errors: list[Exception] = []
    for asked in _read(record, settings):
        try:
            if isinstance(asked, InboxObject):
                _take(asked, settings)
            elif isinstance(asked, messages.Sweep):
                housekeeping.sweep(_stepfunctions())
            else:
                _start(asked)
        except Exception as error:
            errors.append(tellable(error, asked.source))
    if errors:
        # from None: a traceback would repeat what is withheld
        raise next((error for error in errors if not isinstance(error, _REFUSED)), errors[0]) from None


def _read(record: dict, settings: Settings) -> list[Trigger | InboxObject | messages.Sweep]:
    try:
        return messages.read(record["body"], record["messageId"], settings.bucket)
    except Exception as error:
        raise tellable(error, None) from None


def _take(given: InboxObject, settings: Settings) -> None:
    try:
        trigger = inbox.trigger(given)
    except (UnknownSource, SourceError) as error:
        _quarantine(given, f"{type(error).__name__}: {tellable(error, given.source)}", settings)
        return
    if trigger is None:
        logger.info("no run: the object asks for none", object=given.address)
    else:
        _start(trigger)


def _start(trigger: Trigger) -> None:
    started = start(trigger)
    logger.info(
        "run started" if started.new else "the trigger came before",
        run_id=started.run_id,
        source=trigger.source,
        trigger=trigger.text,
    )


def _quarantine(given: InboxObject, reason: str, settings: Settings) -> None:
    """Record an object that no run is started for, and tell of it after the commit.

    Where that fails the email stays owed: the message comes again, and the email goes. Rather two than none.
    """
    migrations.apply()  # as Plan does: this may come before the first run of a stage
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        owed = quarantined_objects.add_without_run(cursor, given, reason)
    if owed:
        _send(object_alert(given.address, given.source, reason), settings)
        with connection.transaction() as open_connection, open_connection.cursor() as cursor:
            quarantined_objects.told(cursor, given)
    logger.warning("the object is quarantined: no run can read it", object=given.address, reason=reason)


def _set_aside(record: dict, error: SluiceError, settings: Settings) -> None:
    """The message as it came, so that it can be sent again, with the reason beside it."""
    attributes = {"error": type(error).__name__, "reason": _printable(str(error))[:_REASON]}
    _sqs().send_message(
        QueueUrl=settings.undelivered_url,
        MessageBody=record["body"],
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value
        },
    )
    logger.error("the message is refused", message_id=record["messageId"], **attributes)


def _tell_of_refused(refused: list[tuple[str, str, SluiceError]], settings: Settings) -> None:
    """One email per batch. Without it the alarm of the queue tells, and the messages are in it."""
    try:
        _send(undelivered_alert(settings.undelivered_url, refused), settings)
    except (ClientError, BotoCoreError) as error:
        logger.error("the email could not be sent", reason=str(error))


def _send(alert: Alert, settings: Settings) -> None:
    _sns().publish(TopicArn=settings.topic_arn, Subject=alert.subject, Message=alert.message)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


@functools.cache
def _sqs():
    return boto3.client("sqs", config=boto_clients.QUICK)


@functools.cache
def _stepfunctions():
    return boto3.client("stepfunctions", config=boto_clients.QUICK)


@functools.cache
def _sns():
    return boto3.client("sns", config=boto_clients.QUICK)
