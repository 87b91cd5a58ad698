"""`GET /openapi.json`: the table of routes and its models as one document of OpenAPI 3.1.

https://spec.openapis.org/oas/v3.1.0. Beside what a route itself answers, it tells what API Gateway and Chalice
answer before a route is asked (https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.json_schema import models_json_schema

from chalicelib import settings
from chalicelib.api import problems, table
from chalicelib.api.answering import Request
from chalicelib.api.models import Answer
from chalicelib.api.table import Route

VERSION = "1.0"
_REF = "#/components/schemas/{model}"
_BEARER = "bearer"
_ABOUT = """The API of Sluice. Every route but `/health` and the webhooks needs a bearer token of `sluice token create`,
or a JWT of the issuer that the stage is set up for. What a token may do is its scope: `read`, `run` or `admin`, which
includes the others. Errors are problem documents (RFC 9457); those of API Gateway itself are objects with `message`."""

# what is answered before the route itself is asked: status, by whom
_GATEWAY = {401: "no credentials", 403: "credentials that are unknown, expired, revoked, or of another scope"}
_ALWAYS = {429: "too many requests", 500: "a failure", 504: "no answer within 29 s"}


class Document(RootModel[dict[str, Any]]):
    """A document of OpenAPI 3.1."""


class Fault(Answer):
    place: Annotated[Literal["path", "query", "header", "body"], Field(alias="in")]
    name: str
    detail: str


class Problem(BaseModel):
    """By RFC 9457."""

    model_config = ConfigDict(extra="forbid")

    type: str
    title: str
    status: int
    detail: Annotated[str, Field(description="What happened, and what to do next, for people.")]
    reason: Annotated[str, Field(description="The same for programs, in a word or two.")]
    instance: Annotated[str, Field(description="The path of the request.")]
    errors: Annotated[list[Fault] | None, Field(description="What is wrong with which parameter or field.")] = None


class GatewayError(BaseModel):
    """API Gateway's own, or Chalice's."""

    model_config = ConfigDict(extra="allow")

    message: str | None = None


def describe(request: Request) -> dict[str, Any]:
    return document(settings.current().api_url or request.address)


@functools.lru_cache(maxsize=8)  # an API has few addresses
def document(address: str = "") -> dict[str, Any]:
    """The document, with the API's address where that is known."""
    models = [(model, mode) for route in table.ROUTES for model, mode in _models(route)]
    own = [(Problem, "serialization"), (GatewayError, "serialization")]
    names, schemas = models_json_schema([*dict.fromkeys(models), *own], ref_template=_REF)
    paths: dict[str, dict] = {}
    for route in table.ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, names)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sluice", "version": VERSION, "description": _ABOUT},
        "servers": [{"url": address or "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {_BEARER: {"type": "http", "scheme": "bearer"}},
        },
    }


def _models(route: Route) -> Iterator[tuple[type[BaseModel], str]]:
    if route.body:
        yield table.load(route.body), "validation"
    if route.answer:
        yield table.load(route.answer), "serialization"


def _operation(route: Route, names: dict) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.path.split("/")[1].split(".")[0]],
        "security": [{_BEARER: []}] if route.scope else [],
        "responses": {str(status): answer for status, answer in sorted(_responses(route, names).items())},
    }
    if route.scope:
        operation["description"] = f"Needs the scope `{route.scope}`."
        operation["x-scope"] = route.scope
    if parameters := [*_parameters(route.parameters, route), *_parameters(route.headers, None)]:
        operation["parameters"] = parameters
    if route.body:
        schema = names[table.load(route.body), "validation"]
        operation["requestBody"] = {"required": True, "content": {table.JSON: {"schema": schema}}}
    return operation


def _parameters(path: str | None, route: Route | None) -> Iterator[dict[str, Any]]:
    """Of the path and the query; without a `route`, of the headers."""
    if path is None:
        return
    schema = table.load(path).model_json_schema()
    for name, about in schema.get("properties", {}).items():
        place = "header" if route is None else "path" if name in route.path_parameters else "query"
        about = _without_null(about)
        described = {"description": about.pop("description")} if "description" in about else {}
        about.pop("title", None)
        yield {
            "name": name,
            "in": place,
            "required": name in schema.get("required", ()),
            "schema": about,
            **described,
        }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is given or not; it is never null."""
    about = {name: value for name, value in schema.items() if not (name == "default" and value is None)}
    choices = [choice for choice in about.pop("anyOf", ()) if choice != {"type": "null"}]
    return {**about, **choices[0]} if len(choices) == 1 else {**about, **({"anyOf": choices} if choices else {})}


def _responses(route: Route, names: dict) -> dict[int, dict[str, Any]]:
    problem = {"schema": names[Problem, "serialization"]}
    gateway = {"schema": names[GatewayError, "serialization"]}
    own = set(route.problems) | {500, 503}
    others = dict(_ALWAYS)
    if route.scope:
        own |= {403}
        others |= _GATEWAY
    if not route.raw:
        own |= {422}
    if route.body:
        own |= {400}
        others |= {413: "a body that is too large", 415: "a content type other than application/json"}
    found = {}
    for status in own | set(others):
        content = {problems.CONTENT_TYPE: problem} if status in own else {}
        content |= {table.JSON: gateway} if status in others else {}
        told = others.get(status) or HTTPStatus(status).phrase
        found[status] = {"description": told[:1].upper() + told[1:], "content": content}
    content = {media: _content(route, media, names) for media in route.media}
    found[route.status] = {"description": HTTPStatus(route.status).phrase, "content": content}
    return found


def _content(route: Route, media: str, names: dict) -> dict[str, Any]:
    if media == table.JSON and route.answer:
        return {"schema": names[table.load(route.answer), "serialization"]}
    return {"schema": {"type": "string"}}
