"""`sluice token`: who may call the API."""

from __future__ import annotations

import datetime as dt
import re

import click
from rich.console import Console
from rich.table import Table

from chalicelib.api import tokens
from chalicelib.warehouse import connection, migrations
from cli.session import connect

_WIDE = 200
_DURATION = re.compile(r"([1-9][0-9]{0,4})d")


class _Duration(click.ParamType):
    """A number of days, such as 90d."""

    name = "days"

    def convert(self, value, parameter, context):
        if isinstance(value, dt.timedelta):
            return value
        found = _DURATION.fullmatch(value)
        return dt.timedelta(days=int(found[1])) if found else self.fail(f"{value!r} is no number of days, e.g. 90d")


@click.group()
def token() -> None:
    """Bearer tokens of the API."""


@token.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(tokens.SCOPES), help="May be repeated."
)
@click.option("--expires", type=_Duration(), help="After so many days, e.g. 90d; by default never.")
def create(name, scopes, expires) -> None:
    """Make a token called NAME; it is shown once."""
    session = connect()
    migrations.apply(session.database_url)
    with connection.transaction(session.database_url) as opened:
        made = tokens.create(opened, name, scopes, expires)
    click.echo(made)
    click.echo("Keep it: it is not shown again. Send it as `Authorization: Bearer …`.", err=True)


@token.command("list")
def list_() -> None:
    """List the tokens, without what they are."""
    session = connect()
    with connection.transaction(session.database_url) as opened:
        found = tokens.existing(opened)
    if not found:
        click.echo("No tokens yet. Next: sluice token create NAME --scope run")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("token", "scopes", "created", "expires", "revoked", "last used"):
        table.add_column(name, no_wrap=True)
    for row in found:
        times = (row[name] for name in ("created_at", "expires_at", "revoked_at", "last_used_at"))
        table.add_row(row["name"], " ".join(row["scopes"]), *(f"{t:%Y-%m-%d %H:%M}" if t else "" for t in times))
    console = Console()
    (console if console.is_terminal else Console(width=_WIDE)).print(table)


@token.command()
@click.argument("name")
def revoke(name) -> None:
    """Refuse the token NAME; API Gateway may let it in for another minute."""
    session = connect()
    with connection.transaction(session.database_url) as opened:
        tokens.revoke(opened, name)
    click.echo(f"The token {name} is revoked.")
