"""What the functions logged about one run: their own measurements, and how many bytes that was.

The lines are those of `chalicelib.telemetry`: JSON with the run's id. Each invocation ends with one that
has its seconds; one that has `_aws` is a metric document in CloudWatch's embedded metric format
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import boto_errors, telemetry
from chalicelib.errors import TerminalError

_MS_PER_HOUR = 3_600_000
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class RunLog:
    """`milliseconds`: of each invocation by function, rounded up as Lambda bills them.

    `metric_hours` counts each custom metric once per hour of the clock in which it was reported:
    CloudWatch bills a metric only for hours in which it is. `tasks`: the milliseconds of all stages by the
    chunk or partition that they were about, as one container does them.
    """

    bytes: int = 0
    lines: int = 0
    milliseconds: dict[str, list[int]] = field(default_factory=dict)
    metric_hours: int = 0
    tasks: dict[str, int] = field(default_factory=dict)


def read(lines: Iterable[str], run_id: str) -> RunLog:
    """The log of a run among `lines`, which may be about other runs too."""
    size = count = 0
    milliseconds: dict[str, list[int]] = {}
    tasks: dict[str, int] = {}
    reported = set()
    for text, document in _documents(lines, run_id):
        size += len(text.encode())
        count += 1
        if document.get("message") in (telemetry.DONE, telemetry.FAILED):
            # 0.0012 s are 1.2 ms and billed as 2; the last digits of a float are no part of a millisecond
            taken = math.ceil(round(document["seconds"] * 1000, 6))
            milliseconds.setdefault(document["state"], []).append(taken)
            for about in ("chunk", "partition"):
                if document.get(about) is not None:
                    task = f"{about} {document[about]}"
                    tasks[task] = tasks.get(task, 0) + taken
        if "_aws" not in document:
            continue
        hour = document["_aws"]["Timestamp"] // _MS_PER_HOUR
        for directive in document["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                identity = tuple((name, document.get(name)) for name in names)
                reported |= {(hour, directive["Namespace"], identity, m["Name"]) for m in directive["Metrics"]}
    return RunLog(size, count, milliseconds, len(reported), tasks)


def _documents(lines: Iterable[str], run_id: str) -> Iterator[tuple[str, dict]]:
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

    Raises TerminalError where the logs may not be read.
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
            raise TerminalError(
                f"the log {group} cannot be read: {error}", next_step="allow logs:FilterLogEvents on it"
            ) from error
        except BotoCoreError as error:
            raise TerminalError(f"the log {group} cannot be read: {error}") from error
