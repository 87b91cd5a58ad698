"""Nothing but the health, and webhooks that are signed, answers without a credential that may do what is asked."""

import datetime as dt
import time

import pytest
from http_api import call, path_of, token
from issuer_on_loopback import OTHER_RSA, claims, signed

from chalicelib.api import table

LATER = int(time.time()) + 3600  # of what is not expired, however long the tests take
GUARDED = [pytest.param(route, id=route.name) for route in table.ROUTES if route.scope]
OPEN = [pytest.param(route, id=route.name) for route in table.ROUTES if not route.scope]


SCOPES = (table.READ, table.RUN, table.ADMIN)
OURS, JWT = "a token of ours", "a JWT"
# of a JWT that else could do everything, what makes it one that nobody may use
FLAWS = {
    "expired": {"exp": 1},
    "not valid yet": {"nbf": 4_000_000_000},
    "without an end": {"exp": None},
    "of another audience": {"aud": "another-api"},
    "of another client": {"aud": None, "client_id": "another-client"},
    "of another issuer": {"iss": "https://login.example.org"},
    "about nobody": {"sub": None},
    "of no scope of ours": {"scope": "administrator openid"},
}
FORGERIES = {
    "of another key": {"key": OTHER_RSA},
    "of a key that nobody knows": {"key": OTHER_RSA, "key_id": "other"},
    "of no key": {"key": None, "algorithm": "none"},
    "signed with what is public": {"key": "rsa" * 12, "algorithm": "HS256"},
}
NO_GOOD = ("made up", "expired", "revoked", "of another form")
REFUSED = [*NO_GOOD, *(f"{JWT} {what}" for what in (*FLAWS, *FORGERIES))]


@pytest.fixture(scope="module")
def credentials(pipeline, issuer):
    """By what they are: those that nobody may use, and two of each scope."""
    url = pipeline.env["DATABASE_URL"]
    admin = {"scope": table.ADMIN}
    return {
        **{(OURS, scope): token(url, scope) for scope in SCOPES},
        **{(JWT, scope): signed(claims(issuer, scope=f"openid {scope}", exp=LATER)) for scope in SCOPES},
        "made up": "sluice_" + "A" * 43,
        "expired": token(url, table.ADMIN, expires=dt.timedelta(seconds=-1)),
        "revoked": token(url, table.ADMIN, revoked=True),
        "of another form": "admin",
        **{f"{JWT} {what}": signed(claims(issuer, **admin | {"exp": LATER} | flaw)) for what, flaw in FLAWS.items()},
        **{f"{JWT} {what}": signed(claims(issuer, **admin, exp=LATER), **by) for what, by in FORGERIES.items()},
    }


def ask(pipeline, route, credential=None, headers=()):
    body = {} if route.body else None
    return call(pipeline.env["SLUICE_API_URL"], route.method, path_of(route), credential, body, headers)


@pytest.mark.parametrize("route", GUARDED)
def test_without_credentials_a_route_answers_nobody(pipeline, route):
    for headers in ((), [("Authorization", "")], [("X-Api-Key", "x")]):
        answer = ask(pipeline, route, headers=headers)
        assert (answer.status, answer.json) == (401, {"message": "Unauthorized"})


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.replace(" ", "-"))
@pytest.mark.parametrize("route", GUARDED)
def test_a_credential_that_is_no_good_is_refused(pipeline, credentials, route, kind):
    answer = ask(pipeline, route, credentials[kind])
    assert answer.status == 403
    assert "explicit deny" in answer.text


@pytest.mark.parametrize("route", GUARDED)
def test_no_other_scheme_is_taken_for_a_bearer_token(pipeline, credentials, route):
    for admin in (credentials[OURS, table.ADMIN], credentials[JWT, table.ADMIN]):
        for value in (admin, f"Basic {admin}", f"Bearer {admin} x"):
            assert ask(pipeline, route, headers=[("Authorization", value)]).status == 403


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("kind", [OURS, JWT], ids=["token", "jwt"])
@pytest.mark.parametrize("route", GUARDED)
def test_a_credential_may_do_what_its_scope_says_and_nothing_else(pipeline, credentials, route, kind, scope):
    answer = ask(pipeline, route, credentials[kind, scope])
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
    answer = call(pipeline.env["SLUICE_API_URL"], method, path, credentials[OURS, table.ADMIN])
    assert answer.status in (403, 405) or (method, path.strip("/")) == ("GET", "health")
