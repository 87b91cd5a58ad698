"""What to type about a run that failed."""

from __future__ import annotations

from chalicelib.errors import SluiceError
from chalicelib.lake import Lake
from chalicelib.lake.inbox_object import InboxObject
from chalicelib.run_input import RunInput
from chalicelib.triggers import inbox


def command(run_id: str, wanted: object, error: str | None, reason: str | None, lake: Lake) -> str | None:
    """The command that starts it again, as `again` says; `wanted` is the run's input, the error that of the ledger.

    None also where the input is none that a run can have.
    """
    try:
        given = RunInput.from_json(wanted)
        return again(run_id, given, inbox.unreadable(given, error or "", reason or "", lake))
    except SluiceError:
        return None


def again(run_id: str, given: RunInput, unread: InboxObject | None) -> str | None:
    """The command that starts the failed run again: a replay's rows are replayed anew, any other run is redriven.

    None where it failed on an object of the inbox that cannot be read, `unread`: a corrected one in its place is a run
    by itself. Its email has, as that of a run that is redriven, the command that runs the same from the beginning.
    """
    if unread is not None:
        return None
    return f"sluice redrive {run_id}" if given.replay is None else given.command()
