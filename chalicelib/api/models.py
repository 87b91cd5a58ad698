"""What the models of requests and answers are made of (https://docs.pydantic.dev); errors quote no value.

In the API's own layer alone: other functions have no pydantic.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from chalicelib.warehouse.texts import is_storable

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)


class Parameters(BaseModel):
    """Of the path and the query, or of headers: what is not declared is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False, hide_input_in_errors=True)


class Body(BaseModel):
    """Of a JSON body: what is not declared, or of another JSON type, is refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, populate_by_name=False, hide_input_in_errors=True
    )


class Answer(BaseModel):
    """Of an answer, which has exactly these fields, made from a dict or an object."""

    model_config = ConfigDict(extra="ignore", from_attributes=True, populate_by_name=True, hide_input_in_errors=True)


def _iso_day(value: Any) -> Any:
    # pydantic also takes a number of seconds for a day
    if isinstance(value, str):
        if not _DAY.fullmatch(value):
            raise ValueError("a day is written YYYY-MM-DD")
        return dt.date.fromisoformat(value)
    return value


def _whole(value: Any) -> Any:
    # pydantic also takes 1_000, 10.0 and blanks around
    if isinstance(value, str) and not _WHOLE.fullmatch(value):
        raise ValueError("expected a whole number")
    return value


def _plain(value: str) -> str:
    if not is_storable(value):
        raise ValueError("has a character that is none")
    return value


Day = Annotated[dt.date, BeforeValidator(_iso_day)]
Whole = Annotated[int, BeforeValidator(_whole)]
Text = Annotated[str, Field(max_length=1000), AfterValidator(_plain)]
Moment = Annotated[dt.datetime, Field(description="UTC, ISO 8601")]

SourceName = Annotated[Text, Field(description="The name of a source.", examples=["weather"])]
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html#StepFunctions-StartExecution-request-name
RunId = Annotated[
    Text,
    Field(
        description="The name of a run.",
        examples=["weather-s20261121T130000Z"],
        pattern=r"^[A-Za-z0-9_.+=@()!'-]{1,80}$",
    ),
]
Limit = Annotated[Whole, Field(ge=1, le=1000, description="How many, at most.")]
# of long keys, the longest thing in it; API Gateway takes 10,240 bytes of request line and headers
Page = Annotated[
    str,
    Field(description="Where to go on: from `next` of the page before.", max_length=6000, examples=["eyJ…"]),
    AfterValidator(_plain),
]
Next = Annotated[
    str | None, Field(description="Path and query of the next page, below the API's address; null on the last one.")
]
