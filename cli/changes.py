"""`sluice changes`: change streams, from a Postgres into the lake and the curated tables."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys
from urllib.parse import urlsplit

import click

from chalicelib.changes import mapping, summary
from chalicelib.changes.replay import replay as replayed
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
    stopped goes on where it was.
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
    started = tasks.start(task, Stack(home()).env(), reload)
    click.echo(f"The task {name} replicates {', '.join(task.tables)} from {_shown(task)}: {started.state}.")
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
        sources = summary.of_sources(cursor)
    if as_json:
        document = {"tasks": [_task(running) for running in tasks], "shards": shards, "sources": sources}
        sys.stdout.write(json.dumps(document, default=str) + "\n")
        return
    for running in tasks:
        error = f", {running.error}" if running.error else ""
        click.echo(f"task {running.task.name}: {running.state}, {', '.join(running.task.tables)}{error}")
    if not shards:
        click.echo("No changes came yet. Next: sluice changes start --database … --table …")
    for rows in (shards, sources):
        for row in rows:
            click.echo("  ".join(f"{name} {_text(value)}" for name, value in row.items()))


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
    rows = replayed(Lake(session.settings.bucket, session.client("s3")), schema, name, key or source.key, absent)
    for row in rows.values():
        sys.stdout.write(json.dumps(row, default=str, ensure_ascii=False) + "\n")


def _local() -> None:
    if connect().settings.stage != LOCAL:
        raise ConfigurationError("on AWS, DMS replicates", next_step="see docs/change-data-capture.md")


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
