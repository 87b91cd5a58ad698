"""Nothing but the health, and webhooks that are signed, answers without a credential that may do what is asked."""

import datetime as dt

import pytest
from http_api import call, path_of, token

from chalicelib.api import table

GUARDED = [pytest.param(route, id=route.name) for route in table.ROUTES if route.scope]
OPEN = [pytest.param(route, id=route.name) for route in table.ROUTES if not route.scope]


@pytest.fixture(scope="module")
def credentials(pipeline):
    """By what they are: those that nobody may use, and one of each scope."""
    url = pipeline.env["DATABASE_URL"]
    scopes = {scope: token(url, scope) for scope in (table.READ, table.RUN, table.ADMIN)}
    return scopes | {
        "made up": "sluice_" + "A" * 43,
        "expired": token(url, table.ADMIN, expires=dt.timedelta(seconds=-1)),
        "revoked": token(url, table.ADMIN, revoked=True),
        "of another form": "admin",
        "a foreign JWT": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiIsInNjb3BlIjoiYWRtaW4ifQ.",
    }


def ask(pipeline, route, credential=None, headers=()):
    body = {} if route.body else None
    return call(pipeline.env["SLUICE_API_URL"], route.method, path_of(route), credential, body, headers)


@pytest.mark.parametrize("route", GUARDED)
def test_without_credentials_a_route_answers_nobody(pipeline, route):
    for headers in ((), [("Authorization", "")], [("X-Api-Key", "x")]):
        answer = ask(pipeline, route, headers=headers)
        assert (answer.status, answer.json) == (401, {"message": "Unauthorized"})


@pytest.mark.parametrize("kind", ["made up", "expired", "revoked", "of another form", "a foreign JWT"])
@pytest.mark.parametrize("route", GUARDED)
def test_a_credential_that_is_no_good_is_refused(pipeline, credentials, route, kind):
    answer = ask(pipeline, route, credentials[kind])
    assert answer.status == 403
    assert "explicit deny" in answer.text


@pytest.mark.parametrize("route", GUARDED)
def test_no_other_scheme_is_taken_for_a_bearer_token(pipeline, credentials, route):
    for value in (credentials["admin"], f"Basic {credentials['admin']}", f"Bearer {credentials['admin']} x"):
        assert ask(pipeline, route, headers=[("Authorization", value)]).status == 403


@pytest.mark.parametrize("scope", [table.READ, table.RUN, table.ADMIN])
@pytest.mark.parametrize("route", GUARDED)
def test_a_token_may_do_what_its_scope_says_and_nothing_else(pipeline, credentials, route, scope):
    answer = ask(pipeline, route, credentials[scope])
    assert (answer.status in (401, 403)) == (route not in table.within(scope)), answer.text
    assert answer.status < 500, answer.text


@pytest.mark.parametrize("route", OPEN)
def test_an_open_route_needs_no_token_and_tells_nothing_that_needs_one(pipeline, route):
    answer = ask(pipeline, route)
    assert answer.status == {"get_health": 200, "post_webhooks_source": 404}[route.name]
    assert set(answer.json) <= {"status", "stage"} or answer.media == "application/problem+json"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/nothing", "/runs/../health", "/health/"])
def test_what_is_no_route_is_nobodys(pipeline, credentials, path, method):
    answer = call(pipeline.env["SLUICE_API_URL"], method, path, credentials["admin"])
    assert answer.status in (403, 405) or (method, path.strip("/")) == ("GET", "health")
