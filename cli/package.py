"""`sluice package`: a stage as one CloudFormation stack."""

from __future__ import annotations

from pathlib import Path

import click

from deploy import artefacts
from deploy import package as packages


@click.command()
@click.option("--stage", required=True, help="A stage of .chalice/config.json.")
@click.option(
    "--architecture", type=click.Choice(artefacts.ARCHITECTURES), help="Instead of the stage's lambda_architecture."
)
@click.option("--snap-start", is_flag=True, help="Start the gate's functions from a snapshot; Python 3.12 or later.")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def package(stage, architecture, snap_start, out) -> None:
    """Write into the folder OUT what a CloudFormation stack of a stage is made from."""
    made = packages.package(
        Path.cwd(), stage, out, architecture, snap_start, progress=lambda line: click.echo(f"  {line}", err=True)
    )
    template = out / packages.TEMPLATE
    click.echo(f"{template}: {len(made.template['Resources'])} resources, {made.size:,} bytes")
    click.echo("Next, with a bucket for the zips:")
    click.echo(
        f"  aws cloudformation package --template-file {template} --s3-bucket BUCKET"
        f" --use-json --output-template-file {out}/packaged.json"
    )
    through = " --s3-bucket BUCKET" if made.needs_s3 else ""
    click.echo(
        f"  aws cloudformation deploy --template-file {out}/packaged.json{through}"
        f" --stack-name sluice-{stage} --capabilities CAPABILITY_NAMED_IAM"
    )
