"""`sluice quarantine …`: rows that were set aside, seen, replayed and discarded; whole objects of the inbox."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterator

import click
from rich.console import Console

from chalicelib.errors import ConfigurationError, NotFound
from chalicelib.lake import Lake
from chalicelib.quarantine import rows, starting
from chalicelib.quarantine.rows import Filter
from chalicelib.warehouse import connection, quarantined_objects, reader
from cli import operator
from cli.main import FAILED
from cli.outcome import counted
from cli.retyped import retyped
from cli.run import tell, watched
from cli.session import Session, connect

_MOST = 1000
_RECORD = 200  # characters of a record in a list


@click.group()
def quarantine() -> None:
    """What was set aside."""


_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_NUMBER = click.IntRange(1, 2**63 - 1)
_NUMBERS = click.argument("numbers", nargs=-1, type=_NUMBER)


def _filtered(command):
    """The options that say which rows are meant."""
    options = (
        click.option("--run", "run_id", metavar="RUN", help="Only rows that this run set aside."),
        click.option("--source", help="Only rows of this source."),
        click.option("--reason", metavar="TEXT", help="An expectation's id, a column, or a part of what is said."),
        click.option(
            "--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="Set aside on this day or later."
        ),
    )
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)


def _wanted(numbers, run_id, source, reason, since, state=None) -> Filter:
    return Filter(tuple(numbers) or None, run_id, source, reason, since and since.date(), state)


@quarantine.command("list")
@_filtered
@click.option("--state", type=click.Choice(rows.STATES), help="Only rows in this state.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, _MOST))
@click.option("--before", type=_NUMBER, metavar="NUMBER", help="Go on behind the row of this number.")
@_JSON
@click.pass_context
def list_(context, run_id, source, reason, since, state, limit, before, as_json) -> None:
    """List rows that were set aside, newest first; personal values are masked."""
    session = connect()
    wanted = _wanted((), run_id, source, reason, since, state)
    with reader.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
        rows.check(cursor, wanted)
        found, following = rows.page(cursor, wanted, limit, before)
        counted = rows.reasons(cursor, wanted, found if following is None else None) if before is None else None
    found = rows.masked(found, Lake(session.settings.bucket))
    if as_json:
        _print({"rows": found, "reasons": counted, "next": following})
        return
    if not found:
        click.echo("No row of the quarantine is like that.")
        return
    for row in found:
        messages = "; ".join(reason["message"] for reason in row["reasons"])
        click.echo(f"{row['id']:>7}  {row['state']:9}  {row['run_id']} line {row['line']}  {messages}")
        click.echo(f"                    {row['record'][:_RECORD]}")
    if counted:
        click.echo("\nreasons" + (f", of the newest {rows.NEWEST:,} rows at most" if following is not None else ""))
        for each in counted:
            click.echo(f"  {each['rows']:>9,}  e.g. {each['example']}")
    if following is not None:
        click.echo(f"\nThe first {limit} of more. Next: {retyped(context, before=following)}")


@quarantine.command("show")
@click.argument("number", type=_NUMBER)
@_JSON
def show(number, as_json) -> None:
    """Show one row: where it came from, every reason, what became of it."""
    session = connect()
    with reader.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
        row = rows.one(cursor, number)
    [row] = rows.masked([row], Lake(session.settings.bucket))
    if as_json:
        _print(row)
        return
    click.echo(f"row      {row['id']}, {row['state']}")
    click.echo(f"source   {row['source']}")
    click.echo(f"run      {row['run_id']}, {row['run_status']}")
    click.echo(f"from     {row['raw'] or 'a raw object that the ledger does not have,'} line {row['line']}")
    click.echo(f"added    {row['added_at']:%Y-%m-%d %H:%M}")
    if row["replayed_by"]:
        click.echo(f"replay   {row['replayed_by']} judges it at the moment")
    if row["settled_by"]:
        click.echo(f"settled  {row['settled_at']:%Y-%m-%d %H:%M} by {row['settled_by']}")
    if row["why"]:
        click.echo(f"why      {row['why']}")
    click.echo("reasons")
    _tell_reasons(row["reasons"])
    for attempt in row["attempts"]:
        click.echo(f"replayed by {attempt['run_id']}, {attempt['added_at']:%Y-%m-%d %H:%M}; it failed again")
        _tell_reasons(attempt["reasons"])
    click.echo(f"record\n  {row['record']}")
    if row["state"] == "open" and not row["replayable"]:
        click.echo("\nIts run published nothing, so it is not replayed by itself: run the source again, or discard it.")


@quarantine.command("replay")
@_NUMBERS
@_filtered
@click.option("--after", type=_NUMBER, metavar="NUMBER", help="Only rows behind this one: go on where a replay failed.")
@_JSON
@click.pass_context
def replay(context, numbers, run_id, source, reason, since, after, as_json) -> None:
    """Judge open rows again, by today's source and suite, and publish those that pass."""
    wanted = _meant(_wanted(numbers, run_id, source, reason, since))
    session = connect()
    console = Console(stderr=True, quiet=as_json)
    results, refused, unpublished = [], 0, 0
    for started in _portions(wanted, after):
        unpublished = started.unpublished
        refused += len(started.refused)
        for each in started.refused:
            click.echo(f"refused  {_rows(each.rows)} of {each.replay_of}: {each.error}", err=True)
        ended = []
        for each in started.replays:
            console.print(f"run {each.run_id} replays {_rows(each.rows)} of {each.replay_of}")
            ended.append(watched(context, session, each.run_id, each.execution, console))
            if not as_json:
                tell(ended[-1])
                _tell_states(session, each.replay_of)
        results += ended
        if started.left and any(each.exit_status for each in ended):
            click.echo(f"left     {_rows(started.left)}. Next: {retyped(context, after=started.after)}", err=True)
            break
        if started.left:
            console.print(f"left     {_rows(started.left)}, being replayed now")
    if as_json:
        _print([result.to_json() for result in results])
    elif unpublished:
        click.echo(
            f"left     {_rows(unpublished)} of runs that published nothing: run these runs again, or discard the rows"
        )
    context.exit(max([FAILED if refused else 0, *(result.exit_status for result in results)]))


def _portions(wanted: Filter, after: int | None) -> Iterator[starting.Replays]:
    """One after the other, each begun when the one before is over; raises as `starting.start` for the first one."""
    portion = starting.start(wanted, after)
    yield portion
    while portion.left:
        try:
            portion = starting.start(wanted, portion.after)
        except NotFound:  # somebody else was faster
            return
        yield portion


@quarantine.command("discard")
@_NUMBERS
@_filtered
@click.option("--why", required=True, metavar="TEXT", help="Why they are not wanted; it is kept.")
@_JSON
def discard(numbers, run_id, source, reason, since, why, as_json) -> None:
    """Mark open rows as not wanted; nothing is deleted."""
    wanted = _meant(_wanted(numbers, run_id, source, reason, since))
    connect()
    number, left = 0, True
    while left:
        done = starting.discard(wanted, operator.name(), why)
        number, left = number + done.discarded, done.left
        if left and not as_json:
            click.echo(f"discarded {number:,}, {left:,} to go", err=True)
    if as_json:
        _print({"discarded": number, "replaying": done.replaying})
        return
    click.echo(f"discarded {number:,}" + ("" if number else ": no open row is like that"))
    if done.replaying:
        click.echo(f"left     {_rows(done.replaying)} being replayed")
    if others := len(set(numbers)) - number - done.replaying if numbers else 0:
        click.echo(f"left     {others:,} of the rows: settled before, or not like that")


@quarantine.command("objects")
@click.option("--source", help="Only objects in this folder of the inbox.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, _MOST))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def objects(source, limit, as_json) -> None:
    """List objects of the inbox of which nothing was published, newest first."""
    session = connect()
    with connection.transaction(session.database_url) as open_connection:
        found = quarantined_objects.listed(open_connection, limit, source)
    if as_json:
        _print(found)
        return
    if not found:
        click.echo("No object of the inbox is quarantined.")
    for row in found:
        click.echo(f"{row['added_at']:%Y-%m-%d %H:%M}  s3://{row['bucket']}/{row['key']}  {row['bytes']:,} bytes")
        click.echo(f"  {row['reason']}")
        if row["run_id"]:
            click.echo(f"  run {row['run_id']}")
        if row["loaded_by"]:
            click.echo(f"  since then an object of this address was loaded by {row['loaded_by']}")


def _meant(wanted: Filter) -> Filter:
    """What is to be changed is said: all of the quarantine is nobody's wish."""
    if wanted.is_empty:
        raise ConfigurationError(
            "it is not said which rows are meant", next_step="give their numbers, or --run, --source, a reason, --since"
        )
    return wanted


def _tell_reasons(reasons: list[dict]) -> None:
    for reason in reasons:
        about = f"  ({reason['expectation']})" if reason.get("expectation") else ""
        click.echo(f"  {reason['kind']}: {reason['message']}{about}")


def _tell_states(session: Session, run_id: str) -> None:
    with connection.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
        states = rows.states(cursor, run_id)
    told = ", ".join(f"{number:,} {state}" for state, number in states.items() if number)
    click.echo(f"original {run_id}: {told}")


def _rows(number: int) -> str:
    return counted(number, "row")


def _print(value) -> None:
    sys.stdout.write(json.dumps(value, default=str) + "\n")
