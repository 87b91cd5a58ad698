"""JWTs of an OpenID Connect issuer, such as Amazon Cognito, instead of tokens of ours.

What is checked: the signature, by a key of the issuer's JWKS (RFC 7517), RS256 or ES256 and nothing else; issuer,
audience, expiry, and not-before where there is one. Cognito's access tokens have no audience, but the id of the
client that they were given to, which is taken for it
(https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-verifying-a-jwt.html).
"""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit

import jwt
import urllib3

from chalicelib.api import tokens
from chalicelib.api.callers import Caller
from chalicelib.errors import ConfigurationError, TransientError
from chalicelib.settings import Settings

ALGORITHMS = ("RS256", "ES256")
LEEWAY = 30  # seconds that clocks may differ
KEPT = 3600  # seconds that keys are used without asking again
# seconds between two questions for a key that is not known: anybody may send tokens that name one
PAUSE = 60
# before the name of whoever a JWT is about: no token of ours can have it
NAMED = "oidc:"

_DISCOVERY = "/.well-known/openid-configuration"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LARGEST = 256 * 1024  # bytes of a document of the issuer

_http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=3, read=5), retries=urllib3.Retry(1, redirect=0))


class Keys:
    """The issuer's keys by id, fetched when they are first needed, when they are old, and when one is not known."""

    def __init__(self, address: str, issuer: str):
        self._address = address
        self._issuer = issuer
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = float("-inf")

    def find(self, key_id: str) -> jwt.PyJWK | None:
        """Raises TransientError where the issuer does not answer, and no key that it gave is known."""
        age = time.monotonic() - self._fetched
        if age > KEPT or (key_id not in self._keys and age > PAUSE):
            try:
                self._keys = self._read()
            except TransientError:
                if not self._keys:
                    raise
            self._fetched = time.monotonic()
        return self._keys.get(key_id)

    def _read(self) -> dict[str, jwt.PyJWK]:
        if not self._address:
            told = _fetch(self._issuer.rstrip("/") + _DISCOVERY)
            if told.get("issuer") != self._issuer:
                raise ConfigurationError(
                    f"{self._issuer} calls itself {told.get('issuer')!r}",
                    next_step="set SLUICE_OIDC_ISSUER to the issuer as its tokens name it, to the letter",
                )
            self._address = str(told.get("jwks_uri", ""))
        found = {}
        for each in _fetch(self._address).get("keys") or ():
            key = _key(each)
            if key is not None and key.algorithm_name in ALGORITHMS:
                found[each["kid"]] = key
        return found


def _key(given: Any) -> jwt.PyJWK | None:
    """None for what is of no use here: not for signatures, without an id, of another kind, algorithm or curve."""
    try:
        wanted = given.get("use", "sig") == "sig" and given.get("kty") in ("RSA", "EC")
        return jwt.PyJWK(given) if wanted and isinstance(given.get("kid"), str) else None
    except (
        jwt.PyJWTError,
        AttributeError,
        TypeError,
        ValueError,
    ):  # what it reads the numbers of a key by raises these
        return None


def caller(token: str, settings: Settings) -> Caller | None:
    """Whose JWT it is; None where it is none of the issuer's that is valid for us now.

    Raises TransientError, or ConfigurationError for settings that cannot be.
    """
    settings.require("oidc_issuer", "oidc_audience")
    try:
        header = jwt.get_unverified_header(token)
        key = _keys(settings).find(str(header.get("kid")))
        if key is None or header.get("alg") != key.algorithm_name:
            return None
        claims = jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm_name],
            issuer=settings.oidc_issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iss", "sub"], "verify_aud": False},
        )
    except (jwt.InvalidTokenError, RecursionError):  # the latter of JSON that is nested too deep
        return None
    if settings.oidc_audience not in _audience(claims):
        return None
    return Caller(NAMED + str(claims["sub"]), _scopes(claims, settings))


def _audience(claims: dict[str, Any]) -> list[Any]:
    found = claims.get("aud", claims.get("client_id"))
    return found if isinstance(found, list) else [found]


def _scopes(claims: dict[str, Any], settings: Settings) -> tuple[str, ...]:
    """Ours among those that the claim lists, as a list or parted by blanks, each behind the prefix."""
    given = claims.get(settings.oidc_scope_claim, ())
    given = given.split() if isinstance(given, str) else given if isinstance(given, list) else ()
    return tuple(scope for scope in tokens.SCOPES if settings.oidc_scope_prefix + scope in given)


_known: dict[tuple[str, str], Keys] = {}


def _keys(settings: Settings) -> Keys:
    place = (settings.oidc_jwks_url, settings.oidc_issuer)
    if place not in _known:
        _known[place] = Keys(*place)
    return _known[place]


def _fetch(address: str) -> dict[str, Any]:
    parts = urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise ConfigurationError(
            f"{address!r} is no address of an issuer",
            next_step="set SLUICE_OIDC_ISSUER to one that begins with https://",
        )
    try:
        answer = _http.request("GET", address, preload_content=False)
        try:
            content = answer.read(_LARGEST + 1)
        finally:
            answer.release_conn()
        if answer.status != 200 or len(content) > _LARGEST:
            raise TransientError(f"the issuer answered {answer.status} for {address}")
        found = json.loads(content)
        if not isinstance(found, dict):
            raise ValueError
        return found
    except (urllib3.exceptions.HTTPError, ValueError, RecursionError) as error:
        raise TransientError(f"the issuer cannot be asked for {address}: {type(error).__name__}") from error
