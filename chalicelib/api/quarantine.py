"""`/quarantine`: rows that were set aside, and what becomes of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from chalicelib import settings
from chalicelib.api import places, problems
from chalicelib.api.answering import Request
from chalicelib.api.models import Answer, Body, Day, Limit, Moment, Next, Page, Parameters, RunId, SourceName, Text
from chalicelib.lake.store import Lake, impatient_client
from chalicelib.quarantine import claims, rows, starting
from chalicelib.quarantine.rows import Filter
from chalicelib.quarantine.starting import Bounds
from chalicelib.warehouse import reader, writer

PATH = "/quarantine"
_LARGEST = 2**63 - 1
# API Gateway waits 29 s: of 1,000,000 rows, 25,000 were claimed and the others counted in 5 to 10 s by two cores that
# had the work of twelve, and a run is started in 0.2
_BOUNDS = Bounds(rows=25_000, runs=20, seconds=22, transaction=lambda: writer.transaction())

State = Literal["open", "replaying", "published", "duplicate", "discarded"]
ReasonText = Annotated[
    Text,
    Field(
        description="The id of an expectation, a kind of reason, a column, or a part of the message.",
        examples=["temperature_max"],
    ),
]
Number = Annotated[int, Field(ge=1, le=_LARGEST)]


class RowsQuery(Parameters):
    run: RunId | None = None
    source: SourceName | None = None
    reason: ReasonText | None = None
    since: Annotated[Day | None, Field(description="Set aside on this day or later.")] = None
    state: State | None = None
    limit: Limit = 50
    page: Page | None = None


class RowReason(Answer):
    kind: Annotated[str, Field(description="record, type or expectation.")]
    message: str
    column: str | None = None
    value: str | None = None
    expectation: str | None = None


class Row(Answer):
    """A row that was set aside; personal values are masked."""

    id: int
    run_id: str
    source: str
    raw: Annotated[str | None, Field(description="The key of the raw object.")]
    line: Annotated[int, Field(description="The line, or the record, in it; the first is 1.")]
    state: Annotated[State, Field(description="duplicate: it passed, and newer data was there already.")]
    reasons: list[RowReason]
    record: str
    added_at: Moment
    replays: Annotated[int, Field(description="How often it was judged again.")]
    replayable: Annotated[bool, Field(description="False where its run published nothing: that is run again whole.")]
    replayed_by: Annotated[str | None, Field(description="The run that judges it at the moment.")]
    settled_by: Annotated[str | None, Field(description="The run that published it, or who discarded it.")]
    settled_at: Moment | None
    why: Annotated[str | None, Field(description="It was discarded.")]


class ReasonCount(Answer):
    kind: str
    column: str | None
    expectation: str | None
    example: Annotated[str, Field(description="One of the messages.")]
    rows: int


class Rows(Answer):
    rows: list[Row]
    reasons: Annotated[
        list[ReasonCount] | None,
        Field(
            description=f"Of the newest {rows.NEWEST:,} rows that are meant, not of this page alone; 50 at most. "
            "On the first page; null on those behind it."
        ),
    ]
    next: Next


class _Meant(Body):
    """Which open rows are meant: all that is given must hold, and something must be given."""

    ids: Annotated[list[Number] | None, Field(min_length=1, max_length=1000)] = None
    run: RunId | None = None
    source: SourceName | None = None
    reason: ReasonText | None = None
    since: Annotated[Day | None, Field(description="Set aside on this day or later.")] = None

    @model_validator(mode="after")
    def _says_something(self):
        if all(value is None for value in (self.ids, self.run, self.source, self.reason, self.since)):
            raise ValueError("say which rows are meant: ids, run, source, reason or since")
        return self

    def filter(self) -> Filter:
        return Filter(self.ids and tuple(self.ids), self.run, self.source, self.reason, self.since)


class ReplayBody(_Meant):
    after: Annotated[
        Number | None, Field(description="Those behind this row: `after` of the answer before, while rows are left.")
    ] = None


class DiscardBody(_Meant):
    why: Annotated[Text, Field(description="Why they are not wanted; it is kept.", min_length=1)]


class Replay(Answer):
    run_id: str
    execution: Annotated[str, Field(description="The ARN of the execution.")]
    new: Annotated[bool, Field(description="False where the rows were being replayed already.")]
    source: str
    replay_of: Annotated[str, Field(description="The run that set the rows aside.")]
    rows: int


class Refusal(Answer):
    """Rows that no run could be started for; they are open again."""

    source: str
    replay_of: str
    rows: int
    reason: Annotated[str, Field(description="What happened, and what to do next.")]


class Replays(Answer):
    replays: Annotated[list[Replay], Field(description="One for each run that set some of the rows aside.")]
    refused: list[Refusal]
    left: Annotated[
        int,
        Field(
            description="Rows that are meant too: a request takes the first "
            f"{_BOUNDS.rows:,}, of {_BOUNDS.runs} runs at most."
        ),
    ]
    after: Annotated[int | None, Field(description="What the next request says for those that are left.")]
    unpublished: Annotated[int, Field(description="Open rows whose runs published nothing; they are not replayed.")]


class Discarded(Answer):
    discarded: int
    left: Annotated[
        int, Field(description=f"Open rows that are meant too: a request takes {_BOUNDS.rows:,}. Send it again.")
    ]
    replaying: Annotated[int, Field(description="Rows that are meant, are being replayed, and stay as they are.")]


def listed(request: Request) -> dict:
    """Raises NotFound, UnknownSource, RequestRefused (422) for a page of another query."""
    query = request.parameters
    given = query.model_dump(mode="json", by_alias=True, exclude_none=True)
    wanted = Filter(None, query.run, query.source, query.reason, query.since, query.state)
    lake = Lake(settings.current().bucket, impatient_client())
    before = _before(given)
    with reader.transaction() as opened, opened.cursor() as cursor:
        rows.check(cursor, wanted)
        found, following = rows.page(cursor, wanted, query.limit, before)
        counted = rows.reasons(cursor, wanted, found if following is None else None) if before is None else None
    place = following and places.following(PATH, given, [following])
    return {"rows": rows.masked(found, lake), "reasons": counted, "next": place}


def replay(request: Request) -> dict:
    """Raises NotFound where no open row is meant or what is named is not there, UnknownSource, and ContractError where
    none of them may be replayed.

    Where each run was refused and no row is left, it raises what the first one was refused for.
    """
    body = request.body
    started = starting.start(body.filter(), body.after, _BOUNDS)
    if not started.replays and not started.left:
        raise started.refused[0].error
    refused = [{**vars(each), "reason": _told(each.error)} for each in started.refused]
    return {**vars(started), "refused": refused}


def discard(request: Request) -> claims.Discarded:
    """Raises NotFound, UnknownSource."""
    return starting.discard(request.body.filter(), request.caller.name, request.body.why, _BOUNDS)


def _told(error: Exception) -> str:
    """As it would be told were it alone."""
    return problems.of(error, PATH).document["detail"]


def _before(query: dict) -> int | None:
    position = places.position(query, size=1)
    if position is None:
        return None
    if type(position[0]) is not int or not 0 < position[0] <= _LARGEST:
        raise places.refused("is none that this API made")
    return position[0]
