"""`sluice records SOURCE`: what was published, as the API's `GET /records` gives it."""

from __future__ import annotations

import csv
import json
import sys

import click
from rich.console import Console
from rich.table import Table

from chalicelib.reading import records as reading
from chalicelib.warehouse import reader
from cli.retyped import retyped
from cli.session import connect

_WIDE = 240
_DAY = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.argument("source")
@click.option("--table", help="Which table, of a source like files that has several.")
@click.option("--where", multiple=True, metavar="COLUMN:OPERATOR:VALUE", help="Such as price:ge:10; all must hold.")
@click.option("--from", "first", type=_DAY, metavar="DAY", help="The first day, by the source's day column.")
@click.option("--to", "last", type=_DAY, metavar="DAY", help="The last day, included.")
@click.option("--sort", metavar="COLUMN", help="A column; with a - before it from the largest on.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, reading.MOST))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, with ids and lineage.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.pass_context
def records(context, source, table, where, first, last, sort, limit, as_json, as_csv) -> None:
    """Show published records; personal values are masked."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    session = connect()
    query = reading.Query(source, table, where, first and first.date(), last and last.date(), sort, limit)
    with reader.transaction(session.database_url) as connection:
        listing = reading.listing(connection, query)
        page = listing.page(connection)
    names = [column.name for column in listing.table.columns]
    rows = [[record["values"][name] for name in names] for record in page.records]
    if as_json:
        sys.stdout.write(json.dumps(page.records, ensure_ascii=False) + "\n")
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_text(value) for value in row] for row in rows)
    else:
        _print(names, rows)
        if page.position:
            more = (
                retyped(context, limit=min(10 * limit, reading.MOST))
                if limit < reading.MOST
                else "narrow it by --where"
            )
            click.echo(f"\nThe first {limit} of more. Next: {more}")


def _print(names: list[str], rows: list[list]) -> None:
    if not rows:
        click.echo("No record is like that.")
        return
    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(names):
        numbers = all(isinstance(row[place], int | float | None) for row in rows)
        # what is cut off between two lines, such as a text in a script without spaces, is missed by whoever reads it
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_printable(_text(value)) for value in row))
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:  # a pipe has no width to fit into
        console = Console(width=_WIDE, markup=False, highlight=False)
    console.print(table)


def _text(value) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _printable(text: str) -> str:
    """Data must not tell the terminal what to do."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
