"""`sluice runs list`, `sluice runs show RUN`."""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console
from rich.table import Table

from chalicelib import personal, sources
from chalicelib.errors import DeclarationError, NotFound, UnknownSource
from chalicelib.lake import Lake
from chalicelib.sources import Source
from chalicelib.warehouse import connection, ledger, table_columns
from chalicelib.warehouse.publishing import COUNTS
from cli import schema
from cli.session import Session, connect


@click.group()
def runs() -> None:
    """The runs that there were."""


@runs.command("list")
@click.option("--source", help="Only runs of this source.")
@click.option("--status", type=click.Choice(["running", "published", "succeeded", "rejected", "failed"]))
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(source, status, limit, as_json) -> None:
    """List the newest runs."""
    session = connect()
    with connection.transaction(session.database_url) as open_connection:
        found = ledger.list_runs(open_connection, limit, source, status)
    if as_json:
        sys.stdout.write(json.dumps(found, default=str) + "\n")
        return
    if not found:
        click.echo("No runs yet. Next: sluice run weather")
        return
    table = Table(box=None, pad_edge=False)
    for name in (
        "run",
        "status",
        "verdict",
        "fetched",
        "inserted",
        "updated",
        "unchanged",
        "dupl.",
        "quar.",
        "started",
    ):
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=name == "run")
    for row in found:
        counts = [_count(row[name]) for name in COUNTS]
        table.add_row(
            row["run_id"], row["status"], row["verdict"] or "", *counts, f"{row['started_at']:%Y-%m-%d %H:%M}"
        )
    console = Console()
    if not console.is_terminal:  # a pipe has no width to fit into
        console = Console(width=_WIDE)
    console.print(table)


def _source(session: Session, name: str, run_id: str) -> Source | None:
    """The run's source; None where it, or what declared it, is gone."""
    try:
        return sources.as_declared(name, run_id, Lake(session.settings.bucket))
    except (UnknownSource, DeclarationError, NotFound):
        return None


_WIDE = 240
_FIELDS = 20
_NUMBERS = ("fetched", "inserted", "updated", "unchanged", "dupl.", "quar.")


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


@runs.command("show")
@click.argument("run_id")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show(run_id, as_json) -> None:
    """Show one run: account, expectations that failed, why rows were quarantined."""
    session = connect()
    with connection.transaction(session.database_url) as open_connection:
        run = ledger.get_run(open_connection, run_id)
        with open_connection.cursor() as cursor:
            failed = ledger.rows(cursor, "failed_expectations", run_id=run_id)
            reasons = ledger.rows(cursor, "quarantine_reasons", run_id=run_id)
            changes = table_columns.changes(cursor, run_id=run_id)
            raw_only = ledger.rows(cursor, "raw_only", run_id=run_id)
    source = _source(session, run["source"], run_id) if reasons else None
    reasons = [{**reason, "record": personal.record(source, reason["record"])} for reason in reasons]
    found = {"failed": failed, "reasons": reasons, "schema_changes": changes, "raw_only": raw_only}
    if as_json:
        sys.stdout.write(json.dumps({**run, **found}, default=str) + "\n")
        return
    if trigger := run["input"].get("trigger"):
        click.echo(f"{'trigger':13} {trigger}")
    for name, value in run.items():
        if value is not None:
            click.echo(f"{name:13} {json.dumps(value) if isinstance(value, dict) else value}")
    if changes:
        click.echo("\ncolumns that changed")
        for row in changes:
            click.echo(f"  {schema.change_line(row)}")
    if raw_only:
        click.echo("\nfields kept in raw only, and the records that have them")
        for row in raw_only[:_FIELDS]:
            click.echo(f"  {row['records']:>9,}  {row['field']}")
        if len(raw_only) > _FIELDS:
            click.echo(f"             and {len(raw_only) - _FIELDS} more; --json lists them")
    if failed:
        click.echo("\nexpectations that failed")
        for row in failed:
            click.echo(f"  {row['severity']:9}{row['title']}: {row['observed']}")
            for example in row["examples"] or ():
                place = f"  ({example['raw']} line {example['line']})" if example["raw"] else ""
                click.echo(f"           {example['value']}{place}")
    if reasons:
        click.echo("\nquarantine")
        for row in reasons:
            click.echo(f"  {row['rows']:>9,}  {row['message']}  (e.g. {row['key']} line {row['line']})")
            click.echo(f"             {row['record'][:200]}")
