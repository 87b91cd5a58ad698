"""`sluice quarantine objects`: what came into the inbox and is not in a table: unreadable, or rejected."""

from __future__ import annotations

import json
import sys

import click

from chalicelib.warehouse import connection, quarantined_objects
from cli.session import connect


@click.group()
def quarantine() -> None:
    """What was set aside."""


@quarantine.command("objects")
@click.option("--source", help="Only objects in this folder of the inbox.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def objects(source, limit, as_json) -> None:
    """List objects of the inbox of which nothing was published, newest first."""
    session = connect()
    with connection.transaction(session.database_url) as open_connection:
        found = quarantined_objects.listed(open_connection, limit, source)
    if as_json:
        sys.stdout.write(json.dumps(found, default=str) + "\n")
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
