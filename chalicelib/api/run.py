"""`GET /runs/{run_id}`, its report and its states: the ledger and the execution, together.

A run has no execution where Step Functions has forgotten it (after 90 days on AWS, when the local stack went
down), and no row in the ledger where it failed before it was entered.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from typing import Annotated, Any, Literal

import boto3
from pydantic import Field, RootModel

from chalicelib import boto_clients, executions, redaction, run_details, settings
from chalicelib.api import runs, table
from chalicelib.api.answering import Request, Text
from chalicelib.api.models import Answer, Moment, Parameters, RunId
from chalicelib.api.runs import Run
from chalicelib.errors import NotFound
from chalicelib.executions import Execution, chunks
from chalicelib.failure import plain_cause
from chalicelib.lake import keys
from chalicelib.lake.store import Lake, impatient_client
from chalicelib.links import Links
from chalicelib.warehouse import ledger, reader

StateStatus = Literal["succeeded", "failed", "caught", "running", "aborted", "not_run"]
# by what an execution's own end means for the run, where the ledger has no row of it
_STATUS = {"RUNNING": "running", "SUCCEEDED": "succeeded"}


class RunPath(Parameters):
    run_id: RunId


class ReportQuery(RunPath):
    format: Annotated[Literal["html", "json"], Field(description="A page, or data.")] = "html"


class Items(Answer):
    """Of a Map: iterations or children. `total` is null while nobody knows it."""

    total: int | None
    succeeded: int
    failed: int
    running: int
    aborted: int


class StateSummary(Answer):
    name: str
    type: Annotated[str, Field(description="Of the Amazon States Language.", examples=["Task"])]
    status: Annotated[StateStatus, Field(description="`caught`: it failed, and a Catch took over.")]
    entered: Annotated[int, Field(description="How often.")]
    retries: int
    seconds: float
    first: Annotated[dt.datetime | None, Field(description="When it was entered first.")]
    last: Annotated[dt.datetime | None, Field(description="When it was left last; null while it is under way.")]
    error: str | None
    reason: Annotated[str | None, Field(description="The cause of its error.")]
    children: Items | None


class Chunks(Answer):
    planned: Annotated[int | None, Field(description="In the manifest; null before that is written.")]
    kept: Annotated[int | None, Field(description="Of these, taken over from `kept_of`: unchanged since.")]
    loaded: int
    failed: int
    running: int
    records: Annotated[int, Field(description="In the chunks that are loaded, as are the next two.")]
    staged: int
    quarantined: int


class Expectation(Answer):
    expectation: str
    type: str
    title: str
    severity: str
    success: bool
    evaluated: int | None
    unexpected: int | None
    observed: str | None


class ReasonExample(Answer):
    """Why rows were quarantined, with the first record of which that was so; personal values are masked."""

    kind: str | None
    message: str | None
    rows: int
    record: str
    key: Annotated[str, Field(description="The raw object that the record is in.")]
    line: int


class RawOnly(Answer):
    field: str
    records: int


class ExecutionSummary(Answer):
    arn: str
    status: Annotated[str, Field(description="Step Functions' own.", examples=["SUCCEEDED"])]
    started_at: Moment
    stopped_at: Moment | None
    seconds: float


class RunLinks(Answer):
    report: Annotated[str | None, Field(description="Path of the quality report, below the API's address.")]
    graph: Annotated[str | None, Field(description="Where the execution is drawn, for people.")]


class RunDetails(Run):
    input: Annotated[dict[str, Any], Field(description="What was asked for; secrets are masked.")]
    execution: Annotated[ExecutionSummary | None, Field(description="Null where Step Functions has forgotten it.")]
    states: Annotated[list[StateSummary], Field(description="In the order in which they were entered.")]
    chunks: Chunks
    quality: list[Expectation]
    quarantine: list[ReasonExample]
    quarantine_states: Annotated[
        dict[str, int],
        Field(description="Of the rows that it set aside, how many are in which state: GET /quarantine."),
    ]
    replay_of: Annotated[str | None, Field(description="The run whose quarantined rows it judged again.")]
    kept_of: Annotated[str | None, Field(description="The earlier run whose chunks it took over.")]
    schema_changes: list[dict[str, Any]]
    raw_only: Annotated[list[RawOnly], Field(description="Fields that no column takes.")]
    links: RunLinks


class Report(RootModel[dict[str, Any]]):
    """What the quality gate found, as data."""


def one(request: Request) -> dict[str, Any]:
    run_id, lake = request.parameters.run_id, _lake()
    execution = execution_of(run_id)
    with reader.transaction() as connection:
        try:
            found = run_details.read(connection, lake, run_id)
        except NotFound:
            if execution is None:
                raise
            found = _unknown_to_the_ledger(execution)
        with connection.cursor() as cursor:
            [counts] = ledger.rows(cursor, "chunk_counts", run_id=run_id)
            quality = ledger.rows(cursor, "quality_results", run_id=run_id)
    return {
        **runs.described(found),
        "input": redaction.strings(found["input"]),
        "execution": execution and _execution(execution),
        "states": _states(execution, counts["loaded"]),
        "chunks": {**_chunks(execution, counts), "kept": found["kept_chunks"]},
        "quality": quality,
        "quarantine": found["reasons"],
        "quarantine_states": found["quarantine_states"],
        "schema_changes": json.loads(json.dumps(found["schema_changes"], default=str)),
        "raw_only": found["raw_only"],
        "links": {
            "report": f"/runs/{run_id}/report" if found["report_key"] else None,
            "graph": execution and Links(settings.current()).execution(execution.arn),
        },
    }


def report(request: Request) -> Text:
    """Raises NotFound where the run has none: it was not judged, or the report is older than what the lake keeps."""
    wanted = request.parameters.format
    media = {"html": table.HTML, "json": table.JSON}[wanted]
    try:
        content = _lake().get(keys.report(request.parameters.run_id, wanted))
    except NotFound:
        raise NotFound(
            f"there is no report of a run called {request.parameters.run_id!r}",
            next_step="GET /runs/{run_id} says whether it was judged",
        ) from None
    return Text(content.decode(), media)


def execution_of(run_id: str) -> Execution | None:
    """The run's execution as it is; None where Step Functions knows none of that name."""
    current = settings.current()
    current.require("state_machine_arn")
    try:
        return executions.read(_client(), executions.arn(current.state_machine_arn, run_id))
    except NotFound:
        return None


@functools.cache
def _client():
    return boto3.client("stepfunctions", config=boto_clients.QUICK)


def _lake() -> Lake:
    return Lake(settings.current().bucket, impatient_client())


def _unknown_to_the_ledger(execution: Execution) -> dict[str, Any]:
    """As `run_details.read` would tell of a run that failed, or is about to be entered."""
    try:
        given = json.loads(execution.input or "null")
    except ValueError:
        given = None
    given = given if isinstance(given, dict) else {}
    source = given.get("source")
    names = (*runs.Account.model_fields, "table_name", "verdict", "embedded", "window_start", "window_end")
    return {
        **dict.fromkeys((*names, "published_at", "report_key", "settled_by")),
        "run_id": execution.name,
        "source": source if isinstance(source, str) else "",
        "status": _STATUS.get(execution.status, "failed"),
        "by_cursor": False,
        "input": given,
        "error": {"error": execution.error, "reason": plain_cause(execution.cause)} if execution.error else None,
        "started_at": execution.started,
        "finished_at": execution.stopped,
        "reasons": [],
        "quarantine_states": {},
        "replay_of": None,
        "kept_of": None,
        "kept_chunks": None,
        "schema_changes": [],
        "raw_only": [],
    }


def _execution(execution: Execution) -> dict[str, Any]:
    return {
        "arn": execution.arn,
        "status": execution.status,
        "started_at": execution.started,
        "stopped_at": execution.stopped,
        "seconds": round(execution.seconds, 3),
    }


def _states(execution: Execution | None, loaded: int) -> list[dict[str, Any]]:
    """Every state that was entered, those inside Maps behind the Map that holds them."""
    if execution is None:
        return []
    told = chunks.with_failed(execution, loaded)
    outer = [state.name for state in told.entered]
    inner = [state.name for state in told.states.values() if state.entered and state.name not in outer]
    return [state_summary(told, name) for name in (*outer, *inner)]


def state_summary(execution: Execution, name: str) -> dict[str, Any]:
    state = execution.states[name]
    return {**vars(state), "seconds": round(state.seconds, 3), "reason": plain_cause(state.cause) or None}


def _chunks(execution: Execution | None, counts: dict[str, int]) -> dict[str, Any]:
    told = chunks.with_failed(execution, counts["loaded"]) if execution else None
    children = told.states[chunks.PROCESS].children if told else None
    return {
        **counts,
        "planned": chunks.planned(execution) if execution else None,
        "failed": children.failed if children else 0,
        "running": children.running if children else 0,
    }
