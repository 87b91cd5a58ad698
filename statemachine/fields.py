"""Which fields each type of state may have, and which values they take.

Amazon States Language with JSONPath, https://states-language.net, and AWS's additions for the
distributed Map, https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html.
A check takes a value and where it stands, and yields its problems.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from statemachine import choices, paths

Check = Callable[[Any, str], Iterator[str]]

_ARN = re.compile(r"arn:[^:]+:[^:]+:[^:]*:[^:]*:.+")
_LABEL = re.compile(r"[^\s?*<>{}\[\]:;,\\|^~$#%&`\"]{1,40}")
_RESERVED = {
    "States.ALL",
    "States.BranchFailed",
    "States.DataLimitExceeded",
    "States.ExceedToleratedFailureThreshold",
    "States.HeartbeatTimeout",
    "States.IntrinsicFailure",
    "States.ItemReaderFailed",
    "States.NoChoiceMatched",
    "States.ParameterPathFailure",
    "States.Permissions",
    "States.ResultPathMatchFailure",
    "States.ResultWriterFailed",
    "States.Runtime",
    "States.TaskFailed",
    "States.Timeout",
}
SECONDS_LIMIT = 99_999_999  # AWS's largest timeout
DELAY_LIMIT = 31_622_400  # AWS's largest MaxDelaySeconds, a year


# --- values ----------------------------------------------------------------------------------


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def anything(value: Any, where: str) -> Iterator[str]:
    return iter(())


def text(value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{where}: is {value!r}, expected a string"


def one_of(*allowed: str) -> Check:
    def check(value: Any, where: str) -> Iterator[str]:
        if value not in allowed:
            yield f"{where}: is {value!r}, expected {' or '.join(allowed)}"

    return check


def true(value: Any, where: str) -> Iterator[str]:
    if value is not True:
        yield f"{where}: is {value!r}, expected true; to go on to another state, write Next instead"


def integer(least: int, most: int | None = None) -> Check:
    def check(value: Any, where: str) -> Iterator[str]:
        if not _is_integer(value) or value < least or (most is not None and value > most):
            limit = f"of at least {least}" if most is None else f"from {least} to {most}"
            yield f"{where}: is {value!r}, expected an integer {limit}"

    return check


def number(least: float, most: float | None = None) -> Check:
    def check(value: Any, where: str) -> Iterator[str]:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or value < least or (most is not None and value > most):
            limit = f"of at least {least}" if most is None else f"from {least} to {most}"
            yield f"{where}: is {value!r}, expected a number {limit}"

    return check


def _path_check(wrong_with: Callable[[Any], str | None], may_be_null: bool = False) -> Check:
    def check(value: Any, where: str) -> Iterator[str]:
        if not (value is None and may_be_null) and (wrong := wrong_with(value)):
            yield f"{where}: {value!r} is {wrong}"

    return check


path = _path_check(paths.path, may_be_null=True)
reference_path = _path_check(paths.reference_path)
result_path = _path_check(paths.result_path, may_be_null=True)
expression = _path_check(paths.expression)


def template(value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: is {value!r}, expected an object"
    yield from paths.template(value, where)


def selector(value: Any, where: str) -> Iterator[str]:
    """A template of any JSON type, as Parameters of a Pass."""
    return paths.template(value, where)


def timestamp(value: Any, where: str) -> Iterator[str]:
    if not choices.is_timestamp(value):
        yield f"{where}: is {value!r}, expected a timestamp such as 2026-01-31T00:00:00Z"


def resource(value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, str) or not ("${" in value or _ARN.fullmatch(value)):
        yield f"{where}: is {value!r}, expected an ARN or a substitution such as ${{NameArn}}"


def label(value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        yield f"{where}: is {value!r}, expected at most 40 characters without spaces, wildcards or brackets"


def rules(value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield f"{where}: is {value!r}, expected a list of at least one rule"
        return
    for index, rule in enumerate(value):
        yield from choices.problems(rule, f"{where}[{index}]")


# --- objects ---------------------------------------------------------------------------------


def fields(where: str, given: dict, known: dict[str, Check], required: tuple[str, ...] = ()) -> Iterator[str]:
    """Unknown and missing fields of one object, and what is wrong with the values of the others."""
    for name, value in given.items():
        if name in known:
            yield from known[name](value, f"{where}.{name}")
        else:
            yield f"{where}.{name}: is no field here{paths.closest(name, known)}"
    for name in required:
        if name not in given:
            yield f"{where}: has no {name}; add it"


def exactly_one(where: str, given: dict, *names: str) -> Iterator[str]:
    if len(present := [name for name in names if name in given]) != 1:
        has = f"has {' and '.join(present)}" if present else "has none of them"
        yield f"{where}: needs exactly one of {', '.join(names)}, {has}"


def at_most_one(where: str, given: dict, *names: str) -> Iterator[str]:
    if len(present := [name for name in names if name in given]) > 1:
        yield f"{where}: has {' and '.join(present)}; keep one of them"


def an_object(known: dict[str, Check], required: tuple[str, ...] = ()) -> Check:
    def check(value: Any, where: str) -> Iterator[str]:
        if isinstance(value, dict):
            yield from fields(where, value, known, required)
        else:
            yield f"{where}: is {value!r}, expected an object"

    return check


def _handlers(known: dict[str, Check], required: tuple[str, ...]) -> Check:
    """Retry or Catch: a list whose entries name errors, each error once, States.ALL alone and last."""

    def check(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{where}: is {value!r}, expected a list"
            return
        seen: dict[str, int] = {}
        for index, entry in enumerate(value):
            here = f"{where}[{index}]"
            if not isinstance(entry, dict):
                yield f"{here}: is {entry!r}, expected an object with ErrorEquals"
                continue
            yield from fields(here, entry, known, required)
            names = entry.get("ErrorEquals")
            for name in names if isinstance(names, list) else []:
                if not isinstance(name, str):
                    continue
                if name in seen:
                    yield f"{here}.ErrorEquals: {name} is dealt with by entry {seen[name]} already; remove it here"
                seen.setdefault(name, index)
                if name == "States.ALL" and len(names) > 1:
                    yield f"{here}.ErrorEquals: States.ALL must stand alone; remove the other names"
                if name == "States.ALL" and index < len(value) - 1:
                    yield f"{here}.ErrorEquals: States.ALL must be in the last entry; move this one to the end"
            interval, delay = entry.get("IntervalSeconds", 1), entry.get("MaxDelaySeconds")
            if _is_integer(interval) and _is_integer(delay) and delay <= interval:
                yield f"{here}.MaxDelaySeconds: is {delay}, expected more than IntervalSeconds ({interval})"

    return check


def _errors(value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        yield f"{where}: is {value!r}, expected a list of at least one error name"
        return
    for name in value:
        if name.startswith("States.") and name not in _RESERVED and not name.startswith("States.Http."):
            yield f"{where}: {name!r} is no error of the States Language{paths.closest(name, _RESERVED)}"


# --- the tables ------------------------------------------------------------------------------

_COMMON: dict[str, Check] = {"Type": text, "Comment": text, "QueryLanguage": one_of("JSONPath")}
_INPUT_OUTPUT: dict[str, Check] = {"InputPath": path, "OutputPath": path}
_FLOW: dict[str, Check] = {"Next": text, "End": true, "Assign": template}
_RETRY = _handlers(
    {
        "ErrorEquals": _errors,
        "IntervalSeconds": integer(1, SECONDS_LIMIT),
        "MaxAttempts": integer(0, SECONDS_LIMIT),
        "BackoffRate": number(1.0),
        "MaxDelaySeconds": integer(1, DELAY_LIMIT - 1),
        "JitterStrategy": one_of("FULL", "NONE"),
        "Comment": text,
    },
    ("ErrorEquals",),
)
_CATCH = _handlers(
    {"ErrorEquals": _errors, "Next": text, "ResultPath": result_path, "Assign": template, "Comment": text},
    ("ErrorEquals", "Next"),
)
_WORK: dict[str, Check] = {"ResultPath": result_path, "ResultSelector": template, "Retry": _RETRY, "Catch": _CATCH}

_ITEM_READER = an_object(
    {
        "Resource": resource,
        "Parameters": template,
        "ReaderConfig": an_object(
            {
                "InputType": one_of("CSV", "JSON", "JSONL", "MANIFEST", "PARQUET"),
                "CSVHeaderLocation": one_of("FIRST_ROW", "GIVEN"),
                "CSVHeaders": anything,
                "CSVDelimiter": text,
                "ItemsPointer": text,
                "ManifestType": text,
                "Transformation": text,
                "MaxItems": integer(1),
                "MaxItemsPath": reference_path,
            }
        ),
    },
    ("Resource",),
)
_ITEM_BATCHER = an_object(
    {
        "MaxItemsPerBatch": integer(1),
        "MaxItemsPerBatchPath": reference_path,
        "MaxInputBytesPerBatch": integer(1),
        "MaxInputBytesPerBatchPath": reference_path,
        "BatchInput": template,
    }
)
_RESULT_WRITER = an_object(
    {
        "Resource": resource,
        "Parameters": template,
        "WriterConfig": an_object({"Transformation": text, "OutputType": one_of("JSON", "JSONL")}),
    }
)

KNOWN: dict[str, dict[str, Check]] = {
    "Task": {
        **_COMMON,
        **_INPUT_OUTPUT,
        **_FLOW,
        **_WORK,
        "Resource": resource,
        "Parameters": template,
        "Credentials": template,
        "TimeoutSeconds": integer(1, SECONDS_LIMIT),
        "TimeoutSecondsPath": reference_path,
        "HeartbeatSeconds": integer(1, SECONDS_LIMIT),
        "HeartbeatSecondsPath": reference_path,
    },
    "Map": {
        **_COMMON,
        **_INPUT_OUTPUT,
        **_FLOW,
        **_WORK,
        "ItemProcessor": anything,  # a machine: checked by the caller
        "Iterator": anything,
        "ItemsPath": reference_path,
        "ItemSelector": selector,
        "Parameters": selector,
        "ItemReader": _ITEM_READER,
        "ItemBatcher": _ITEM_BATCHER,
        "ResultWriter": _RESULT_WRITER,
        "Label": label,
        "MaxConcurrency": integer(0),
        "MaxConcurrencyPath": reference_path,
        "ToleratedFailurePercentage": number(0, 100),
        "ToleratedFailurePercentagePath": reference_path,
        "ToleratedFailureCount": integer(0),
        "ToleratedFailureCountPath": reference_path,
    },
    "Parallel": {**_COMMON, **_INPUT_OUTPUT, **_FLOW, **_WORK, "Parameters": selector, "Branches": anything},
    "Pass": {
        **_COMMON,
        **_INPUT_OUTPUT,
        **_FLOW,
        "Result": anything,
        "ResultPath": result_path,
        "Parameters": selector,
    },
    "Wait": {
        **_COMMON,
        **_INPUT_OUTPUT,
        **_FLOW,
        "Seconds": integer(0, SECONDS_LIMIT),
        "SecondsPath": reference_path,
        "Timestamp": timestamp,
        "TimestampPath": reference_path,
    },
    "Choice": {**_COMMON, **_INPUT_OUTPUT, "Assign": template, "Choices": rules, "Default": text},
    "Succeed": {**_COMMON, **_INPUT_OUTPUT},
    "Fail": {**_COMMON, "Error": text, "ErrorPath": expression, "Cause": text, "CausePath": expression},
}

REQUIRED: dict[str, tuple[str, ...]] = {
    "Task": ("Type", "Resource"),
    "Choice": ("Type", "Choices"),
    "Parallel": ("Type", "Branches"),
}

# fields of a Map that only a distributed one may have
DISTRIBUTED_ONLY = (
    "ItemReader",
    "ItemBatcher",
    "ResultWriter",
    "Label",
    "ToleratedFailurePercentage",
    "ToleratedFailurePercentagePath",
    "ToleratedFailureCount",
    "ToleratedFailureCountPath",
)

# what the service integrations that we use cannot do without
PARAMETERS = {
    "lambda:invoke": ("FunctionName",),
    "ecs:runTask": ("TaskDefinition",),
    "sns:publish": ("Message",),
    "sqs:sendMessage": ("QueueUrl", "MessageBody"),
}
