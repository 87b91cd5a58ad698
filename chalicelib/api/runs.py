"""`GET /runs`: the runs that there were, newest first."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import Field

from chalicelib.api import places
from chalicelib.api.answering import Request
from chalicelib.api.models import Answer, Day, Limit, Moment, Next, Page, Parameters, RunId, SourceName
from chalicelib.reading import runs
from chalicelib.warehouse import ledger, reader

Status = Literal["running", "published", "succeeded", "rejected", "failed"]
Verdict = Literal["pass", "warn", "fail"]


class RunsQuery(Parameters):
    source: SourceName | None = None
    status: Status | None = None
    verdict: Annotated[Verdict | None, Field(description="Of the quality gate.")] = None
    start: Annotated[Day | None, Field(alias="from", description="The first day on which they were started, UTC.")] = (
        None
    )
    end: Annotated[Day | None, Field(alias="to", description="The last such day.")] = None
    limit: Limit = 50
    page: Page | None = None


class Window(Answer):
    """Days, both included; null where the source has no windows."""

    start: Annotated[dt.date | None, Field(serialization_alias="from")]
    end: Annotated[dt.date | None, Field(serialization_alias="to")]
    by_cursor: Annotated[bool, Field(description="Whether it followed from the source's cursor.")]


class Account(Answer):
    """fetched = inserted + updated + unchanged + duplicates + quarantined; null while it is not known."""

    fetched: int | None
    inserted: int | None
    updated: int | None
    unchanged: int | None
    duplicates: int | None
    quarantined: int | None


class RunError(Answer):
    error: Annotated[str | None, Field(description="Its name.")] = None
    reason: Annotated[str | None, Field(description="What happened, and what to do next.")] = None


class Run(Answer):
    run_id: RunId
    source: str
    table: str | None
    status: Status
    verdict: Verdict | None
    window: Window
    account: Account
    embedded: int | None
    error: RunError | None
    settled_by: Annotated[
        str | None, Field(description="Of one that failed or was rejected: the run of the same that succeeded since.")
    ]
    started_at: Moment
    published_at: Moment | None
    finished_at: Moment | None


class Runs(Answer):
    runs: list[Run]
    next: Next


def listed(request: Request) -> dict:
    """Raises UnknownSource, ContractError for days the wrong way round."""
    query = request.parameters
    given = query.model_dump(mode="json", by_alias=True, exclude_none=True)
    wanted = ledger.Wanted(query.source, query.status, query.verdict, query.start, query.end)
    with reader.transaction() as connection:
        # one more than asked for tells whether there is a next page
        found = runs.listing(connection, query.limit + 1, wanted, _before(given))
    following = None
    if len(found) > query.limit:
        found.pop()
        last = found[-1]
        following = places.following("/runs", given, [last["started_at"].isoformat(), last["run_id"]])
    return {"runs": [described(row) for row in found], "next": following}


def described(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the ledger as `Run` has it."""
    window = {"start": row["window_start"], "end": row["window_end"], "by_cursor": row["by_cursor"]}
    return {**row, "table": row["table_name"], "window": window, "account": row}


def _before(query: dict[str, Any]) -> tuple[dt.datetime, str] | None:
    position = places.position(query, size=2)
    if position is None:
        return None
    try:
        started_at, run_id = dt.datetime.fromisoformat(position[0]), position[1]
    except (TypeError, ValueError):
        raise places.refused("is none that this API made") from None
    if not isinstance(run_id, str) or started_at.tzinfo is None:
        raise places.refused("is none that this API made")
    return started_at, run_id
