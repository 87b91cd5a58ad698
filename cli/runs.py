"""`sluice runs list`, `sluice runs show RUN`."""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console
from rich.table import Table

from chalicelib import run_details
from chalicelib.lake import Lake
from chalicelib.reading import runs as reading
from chalicelib.warehouse import connection, ledger
from chalicelib.warehouse.publishing import COUNTS
from cli import schema
from cli.session import connect


@click.group()
def runs() -> None:
    """The runs that there were."""


@runs.command("list")
@click.option("--source", help="Only runs of this source.")
@click.option("--status", type=click.Choice(ledger.STATUSES))
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(source, status, limit, as_json) -> None:
    """List the newest runs."""
    session = connect()
    with connection.transaction(session.database_url) as open_connection:
        found = reading.listing(open_connection, limit, ledger.Wanted(source, status))
    if as_json:
        sys.stdout.write(json.dumps(found, default=str) + "\n")
        return
    if not found:
        what = f" of {source}" if source else ""
        click.echo(f"No{f' {status}' if status else ''} runs{what} yet. Next: sluice run {source or 'weather'}")
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


_WIDE = 240
_LISTS = ("failed", "reasons", "schema_changes", "raw_only", "quarantine_states")
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
        found = run_details.read(open_connection, Lake(session.settings.bucket), run_id)
    if as_json:
        sys.stdout.write(json.dumps(found, default=str) + "\n")
        return
    failed, reasons, changes, raw_only, states = (found[name] for name in _LISTS)
    if trigger := found["input"].get("trigger"):
        click.echo(f"{'trigger':13} {trigger}")
    for name, value in found.items():
        if name in _LISTS:
            continue
        if name == "error" and value is not None:
            click.echo(f"{name:13} {value.get('error')}: {value.get('reason')}")
        elif value is not None:
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
        if any(states.values()):
            counted = [f"{number:,} {state}" for state, number in states.items() if number]
            click.echo(f"  {sum(states.values()):>9,}  rows: {', '.join(counted)}")
        for row in reasons:
            click.echo(f"  {row['rows']:>9,}  {row['message']}  (e.g. {row['key']} line {row['line']})")
            click.echo(f"             {row['record'][:200]}")
