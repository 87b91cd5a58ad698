"""`GET /records`, `GET /records/{id}`: what was published."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from chalicelib.api import places
from chalicelib.api.answering import Request
from chalicelib.api.models import Answer, Day, Limit, Next, Page, Parameters, SourceName, Text
from chalicelib.api.table import ADMIN
from chalicelib.reading import records
from chalicelib.reading.filters import MOST_FILTERS
from chalicelib.warehouse import reader

PATH = "/records"

# of long keys; API Gateway takes 10,240 bytes of request line and headers
Id = Annotated[str, Field(description="The id of a record, from a list of records.", max_length=6000, min_length=1)]


class ListParameters(Parameters):
    source: SourceName
    table: Annotated[Text | None, Field(description="Which table, of a source like `files` that has several.")] = None
    filter: Annotated[
        tuple[Text, ...],
        Field(
            description="`column:operator:value`, several hold together. Operators: eq, ne, lt, le, gt, ge; "
            "in, with values as a line of CSV; null, with true or false; prefix, of a text.",
            max_length=MOST_FILTERS,
            examples=[["station:in:Seattle,Sydney", "temperature_max:ge:30"]],
        ),
    ] = ()
    first: Annotated[Day | None, Field(alias="from", description="The first day, by the source's day column.")] = None
    last: Annotated[Day | None, Field(alias="to", description="The last day, included.")] = None
    sort: Annotated[
        Text | None, Field(description="A column; with a - before it from the largest on.", examples=["-day"])
    ] = None
    limit: Limit = records.LIMIT
    page: Page | None = None


class Record(Answer):
    id: str
    values: Annotated[dict[str, Any], Field(description="By column; personal ones are *** without the scope admin.")]
    anomalies: Annotated[list[dict[str, Any]] | None, Field(description="What is unlike the history of its series.")]
    run_id: Annotated[str, Field(description="The run, or the batch of changes, that wrote it.")]
    loaded_at: str


class Records(Answer):
    records: list[Record]
    next: Next


class IdPath(Parameters):
    id: Id


class Raw(Answer):
    object: Annotated[str, Field(description="The key of the raw object.")]
    line: Annotated[int, Field(description="The line, or the record, in it; the first is 1.")]


class RecordWithRaw(Record):
    raw: Annotated[Raw | None, Field(description="Where it came from; null where the run is not in the ledger.")]


def listed(request: Request) -> dict:
    """Raises UnknownSource, NotFound, ContractError for what is no column or value, RequestRefused (403)."""
    given = request.parameters
    query = records.Query(
        source=given.source,
        table=given.table,
        filters=given.filter,
        first=given.first,
        last=given.last,
        sort=given.sort,
        limit=given.limit,
        unmasked=request.caller.may(ADMIN),
    )
    parameters = given.model_dump(mode="json", by_alias=True, exclude_none=True)
    with reader.transaction() as connection:
        listing = records.listing(connection, query)
        page = listing.page(connection, places.position(parameters, listing.width))
    following = page.position and places.following(PATH, parameters, page.position)
    return {"records": page.records, "next": following}


def shown(request: Request) -> dict:
    """Raises NotFound, UnknownSource, RequestRefused (403)."""
    with reader.transaction() as connection:
        return records.record(connection, request.parameters.id, request.caller.may(ADMIN))
