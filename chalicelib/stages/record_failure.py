"""RecordFailure: the error goes into the ledger, the run's staging goes away, the email is written."""

from __future__ import annotations

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import redaction
from chalicelib import settings as settings_module
from chalicelib.contracts import RecordFailureRequest, RecordFailureResult, RunInput
from chalicelib.errors import ContractError
from chalicelib.failure import read_cause
from chalicelib.links import Links
from chalicelib.quality.alert import failure_alert
from chalicelib.warehouse import connection, ledger, tables


def record_failure(request: RecordFailureRequest) -> RecordFailureResult:
    settings = settings_module.current()
    settings.require("database_url")
    error, reason = read_cause(request.error)
    state = _failed_state(request.execution)
    source = str(request.input.get("source", "unknown")) if isinstance(request.input, dict) else "unknown"
    with connection.transaction() as open_connection:
        with open_connection.cursor() as cursor:
            details = {"state": state, "error": error, "reason": reason}
            ledger.fail(cursor, request.run_id, source, request.execution, redaction.strings(request.input), details)
        run = ledger.get_run(open_connection, request.run_id)
        if run["table_name"]:
            with open_connection.cursor() as cursor:
                tables.drop_staging(cursor, run["table_name"], request.run_id)
    alert = failure_alert(
        run_id=request.run_id,
        source=source,
        state=state,
        error=error,
        cause=reason,
        links=Links(settings),
        execution=request.execution,
        published=run["published_at"] is not None,
        command=_command(request.input),
    )
    return RecordFailureResult(alert=alert)


def _command(given: object) -> str | None:
    """What to type to run it again; None for an input that no command gives."""
    try:
        return RunInput.from_json(given).command()
    except ContractError:
        return None


def _failed_state(execution: str) -> str:
    """The state whose Catch led here: the last one that was left. Catch itself is not told its name."""
    try:
        history = boto3.client("stepfunctions").get_execution_history(
            executionArn=execution, reverseOrder=True, maxResults=100, includeExecutionData=False
        )
    except (BotoCoreError, ClientError):
        return "unknown"  # the email is worth more than the name
    history["events"] = [event for event in history["events"] if event["type"] != "PassStateExited"]
    exited = (event.get("stateExitedEventDetails") for event in sorted(history["events"], key=lambda e: -e["id"]))
    return next((details["name"] for details in exited if details), "unknown")
