"""`sluice destroy`: take a stage off AWS, but for its data."""

from __future__ import annotations

from pathlib import Path

import click

from deploy import account
from deploy import destroy as destruction


@click.command()
@click.option("--stage", required=True, help="A stage of .chalice/config.json.")
@click.option("--dry-run", is_flag=True, help="Print what would be deleted, and delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--delete-data", metavar="BUCKET-NAME", help="Delete the stage's bucket too, with all that is in it.")
def destroy(stage, dry_run, yes, delete_data) -> None:
    """Delete what the deployments of a stage made."""
    with account.refusals_told():
        planned = destruction.plan(Path.cwd(), stage, delete_data)
    lines = [line for step in planned.steps for line in step.lines()]
    if dry_run or not yes:
        click.echo("\n".join(lines) or "There is nothing to delete.", err=not dry_run)
    if not dry_run:
        if planned.steps and not yes:
            click.confirm(f"Delete all this of stage {stage}?", abort=True, err=True)
        with account.refusals_told():
            planned.run(lambda line: click.echo(f"  {line}", err=True))
        click.echo(f"Deleted: {len(planned.steps)} resources of stage {stage}." if lines else "Nothing was there.")
    for made in planned.kept:
        click.echo(f"Stays: {made.type} {made.id}")
    if secret := planned.stage.deployment.database_secret_arn:
        click.echo(f"Stays: the database, and its secret {secret}")
