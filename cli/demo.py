"""`sluice demo`, which is `make run`: the pipeline at work, from nothing to a query, in one command."""

from __future__ import annotations

import subprocess
import sys

import click
from rich.console import Console
from rich.table import Table

from chalicelib.search.answer import HYBRID
from chalicelib.warehouse import connection
from cli import search
from cli.session import Session, connect
from local.home import home
from local.stack import Stack

# shares no word with the posts that answer it
QUESTION = "stopping insects that eat my plants"

# every day there is, so that a second demo shows a reload: all rows unchanged
RUNS = (
    ("weather", "--from", "2012-01-01", "--to", "2015-12-31"),
    ("posts", "--embed"),
)

_HOTTEST = """
SELECT station, count(*) AS days, round(avg(temperature_max)::numeric, 1) AS mean_high,
       max(temperature_max) AS hottest, round(sum(precipitation)::numeric / 4) AS rain_a_year
FROM curated.weather GROUP BY station ORDER BY hottest DESC
"""


@click.command()
def demo() -> None:
    """Start the stack, run two sources, query what they loaded, stop the stack."""
    stack = Stack(home())
    ours = stack.info() is None
    if ours:
        click.echo("Starting the local stack: Step Functions, Lambda, S3, SNS, SQS, Postgres …")
        stack.up()
    try:
        failed = sum(_run(*arguments) != 0 for arguments in RUNS)
        session = connect()
        if not failed:
            _query(session)
            _search(session)
    finally:
        if ours:
            stack.down()
            click.echo(f"\nThe stack was stopped; its data stays in {home()}.")
    _next_steps()
    sys.exit(1 if failed else 0)


def _run(*arguments: str) -> int:
    click.secho(f"\n$ sluice run {' '.join(arguments)}", bold=True)
    return subprocess.run([sys.executable, "-m", "cli", "run", *arguments], check=False).returncode


def _query(session: Session) -> None:
    click.secho("\n$ psql: the curated weather, by station", bold=True)
    with connection.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
        cursor.execute(_HOTTEST)
        table = Table(box=None, pad_edge=False)
        for index, column in enumerate(cursor.description):
            table.add_column(column.name, justify="right" if index else "left")
        for row in cursor.fetchall():
            table.add_row(*map(str, row))
    Console().print(table)


def _search(session: Session) -> None:
    click.secho(f'\n$ sluice search "{QUESTION}" --source posts --limit 3', bold=True)
    search.tell(search.ask(session, QUESTION, HYBRID, "posts", 3))


def _next_steps() -> None:
    click.echo(
        """
What next:
  . .venv/bin/activate
  sluice up                                             start the stack and leave it running
  sluice new source orders --sample YOUR.csv --key id   a source of your own, from a sample of it
  sluice run orders                                     load it
  sluice runs list                                      what ran, and what became of every row
  sluice search "a leaking tap"                         rows by what their text says
  eval "$(sluice env)"; psql "$DATABASE_URL"            look at the data
  sluice down                                           stop the stack"""
    )
