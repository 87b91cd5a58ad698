"""What went wrong, in words: the causes that Step Functions hands on."""

from __future__ import annotations

import json


def plain_cause(cause: str | None) -> str:
    """The message in a cause: of a failed Lambda it is JSON with an `errorMessage`, of others plain text."""
    if not cause:
        return ""
    try:
        found = json.loads(cause)
    except ValueError:
        return cause
    return str(found.get("errorMessage", cause)) if isinstance(found, dict) else cause


def read_cause(error: dict) -> tuple[str, str]:
    """(error name, reason) of the `{"Error", "Cause"}` that a Catch was given."""
    return str(error.get("Error", "Unknown")), plain_cause(str(error.get("Cause", "")))
