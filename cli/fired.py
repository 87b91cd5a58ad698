"""The run that comes of a trigger: its name follows from the trigger, so that it can be waited for."""

from __future__ import annotations

import time

import click
from rich.console import Console

from chalicelib import executions
from chalicelib.errors import NotFound, TerminalError
from chalicelib.triggers import Started
from cli import outcome
from cli.run import tell as tell_outcome
from cli.run import watched
from cli.session import Session

WAIT = click.option("--wait", is_flag=True, help="Watch the run to its end, as `sluice run` does.")
SECONDS = 60  # from a message to its execution; a busy stack's workers are waited for
_PAUSE = 0.2


def tell(context: click.Context, session: Session, run: Started, wait: bool) -> None:
    """Say what run came of the trigger; with `wait`, watch it and end with its exit status."""
    if not run.new:
        click.echo(f"run      {run.run_id} came of the same trigger before; nothing new was started")
    else:
        _await(session, run.run_id)
        if not wait:
            click.echo(f"run      {run.run_id}")
    if not wait:
        click.echo(f"Next: sluice runs show {run.run_id}")
        return
    console = Console(stderr=True)
    console.print(f"run {run.run_id}")
    try:
        result = watched(context, session, run.run_id, run.execution, console)
    except NotFound:  # it ran before the stack was started anew: the ledger alone remembers
        result = outcome.of_earlier(session, run.run_id)
        if result is None:
            raise
    tell_outcome(result)
    context.exit(result.exit_status)


def _await(session: Session, run_id: str) -> None:
    client, deadline = session.client("stepfunctions"), time.monotonic() + SECONDS
    arn = executions.arn(session.settings.state_machine_arn, run_id)
    while executions.described(client, arn) is None:
        if time.monotonic() > deadline:
            raise TerminalError(
                f"no run {run_id} came of it within {SECONDS} s",
                next_step="see the log of start_run, and `sluice undelivered list`",
            )
        time.sleep(_PAUSE)
