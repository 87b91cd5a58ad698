"""`/quarantine`: rows that were set aside, and what becomes of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from chalicelib import settings
from chalicelib.api import places
from chalicelib.api.answering import Request
from chalicelib.api.models import Answer, Body, Day, Limit, Moment, Next, Page, Parameters, RunId, SourceName, Text
from chalicelib.lake.store import Lake, impatient_client
from chalicelib.quarantine import rows, starting
from chalicelib.quarantine.rows import Filter
from chalicelib.warehouse import connection, reader

PATH = "/quarantine"
_LARGEST = 2**63 - 1

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
        list[ReasonCount], Field(description="Of all rows that are meant, not of this page; 50 at most.")
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
    pass


class DiscardBody(_Meant):
    why: Annotated[Text, Field(description="Why they are not wanted; it is kept.", min_length=1)]


class Replay(Answer):
    run_id: str
    execution: Annotated[str, Field(description="The ARN of the execution.")]
    new: Annotated[bool, Field(description="False where the rows were being replayed already.")]
    source: str
    replay_of: Annotated[str, Field(description="The run that set the rows aside.")]
    rows: int


class Replays(Answer):
    replays: Annotated[list[Replay], Field(description="One for each run that set some of the rows aside.")]
    unpublished: Annotated[int, Field(description="Open rows that are left: their runs published nothing.")]


class Discarded(Answer):
    discarded: int


def listed(request: Request) -> dict:
    """Raises RequestRefused (422) for a page of another query."""
    query = request.parameters
    given = query.model_dump(mode="json", by_alias=True, exclude_none=True)
    wanted = Filter(None, query.run, query.source, query.reason, query.since, query.state)
    lake = Lake(settings.current().bucket, impatient_client())
    with reader.transaction() as opened, opened.cursor() as cursor:
        # one more than asked for tells whether there is a next page
        found = rows.page(cursor, wanted, query.limit + 1, _before(given))
        counted = rows.reasons(cursor, wanted)
    following = None
    if len(found) > query.limit:
        found.pop()
        following = places.following(PATH, given, [found[-1]["id"]])
    return {"rows": rows.masked(found, lake), "reasons": counted, "next": following}


def replay(request: Request) -> starting.Replays:
    """Raises NotFound where no open row is meant, ContractError where none of them may be replayed."""
    return starting.start(request.body.filter())


def discard(request: Request) -> dict:
    with connection.transaction() as opened, opened.cursor() as cursor:
        return {"discarded": rows.discard(cursor, request.body.filter(), request.caller.name, request.body.why)}


def _before(query: dict) -> int | None:
    position = places.position(query, size=1)
    if position is None:
        return None
    if type(position[0]) is not int or not 0 < position[0] <= _LARGEST:
        raise places.refused("is none that this API made")
    return position[0]
