"""Structured logs, metrics and traces, by AWS Lambda Powertools.

Logs are JSON lines with the run, the source, the state and the chunk or partition. Metrics are
CloudWatch's embedded metric format on the same stream, at most one document per invocation: `RowsIn`,
`RowsOut` and `RowsQuarantined` of the states that handle rows, `Failures` where it raised, by stage, state
and source. Each metric of each source is paid for by the hour, so what Lambda measures itself, such as
the time, is in the logs alone. Traces go to X-Ray where Lambda has tracing on and takes one, and nowhere else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator

from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chalicelib import settings
from chalicelib.contract_reading import read_contract, write_contract
from chalicelib.errors import SluiceError, WithheldError

SERVICE = "sluice"
NAMESPACE = "Sluice"

# the messages of the one line that every invocation leaves
DONE = "stage done"
FAILED = "stage failed"

logger = Logger(service=SERVICE, log_uncaught_exceptions=False)


@functools.cache
def _tracer() -> Tracer:
    # patching libraries costs import time; X-Ray's segments per state are enough
    return Tracer(service=SERVICE, auto_patch=False)


def _subsegment(name: str) -> contextlib.AbstractContextManager:
    """Of X-Ray's trace, where it takes one: its SDK makes two clients of the service when it is imported, 0.3 s."""
    return _tracer().provider.in_subsegment(name=f"## {name}") if settings.traced() else contextlib.nullcontext()


# which fields of a result are rows in, rows out, rows quarantined
_ROWS = {
    "RowsIn": ("records", "fetched"),
    "RowsOut": ("rows", "staged", "inserted"),
    "RowsQuarantined": ("rejected", "quarantined"),
}


def run_stage(stage: Callable, request_type: type, event: dict, **arguments) -> dict:
    """Call one stage function as a Lambda does: contract in, contract out, measured and logged.

    `stage` takes a `request_type`, and `arguments`, and returns a result contract. Errors are logged and raised on,
    since the state machine decides what becomes of them.
    """
    name = stage.__name__
    subject = _subject(event)
    logger.append_keys(state=name, **subject)
    started = time.perf_counter()
    try:
        with _subsegment(name):
            result = _called(stage, read_contract(request_type, event), subject, arguments)
    except Exception as error:
        details = error.where if isinstance(error, SluiceError) else {}
        seconds = round(time.perf_counter() - started, 4)
        logger.error(FAILED, seconds=seconds, error=type(error).__name__, reason=str(error), details=details)
        _emit(name, subject, {"Failures": 1})
        raise
    seconds = round(time.perf_counter() - started, 4)
    rows = _rows(result)
    _emit(name, subject, rows)
    logger.info(DONE, seconds=seconds, **rows)
    return write_contract(result)


def _called(stage: Callable, request, subject: dict, arguments: dict):
    """What the stage returns. What it raises comes out without values of personal columns, before anything logs it."""
    try:
        return stage(request, **arguments)
    except Exception as error:
        tellable = _tellable(error, subject)
        if tellable is error:
            raise
        raise tellable from None


def _tellable(error: Exception, subject: dict) -> Exception:
    """`error`, or another without its quote where the run's source has personal columns.

    Our own errors keep what comes from data apart. Of any other nobody knows what its text quotes.
    """
    from chalicelib import personal  # it leads to all sources

    return _without_values(error, subject["source"], lambda: personal.may_hold(subject["source"], subject["run_id"]))


def tellable(error: Exception, source: str | None) -> Exception:
    """The same for what no stage raised: an error of an event about `source`, None where that is not known.

    Then what any source has may be in it.
    """
    from chalicelib import personal

    return _without_values(
        error, source, lambda: personal.may_hold(source, None) if source else personal.any_may_hold()
    )


def _without_values(error: Exception, source: str | None, is_personal: Callable[[], bool]) -> Exception:
    from chalicelib import personal

    expected = isinstance(error, SluiceError)
    if (expected and not error.quote) or not is_personal():
        return error
    return error.without_quote() if expected else WithheldError(personal.told(error), source=source)


class Batch:
    """The messages of one invocation, or the records of a shard; `failed` are those that are to come again.

    `rows` are counts for the metrics `RowsIn`, `RowsOut` and `RowsQuarantined`, where the function has them.
    """

    def __init__(self):
        self.tried, self.failed = 0, []
        self.rows: dict[str, int] = {}

    @contextlib.contextmanager
    def __call__(self, identifier: str, passing: type[Exception] = Exception) -> Iterator[None]:
        """An error of one message is logged, and does not keep the others from being tried.

        `passing` is what may be over when the message comes again; any other error is raised on and ends the batch.
        """
        self.tried += 1
        try:
            yield
        except passing as error:
            self.failed.append(identifier)
            details = error.where if isinstance(error, SluiceError) else {}
            unexpected = not isinstance(error, SluiceError)
            logger.error(
                "the message is to come again",
                exc_info=unexpected,
                message_id=identifier,
                error=type(error).__name__,
                reason=str(error),
                details=details,
            )

    @property
    def answer(self) -> dict:
        """What Lambda wants to know of a batch: `{"batchItemFailures": [{"itemIdentifier": …}]}`."""
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in self.failed]}


@contextlib.contextmanager
def batch(name: str, **about) -> Iterator[Batch]:
    """Measured and logged as a stage is: the messages of the function `name`, which is no state.

    `about` is for every log line. What ends the batch comes out without values of personal columns.
    """
    subject = _subject({}) | about
    logger.append_keys(state=name, **subject)
    started, tried = time.perf_counter(), Batch()
    try:
        with _subsegment(name):
            yield tried
    except Exception as error:
        _emit(name, {**subject, "source": "unknown"}, tried.rows | {"Failures": len(tried.failed) + 1})
        told = tellable(error, None)
        if told is error:
            raise
        raise told from None
    failures = {"Failures": len(tried.failed)} if tried.failed else {}
    _emit(name, {**subject, "source": "unknown"}, tried.rows | failures)
    seconds = round(time.perf_counter() - started, 4)
    logger.info(DONE, seconds=seconds, messages=tried.tried, failed=len(tried.failed), **tried.rows)


def _subject(event: dict) -> dict:
    """What the event is about, for every log line; event may be anything, the contract has not been read yet."""
    # a warm process keeps its keys: what this event does not have is taken away
    subject = dict.fromkeys(("run_id", "source", "shard", "chunk", "partition"))
    if not isinstance(event, dict):
        return subject
    subject |= {key: event.get(key) for key in ("run_id", "source", "shard")}
    if isinstance(event.get("input"), dict) and subject["source"] is None:  # before the input was read
        subject["source"] = event["input"].get("source")
    for part, name, number in (
        ("chunk", "chunk", "chunk"),
        ("validated", "chunk", "chunk"),
        ("partition", "partition", "index"),
    ):
        if isinstance(event.get(part), dict):
            subject[name] = event[part].get(number)
    return subject


def _rows(result) -> dict[str, int]:
    values = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    counted = {}
    for metric, names in _ROWS.items():
        found = next((values[name] for name in names if isinstance(values.get(name), int)), None)
        if found is not None:
            counted[metric] = found
    return counted


def _emit(state: str, subject: dict, values: dict[str, int]) -> None:
    if not values:
        return
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    # stages may share an account and region, and with it the namespace
    metrics.add_dimension(name="stage", value=settings.current().stage)
    metrics.add_dimension(name="state", value=state)
    if isinstance(subject["source"], str):
        metrics.add_dimension(name="source", value=subject["source"])
    if isinstance(subject["run_id"], str):
        metrics.add_metadata(key="run_id", value=subject["run_id"])
    for name, value in values.items():
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
    metrics.flush_metrics()
