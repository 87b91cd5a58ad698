"""`GET /analytics`: numbers of what was published and of the runs that did it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chalicelib.api.answering import Request
from chalicelib.api.models import Answer, Day, Parameters, SourceName
from chalicelib.api.runs import Account
from chalicelib.reading import analytics
from chalicelib.warehouse import reader


class AnalyticsParameters(Parameters):
    source: SourceName | None = None
    first: Annotated[Day | None, Field(alias="from", description="The first day; else 30 days to the last.")] = None
    last: Annotated[Day | None, Field(alias="to", description="The last day, included; else today, or `from`.")] = None


class Totals(Answer):
    source: str | None
    table: str
    rows: Annotated[int | None, Field(description="Null while they are counted for the first time.")]
    day: Annotated[
        str | None, Field(description="The column that says of which day a row is; null while they are counted by it.")
    ]
    first_day: str | None
    last_day: str | None


class DayRows(Answer):
    source: str | None
    table: str
    day: str
    rows: int


class DayRuns(Account):
    """The runs of a day, and their accounts added up."""

    source: str
    day: Annotated[str, Field(description="Of the runs' starts, UTC.")]
    runs: int
    published: int
    rejected: int
    failed: int


class DayQuality(Answer):
    source: str
    day: str
    judged: Annotated[int, Field(description="Runs that have a verdict.")]
    passed: int
    warned: int
    failed: int
    quarantined_share: Annotated[float | None, Field(description="Of the rows that they fetched, 0 to 1.")]
    expectations: int
    unmet: Annotated[int, Field(description="Expectations that were not kept.")]


class DayAnomalies(Answer):
    source: str
    day: str
    anomaly: str
    judged: Annotated[int, Field(description="Rows that had enough history.")]
    marked: Annotated[int, Field(description="Rows that are unlike it.")]


class UnmetExpectation(Answer):
    source: str
    title: str
    severity: str
    judged: Annotated[int, Field(description="Runs in which it was judged.")]
    unmet: Annotated[int, Field(description="Runs in which it was not met.")]
    unexpected: Annotated[int, Field(description="Rows against it, in these runs together.")]
    last_run: Annotated[str, Field(description="The newest run in which it was not met.")]


class Analytics(Answer):
    start: Annotated[str, Field(alias="from", description="Of runs, quality and anomalies.")]
    end: Annotated[str, Field(alias="to")]
    rows: Annotated[
        int | None, Field(description="In all tables that were asked for; null while one of them is counted.")
    ]
    sources: list[Totals]
    rows_by_day: list[DayRows]
    runs_by_day: list[DayRuns]
    quality_by_day: list[DayQuality]
    anomalies_by_day: list[DayAnomalies]
    unmet_expectations: Annotated[list[UnmetExpectation], Field(description="The most often missed first, 50 at most.")]


def shown(request: Request) -> dict:
    """Raises UnknownSource, ContractError for days that are too many or the wrong way round."""
    given = request.parameters
    with reader.transaction() as connection:
        return analytics.read(connection, given.source, given.first, given.last)
