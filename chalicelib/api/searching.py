"""`GET /search`: rows by what their text says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from chalicelib import settings
from chalicelib.api.answering import Request
from chalicelib.api.models import Answer, Parameters, SourceName, Text, Whole
from chalicelib.embeddings import provider
from chalicelib.reading.filters import MOST_FILTERS
from chalicelib.search import finding
from chalicelib.search.answer import HYBRID
from chalicelib.warehouse import reader

Mode = Literal["semantic", "text", "hybrid"]


class SearchParameters(Parameters):
    q: Annotated[Text, Field(min_length=1, description="What to look for.", examples=["rain in the mountains"])]
    source: Annotated[SourceName | None, Field(description="Only rows of this source.")] = None
    filter: Annotated[
        tuple[Text, ...],
        Field(
            description="`column:operator:value` as in `GET /records`; only together with `source`.",
            max_length=MOST_FILTERS,
            examples=[["kind:eq:post"]],
        ),
    ] = ()
    mode: Annotated[Mode, Field(description="By meaning, by words, or by both.")] = HYBRID
    limit: Annotated[Whole, Field(ge=1, le=finding.MAX_LIMIT, description="How many rows, at most.")] = (
        finding.DEFAULT_LIMIT
    )


class Part(Answer):
    rank: Annotated[int, Field(description="Of the row in this ranking; the best is 1.")]
    score: Annotated[float, Field(description="Cosine similarity of the meanings, or rank of the words.")]


class Passage(Answer):
    text: str
    start: Annotated[int, Field(description="Where in the row's text the passage begins, in characters.")]
    marks: Annotated[
        list[tuple[int, int]], Field(description="Words of the query: start and end in the passage, in characters.")
    ]
    html: Annotated[str, Field(description="The passage, escaped, with the marks as <mark>.")]


class Found(Answer):
    source: str
    id: Annotated[str | None, Field(description="Of `GET /records/{id}`; null where the key is personal.")]
    key: Annotated[dict[str, Any], Field(description="The row's key columns, personal ones masked.")]
    score: Annotated[float, Field(description="Of hybrid search the sum of 1/(60 + rank), else the part's own.")]
    parts: Annotated[dict[str, Part], Field(description="By `semantic` and `text`, where the ranking has the row.")]
    passage: Passage


class SearchAnswer(Answer):
    query: str
    mode: Mode
    results: Annotated[list[Found], Field(description="Rows, best first.")]
    notes: Annotated[
        list[str], Field(description="What was not searched, or not in the way that was asked for, and why.")
    ]


def search(request: Request) -> dict:
    """Raises ContractError, UnknownSource; EmbeddingsUnavailable where only meaning is asked for."""
    asked = request.parameters
    answer = finding.find(
        reader.transaction,
        asked.q,
        lambda: provider.current(settings.current(), at_once=True),
        asked.mode,
        asked.source,
        asked.limit,
        asked.filter,
    )
    return answer.to_json()
