"""The table of routes holds together: models, handlers, Chalice's routes and what a token may call agree with it."""

import dataclasses
import json
import re
from typing import Annotated

import pytest
from pydantic import Field, RootModel
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

import app
from chalicelib import settings
from chalicelib.api import access, answering, callers, problems, table
from chalicelib.api.models import Answer, Body, Parameters, Text
from chalicelib.errors import RequestRefused
from local import api_gateway, iam

ROUTES = {route.name: route for route in table.ROUTES}
API = "arn:aws:execute-api:eu-west-1:123456789012:a1b2/api"
EVERYBODY = {"GET /health", "POST /webhooks/{source}"}


def routes(*, where=lambda route: True):
    return pytest.mark.parametrize("route", [pytest.param(r, id=r.name) for r in table.ROUTES if where(r)])


def test_a_route_is_declared_once_and_chalice_serves_what_is_declared():
    declared = [(route.path, route.method) for route in table.ROUTES]
    assert len(set(declared)) == len(declared) == len(ROUTES)
    served = {
        (path, method): entry.authorizer is not None
        for path, methods in app.app.routes.items()
        for method, entry in methods.items()
        if method != "OPTIONS"
    }
    assert served == {(route.path, route.method): route.scope is not None for route in table.ROUTES}


def test_nobody_but_the_health_and_signed_webhooks_gets_by_without_a_scope():
    assert {f"{r.method} {r.path}" for r in table.ROUTES if r.scope is None} == EVERYBODY
    assert {r.scope for r in table.ROUTES} <= {None, table.READ, table.RUN, table.ADMIN}


@routes()
def test_what_a_route_names_is_there(route):
    assert callable(table.load(route.handler))
    assert route.summary.endswith(".")
    kinds = {"parameters": Parameters, "headers": Parameters, "answer": Answer}
    for name, kind in kinds.items():
        if path := getattr(route, name):
            model = table.load(path)
            # an object of any fields, which OpenAPI's and reports are, is a root model
            assert issubclass(model, kind) or (name == "answer" and issubclass(model, RootModel))
    if route.body and not route.raw:
        assert issubclass(table.load(route.body), Body)
    fields = table.load(route.parameters).model_fields if route.parameters else {}
    assert set(route.path_parameters) <= {field.alias or name for name, field in fields.items()}
    if table.JSON in route.media:
        assert route.answer


@pytest.mark.parametrize("scope", [table.READ, table.RUN, table.ADMIN])
def test_a_scope_allows_its_routes_alone(scope):
    allowed = [f"{API}/{path}" for path in access._paths([scope])]
    assert bool(allowed) == bool(table.within(scope))
    for route in table.ROUTES:
        arn = f"{API}/{route.method}{re.sub('{.*?}', 'some-value', route.path)}"
        if route.scope:
            assert any(iam.matches(pattern, arn) for pattern in allowed) == (route in table.within(scope))
            # and where API Gateway's pattern is wider than the route, the route itself asks
            context = {"authorizer": {"principalId": "x", "scopes": scope}}
            if scope in (route.scope, table.ADMIN):
                assert callers.require(context, route.scope).name == "x"
            else:
                with pytest.raises(RequestRefused):
                    callers.require(context, route.scope)


# --- what arrives ------------------------------------------------------------------------------


def arrived(route, query=None, body=b"", path=None, headers=None):
    path = path or dict.fromkeys(route.path_parameters, "weather")
    return answering.Arrived(path, query or {}, headers or {}, body, callers.Caller("somebody", (table.ADMIN,)))


def refused(route, **given):
    with pytest.raises(RequestRefused) as raised:
        answering.answer(route, arrived(route, **given))
    return problems.of(raised.value, "/path")


@routes(where=lambda route: not route.raw)
def test_an_unknown_query_parameter_is_named(route):
    problem = refused(route, query={"nosuch": ["1"]}, body=b"{}")
    assert problem.status == 422
    assert {"in": "query", "name": "nosuch", "detail": "is no parameter of this route"} in problem.document["errors"]


@routes(where=lambda route: route.body and not route.raw)
def test_a_body_that_is_no_json_of_the_model_is_refused(route):
    for body in (b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000):
        assert refused(route, body=body).status == 400
    for body in (b"[]", b"1", b'"x"', b"null"):
        assert refused(route, body=body).status == 422
    problem = refused(route, body=json.dumps({"nosuch": 1}).encode())
    assert {"in": "body", "name": "nosuch", "detail": "is no field of the body"} in problem.document["errors"]


class Listed(Parameters):
    source: str | None = None
    many: tuple[str, ...] = ()


LISTED = table.Route(
    "GET", "/things", table.READ, "Things.", f"{__name__}.things", f"{__name__}.Things", f"{__name__}.Listed"
)


class Lengths(Parameters):
    text: Annotated[Text, Field(min_length=1, max_length=3)] = "x"
    plain: Annotated[str, Field(min_length=2, max_length=3)] = "xx"
    many: Annotated[tuple[Text, ...], Field(max_length=2)] = ()


LENGTHS = dataclasses.replace(LISTED, parameters=f"{__name__}.Lengths")


class Things(Answer):
    source: str | None
    many: list[str]


def things(request):
    return request.parameters


def test_a_parameter_given_twice_is_refused_unless_it_is_a_list():
    problem = refused(LISTED, query={"source": ["a", "b"]})
    assert [fault["name"] for fault in problem.document["errors"]] == ["source"]
    response = answering.answer(LISTED, arrived(LISTED, {"many": ["a", "b"], "source": ["x"]}))
    assert json.loads(response.content) == {"source": "x", "many": ["a", "b"]}
    assert dataclasses.astuple(response)[:1] == (200,)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"text": [""]}, "text: is empty"),
        ({"text": ["four"]}, "text: is longer than 3"),
        ({"plain": ["x"]}, "plain: is shorter than 2"),
        ({"plain": ["four"]}, "plain: is longer than 3"),
        ({"many": ["a", "b", "c"]}, "many: is longer than 2"),
    ],
    ids=["empty", "long", "plain-short", "plain-long", "list-long"],
)
def test_a_length_is_told_in_plain_words(query, told):
    assert refused(LENGTHS, query=query).document["detail"] == told


@pytest.mark.parametrize("stage", ["api", "rec"])
def test_a_problem_names_the_path_without_the_stage_of_the_gateway(stage):
    gateway = api_gateway.Api((), stage=stage)
    route = api_gateway.Route("/records/{id}", "GET", "api")
    request = Request(EnvironBuilder("/records/7").get_environ())
    event = api_gateway._event(gateway, route, {"id": "7"}, request, "/records/7", "r")
    for path in (event["requestContext"]["path"], "/records/7"):  # the latter on a domain of its own
        event["requestContext"]["path"] = path
        assert json.loads(app.app(event, None)["body"])["instance"] == "/records/7"


@pytest.mark.parametrize(
    ("domain", "path", "address"),
    [
        ("a1b2.execute-api.eu-west-1.amazonaws.com", "/api/openapi.json", "https://{}/api"),
        ("sluice.example.org", "/openapi.json", "https://{}"),
        (None, "/api/openapi.json", "/"),
    ],
    ids=["execute-api", "own-domain", "unknown"],
)
def test_the_document_names_the_address_at_which_it_was_asked_for(monkeypatch, domain, path, address):
    monkeypatch.setattr(settings, "current", lambda: settings.load({}))
    gateway = api_gateway.Api((), stage="api")
    route = api_gateway.Route("/openapi.json", "GET", "api")
    event = api_gateway._event(gateway, route, {}, Request(EnvironBuilder("/openapi.json").get_environ()), path, "r")
    event["requestContext"] |= {"path": path, "authorizer": {"principalId": "ada", "scopes": "read"}}
    event["requestContext"] |= {"domainName": domain} if domain else {}
    document = json.loads(app.app(event, None)["body"])
    assert document["servers"] == [{"url": address.format(domain)}]
