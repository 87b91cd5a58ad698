"""`sluice up`, `sluice down`, `sluice env`: the local stack."""

from __future__ import annotations

import shlex
import sys

import click

from chalicelib.errors import ConfigurationError
from local.home import home
from local.stack import Stack


@click.command()
def up() -> None:
    """Start the local stack, and leave it running."""
    stack = Stack(home())
    known = stack.info()
    info = known or stack.up(progress=lambda line: click.echo(f"  {line}", err=True))
    click.echo("The stack was running already." if known else "The stack is up.")
    click.echo(f"  AWS       {info.endpoint}")
    click.echo(f"  Postgres  {info.database_url}")
    click.echo('Next: sluice run weather   (psql and others: eval "$(sluice env)")')


@click.command()
def down() -> None:
    """Stop the local stack; its data stays."""
    stopped = Stack(home()).down()
    click.echo("The stack is down." if stopped else "The stack was not running.")


@click.command()
def env() -> None:
    """Print the export lines with which psql, the AWS CLI or a notebook talk to the stack."""
    stack = Stack(home())
    if stack.info() is None:
        raise ConfigurationError("the local stack is not running", next_step="sluice up")
    for name, value in stack.env().items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
