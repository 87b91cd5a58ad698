"""`sluice graph RUN`: the execution as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from chalicelib import executions
from chalicelib.errors import NotFound
from cli.outcome import save_graph, saved_execution
from cli.session import connect


@click.command()
@click.argument("run_id")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the SVG.")
def graph(run_id, out) -> None:
    """Draw the execution of RUN as an SVG, in the manner of the Step Functions console."""
    session = connect()
    arn = executions.arn(session.settings.state_machine_arn, run_id)
    try:
        execution = executions.read(session.client("stepfunctions"), arn)
    except NotFound:
        # the emulated Step Functions forgets when the stack goes down; `sluice run` kept a copy
        execution = saved_execution(session, run_id)
        if execution is None:
            raise NotFound(
                f"no execution is called {run_id!r}", next_step="`sluice runs list` shows those there are"
            ) from None
    drawn = save_graph(session, run_id, execution)
    if out:
        out.write_bytes(drawn.read_bytes())
    click.echo(str(out or drawn))
