"""`sluice upkeep SOURCE`."""

from __future__ import annotations

import sys

import click

from chalicelib.embeddings import provider
from chalicelib.reading import tables
from chalicelib.warehouse import connection, migrations
from chalicelib.warehouse import upkeep as warehouse_upkeep
from cli.session import connect


@click.command()
@click.argument("source")
@click.option("--table", help="Which table, of a source like files that has several.")
def upkeep(source, table) -> None:
    """Make the indexes and totals that a source's table lacks, however long it takes."""
    session = connect()
    migrations.apply(session.database_url)
    with connection.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
        wanted = tables.declaration(cursor, source, table)
    model = provider.current(session.settings) if wanted.text else None
    done = warehouse_upkeep.keep_up(wanted, database_url=session.database_url, model=model)
    for made in done.made:
        click.echo(f"made {made}")
    for left in done.left:
        click.echo(f"sluice: {left}", err=True)
    if done.left:
        sys.exit(1)
    if not done.made:
        click.echo(f"curated.{wanted.table} lacks nothing, or is being kept up by somebody else.")
