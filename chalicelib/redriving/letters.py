"""Dead letters: the inputs of executions that failed, as the state machine's last states send them."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Letter:
    """`run_id` and `input` are None where the message is no dead letter of a run."""

    id: str
    receipt: str
    run_id: str | None
    input: dict | None


def read(message: dict) -> Letter:
    """A message as SQS gives it."""
    try:
        body = json.loads(message["Body"])
    except (ValueError, RecursionError):
        body = None
    body = body if isinstance(body, dict) else {}
    run_id, given = body.get("run_id"), body.get("input")
    is_letter = isinstance(run_id, str) and isinstance(given, dict)
    known = (run_id, given) if is_letter else (None, None)
    return Letter(message["MessageId"], message["ReceiptHandle"], *known)
