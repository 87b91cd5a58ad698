"""What the functions logged about a run, from CloudWatch or the local stack's file.

The lines are those of `chalicelib.telemetry`: JSON objects with the run's id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import boto_errors
from chalicelib.errors import TerminalError, TransientError

MARGIN_MS = 60_000  # before the start and after the end of what is looked for: clocks differ, and logs come late

_DECODER = json.JSONDecoder()


def documents(lines: Iterable[str], run_id: str) -> Iterator[tuple[str, dict]]:
    """The run's JSON objects. Workers of the local stack share a file, where two objects may end up on one line."""
    for line in lines:
        at = line.find("{") if run_id in line else -1
        while at >= 0:
            try:
                document, end = _DECODER.raw_decode(line, at)
            except ValueError:
                break
            if document.get("run_id") == run_id:
                yield line[at:end], document
            at = line.find("{", end)


def local_lines(path: Path) -> Iterator[str]:
    """The local stack's log of all functions; none where there is no such file."""
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as lines:
            yield from lines


def cloudwatch_lines(client, groups: Iterable[str], run_id: str, start_ms: int, end_ms: int) -> Iterator[str]:
    """What the log groups have about the run between two times.

    Raises TerminalError where the logs may not be read, TransientError where they do not answer.
    """
    for group in groups:
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=start_ms, endTime=end_ms, filterPattern=f'{{ $.run_id = "{run_id}" }}'
        )
        try:
            for page in pages:
                yield from (event["message"] for event in page["events"])
        except ClientError as error:
            if boto_errors.code(error) == "ResourceNotFoundException":
                continue  # a function that never ran has no log
            kind = TransientError if boto_errors.code(error) == "ThrottlingException" else TerminalError
            raise kind(
                f"the log {group} cannot be read: {error}", next_step="allow logs:FilterLogEvents on it"
            ) from error
        except BotoCoreError as error:
            raise TransientError(f"the log {group} cannot be read: {error}") from error
