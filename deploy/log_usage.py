"""What the functions' log of one run measures: how long they took, and how many bytes the log was.

The lines are those of `chalicelib.telemetry`. Each invocation ends with one that
has its seconds; one that has `_aws` is a metric document in CloudWatch's embedded metric format
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from chalicelib import run_log, telemetry

_MS_PER_HOUR = 3_600_000


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
    for text, document in run_log.documents(lines, run_id):
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
