"""`sluice trigger`: fire by hand what starts runs by itself, and say what run came of it."""

from __future__ import annotations

import datetime as dt
import json
import uuid
import zoneinfo
from pathlib import Path

import click

from chalicelib import sources
from chalicelib.errors import ConfigurationError, NotFound
from chalicelib.lake import keys
from chalicelib.lake.inbox_object import InboxObject
from chalicelib.triggers import Trigger, inbox, starting
from chalicelib.triggers import trigger as triggers
from cli import fired, sending, targets
from cli.run import as_workers_find_it
from cli.session import Session, connect
from local.schedules import filled

HOUSEKEEPING = "housekeeping"  # a schedule that is no source's, see `deploy.schedules`


@click.group()
def trigger() -> None:
    """Fire a trigger by hand, as AWS would."""


@trigger.command()
@click.argument("source")
@click.option("--at", "at", metavar="TIME", help="When it is due, YYYY-MM-DDTHH:MM in its time zone; by default now.")
@fired.WAIT
@click.pass_context
def schedule(context, source, at, wait) -> None:
    """Fire the schedule of SOURCE, as if it were due; `housekeeping` is that of the hourly sweep."""
    if is_sweep := source == HOUSEKEEPING:
        if wait:
            raise click.UsageError("--wait goes with a run, and no run comes of a sweep")
    else:
        sources.get(source)
    session = connect()
    found = _schedule(session, source)
    due = _due(at, found["ScheduleExpressionTimezone"])
    target = found["Target"]
    text = filled(target.get("Input") or "{}", found["Arn"], due, uuid.uuid4().hex, 1)
    service = target["Arn"].split(":")[2]
    click.echo(f"fired    schedule {found['Name']} for {due:%Y-%m-%dT%H:%M:%SZ}")
    if service == "lambda":
        answer = targets.invoke(session, target["Arn"], text)
        click.echo(f"answer   {json.dumps(answer)}")
        if isinstance(answer, dict) and str(answer.get("key")).startswith(keys.INBOX):  # it put something there
            _tell_of_object(context, session, answer["key"], wait, new=answer.get("written", True))
        return
    if service != "sqs":
        raise ConfigurationError(f"{found['Name']} has the target {target['Arn']}, which is neither queue nor function")
    queue = target["Arn"].rsplit(":", 1)[1]
    if is_sweep:
        targets.send(session, queue, text)
        click.echo(f"sent     the message for a sweep to {queue}; the log of start_run says what it swept")
        return
    expected = starting.expected(triggers.scheduled(source, due.isoformat()))
    targets.send(session, queue, text)
    fired.tell(context, session, expected, wait)


@trigger.command("inbox")
@click.argument("source")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@fired.WAIT
@click.pass_context
def inbox_(context, source, file, wait) -> None:
    """Put FILE into the inbox of SOURCE, in S3."""
    session = connect()
    bucket, key = session.settings.bucket, f"{keys.INBOX}{source}/{file.name}"
    # what would be quarantined is told before it is put there
    asked = inbox.trigger(InboxObject(bucket, key, "unknown", file.stat().st_size))
    session.client("s3").upload_file(str(file), bucket, key)
    _tell_of_object(context, session, key, wait, new=True)
    if asked is None:
        click.echo("no run: the source reads such a file only when a declaration names it")


@trigger.command()
@click.argument("source")
@click.option("--from", "start", metavar="DAY", help="First day of the window, YYYY-MM-DD.")
@click.option("--to", "end", metavar="DAY", help="Last day of the window, YYYY-MM-DD.")
@click.option("--input", "given", metavar="WHAT", help="What the source takes: stations, a path, a URL, s3://….")
@click.option("--id", "identity", help="What the message is known by: sent again, it starts nothing new.")
@fired.WAIT
@click.pass_context
def queue(context, source, start, end, given, identity, wait) -> None:
    """Send a message that asks for a run of SOURCE to the queue of triggers."""
    registered = sources.get(source)
    session = connect()
    asked = {"source": source, "from": start, "to": end, "input": as_workers_find_it(registered, given)}
    asked = {name: value for name, value in asked.items() if value is not None}
    identity = identity or uuid.uuid4().hex
    wanted = Trigger(triggers.QUEUE, source, identity, start=start, end=end, input=asked.get("input"))
    expected = starting.expected(wanted)
    name = f"{session.prefix}-triggers"
    targets.send(session, name, json.dumps({**asked, "id": identity}))
    click.echo(f"sent     {identity} to {name}")
    fired.tell(context, session, expected, wait)


def _schedule(session: Session, source: str) -> dict:
    client = session.client("scheduler")
    try:
        return client.get_schedule(Name=f"{session.prefix}-{source}", GroupName=session.prefix)
    except client.exceptions.ResourceNotFoundException:
        raise NotFound(
            f"{source} has no schedule", next_step=f"declare one in its source, or `sluice run {source}`"
        ) from None


def _due(at: str | None, timezone: str) -> dt.datetime:
    if at is None:
        return dt.datetime.now(dt.UTC).replace(microsecond=0)
    try:
        moment = dt.datetime.fromisoformat(at)
    except ValueError:
        raise ConfigurationError(f"{at!r} is no time", next_step="write it as 2026-11-21T08:00") from None
    if moment.tzinfo:
        return moment.astimezone(dt.UTC)
    due = moment.replace(tzinfo=zoneinfo.ZoneInfo(timezone)).astimezone(dt.UTC)
    if due.astimezone(zoneinfo.ZoneInfo(timezone)).replace(tzinfo=None) != moment:
        raise ConfigurationError(
            f"there is no {moment:%H:%M} on {moment:%Y-%m-%d} in {timezone}: the clocks go forward, and EventBridge "
            "Scheduler skips it",
            next_step="take a time that there is, or give it with its offset",
        )
    return due


def _tell_of_object(context: click.Context, session: Session, key: str, wait: bool, new: bool) -> None:
    """Say what run comes of an object of the inbox that was just written, or where not `new`, lay there."""
    bucket = session.settings.bucket
    about = session.client("s3").head_object(Bucket=bucket, Key=key)
    put = InboxObject.described(bucket, key, about)
    click.echo(f"object   {put.address}, {put.bytes:,} bytes")
    if (asked := inbox.trigger(put)) is not None:
        # the notification is on its way already: a run that has begun since is the object's own
        since = about["LastModified"] if new else None
        fired.tell(context, session, starting.expected(asked, since=since), wait)


for command in (sending.webhook, sending.api):
    trigger.add_command(command)
