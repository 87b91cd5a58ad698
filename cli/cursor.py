"""`sluice cursor show SOURCE`, `sluice cursor set SOURCE DAY --why TEXT`."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys

import click

from chalicelib import sources, windows
from chalicelib.errors import ContractError
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, cursors, ledger, migrations
from cli import operator
from cli.session import connect


@click.group()
def cursor() -> None:
    """Up to which day a source was read."""


@cursor.command("show")
@click.argument("source")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show(source, as_json) -> None:
    """Show where the cursor of SOURCE stands, and who moved it there."""
    registered = _windowed(source)
    session = connect()
    migrations.apply(session.database_url)
    with connection.transaction(session.database_url) as open_connection, open_connection.cursor() as opened:
        position, moves = cursors.position(opened, source), cursors.moves(opened, source)
    if as_json:
        found = {"source": source, "position": position, "moves": [dataclasses.asdict(move) for move in moves]}
        sys.stdout.write(json.dumps(found, default=str) + "\n")
        return
    following = windows.following_day(registered, position)
    click.echo(f"cursor    {position or 'none yet'}")
    overlap = f", after {registered.overlap_days} days of overlap" if position and registered.overlap_days else ""
    click.echo(f"next run  begins with {following}{overlap}")
    for move in moves:
        who = f"by run {move.run_id}" if move.run_id else f"by {move.moved_by}: {move.why}"
        click.echo(f"  {move.moved_at:%Y-%m-%d %H:%M}  {move.before or 'none'} -> {move.after}  {who}")


@cursor.command("set")
@click.argument("source")
@click.argument("day")
@click.option("--why", required=True, help="Why it is moved; kept in the ledger with your name and the time.")
def set_(source, day, why) -> None:
    """Set the cursor of SOURCE to DAY, the last day that counts as read; forwards or backwards.

    The next run begins with the day after it. Runs under way do not undo it.
    """
    registered = _windowed(source)
    wanted = windows.day("the day", day)
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    if wanted > yesterday:
        raise ContractError(
            f"{wanted} is not over: what comes later would never be asked for", next_step=f"{yesterday} is the last"
        )
    before_all = registered.first_day - dt.timedelta(days=1)
    if wanted < before_all:
        raise ContractError(
            f"{source} begins on {registered.first_day}",
            next_step=f"to begin anew: sluice cursor set {source} {before_all}",
        )
    if not why.strip():
        raise ContractError("the reason is empty", next_step="say why with --why; whoever comes next will ask")
    session = connect()
    migrations.apply(session.database_url)
    with connection.transaction(session.database_url) as open_connection:
        with open_connection.cursor() as opened:
            before = cursors.put(opened, source, wanted, operator.name(), why.strip())
        under_way = ledger.list_runs(open_connection, 5, ledger.Wanted(source, "running"))
    click.echo(f"{source}: {before or 'none'} -> {wanted}")
    for run in under_way:
        click.echo(f"  {run['run_id']} is under way, with the days {run['window_start']} to {run['window_end']}")
    if under_way:
        click.echo("  It moves the cursor only where no days lie between the cursor and its own.")


def _windowed(name: str) -> Source:
    """The source; raises ContractError for one that has no cursor."""
    source = sources.get(name)
    if source.first_day is None:
        raise ContractError(f"{name} has no windows, and so no cursor", next_step="give the source a first_day")
    return source
