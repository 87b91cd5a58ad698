"""JWTs of an issuer: which are taken, for whom, and that nobody makes us ask the issuer again and again."""

import base64
import json
import time

import jwt
import pytest
from issuer_on_loopback import AUDIENCE, EC, OTHER_RSA, RSA, Issuer, claims, public, signed

from chalicelib import settings
from chalicelib.api import access, issuer
from chalicelib.errors import ConfigurationError, TransientError

ARN = "arn:aws:execute-api:eu-west-1:123456789012:a1b2/api/GET/runs"


@pytest.fixture
def told(monkeypatch):
    made = Issuer()
    monkeypatch.setattr(issuer, "_known", {})
    try:
        yield made
    finally:
        made.close()


def configured(told, **more):
    return settings.load({}, oidc_issuer=told.url, oidc_audience=AUDIENCE, **more)


@pytest.mark.parametrize(
    ("key", "key_id", "algorithm"), [(RSA, "rsa", "RS256"), (EC, "ec", "ES256")], ids=["rsa", "ec"]
)
def test_a_token_of_the_issuer_is_taken_for_whom_it_is_about(told, key, key_id, algorithm):
    caller = issuer.caller(signed(claims(told), key, key_id, algorithm), configured(told))
    assert (caller.name, caller.scopes) == ("oidc:ada", ("read",))


@pytest.mark.parametrize(
    ("given", "scopes"),
    [
        ({"scope": "admin run"}, ("run", "admin")),
        ({"scope": ["run"]}, ("run",)),
        ({"scope": "administrator readers xread"}, ()),
        ({"scope": None}, ()),
        ({"scope": 7}, ()),
        ({"scope": {"read": True}}, ()),
    ],
    ids=str,
)
def test_only_whole_scopes_count(told, given, scopes):
    assert issuer.caller(signed(claims(told, **given)), configured(told)).scopes == scopes


def test_scopes_may_have_a_prefix_and_another_claim(told):
    here = configured(told, oidc_scope_claim="permissions", oidc_scope_prefix="sluice/")
    token = signed(claims(told, scope="admin", permissions=["sluice/run", "admin"]))
    assert issuer.caller(token, here).scopes == ("run",)


def test_cognitos_access_token_is_for_a_client(told):
    assert issuer.caller(signed(claims(told, aud=None, client_id=AUDIENCE)), configured(told))
    assert issuer.caller(signed(claims(told, aud=None, client_id="another")), configured(told)) is None
    # where there is an audience, it is that which counts
    assert issuer.caller(signed(claims(told, aud="another", client_id=AUDIENCE)), configured(told)) is None


def unsigned(given, algorithm="none"):
    parts = ({"alg": algorithm, "typ": "JWT", "kid": "rsa"}, given)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, ""])


def nested():
    """A header that no parser of JSON takes apart."""
    return base64.urlsafe_b64encode(b'{"alg":' + b"[" * 100_000).decode().rstrip("=")


NOW = int(time.time())


@pytest.mark.parametrize(
    "made",
    [
        lambda told: signed(claims(told, exp=NOW - 3600)),
        lambda told: signed(claims(told, exp=None)),
        lambda told: signed(claims(told, nbf=NOW + 3600)),
        lambda told: signed(claims(told, iss="https://elsewhere.example")),
        lambda told: signed(claims(told, aud="another")),
        lambda told: signed(claims(told, aud=None)),
        lambda told: signed(claims(told, aud=["another"])),
        lambda told: signed(claims(told, sub=None)),
        lambda told: signed(claims(told), OTHER_RSA),
        lambda told: signed(claims(told), key_id="unknown"),
        lambda told: signed(claims(told), EC, "rsa", "ES256"),
        lambda told: signed(claims(told), RSA, "rsa", "RS512"),
        lambda told: jwt.encode(claims(told), "0" * 64, algorithm="HS256", headers={"kid": "rsa"}),
        lambda told: unsigned(claims(told)),
        lambda told: unsigned(claims(told), "RS256"),
        lambda told: signed(claims(told)) + "x",
        lambda told: nested() + ".e30.x",
        lambda told: "a.b.c",
        lambda told: "x",
    ],
    ids=[
        "expired",
        "no-expiry",
        "not-yet",
        "other-issuer",
        "other-audience",
        "no-audience",
        "other-audiences",
        "no-subject",
        "forged",
        "unknown-key",
        "other-algorithm",
        "rs512",
        "shared-secret",
        "none",
        "unsigned",
        "altered",
        "nested",
        "no-json",
        "no-token",
    ],
)
def test_any_other_is_refused(told, made):
    assert issuer.caller(made(told), configured(told)) is None


def test_keys_are_fetched_once_and_for_unknown_ones_not_again_and_again(told):
    here = configured(told)
    for _ in range(5):
        assert issuer.caller(signed(claims(told)), here)
        assert issuer.caller(signed(claims(told), key_id="made-up"), here) is None
    assert told.asked.count("/keys") == 1


@pytest.mark.parametrize(
    "other",
    [
        {**public(EC, "other", "ES256"), "crv": "P-999"},
        {**public(RSA, "other", "RS256"), "alg": "RSA-OAEP-256"},
        {"kty": "RSA", "kid": "other"},
        {"kty": "RSA", "kid": "other", "alg": "RS256", "n": 7, "e": "AQAB"},
        {"kty": "EC", "kid": "other", "crv": "P-256", "x": "AA", "y": "!"},
        "no key",
    ],
    ids=["curve", "algorithm", "no-numbers", "number", "short", "text"],
)
def test_a_key_that_is_of_no_use_keeps_nobody_from_using_the_others(told, other):
    told.keys.insert(0, other)
    assert issuer.caller(signed(claims(told)), configured(told)).name == "oidc:ada"
    assert issuer.caller(signed(claims(told), key_id="other"), configured(told)) is None


def test_a_new_key_is_found_and_an_old_one_forgotten(told, monkeypatch):
    here = configured(told)
    assert issuer.caller(signed(claims(told)), here)
    told.keys = [public(OTHER_RSA, "new", "RS256")]
    monkeypatch.setattr(issuer, "PAUSE", -1)
    assert issuer.caller(signed(claims(told), OTHER_RSA, "new"), here)
    assert issuer.caller(signed(claims(told)), here) is None


def test_an_issuer_that_does_not_answer_is_no_reason_to_forget_its_keys(told, monkeypatch):
    here = configured(told)
    assert issuer.caller(signed(claims(told)), here)
    told.broken = True
    monkeypatch.setattr(issuer, "KEPT", -1)
    assert issuer.caller(signed(claims(told)), here)
    monkeypatch.setattr(issuer, "_known", {})
    with pytest.raises(TransientError):
        issuer.caller(signed(claims(told)), here)


def test_the_keys_may_be_named_without_discovery(told):
    assert issuer.caller(signed(claims(told)), configured(told, oidc_jwks_url=f"{told.url}/keys"))
    assert told.asked == ["/keys"]


def test_an_issuer_that_calls_itself_otherwise_or_has_no_tls_is_a_fault_of_the_settings(told):
    told.calls_itself = "https://elsewhere.example"
    with pytest.raises(ConfigurationError, match="SLUICE_OIDC_ISSUER"):
        issuer.caller(signed(claims(told)), configured(told))
    plain = settings.load({}, oidc_issuer="http://issuer.example", oidc_audience=AUDIENCE)
    with pytest.raises(ConfigurationError, match="https"):
        issuer.caller(signed(claims(told)), plain)


def test_without_an_audience_no_jwt_is_taken(told):
    with pytest.raises(ConfigurationError, match="SLUICE_OIDC_AUDIENCE"):
        issuer.caller(signed(claims(told)), settings.load({}, oidc_issuer=told.url))


def test_the_policy_says_what_the_jwts_scopes_allow_and_denies_one_without(told, monkeypatch):
    monkeypatch.setattr(access.settings, "current", lambda: configured(told))
    allowed = access.policy(f"Bearer {signed(claims(told))}", ARN)
    assert allowed["principalId"] == "oidc:ada"
    [statement] = allowed["policyDocument"]["Statement"]
    assert statement["Effect"] == "Allow" and ARN in statement["Resource"]
    denied = access.policy(f"Bearer {signed(claims(told, scope='openid'))}", ARN)
    assert denied["policyDocument"]["Statement"][0]["Effect"] == "Deny"
