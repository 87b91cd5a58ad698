"""Which pages may call the API from a browser: those of the origins in `SLUICE_CORS_ORIGINS`, by default none.

https://fetch.spec.whatwg.org/#http-cors-protocol. An origin is answered by its name, never by `*`; credentials of a
browser's own, such as cookies, are never asked for: a page sends its token itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib import settings
from chalicelib.api import table
from chalicelib.api.callers import IDEMPOTENCY_KEY

_SENT = ", ".join(("Authorization", "Content-Type", IDEMPOTENCY_KEY, "X-Api-Key"))
_MAX_AGE = 600  # seconds that a browser need not ask again


def headers(request: Mapping[str, str]) -> dict[str, str]:
    """What an answer to a request with these headers has, found in any case."""
    allowed = settings.current().cors_origins.split()
    if not allowed:
        return {}
    origin = request.get("Origin")
    # a cache must not give one origin's answer to another
    told = {"Vary": "Origin"}
    return {**told, "Access-Control-Allow-Origin": origin} if origin in allowed and origin != "*" else told


def preflight(path: str, request: Mapping[str, str]) -> dict[str, str]:
    """The same for the question whether a page may call the path."""
    told = headers(request)
    if "Access-Control-Allow-Origin" not in told:
        return told
    methods = sorted(route.method for route in table.ROUTES if route.path == path)
    return {
        **told,
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Allow-Headers": _SENT,
        "Access-Control-Max-Age": str(_MAX_AGE),
    }
