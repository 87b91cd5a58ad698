"""`sluice graph RUN`: the execution as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from chalicelib import executions
from chalicelib.errors import NotFound
from chalicelib.graph import svg
from cli.session import connect
from statemachine import render


@click.command()
@click.argument("run_id")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the SVG.")
def graph(run_id, out) -> None:
    """Draw the execution of RUN as an SVG, in the manner of the Step Functions console."""
    session = connect()
    client = session.client("stepfunctions")
    arn = session.settings.state_machine_arn.replace(":stateMachine:", ":execution:") + f":{run_id}"
    try:
        execution = executions.read(client, arn)
    except client.exceptions.ExecutionDoesNotExist:
        # the emulated Step Functions forgets when the stack goes down; `sluice run` kept a copy
        saved = session.folder / "runs" / run_id / "execution.json"
        if not saved.exists():
            raise NotFound(
                f"no run is called {run_id!r}", next_step="`sluice runs list` shows those there are"
            ) from None
        execution = executions.from_json(saved.read_text())
    path = out or session.run_folder(run_id) / "graph.svg"
    path.write_text(svg(render.definition(), execution))
    click.echo(str(path))
