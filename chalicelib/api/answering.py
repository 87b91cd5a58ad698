"""A request to a route of the table: checked by its models, handed to its handler, answered by its model.

Nothing here knows Chalice or API Gateway: `routes` takes their request apart and puts the answer together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from chalicelib import settings
from chalicelib.api import table
from chalicelib.api.callers import Caller
from chalicelib.api.table import Route
from chalicelib.errors import RequestRefused, SluiceError

_SHOWN = 8  # faults that a problem lists
# pages show what sources said: nothing in them may be run, sent or loaded
_PAGE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Arrived:
    """A request as it came: `path` its parameters by name, `query` every value by name, `headers` in any case."""

    path: Mapping[str, str]
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    caller: Caller
    address: str = ""  # of the API, as the caller came to it; empty where the gateway does not say


@dataclass(frozen=True)
class Request:
    """What a handler gets: instances of its route's models, None where it has none.

    Of a `raw` route, `parameters` are the path's as a dict, `headers` all of them, `body` the bytes.
    """

    parameters: Any
    headers: Any
    body: Any
    caller: Caller
    address: str


@dataclass(frozen=True)
class Text:
    """An answer that is no JSON made from a model."""

    content: str
    media: str


@dataclass(frozen=True)
class Response:
    status: int
    content: str
    media: str
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(route: Route, arrived: Arrived) -> Response:
    """What the route answers; raises what `problems.of` makes a problem of, RequestRefused for what is malformed.

    And RequestRefused, of which the API makes a 503, where it asked the database for what a pending migration brings.
    """
    handler = table.load(route.handler)
    try:
        given = handler(_raw(arrived) if route.raw else _checked(route, arrived))
    except SluiceError:
        raise
    except Exception as error:
        if missing := _pending(error):
            raise _older(missing) from error
        raise
    if isinstance(given, Text):
        return Response(route.status, given.content, given.media, _PAGE if given.media == table.HTML else {})
    model = table.load(route.answer)
    content = model.model_validate(given).model_dump_json(by_alias=True)
    return Response(route.status, content, table.JSON)


def _pending(error: Exception) -> list[str]:
    """The migrations that are, where the database misses what they may bring."""
    # not at the top: a webhook is taken without a database
    import psycopg2

    from chalicelib.warehouse import migrations

    # such as a table, a column or a right that is not there
    return migrations.pending() if isinstance(error, psycopg2.ProgrammingError) else []


def _older(missing: list[str]) -> RequestRefused:
    return RequestRefused(
        f"this release is newer than the database's schema, which lacks {', '.join(missing)}",
        status=503,
        reason="schema",
        next_step="start a run of any source: each begins with what is pending, as the smoke run of "
        f"`sluice deploy --stage {settings.current().stage} --smoke` does",
    )


def _raw(arrived: Arrived) -> Request:
    return Request(dict(arrived.path), arrived.headers, arrived.body, arrived.caller, arrived.address)


def _checked(route: Route, arrived: Arrived) -> Request:
    return Request(
        _parameters(route, arrived),
        _headers(route.headers, arrived.headers),
        _body(route.body, arrived.body),
        arrived.caller,
        arrived.address,
    )


def _parameters(route: Route, arrived: Arrived) -> BaseModel | None:
    if route.parameters is None:
        model: type[BaseModel] | None = None
        lists: set[str] = set()
    else:
        model = table.load(route.parameters)
        lists = {field.alias or name for name, field in model.model_fields.items() if _is_list(field.annotation)}
    given: dict[str, Any] = {}
    faults = []
    for name, values in arrived.query.items():
        if name in arrived.path or model is None:
            faults.append({"in": "query", "name": name, "detail": "is no parameter of this route"})
        elif name in lists:
            given[name] = list(values)
        elif len(values) > 1:
            faults.append({"in": "query", "name": name, "detail": "is given more than once"})
        else:
            given[name] = values[0]
    if faults:
        raise _refused(faults)
    if model is None:
        return None
    try:
        return model.model_validate({**given, **arrived.path})
    except ValidationError as error:
        raise _refused(_faults(error, lambda name: "path" if name in arrived.path else "query")) from None


def _headers(path: str | None, headers: Mapping[str, str]) -> BaseModel | None:
    """Of the headers those that the model knows; the others are everybody's."""
    if path is None:
        return None
    model = table.load(path)
    names = [field.alias or name for name, field in model.model_fields.items()]
    given = {name: value for name in names if (value := headers.get(name)) is not None}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _refused(_faults(error, lambda _: "header")) from None


def _body(path: str | None, body: bytes) -> BaseModel | None:
    if path is None:
        return None
    try:
        given = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise RequestRefused("the body is not JSON", status=400, reason="not JSON") from None
    try:
        return table.load(path).model_validate(given)
    except ValidationError as error:
        raise _refused(_faults(error, lambda _: "body")) from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_list(annotation: Any) -> bool:
    return "list[" in str(annotation) or "tuple[" in str(annotation)


def _faults(error: ValidationError, place) -> list[dict[str, str]]:
    """By field what is wrong with it; what was given is not repeated."""
    found = []
    for each in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in each["loc"] if not str(part).startswith("function-")) or "body"
        told = "is no parameter of this route" if each["type"] == "extra_forbidden" else _told(each)
        where = place(str(each["loc"][0]) if each["loc"] else "body")
        if where == "body" and each["type"] == "extra_forbidden":
            told = "is no field of the body"
        found.append({"in": where, "name": name, "detail": told.removeprefix("Value error, ")})
    return found


def _told(fault: Mapping[str, Any]) -> str:
    """Of lengths in words of our own: pydantic's tell of items "after validation", also of a text's."""
    about = fault.get("ctx") or {}
    if fault["type"] in ("too_short", "string_too_short"):
        return "is empty" if about["min_length"] == 1 else f"is shorter than {about['min_length']}"
    if fault["type"] in ("too_long", "string_too_long"):
        return f"is longer than {about['max_length']}"
    return fault["msg"]


def _refused(faults: list[dict[str, str]]) -> RequestRefused:
    told = "; ".join(f"{fault['name'][:100]}: {fault['detail']}" for fault in faults[:_SHOWN])
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return RequestRefused(told + more, status=422, reason="invalid", errors=faults[:_SHOWN])
