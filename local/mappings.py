"""An event source mapping: what invokes a function with the messages of a queue or the records of a stream, and how.

The values and their defaults are those of CreateEventSourceMapping,
https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping as Map
from collections.abc import Sequence
from dataclasses import dataclass

from moto.awslambda.models import EventSourceMapping

from chalicelib.errors import ConfigurationError
from local.functions import REGION

# AWS waits up to five minutes for a batch to fill; here nobody wants to
LONGEST_WINDOW = 1.0

_DEFAULT_BATCH = {"sqs": 10, "kinesis": 100}
PARTIAL = "ReportBatchItemFailures"

_UNSUPPORTED = ("FilterCriteria", "TumblingWindowInSeconds")


@dataclass(frozen=True)
class Mapping:
    """`source` and `on_failure` are ARNs, `function` a name or an ARN; times in seconds, None for no limit."""

    name: str  # whose it is, for the log
    source: str
    function: str
    batch_size: int
    window: float = 0.0
    partial: bool = False  # the function reports which items failed
    concurrency: int | None = None  # at once, of a queue
    starting_position: str = "TRIM_HORIZON"
    starting_timestamp: float | None = None
    bisect: bool = False
    retries: int | None = None
    record_age: float | None = None
    on_failure: str = ""

    @property
    def service(self) -> str:
        """`sqs` or `kinesis`."""
        return self.source.split(":")[2]

    @property
    def region(self) -> str:
        return self.source.split(":")[3] or REGION

    @property
    def account(self) -> str:
        return self.source.split(":")[4]

    @property
    def source_name(self) -> str:
        return self.source.split(":")[5].removeprefix("stream/")


def of_properties(name: str, properties: Map) -> Mapping | None:
    """A mapping by the properties that CloudFormation and the API call alike; None where it is disabled.

    Raises ConfigurationError for one that the stack cannot follow.
    """
    if properties.get("Enabled", True) in (False, "false"):
        return None
    service = properties["EventSourceArn"].split(":")[2]
    if service not in _DEFAULT_BATCH:
        raise ConfigurationError(f"{name} reads from {service}; the local stack reads queues and Kinesis streams")
    if asked := [key for key in _UNSUPPORTED if properties.get(key)]:
        raise ConfigurationError(f"{name} has {', '.join(asked)}, which the local stack does not do")
    destination = (properties.get("DestinationConfig") or {}).get("OnFailure") or {}
    scaling = properties.get("ScalingConfig") or {}
    timestamp = properties.get("StartingPositionTimestamp")
    return Mapping(
        name=name,
        source=properties["EventSourceArn"],
        function=properties["FunctionName"],
        batch_size=int(properties.get("BatchSize") or _DEFAULT_BATCH[service]),
        window=min(LONGEST_WINDOW, float(properties.get("MaximumBatchingWindowInSeconds") or 0)),
        partial=PARTIAL in (properties.get("FunctionResponseTypes") or ()),
        concurrency=int(scaling["MaximumConcurrency"]) if scaling.get("MaximumConcurrency") else None,
        starting_position=properties.get("StartingPosition") or "TRIM_HORIZON",
        starting_timestamp=float(timestamp) if timestamp else None,
        bisect=properties.get("BisectBatchOnFunctionError") in (True, "true"),
        retries=_limit(properties.get("MaximumRetryAttempts")),
        record_age=_limit(properties.get("MaximumRecordAgeInSeconds")),
        on_failure=destination.get("Destination", ""),
    )


def of_moto(created: EventSourceMapping) -> Mapping | None:
    """A mapping that was made through the API or by CloudFormation; None where it is disabled."""
    configuration = {**created.get_configuration(), "FunctionName": created.function_arn, "Enabled": created.enabled}
    return of_properties(created.uuid, configuration)


def _limit(value: int | str | None) -> int | None:
    """-1 and nothing mean that there is no limit."""
    return None if value is None or int(value) < 0 else int(value)


def failed_items(payload: bytes, identifiers: Sequence[str]) -> set[str]:
    """Which of the batch's items a function's answer reports as failed, where it reports any.

    All of them, where the answer is none that AWS understands: see "Success and failure conditions" in
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    try:
        answer = json.loads(payload or b"null")
    except ValueError:
        return set(identifiers)
    if not answer:
        return set()
    everything = set(identifiers)
    if not isinstance(answer, dict):
        return everything
    reported = answer.get("batchItemFailures") or []
    if not isinstance(reported, list):
        return everything
    found = [item.get("itemIdentifier") if isinstance(item, dict) else None for item in reported]
    return set(found) if everything.issuperset(found) else everything
