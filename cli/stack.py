"""`sluice up`, `sluice down`, `sluice env`: the local stack."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from pathlib import Path

import click

from chalicelib import settings
from chalicelib.errors import ConfigurationError
from chalicelib.settings import LOCAL
from deploy import account, functions
from deploy import stage as stages
from local.home import home
from local.stack import Stack


@click.command()
@click.option("--schedules/--no-schedules", default=True, help="Whether the sources' schedules start runs, as on AWS.")
def up(schedules) -> None:
    """Start the local stack, and leave it running."""
    stack = Stack(home())
    known = stack.info()
    info = known or stack.up(progress=lambda line: click.echo(f"  {line}", err=True), schedules=schedules)
    click.echo("The stack was running already." if known else "The stack is up.")
    click.echo(f"  AWS       {info.endpoint}")
    click.echo(f"  Postgres  {info.database_url}")
    if info.schedules and (coming := {name: due for name, due in stack.clock()["next"].items() if due}):
        name = min(coming, key=coming.get)
        click.echo(f"  Schedules fire while it is up; the next is {name}, {coming[name][:16].replace('T', ' ')} UTC")
    click.echo(f"  API       {info.environment['SLUICE_API_URL']}")
    if known and known.schedules != schedules:
        click.echo(f"Its schedules {'fire' if known.schedules else 'do not fire'}; sluice down first to change that.")
    click.echo('Next: sluice run weather   (psql and others: eval "$(sluice env)")')


@click.command()
def down() -> None:
    """Stop the local stack; its data stays."""
    stopped = Stack(home()).down()
    click.echo("The stack is down." if stopped else "The stack was not running.")


@click.command()
@click.option("--stage", default=LOCAL, help="A deployed stage of .chalice/config.json, instead of the local stack.")
def env(stage) -> None:
    """Print the lines with which sluice itself, psql, the AWS CLI or a notebook talk to the stack."""
    if stage != LOCAL:
        _env_of_stage(stage)
        return
    stack = Stack(home())
    if stack.info() is None:
        raise ConfigurationError("the local stack is not running", next_step="sluice up")
    for name, value in stack.env().items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


def _env_of_stage(name: str) -> None:
    """What deploying wrote into the configuration; what else a shell may have of the local stack is taken out."""
    variables = variables_of_stage(name)
    known = {settings.PREFIX + field.name.upper() for field in dataclasses.fields(settings.Settings)}
    # whoever set a token or a key for an API did not get it from here
    known -= {"SLUICE_API_TOKEN", "SLUICE_API_KEY"}
    sys.stdout.write(f"unset {' '.join(sorted(known - set(variables)))}\n")
    for key, value in variables.items():
        sys.stdout.write(f"export {key}={shlex.quote(str(value))}\n")


def variables_of_stage(name: str) -> dict[str, str]:
    """The settings of a deployed stage; raises ConfigurationError for one that is not."""
    stage = stages.read(Path.cwd(), name)
    variables = {
        key: value for key, value in stage.config.environment_variables.items() if key.startswith(settings.PREFIX)
    }
    if "SLUICE_STATE_MACHINE_ARN" not in variables:
        raise ConfigurationError(f"stage {name} is not deployed", next_step=f"sluice deploy --stage {name}")
    deployed = functions.deployed_path(stage.folder, name)
    if deployed.exists():
        aws = account.connect(stage)
        if url := functions.api_url(aws, json.loads(deployed.read_text(encoding="utf-8")), stage):
            variables["SLUICE_API_URL"] = url
    return variables
