"""`sluice new source NAME --sample FILE --key COLUMN`."""

from __future__ import annotations

from pathlib import Path

import click

from chalicelib.schema import CONTRACTS, DISCARD
from cli.new_source import create


@click.group()
def new() -> None:
    """Create something of your own."""


@new.command("source")
@click.argument("name")
@click.option("--sample", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", required=True, metavar="COLUMN[,COLUMN]", help="The columns that identify a row.")
@click.option(
    "--schema-contract",
    "contract",
    type=click.Choice(CONTRACTS),
    default=DISCARD,
    show_default=True,
    help="What becomes of fields that the sample does not have.",
)
@click.option("--force", is_flag=True, help="Overwrite a source of that name.")
def source(name, sample, key, contract, force) -> None:
    """Write a source module and an expectation suite, inferred from a sample and meant to be edited."""
    created = create(name, sample, tuple(part.strip() for part in key.split(",")), force=force, contract=contract)
    click.echo(created.summary())
    click.echo(f"Next: look at the two files, then: sluice run {name}")
