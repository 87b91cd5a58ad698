"""The run that comes of a trigger: its name follows from the trigger, so that it can be waited for."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass

import click
from rich.console import Console

from chalicelib import executions
from chalicelib.errors import NotFound, TerminalError
from chalicelib.triggers import Trigger
from chalicelib.triggers.starting import REJECTED
from chalicelib.triggers.trigger import ATTEMPTS
from chalicelib.warehouse import connection, ledger
from cli import outcome
from cli.run import tell as tell_outcome
from cli.run import watched
from cli.session import Session

SECONDS = 60  # from a message to its execution; a busy stack's workers are waited for
_PAUSE = 0.2


@dataclass(frozen=True)
class Expected:
    """The run that a trigger leads to: `new`, or the earlier one that stands for it."""

    run_id: str
    new: bool
    wanted: dict  # the run's input


def expected(session: Session, trigger: Trigger, since: dt.datetime | None = None) -> Expected:
    """Which run `trigger` leads to when it is fired now, as `chalicelib.triggers.start` decides it.

    A run that began after `since` is the trigger's own.
    """
    for number in range(1, ATTEMPTS + 1):
        run_id = trigger.attempt(number)
        standing = _standing(session, run_id, since)
        if standing is not None:
            return Expected(run_id, standing, trigger.run_input())
    raise TerminalError(f"{trigger.text} failed {ATTEMPTS} times", source=trigger.source)


def tell(context: click.Context, session: Session, run: Expected, wait: bool) -> None:
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
    arn = executions.arn(session.settings.state_machine_arn, run.run_id)
    try:
        result = watched(context, session, run.run_id, arn, console)
    except NotFound:  # it ran before the stack was started anew: the ledger alone remembers
        result = outcome.of_earlier(session, run.run_id, run.wanted)
        if result is None:
            raise
    tell_outcome(result)
    context.exit(result.exit_status)


def _standing(session: Session, run_id: str, since: dt.datetime | None) -> bool | None:
    """Whether the trigger's run would be a new one of that name, or is the one there is; None where it failed."""
    found = _execution(session, run_id)
    if found is None:
        status = _remembered(session, run_id)
        if status in (None, "running"):
            return True
        return None if status == "failed" else False
    if since and found["startDate"] >= since:
        return True
    failed = found["status"] in ("FAILED", "TIMED_OUT", "ABORTED") and found.get("error") != REJECTED
    return None if failed else False


def _execution(session: Session, run_id: str) -> dict | None:
    client = session.client("stepfunctions")
    try:
        return client.describe_execution(executionArn=executions.arn(session.settings.state_machine_arn, run_id))
    except client.exceptions.ExecutionDoesNotExist:
        return None


def _remembered(session: Session, run_id: str) -> str | None:
    try:
        with connection.transaction(session.database_url) as open_connection:
            return ledger.get_run(open_connection, run_id)["status"]
    except NotFound:
        return None


def _await(session: Session, run_id: str) -> None:
    deadline = time.monotonic() + SECONDS
    while _execution(session, run_id) is None:
        if time.monotonic() > deadline:
            raise TerminalError(
                f"no run {run_id} came of it within {SECONDS} s",
                next_step="see the log of start_run, and the messages of the queue …-undelivered",
            )
        time.sleep(_PAUSE)
