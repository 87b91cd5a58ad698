"""`sluice changes`: change streams, from a Postgres into the lake and the curated tables."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys
from urllib.parse import urlsplit

import click

from chalicelib import sources
from chalicelib.changes import apply as applying
from chalicelib.changes import holds, mapping, summary
from chalicelib.changes import quarantine as quarantined
from chalicelib.changes.replay import replay as replayed
from chalicelib.changes.replay import unfinished
from chalicelib.errors import ConfigurationError
from chalicelib.lake import Lake
from chalicelib.settings import LOCAL
from chalicelib.warehouse import connection
from cli.session import connect
from local.dms.processes import Running, Tasks
from local.dms.task import Task
from local.home import home
from local.provision import CHANGE_STREAM
from local.stack import Stack

_NAME = click.option("--name", default="local", show_default=True, help="The task's name, of small letters and digits.")


@click.group()
def changes() -> None:
    """Change streams: replicate a Postgres, see what came, replay a table."""


@changes.command()
@click.option("--database", help="The source's address: postgresql://user:password@host:5432/database.")
@click.option("--table", "tables", multiple=True, help="A table, as schema.table; may be given several times.")
@click.option("--before-images", is_flag=True, help="Send whole old rows; the tables need REPLICA IDENTITY FULL.")
@click.option("--reload", is_flag=True, help="Load the tables anew.")
@_NAME
def start(database, tables, before_images, reload, name) -> None:
    """Replicate tables of a Postgres into the local stack's change stream, in the place of AWS DMS.

    First every row as it is, then every change. Without --database and --table, a task that was
    stopped goes on where it was. A task whose tables are others is loaded anew, with --reload alone.
    """
    _local()
    tasks = Tasks(home())
    if not name.isascii() or not name.isalnum() or not name.islower():
        raise click.BadParameter(f"{name!r} is not of small letters and digits", param_hint="--name")
    if database or tables:
        if not database or not tables:
            raise click.UsageError("give --database and at least one --table, or neither to go on")
        if wrong := [table for table in tables if table.count(".") != 1]:
            raise click.BadParameter(f"{wrong[0]!r} is not schema.table", param_hint="--table")
        task = Task(name, database, tuple(dict.fromkeys(tables)), CHANGE_STREAM, before_images)
    else:
        task = tasks.get(name).task
    again = reload and any(running.task.name == name for running in tasks.list())
    started = tasks.start(task, Stack(home()).env(), reload)
    click.echo(f"The task {name} replicates {', '.join(task.tables)} from {_shown(task)}: {started.state}.")
    if again:
        click.echo(
            "A load deletes nothing: rows that were deleted at the source before it, and not replicated, stay in the"
            " curated tables. To be without them, empty a curated table, and --reload again."
        )
    click.echo("Next: sluice changes status")


@changes.command()
@click.option("--remove", is_flag=True, help="Take its slot out of the database too, which keeps its log until then.")
@_NAME
def stop(remove, name) -> None:
    """Stop a task. The source keeps what comes meanwhile until the task goes on, or is removed."""
    _local()
    stopped = Tasks(home()).stop(name, remove)
    click.echo(f"The task {name} {'is stopped' if stopped else 'was not running'}{' and removed' if remove else ''}.")


@changes.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def status(as_json) -> None:
    """Show the tasks, and what came by each shard of the stream."""
    session = connect()
    tasks = Tasks(home()).list() if session.settings.stage == LOCAL else []
    with connection.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
        shards = summary.of_shards(cursor)
        accounts, held = summary.of_sources(cursor), holds.listed(cursor)
    if as_json:
        document = {
            "tasks": [_task(running) for running in tasks],
            "shards": shards,
            "sources": accounts,
            "held": held,
        }
        sys.stdout.write(json.dumps(document, default=str) + "\n")
        return
    for running in tasks:
        error = f", {running.error}" if running.error else ""
        click.echo(f"task {running.task.name}: {running.state}, {', '.join(running.task.tables)}{error}")
    if not shards:
        click.echo("No changes came yet. Next: sluice changes start --database … --table …")
    for rows in (shards, accounts):
        for row in rows:
            click.echo("  ".join(f"{name} {_text(value)}" for name, value in row.items()))
    for row in held:
        click.echo(
            f"{row['source']} is held since {_text(row['held_at'])}: {row['operation']} at the source,"
            f" {row['records']:,} changes wait. Next: sluice changes resume {row['source']} --help"
        )


@changes.command()
@click.argument("number", type=int, required=False)
@click.option("--source", help="Only changes of the table that is mapped to this source.")
@click.option("--malformed", is_flag=True, help="Only records that could not be read.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--record", is_flag=True, help="Print the record too, which may hold personal values. With NUMBER.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an array, with NUMBER an object.")
def quarantine(number, source, malformed, limit, record, as_json) -> None:
    """List records that were set aside with their reasons, newest first, or show the one with NUMBER."""
    if record and number is None:
        raise click.UsageError("--record shows one record: give its NUMBER")
    session = connect()
    with connection.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
        if number is None:
            found = quarantined.listed(cursor, limit, source, malformed)
        else:
            found = [quarantined.found(cursor, number)]
            if not record:
                del found[0]["record"]
    if as_json:
        sys.stdout.write(json.dumps(found if number is None else found[0], default=str) + "\n")
        return
    if not found:
        click.echo("No change is quarantined.")
    for row in found:
        what = row["source"] or "could not be read"
        click.echo(f"{row['id']}  {_text(row['added_at'])}  {what}  {row['shard']} {row['sequence']}")
        for reason in row["reasons"]:
            click.echo(f"  {reason['message']}")
    for row in found if number is not None else ():
        if record:
            click.echo(row["record"])
        click.echo(f"Next: {_next_step(row)}")


@changes.command()
@click.argument("source")
@click.option(
    "--truncate", "decision", flag_value="truncate", help="Rows go that were committed before the truncation."
)
@click.option("--keep", "decision", flag_value="keep", help="The table keeps its rows.")
@click.option("--at", help="When the truncation was committed, as 2026-03-01T12:00:00Z; else the record's time.")
@click.option("--yes", is_flag=True, help="Without --at: skip held changes that are older than the record.")
def resume(source, decision, at, yes) -> None:
    """Decide about the table of SOURCE that was emptied at its source, and apply what was held since."""
    if decision is None:
        raise click.UsageError("give --truncate or --keep")
    if at and decision == "keep":
        raise click.UsageError("--at says when the table was emptied: give it with --truncate")
    if yes and decision == "keep":
        raise click.UsageError("--yes skips held changes: give it with --truncate")
    wanted = _moment(at) if at else None
    session = connect()
    mapped = sources.get(source)
    if mapped.changes is None:
        raise ConfigurationError(f"no table is mapped to {source}", next_step="see `sluice changes status`")
    with connection.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
        recorded = holds.happened_at(cursor, source)
        when = (wanted or recorded) if decision == "truncate" else None
        skipped = holds.older(cursor, mapped, when) if when else {}
        if skipped and not wanted and not yes:
            raise ConfigurationError(
                f"{sum(skipped.values()):,} of the held changes were committed before {_of_record(when)},"
                f" and would be skipped: {_counts(skipped)}. The record is written after the truncation,"
                " so they may be newer than that",
                source=source,
                next_step="give the time of its commit, from the source's log, with --at TIME; --yes skips them",
            )
        resumed = holds.resume(cursor, mapped, when)
    if when:
        click.echo(f"{source} was emptied at {when.astimezone(dt.UTC).isoformat() if wanted else _of_record(when)}")
    if skipped:
        click.echo(f"held changes that are older, and skipped: {_counts(skipped)}")
    click.echo(f"{source} is resumed. Rows removed: {resumed.removed:,}")
    click.echo(f"held changes: {_counts(resumed.counts)}")


@changes.command()
@click.argument("table")
@click.option(
    "--key", multiple=True, help="A column of the table's key; by default that of the source it is mapped to."
)
def replay(table, key) -> None:
    """Print the rows of TABLE (schema.table) as the changes in the lake make them, one JSON object per line."""
    session = connect()
    schema, _, name = table.partition(".")
    source = mapping.by_table().get((schema, name))
    if not key and source is None:
        raise ConfigurationError(f"no source is mapped to {table}", next_step="name its key with --key")
    absent = source.changes.absent if source else mapping.UNCHANGED
    lake, asked = Lake(session.settings.bucket, session.client("s3")), unfinished(session.database_url)
    truncated_at = None
    if source:
        with connection.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
            truncated_at = applying.truncated_at(cursor, source)
    rows = replayed(lake, schema, name, key or source.key, absent, asked, truncated_at)
    for row in rows.values():
        sys.stdout.write(json.dumps(row, default=str, ensure_ascii=False) + "\n")


def _local() -> None:
    if connect().settings.stage != LOCAL:
        raise ConfigurationError("on AWS, DMS replicates", next_step="see docs/change-data-capture.md")


def _of_record(when: dt.datetime) -> str:
    return f"{when.astimezone(dt.UTC).isoformat()}, the time in the record"


def _counts(counts: dict[str, int]) -> str:
    return "  ".join(f"{name} {count:,}" for name, count in counts.items())


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time as 2026-03-01T12:00:00Z", param_hint="--at") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _next_step(row: dict) -> str:
    if row["source"] is None:
        return "mend what wrote it, and put the record into the stream again"
    return (
        f"mend the row, or bring the columns in chalicelib/sources/{row['source']}.py up to date;"
        " the row's next change that fits, or a load of its table, brings it"
    )


def _task(running: Running) -> dict:
    found = dataclasses.asdict(running)
    found["task"]["database_url"] = _shown(running.task)
    return found


def _shown(task: Task) -> str:
    """The source without its password."""
    parts = urlsplit(task.database_url)
    return f"{parts.hostname or 'a socket'}{parts.path}"


def _text(value) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, dt.datetime) else str(value)
