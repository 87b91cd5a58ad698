"""What the API logs of a request: which route, who and why not, never a value of a row."""

import base64
import json

import pytest
from pydantic import ValidationError
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

import app
from chalicelib.api import access, answering, routes
from chalicelib.api.models import Answer, Body, Parameters
from chalicelib.errors import LakeUnavailable
from local import api_gateway

SECRET = "ada@example.org"
KEY = base64.urlsafe_b64encode(json.dumps(["people", [SECRET]]).encode()).decode().rstrip("=")


@pytest.fixture
def logged(monkeypatch):
    """Every line, as a dict with its message."""
    lines = []
    for module in (routes, access):
        for level in ("info", "warning", "error"):
            monkeypatch.setattr(
                module.logger, level, lambda message, **more: lines.append({"message": message, **more})
            )
    return lines


def call(path, resource, parameters, scopes="read"):
    gateway = api_gateway.Api((), stage="api")
    request = Request(EnvironBuilder(path).get_environ())
    event = api_gateway._event(gateway, api_gateway.Route(resource, "GET", "api"), parameters, request, path, "r")
    event["requestContext"]["authorizer"] = {"principalId": "somebody", "scopes": scopes}
    return app.app(event, None)


@pytest.mark.parametrize("scopes", ["read", ""], ids=["answered", "refused"])
def test_the_id_of_a_record_which_is_its_key_is_not_logged(logged, monkeypatch, scopes):
    monkeypatch.setattr(answering, "answer", lambda *_: answering.Response(200, "{}", "application/json"))
    call(f"/records/{KEY}", "/records/{id}", {"id": KEY}, scopes)
    [line] = logged
    assert line["route"] == "/records/{id}"
    assert KEY not in str(line)


def test_the_run_that_is_asked_for_is_logged(logged, monkeypatch):
    monkeypatch.setattr(answering, "answer", lambda *_: answering.Response(200, "{}", "application/json"))
    call("/runs/weather-1", "/runs/{run_id}", {"run_id": "weather-1"})
    assert logged[0]["asked_run_id"] == "weather-1"


def test_of_a_token_that_is_refused_the_method_is_logged_and_no_path(logged):
    access.policy("Basic x", f"arn:aws:execute-api:eu-west-1:123456789012:a1b2/api/GET/records/{KEY}")
    assert logged == [{"message": "token refused", "method": "GET"}]


class Mailed(Answer):
    mail: int


class Sent(Body):
    mail: int


class Asked(Parameters):
    mail: int


@pytest.mark.parametrize("model", [Mailed, Sent, Asked], ids=lambda model: model.__name__.lower())
def test_what_is_wrong_with_a_value_does_not_tell_the_value(model):
    with pytest.raises(ValidationError) as raised:
        model.model_validate({"mail": SECRET})
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError(f"cannot read {SECRET}"), "ValueError"),
        (
            LakeUnavailable("S3 asked us to slow down", quote=SECRET, bucket="lake"),
            "S3 asked us to slow down (bucket=lake)",
        ),
    ],
    ids=["unexpected", "ours"],
)
def test_of_a_failure_the_reason_is_logged_and_no_value(logged, monkeypatch, error, told):
    def answer(*_):
        raise error

    monkeypatch.setattr(answering, "answer", answer)
    assert call("/runs", "/runs", {})["statusCode"] >= 500
    [line] = logged
    assert line["error"] == type(error).__name__
    assert line["message_of_error"].startswith(told)
    assert SECRET not in str(line)
