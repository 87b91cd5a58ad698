"""What to type about a run that failed."""

from __future__ import annotations

from chalicelib.errors import SluiceError
from chalicelib.lake import Lake
from chalicelib.run_input import RunInput
from chalicelib.triggers import inbox


def command(run_id: str, wanted: object, error: str | None, reason: str | None, lake: Lake) -> str | None:
    """The command that makes up for it, as its email has it; `wanted` is the run's input.

    None where the input is none that a run can have, and where an object of the inbox cannot be read: a corrected one
    in its place is a run by itself.
    """
    try:
        given = RunInput.from_json(wanted)
        if given.replay is not None:
            return given.command()
        if inbox.unreadable(given, error or "", reason or "", lake):
            return None
    except SluiceError:
        return None
    return f"sluice redrive {run_id}"
