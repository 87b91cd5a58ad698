"""RecordFailure: the error goes into the ledger, the run's staging goes away, the email is written."""

from __future__ import annotations

import datetime as dt

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import container_result, redaction
from chalicelib import settings as settings_module
from chalicelib.contracts import RecordFailureRequest, RecordFailureResult
from chalicelib.errors import ContractError, SluiceError
from chalicelib.failure import read_cause
from chalicelib.lake import Lake
from chalicelib.links import Links
from chalicelib.quality.alert import failure_alert
from chalicelib.quarantine import claims
from chalicelib.redriving import advice
from chalicelib.run_input import RunInput
from chalicelib.triggers import inbox
from chalicelib.warehouse import connection, ledger, quarantined_objects, tables


def record_failure(request: RecordFailureRequest) -> RecordFailureResult:
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    error, reason = read_cause(_told(request, settings.bucket))
    state, started_at = _told_by_history(request.execution)
    source = str(request.input.get("source", "unknown")) if isinstance(request.input, dict) else "unknown"
    given = _given(request.input)
    with connection.transaction() as open_connection:
        with open_connection.cursor() as cursor:
            details = {"state": state, "error": error, "reason": reason}
            shown = redaction.strings(request.input)
            is_first = ledger.fail(cursor, request.run_id, source, request.execution, shown, details, started_at)
            # an invocation that nobody waits for any more would free the rows that the next attempt has claimed since
            if is_first and given is not None and given.replay is not None:
                claims.release(cursor, given.replay, judged=False)
        run = ledger.get_run(open_connection, request.run_id)
        if run["table_name"]:
            with open_connection.cursor() as cursor:
                tables.drop_staging(cursor, run["table_name"], request.run_id)
    unread = inbox.unreadable(given, error, reason, Lake(settings.bucket))
    if unread is not None:
        with connection.transaction() as open_connection, open_connection.cursor() as cursor:
            quarantined_objects.add(cursor, unread, f"{error}: {reason}", request.run_id)
    alert = failure_alert(
        run_id=request.run_id,
        source=source,
        state=state,
        error=error,
        cause=reason,
        links=Links(settings),
        execution=request.execution,
        published=run["published_at"] is not None,
        again=given and advice.again(request.run_id, given, unread),
        command=given and given.command(),
        trigger=given and given.trigger,
        quarantined=unread and unread.address,
    )
    return RecordFailureResult(alert=alert)


def _told(request: RecordFailureRequest, bucket: str) -> dict:
    """The error, in the words of the container that failed where it was one."""
    if request.error.get("Error") != container_result.TASK_FAILED or not bucket:
        return request.error
    try:
        return container_result.own_error(Lake(bucket), request.run_id, request.error)
    except SluiceError:
        return request.error  # the email is worth more than its words


def _given(wanted: object) -> RunInput | None:
    """The execution's input; None for one that is none."""
    try:
        return RunInput.from_json(wanted)
    except ContractError:
        return None


def _told_by_history(execution: str) -> tuple[str, dt.datetime | None]:
    """The state whose Catch led here, and when the execution started; None where it took more steps than are read.

    The state is the last one that was left: Catch itself is not told its name. Only a run that failed before it was
    entered needs the start, and Plan with all its retries has fewer events than are read.
    """
    try:
        history = boto3.client("stepfunctions").get_execution_history(
            executionArn=execution, reverseOrder=True, maxResults=100, includeExecutionData=False
        )
    except (BotoCoreError, ClientError):
        return "unknown", None  # the email is worth more than the name
    started_at = next((event["timestamp"] for event in history["events"] if event["type"] == "ExecutionStarted"), None)
    history["events"] = [event for event in history["events"] if event["type"] != "PassStateExited"]
    exited = (event.get("stateExitedEventDetails") for event in sorted(history["events"], key=lambda e: -e["id"]))
    return next((details["name"] for details in exited if details), "unknown"), started_at
