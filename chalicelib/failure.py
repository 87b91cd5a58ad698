"""What a Catch was given, in words."""

from __future__ import annotations

import json


def read_cause(error: dict) -> tuple[str, str]:
    """(error name, reason) of `{"Error", "Cause"}`: the cause of a Lambda's error is the JSON of its exception."""
    name, cause = str(error.get("Error", "Unknown")), str(error.get("Cause", ""))
    try:
        return name, str(json.loads(cause)["errorMessage"])
    except (ValueError, TypeError, KeyError):
        return name, cause
