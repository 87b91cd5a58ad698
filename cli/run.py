"""`sluice run SOURCE`: start an execution, watch it, say what became of it."""

from __future__ import annotations

import datetime as dt
import json
import re
import secrets
import sys
from pathlib import Path

import click
from rich.console import Console

from chalicelib import executions, sources
from chalicelib.errors import ConfigurationError, WarehouseUnavailable
from chalicelib.sources.base import Source
from chalicelib.sources.files import FileSource
from chalicelib.triggers import starting
from chalicelib.triggers.attempts import NAME_LENGTH
from chalicelib.warehouse import connection, ledger
from cli import outcome
from cli.main import INTERRUPTED
from cli.progress import follow
from cli.session import Session, connect

# what Step Functions takes for an execution's name, and every file system for a folder's
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{NAME_LENGTH}}}")


@click.command()
@click.argument("source")
@click.option("--from", "start", metavar="DAY", help="First day of the window, YYYY-MM-DD.")
@click.option("--to", "end", metavar="DAY", help="Last day of the window, YYYY-MM-DD.")
@click.option("--input", "given", metavar="WHAT", help="What the source takes: stations, a path, a URL, s3://….")
@click.option("--embed/--no-embed", default=None, help="Embed changed texts; by default where the source has text.")
@click.option("--move-cursor", is_flag=True, help="Let the window that is given move the cursor, forwards.")
@click.option("--allow-gap", is_flag=True, help="With --move-cursor: also past days that no run asked for.")
@click.option("--live", is_flag=True, help="Ask the source's own hosts, instead of the sample API.")
@click.option("--from-scratch", is_flag=True, help="Take nothing over from an earlier run, whatever is unchanged.")
@click.option("--name", help="Name of the run; running the same name again does nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of progress.")
@click.pass_context
def run(context, source, start, end, given, embed, move_cursor, allow_gap, live, from_scratch, name, as_json) -> None:
    """Run SOURCE through the pipeline and wait for it."""
    registered = sources.get(source)  # an unknown source is told before anything starts
    if name is not None and not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no name for a run", next_step=f"use at most {NAME_LENGTH} letters, digits, - and _"
        )
    session = connect()
    run_id = name or _run_id(source)
    wanted = {
        "source": source,
        "from": start,
        "to": end,
        "input": as_workers_find_it(registered, given),
        "embed": embed,
    }
    flags = {"move_cursor": move_cursor, "allow_gap": allow_gap, "live": live, "from_scratch": from_scratch}
    wanted |= {name: value or None for name, value in flags.items()}
    wanted = {key: value for key, value in wanted.items() if value is not None}
    starting.check(wanted)
    console = Console(stderr=True, quiet=as_json)
    if (result := outcome.of_earlier(session, run_id, wanted)) is not None:
        console.print(f"{run_id} ran before; this is what became of it. Another --name starts another run.")
    else:
        # not by `triggers.start`: a trigger's name follows from what it asks for, and a failed one goes on under the
        # next name; this run has the name that a person gave it, and running that again does nothing
        starting.begin(run_id, wanted)
        arn = executions.arn(session.settings.state_machine_arn, run_id)
        console.print(f"run {run_id}")
        result = watched(context, session, run_id, arn, console)
    if as_json:
        sys.stdout.write(json.dumps(result.to_json()) + "\n")
    else:
        tell(result)
    context.exit(result.exit_status)


def watched(context, session: Session, run_id: str, arn: str, console: Console) -> outcome.Outcome:
    """Show the execution until it has ended; what became of it. Ctrl-C ends the watching, not the run."""
    reader = executions.Reader(session.client("stepfunctions"), arn)
    try:
        execution = follow(reader.read, console, rows=lambda: _rows_so_far(session, run_id))
    except KeyboardInterrupt:
        click.echo(f"\nThe run goes on. Next: sluice runs show {run_id}", err=True)
        context.exit(INTERRUPTED)
    return outcome.read(session, run_id, execution)


def _run_id(source: str) -> str:
    return f"{source}-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"[:NAME_LENGTH]


def as_workers_find_it(source: Source, given: str | None) -> str | None:
    """Workers run elsewhere: what is a path here, of a source that takes files, is made absolute."""
    if given is None or "://" in given or not isinstance(source, FileSource):
        return given
    return str(Path(given).absolute()) if Path(given).exists() or "/" in given or "*" in given else given


def _rows_so_far(session: Session, run_id: str) -> int | None:
    """Rows loaded into staging; None while Postgres does not say, which must not end the watching."""
    try:
        with connection.transaction(session.database_url) as open_connection:
            return ledger.rows_so_far(open_connection, run_id)
    except WarehouseUnavailable:
        return None


def tell(result: outcome.Outcome) -> None:
    click.echo(f"run      {result.run_id}")
    verdict = f", verdict {result.verdict}" if result.verdict else ""
    click.echo(f"status   {result.status}{verdict}, {result.seconds:.1f} s")
    if result.fetched is not None and result.inserted is not None:
        click.echo(
            f"account  {result.fetched:,} fetched = {result.inserted:,} inserted + {result.updated:,} updated"
            f" + {result.unchanged:,} unchanged + {result.duplicates:,} duplicates + {result.quarantined:,} quarantined"
        )
        if not result.fetched:
            click.echo("         there was nothing to fetch")
        if result.fetched and result.unchanged + result.duplicates == result.fetched:
            click.echo("         nothing changed: every row was there already")
    elif result.fetched is not None:
        click.echo(f"account  {result.fetched:,} fetched, {result.quarantined:,} quarantined, nothing published")
    for run_id, what in result.kept():
        click.echo(f"kept     of {run_id}: {what}")
    if result.embedded:
        click.echo(f"embedded {result.embedded:,} texts")
    for left in result.left:
        click.echo(f"left     {left}")
    if result.error and result.status != "succeeded":
        click.echo(f"error    {result.error}: {result.reason}")
    if result.report:
        click.echo(f"report   {result.report}")
    if result.graph:
        click.echo(f"graph    {result.graph}")
    if result.next:
        click.echo(f"next     {result.next}")
