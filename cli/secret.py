"""`sluice secret`: put the database's URL or a source's token where the Lambdas find it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from deploy import account
from deploy import secret as secrets
from deploy import stage as stages


@click.group()
def secret() -> None:
    """Keep a secret of a stage in Secrets Manager; it is read from standard input, or asked for."""


@secret.command()
@click.option("--stage", required=True, help="A stage of .chalice/config.json.")
def database(stage) -> None:
    """The database's URL, or RDS's JSON."""
    kept = stages.read(Path.cwd(), stage)
    value = _value("Database URL")
    with account.refusals_told():
        arn = secrets.keep_database(kept, value)
    click.echo(f"{arn}\nis deployment.database_secret_arn of stage {stage} in {kept.path}.")


@secret.command()
@click.argument("name")
@click.option("--stage", required=True, help="A stage of .chalice/config.json.")
def token(name, stage) -> None:
    """The token NAME of a source."""
    kept, value = stages.read(Path.cwd(), stage), _value(f"Token {name}")
    with account.refusals_told():
        arn = secrets.keep_token(kept, name, value)
    click.echo(f"{arn}\nhas the token {name}.")


def _value(what: str) -> str:
    """Never from the command line, where other users and the shell's history see it."""
    if sys.stdin.isatty():
        return click.prompt(what, hide_input=True, err=True)
    return sys.stdin.read().strip()
