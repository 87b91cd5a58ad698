"""`sluice graph RUN`: the execution as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from chalicelib import executions
from chalicelib.errors import NotFound
from chalicelib.graph import svg
from cli.outcome import save_graph
from cli.session import connect


@click.command()
@click.argument("run_id")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the SVG.")
def graph(run_id, out) -> None:
    """Draw the execution of RUN as an SVG, in the manner of the Step Functions console."""
    session = connect()
    arn = executions.arn(session.settings.state_machine_arn, run_id)
    try:
        drawn = save_graph(session, run_id, executions.read(session.client("stepfunctions"), arn))
    except NotFound:
        # the emulated Step Functions forgets when the stack goes down; `sluice run` kept a copy
        saved = session.folder / "runs" / run_id / "execution.json"
        drawn = saved.with_name("graph.svg")
        if not saved.exists():
            raise NotFound(
                f"no execution is called {run_id!r}", next_step="`sluice runs list` shows those there are"
            ) from None
        execution = executions.from_json(saved.read_text())
        drawn.write_text(svg(execution.definition, execution))
    if out:
        out.write_bytes(drawn.read_bytes())
    click.echo(str(out or drawn))
