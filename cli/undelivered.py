"""`sluice undelivered`: what could not be delivered, and the way back to where it came from."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import click

from chalicelib.errors import SluiceError, SourceError, UnknownSource
from chalicelib.lake.inbox_object import InboxObject
from chalicelib.triggers import holding, inbox, messages, starting
from chalicelib.triggers import undelivered as queue
from chalicelib.triggers.undelivered import KINDS, SCHEDULE, WEBHOOK, Undelivered
from cli import targets
from cli.session import Session, connect

_KIND = click.option("--kind", type=click.Choice(KINDS), help="Only messages of this kind.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
_SHOWN = 100  # characters of a reason


@click.group()
def undelivered() -> None:
    """Messages that could not be delivered: they are kept for 14 days."""


@undelivered.command("list")
@_KIND
@_JSON
def list_(kind, as_json) -> None:
    """List them, oldest first: id, kind, when, and why."""
    session = connect()
    with queue.taken(session.client("sqs"), _url(session)) as found:
        wanted = queue.chosen(found, (), kind)
    if as_json:
        sys.stdout.write(json.dumps([_described(message) for message in wanted]) + "\n")
        return
    if not wanted:
        click.echo("Nothing is undelivered.")
        return
    for message in wanted:
        reason = " ".join(message.reason.split())
        reason = reason if len(reason) <= _SHOWN else f"{reason[: _SHOWN - 1]}…"
        click.echo(f"{message.id}  {message.kind:8}  {message.sent_at:%Y-%m-%d %H:%M}  {message.error}: {reason}")
    click.echo("Next: sluice undelivered show ID, resend ID, or discard ID")


@undelivered.command("show")
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show(id_, as_json) -> None:
    """Show one whole, and what sending it back would do. A beginning of its ID will do."""
    session = connect()
    with queue.taken(session.client("sqs"), _url(session)) as found:
        [message] = queue.chosen(found, (id_,), None)
    try:
        back = _way_back(session, message)
        to, then = back.to, back.then
    except SluiceError as error:
        to, then = None, f"stays here: {type(error).__name__}: {error}"
    if as_json:
        sys.stdout.write(json.dumps({**_described(message), "to": to, "then": then}) + "\n")
        return
    for name, value in _described(message).items():
        if value and name != "body":
            click.echo(f"{name:10} {json.dumps(value) if isinstance(value, dict) else value}")
    click.echo(f"{'resend':10} {f'to {to}: ' if to else ''}{then}")
    click.echo(f"\n{message.body}")


@undelivered.command("resend")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_KIND
@click.option("--dry-run", is_flag=True, help="Say what would happen and send nothing.")
@_JSON
@click.pass_context
def resend(context, ids, kind, dry_run, as_json) -> None:
    """Send messages back to where they came from, by ID or by --kind, and say what comes of each.

    What would come back at once stays. Sent twice, a message starts one run.
    """
    _expect_choice(ids, kind)
    session = connect()
    client, url = session.client("sqs"), _url(session)
    told, stays = [], 0
    with queue.taken(client, url) as found:
        for message in queue.chosen(found, ids, kind):
            try:
                back = _way_back(session, message)
                if not dry_run:
                    back.send(session, message)
                    holding.delete(client, url, message.receipt)  # after it: rather twice than never
            except SluiceError as error:
                stays += 1
                told.append({"id": message.id, "kind": message.kind, "sent": False, "to": None, "then": str(error)})
                click.echo(f"stays    {message.id}: {type(error).__name__}: {error}", err=True)
                continue
            about = {"id": message.id, "kind": message.kind, "sent": not dry_run}
            told.append({**about, "to": back.to, "then": back.then})
            if not as_json:
                click.echo(f"{'would be' if dry_run else 'sent':8} {message.id} to {back.to}: {back.then}")
    _end(told, as_json)
    context.exit(1 if stays else 0)


@undelivered.command("discard")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_KIND
@click.option("--yes", is_flag=True, help="Do not ask.")
@_JSON
def discard(ids, kind, yes, as_json) -> None:
    """Delete messages for good, by ID or by --kind."""
    _expect_choice(ids, kind)
    session = connect()
    client, url, told = session.client("sqs"), _url(session), []
    with queue.taken(client, url) as found:
        wanted = queue.chosen(found, ids, kind)
        if wanted and not yes:
            click.confirm(
                f"Delete {len(wanted)} message{'s' if len(wanted) > 1 else ''} for good?", abort=True, err=True
            )
        for message in wanted:
            holding.delete(client, url, message.receipt)
            told.append(_described(message))
            if not as_json:
                click.echo(f"discarded {message.id}  {message.kind}  {message.error}")
    _end(told, as_json)


@dataclass(frozen=True)
class _WayBack:
    """Where a message is sent, and what will come of it there."""

    to: str
    then: str
    body: str

    def send(self, session: Session, message: Undelivered) -> None:
        if self.to.startswith("arn:"):
            targets.invoke(session, self.to, self.body)
        else:
            targets.send(session, self.to, self.body)


def _way_back(session: Session, message: Undelivered) -> _WayBack:
    """Raises SluiceError where it cannot go back, or would come back at once."""
    to, body = message.target(session.prefix), message.again()
    if to.startswith("arn:"):
        return _WayBack(to, "the function is invoked with it", body)
    if message.kind == WEBHOOK:
        return _WayBack(to, "its events are collected into the inbox within a minute", body)
    return _WayBack(to, "; ".join(_comes_of(session, body, message.id)) or "nothing: it asks for no run", body)


def _comes_of(session: Session, body: str, message_id: str) -> list[str]:
    told = []
    for asked in messages.read(body, message_id, session.settings.bucket):
        if isinstance(asked, InboxObject):
            try:
                asked = inbox.trigger(asked)
            except (UnknownSource, SourceError) as error:
                told.append(f"the object is quarantined: {error.message}")
                continue
        if asked is None:
            continue
        if isinstance(asked, messages.Sweep):
            told.append("a sweep of what runs left behind")
            continue
        run = starting.expected(asked)
        told.append(f"run {run.run_id}" if run.new else f"nothing new: run {run.run_id} came of it before")
    return told


def _described(message: Undelivered) -> dict:
    return {
        "id": message.id,
        "kind": message.kind,
        "sent_at": message.sent_at.isoformat(timespec="seconds"),
        "error": message.error,
        "reason": message.reason,
        "came_from": message.came_from,
        "attributes": message.attributes if message.kind == SCHEDULE else {},
        "body": message.body,
    }


def _url(session: Session) -> str:
    return targets.url(session, f"{session.prefix}-undelivered")


def _expect_choice(ids: tuple[str, ...], kind: str | None) -> None:
    if not ids and kind is None:
        raise click.UsageError("name messages by their IDs, or by --kind")


def _end(told: list[dict], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(told) + "\n")
    elif not told:
        click.echo("No such message is undelivered.")
