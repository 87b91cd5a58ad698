"""`sluice backfill SOURCE --from DAY --to DAY`: windows of a source as separate runs, so many at once."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import shlex
import sys

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from chalicelib import sources, windows
from chalicelib.errors import ConfigurationError, ContractError
from chalicelib.warehouse import backfills, connection, migrations
from chalicelib.warehouse.backfills import Asked
from cli import operator
from cli.backfill_progress import View, summary
from cli.backfilling import Driver, Progress, Stop, as_json
from cli.main import INTERRUPTED
from cli.outcome import EXIT, EXIT_RUN_FAILED
from cli.session import Session, connect

MOST_WINDOWS = 10_000
_WIDE = 200


@click.command()
@click.argument("source", required=False)
@click.option("--from", "start", metavar="DAY", help="First day, YYYY-MM-DD.")
@click.option("--to", "end", metavar="DAY", help="Last day, YYYY-MM-DD; before today.")
@click.option("--every", default="1d", show_default=True, metavar="STEP", help="Days per run: 1d, 7d, 2w, 1mo.")
@click.option("--input", "given", metavar="WHAT", help="A part of the source, as `sluice run` takes it.")
@click.option("--embed/--no-embed", default=None, help="Embed changed texts; by default where the source has text.")
@click.option("--concurrency", default=4, show_default=True, type=click.IntRange(1, 50), help="Runs at the same time.")
@click.option("--retry-failed", is_flag=True, help="Also windows that failed or were rejected before.")
@click.option("--again", is_flag=True, help="Also windows that were published before.")
@click.option("--list", "list_", is_flag=True, help="List the backfills that there were, and how far they are.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON object instead of progress; an array with --list.")
@click.pass_context
def backfill(context, source, start, end, every, given, embed, concurrency, retry_failed, again, list_, json_) -> None:
    """Run SOURCE for many days, window by window.

    Windows that were published before are skipped. The same command goes on where the last one stopped, also
    on another machine. Ctrl-C starts no more and waits for the runs under way; a second one leaves.
    """
    if list_:
        _list(connect(), source, json_)
        return
    if not source or not start or not end:
        raise click.UsageError("name a SOURCE, and its days with --from and --to; or --list")
    asked, days = _asked(source, start, end, every, given)
    sources.get(source).embeds(embed)  # else each of its runs fails
    session = connect()
    migrations.apply(session.database_url)
    with connection.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
        found = _found(cursor, asked, days, again)
        backfills.settle_published(cursor, found)
        if retry_failed:
            backfills.wait_again(cursor, found)
    view = View(Console(stderr=True, quiet=json_))
    stop = Stop()
    driver = Driver(session, asked, found, embed, concurrency, stop)
    try:
        with stop.installed(), view.shown():
            driver.work(view.update, view.ended, view.stopping)
    except KeyboardInterrupt:
        click.echo(f"The runs under way go on. Next, to go on: {_command(asked, again)}", err=True)
        context.exit(INTERRUPTED)
    warned = _warned(driver)
    progress, troubled = driver.progress(), driver.troubled()
    next_step = _next(asked, again, progress)
    if json_:
        sys.stdout.write(as_json(asked, progress, troubled, warned, next_step) + "\n")
    else:
        _tell(progress, troubled, warned, next_step)
    context.exit(_status(progress, stop.wanted))


def _asked(source: str, start: str, end: str, every: str, given: str | None):
    """(what is asked for, its windows); raises ContractError for what makes no sense, before anything starts."""
    registered = sources.get(source)
    if registered.first_day is None:
        raise ContractError(f"{source} has no windows", next_step=f"run all of it: sluice run {source}")
    first, last = windows.day("--from", start), windows.day("--to", end)
    if last < first:
        raise ContractError(f"--to {last} is before --from {first}", source=source)
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    if last > yesterday:
        raise ContractError(f"--to {last} is not over yet", source=source, next_step=f"{yesterday} is the last day")
    days = list(itertools.islice(windows.split(first, last, every), MOST_WINDOWS + 1))
    if len(days) > MOST_WINDOWS:
        raise ContractError(
            f"that is more than {MOST_WINDOWS:,} windows", source=source, next_step="take longer ones with --every"
        )
    return Asked(source, first, last, every, given or ""), days


def _found(cursor, asked: Asked, days, again: bool) -> backfills.Backfill:
    """The backfill as it was left, or a new one; `again` begins a new one once the last is through."""
    known = backfills.latest(cursor, asked)
    if known is None:
        # the first generation takes what was published as done, the second does not
        return backfills.create(cursor, asked, 2 if again else 1, days, operator.name())
    counted = backfills.count(cursor, known)
    is_open = any(counted.get(status) for status in (backfills.WAITING, backfills.RUNNING))
    if not again or (is_open and known.generation > 1):
        return known
    if counted.get(backfills.RUNNING):
        raise ConfigurationError(
            "runs of this backfill are under way", next_step=f"let them end first: {_command(asked, False)}"
        )
    return backfills.create(cursor, asked, known.generation + 1, days, operator.name())


def _command(asked: Asked, again: bool, *more: str) -> str:
    words = ["sluice", "backfill", asked.source, "--from", str(asked.first), "--to", str(asked.last)]
    words += ["--every", asked.every, *(["--input", asked.input] if asked.input else [])]
    return shlex.join([*words, *(["--again"] if again else []), *more])


def _next(asked: Asked, again: bool, progress: Progress) -> str | None:
    if progress.left or progress.running:
        return _command(asked, again)
    # without --again: a backfill that is through would be begun anew
    return _command(asked, False, "--retry-failed") if progress.failed or progress.rejected else None


def _warned(driver: Driver) -> list[dict]:
    """The windows with warnings that were told of now; that nobody could be told is said, and fails nothing."""
    try:
        return driver.warnings()
    except (ClientError, BotoCoreError) as error:
        click.echo(f"The email about windows with warnings could not be sent: {error}", err=True)
        click.echo("It is sent when the same command is given again.", err=True)
        return []


def _tell(
    progress: Progress, troubled: list[backfills.BackfillWindow], warned: list[dict], next_step: str | None
) -> None:
    click.echo(f"backfill {summary(progress)}, {progress.seconds:.1f} s")
    if progress.windows == progress.skipped:
        click.echo("         nothing to do: every window was published before; --again does them again")
    for window in warned:
        click.echo(f"warning  {window['first']} to {window['last']}: sluice runs show {window['run_id']}")
    if warned:
        click.echo("         one email tells of them")
    for window in troubled:
        click.echo(f"{window.status:8} {window.first} to {window.last}: {window.error}")
        click.echo(f"         sluice runs show {window.run_id}")
    if next_step:
        click.echo(f"Next: {next_step}")


def _status(progress: Progress, stopped: bool) -> int:
    """As `sluice run`: that of the worst window; that of Ctrl-C where it left some."""
    if stopped and (progress.left or progress.running):
        return INTERRUPTED
    if progress.failed:
        return EXIT_RUN_FAILED
    return EXIT["rejected"] if progress.rejected else 0


def _list(session: Session, source: str | None, as_json: bool) -> None:
    migrations.apply(session.database_url)
    with connection.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
        found = backfills.list_backfills(cursor, source, 50)
    if as_json:
        sys.stdout.write(json.dumps(found, default=str) + "\n")
        return
    if not found:
        click.echo("No backfills yet. Next: sluice backfill weather --from 2015-01-01 --to 2015-01-31 --every 7d")
        return
    table = Table(box=None, pad_edge=False)
    numbers = ("windows", "done", "warned", "running", "failed", "left", "rows")
    for name in ("source", "from", "to", "every", "input", *numbers, "started", "by"):
        table.add_column(name, justify="right" if name in numbers else "left")
    for row in found:
        days = [str(row["first_day"]), str(row["last_day"])]
        counts = [f"{row[name]:,}" for name in numbers]
        started = f"{row['started_at']:%Y-%m-%d %H:%M}"
        table.add_row(row["source"], *days, row["every"], row["input"], *counts, started, row["started_by"])
    console = Console()
    console = console if console.is_terminal else Console(width=_WIDE)
    console.print(table)
