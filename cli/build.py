"""`sluice build`: the zips that a stage's functions are made of."""

from __future__ import annotations

from pathlib import Path

import click

from deploy import artefacts, terraform


@click.command()
@click.option("--stage", required=True, help="A stage of .chalice/config.json.")
@click.option(
    "--architecture", type=click.Choice(artefacts.ARCHITECTURES), help="Instead of the stage's lambda_architecture."
)
def build(stage, architecture) -> None:
    """Build the package and the layers of a stage's functions, inside Lambda's limits."""
    made = artefacts.build(Path.cwd(), stage, architecture, progress=lambda line: click.echo(f"  {line}", err=True))
    terraform.write(Path.cwd(), stage, made.code.path.with_name(terraform.FILE))
    click.echo(f"{'artefact':14}{'zipped':>14}{'unzipped':>14}  ({made.python}, {made.architecture})")
    for artefact in made.all:
        click.echo(f"{artefact.name:14}{artefact.zipped:>14,}{artefact.unzipped:>14,}  {artefact.path.name}")
    for title, function in (
        ("the gate's functions", artefacts.ABOVE["gate"][0]),
        ("the API's functions", artefacts.ABOVE["api"][0]),
        ("every other function", "plan"),
    ):
        size = made.function_size(function)
        click.echo(f"{title}: {size:,} of {artefacts.UNZIPPED_LIMIT:,} bytes unzipped")
