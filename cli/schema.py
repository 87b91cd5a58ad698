"""`sluice schema SOURCE`."""

from __future__ import annotations

import json
import sys

import click

from chalicelib import settings as settings_module
from chalicelib import sources
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, evolution, table_columns, tables
from cli.session import connect


@click.command()
@click.argument("source")
@click.option("--input", "given", help="The declaration, for the source files.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def schema(source, given, as_json) -> None:
    """Show a source's schema contract, its table's columns, and how they changed."""
    session = connect()
    wanted = _source(source, given)
    with connection.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
        found = table_columns.types(cursor, tables.CURATED, wanted.table)
        known = table_columns.known(cursor, wanted.table)
        history = table_columns.changes(cursor, table=wanted.table)
        effective = evolution.planned(cursor, wanted) if found else None
    columns = [_column(wanted, column, found, known) for column in (effective or wanted).columns]
    if as_json:
        told = {"source": wanted.name, "table": f"{tables.CURATED}.{wanted.table}", "contract": wanted.schema_contract}
        sys.stdout.write(json.dumps({**told, "columns": columns, "changes": history}, default=str) + "\n")
        return
    click.echo(f"source    {wanted.name}, schema contract {wanted.schema_contract}")
    click.echo(f"table     {tables.CURATED}.{wanted.table}{'' if found else ', which the first run makes'}")
    click.echo("\ncolumns")
    width = max(len(column["name"]) for column in columns)
    for column in columns:
        click.echo(f"  {column['name']:{width}}  {column['type']}{_remark(column)}")
    if history:
        click.echo("\nchanges")
        for row in history:
            click.echo(f"  {row['applied_at']:%Y-%m-%d %H:%M}  {change_line(row)}, by {row['run_id']}")


def change_line(row: dict) -> str:
    """A row of `pipeline.schema_changes` in words."""
    types = f"{row['from_type']} to {row['to_type']}" if row["from_type"] else row["to_type"]
    told = f"{row['change']} {row['column_name']}: {types}"
    if row["field"] != row["column_name"]:
        told += f", field {row['field']!r}"
    if row["records"] is None:
        return f"{told}, by the declaration"
    records = f"{row['records']:,} record{'' if row['records'] == 1 else 's'}"
    return f"{told}, {records} (first {row['raw_key']} line {row['raw_line']})"


def _source(name: str, given: str | None) -> Source:
    source = sources.get(name)
    values = source.declare(given, settings_module.current())
    return source if values is None else sources.from_values(name, values)


def _column(source: Source, column, found: dict, known: dict) -> dict:
    declared = next((c for c in source.columns if c.name == column.name), None)
    return {
        "name": column.name,
        "type": column.type,
        "nullable": column.nullable,
        "declared": declared.type if declared else None,
        "in_table": found.get(column.name),
        "field": known[column.name].field if column.name in known else column.name,
    }


def _remark(column: dict) -> str:
    told = "" if column["nullable"] else " not null"
    if column["declared"] is None:
        told += "  evolved" + (f" from field {column['field']!r}" if column["field"] != column["name"] else "")
    elif column["declared"] != column["type"]:
        told += f"  declared {column['declared']}"
    if column["in_table"] != column["type"]:
        told += f"  the next run makes it of {column['in_table']}" if column["in_table"] else "  not in the table yet"
    return told
