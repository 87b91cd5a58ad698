"""`sluice runs list`, `sluice runs show RUN`."""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console
from rich.table import Table

from chalicelib import executions, run_details
from chalicelib.errors import SluiceError
from chalicelib.lake import Lake
from chalicelib.reading import runs as reading
from chalicelib.redriving import advice
from chalicelib.warehouse import connection, ledger
from chalicelib.warehouse.publishing import COUNTS
from cli import schema
from cli.session import Session, connect


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
    any_settled = any(row["settled_by"] for row in found)
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
        *(["settled by"] if any_settled else []),
    ):
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=name == "run")
    for row in found:
        counts = [_count(row[name]) for name in COUNTS]
        ended = [f"{row['started_at']:%Y-%m-%d %H:%M}", row["settled_by"] or ""]
        table.add_row(row["run_id"], row["status"], row["verdict"] or "", *counts, *ended[: 1 + any_settled])
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
    ended, following = _ended(session, found)
    if as_json:
        sys.stdout.write(json.dumps({**found, "next": following}, default=str) + "\n")
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
    if ended:
        click.echo(f"{'ended':13} {ended}")
    if following:
        click.echo(f"{'next':13} {following}")
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


def _ended(session: Session, run: dict) -> tuple[str | None, str | None]:
    """How a run ended without a word, as one whose execution was stopped; and what to type about one that failed.

    Neither where Step Functions does not say how the execution stands: the ledger's part is worth showing alone.
    """
    ended = None
    if run["status"] in ("running", "published"):
        arn = executions.arn(session.settings.state_machine_arn, run["run_id"])
        try:
            described = executions.described(session.client("stepfunctions"), arn)
        except SluiceError as error:
            click.echo(f"sluice: whether it is under way still is not known: {error}", err=True)
            return None, None
        status = described["status"] if described else "forgotten by Step Functions"
        if status in ("RUNNING", "SUCCEEDED"):  # the latter closed the run since it was read
            return None, None
        ended = f"without a word; its execution is {status}"
    elif run["status"] != "failed" or run["settled_by"]:
        return None, None
    error = run["error"] or {}
    lake = Lake(session.settings.bucket)
    return ended, advice.command(run["run_id"], run["input"], error.get("error"), error.get("reason"), lake)
