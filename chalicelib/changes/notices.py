"""Who is told of a stream's records: the queue of what could not be used, and people when a mapped table changes.

They are told after the commit, from the ledger: nobody waits for SQS or SNS but the rows that are told of, and what
cannot be told now is told by the stream's next invocation. Each is told of in a transaction of its own that is open
until AWS has answered: its locks keep another shard's invocation from telling the same, which passes over them and does
not wait, and nothing else writes to these rows. Where it breaks off after AWS has heard, they are told of twice; the
other order would lose what was not told.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import boto_clients, letters
from chalicelib.changes.mapping import by_table
from chalicelib.changes.record import TRUNCATE
from chalicelib.errors import TransientError
from chalicelib.settings import Settings
from chalicelib.telemetry import logger
from chalicelib.warehouse import connection
from chalicelib.warehouse.queries import statement

# of a mapped table; creating it is how every stream begins
_MAILED = (
    "drop-table",
    "rename-table",
    TRUNCATE,
    "add-column",
    "drop-column",
    "rename-column",
    "change-columns",
    "column-type-change",
)
_TOGETHER = 10  # messages that SQS takes at once
_ROUNDS = 200  # twice what one invocation can bring; the next one goes on
_REASON = 1000  # characters of a reason in a message
_QUOTED = 1000  # characters of a control record in an email
_PAUSE = dt.timedelta(minutes=15)  # between two emails about a stream's quarantine
_EXAMPLES = 3  # reasons of a source in an email


@functools.cache
def _sqs():
    return boto3.client("sqs", config=boto_clients.QUICK)


@functools.cache
def _sns():
    return boto3.client("sns", config=boto_clients.QUICK)


def tell(stream: str, settings: Settings) -> None:
    """Tell of the stream's quarantined records and changed tables that nobody was told of. A failure is logged."""
    for tell_some in (_tell_of_records, _tell_of_a_table, _tell_of_changes):
        try:
            for _ in range(_ROUNDS):
                if not tell_some(stream, settings):
                    break
        except (ClientError, BotoCoreError, TransientError) as error:
            logger.error("nobody could be told yet", stream=stream, reason=str(error))


def _tell_of_records(stream: str, settings: Settings) -> bool:
    """Tell the queue of some; whether there may be more."""
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        cursor.execute(statement("changes", "untold_records"), {"stream": stream, "limit": _TOGETHER})
        found = cursor.fetchall()
        if not found:
            return False
        entries = []
        for number, (shard, sequence, reason) in enumerate(found):
            # not the record: it may hold personal values, and is whole in the ledger
            message = {"stream": stream, "shard": shard, "sequence": str(sequence), "reason": reason[:_REASON]}
            logger.warning("change record quarantined", **message)
            entries.append({"Id": str(number), "MessageBody": json.dumps({"kind": "change record", **message})})
        answer = _sqs().send_message_batch(QueueUrl=settings.undelivered_url, Entries=entries)
        told = [found[int(sent["Id"])] for sent in answer.get("Successful", ())]
        shards, sequences = [shard for shard, _, _ in told], [sequence for _, sequence, _ in told]
        values = {"stream": stream, "shards": shards, "sequences": sequences}
        cursor.execute(statement("changes", "told_records"), values)
    if len(told) < len(found):
        codes = sorted({str(failed.get("Code")) for failed in answer.get("Failed", ())})
        logger.error("the queue did not take all yet", stream=stream, reason=", ".join(codes))
        return False
    return True


def _tell_of_changes(stream: str, settings: Settings) -> bool:
    """Mail what did not fit its table: all of it in one email, which waits where the last one is not old enough."""
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        cursor.execute(statement("changes", "lock_mails"), {"stream": stream, "pause": _PAUSE})
        [may_mail] = cursor.fetchone()
        if not may_mail:
            return False
        cursor.execute(statement("changes", "mail_records"), {"stream": stream, "examples": _EXAMPLES})
        found = cursor.fetchall()
        if not found:
            return False
        subject, text = _mail_of_changes(stream, found)
        _sns().publish(TopicArn=settings.topic_arn, Subject=subject, Message=text)
    logger.warning("quarantined changes mailed", stream=stream, changes={source: count for source, count, *_ in found})
    return False


def _mail_of_changes(stream: str, found: list[tuple[str, int, int, list[str]]]) -> tuple[str, str]:
    total = sum(count for _, count, *_ in found)
    changes = "1 change" if total == 1 else f"{total:,} changes"
    sources = ", ".join(source for source, *_ in found)
    lines = [f"{changes} of the stream {stream} did not fit the table that they are for.", ""]
    for source, count, _, reasons in found:
        lines.append(f"{source}: {count:,} quarantined, for example")
        lines += [f"  {letters.short(reason)}" for reason in dict.fromkeys(reasons)]
    lines += ["", "Their rows keep what they had; the changes are in the lake, and whole in the quarantine."]
    steps = [f"sluice changes quarantine --source {source}" for source, *_ in found]
    steps.append(f"sluice changes quarantine {found[0][2]}")
    return letters.subject(f"[sluice] {sources}: {changes} quarantined"), letters.message(lines, [], steps)


def _tell_of_a_table(stream: str, settings: Settings) -> bool:
    """Mail one control record; whether there may be more."""
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        cursor.execute(statement("changes", "untold_control"), {"stream": stream, "operations": list(_MAILED)})
        found = cursor.fetchone()
        if found is None:
            return False
        shard, sequence, operation, schema, table, control, source, happened_at = found
        subject, text = _mail(operation, f"{schema}.{table}", control, source, happened_at)
        _sns().publish(TopicArn=settings.topic_arn, Subject=subject, Message=text)
        cursor.execute(statement("changes", "told_control"), {"stream": stream, "shard": shard, "sequence": sequence})
    return True


def _mail(operation: str, table: str, control: dict[str, Any], source: str, at: dt.datetime) -> tuple[str, str]:
    """Subject and text of the email about a mapped table that changed."""
    curated = {mapped.name: mapped.table for mapped in by_table().values()}.get(source, source)
    if operation == TRUNCATE:
        lines = [
            f"The table {table}, whose changes go to curated.{curated},",
            "was emptied at its source. The record does not say when, compared with the rows' changes,",
            "so from here on its changes are held until you decide; the lake takes them meanwhile.",
        ]
        steps = [
            f"sluice changes resume {source} --truncate --at TIME   rows committed before it go",
            f"sluice changes resume {source} --keep                 the table keeps its rows",
        ]
    else:
        lines = [
            f"The table {table}, whose changes go to curated.{curated},",
            f"was changed at its source: {operation}.",
            "",
            "The lake takes the change as it is. The curated table keeps the columns that the source declares:",
            "a new column is not applied, and rows without a declared one go to pipeline.quarantined_changes.",
            "",
            f"Bring `columns` in chalicelib/sources/{source}.py up to date, or let it be.",
        ]
        steps = ["sluice changes status"]
    lines += ["", f"At: {at.isoformat()}", f"Record: {json.dumps(control, default=str)[:_QUOTED]}"]
    return letters.subject(f"[sluice] {source}: {operation} of {table}"), letters.message(lines, [], steps)
