"""`sluice graph RUN`: the execution as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from cli.outcome import execution_of, save_graph
from cli.session import connect


@click.command()
@click.argument("run_id")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the SVG.")
def graph(run_id, out) -> None:
    """Draw the execution of RUN as an SVG, in the manner of the Step Functions console."""
    session = connect()
    drawn = save_graph(session, run_id, execution_of(session, run_id))
    if out:
        out.write_bytes(drawn.read_bytes())
    click.echo(str(out or drawn))
