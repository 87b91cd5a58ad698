"""The authorizer: what a bearer token allows, as API Gateway's Lambda authorizers say it.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
The answer is kept by API Gateway for the time that `app.py` gives and used for every route, so it says
all that the token may call, not whether it may call this route.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from psycopg2.errors import UndefinedTable

from chalicelib import settings
from chalicelib.api import table, tokens
from chalicelib.api.callers import Caller
from chalicelib.telemetry import logger
from chalicelib.warehouse import connection

_BEARER = re.compile(r"Bearer +(\S+)", re.ASCII | re.IGNORECASE)
_PARAMETER = re.compile(r"\{\w+\}")


def policy(authorization: str, method_arn: str) -> dict:
    """What the header allows; an explicit Deny for a token that is not known, expired or revoked.

    `method_arn` is `arn:<partition>:execute-api:<region>:<account>:<api>/<stage>/<method>/<path>`. Raises
    WarehouseUnavailable, or TransientError where an issuer does not answer, of which API Gateway makes a 500.
    """
    parts = method_arn.split("/")
    api = "/".join(parts[:2])
    caller = _caller(authorization)
    # a policy must name something: a JWT may be valid and have no scope of ours
    allowed = [f"{api}/{path}" for path in _paths(caller.scopes)] if caller else []
    if caller is None or not allowed:
        # not the path, which may hold the key of a row
        logger.warning("token refused", method=parts[2])
        return _document("nobody", "Deny", [f"{api}/*/*"], ())
    return _document(caller.name, "Allow", allowed, caller.scopes)


def _caller(authorization: str) -> Caller | None:
    found = _BEARER.fullmatch(authorization.strip())
    if not found:
        return None
    token, current = found[1], settings.current()
    if token.startswith(tokens.PREFIX):
        try:
            with connection.transaction() as open_connection:
                return tokens.caller(open_connection, token)
        except UndefinedTable:  # before the first run of a stage: there is no token yet
            return None
    if not current.oidc_issuer:
        return None
    from chalicelib.api import issuer

    return issuer.caller(token, current)


def _paths(scopes: Iterable[str]) -> list[str]:
    """Methods and paths that these scopes may call: `*` stands for a parameter, and for everything below it."""
    if "admin" in scopes:
        return ["*/*"]
    routes = {route for scope in scopes for route in table.within(scope)}
    return sorted(f"{route.method}{_PARAMETER.sub('*', route.path)}" for route in routes)


def _document(name: str, effect: str, resources: list[str], scopes: tuple[str, ...]) -> dict:
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": resources}
    return {
        "principalId": name,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"scopes": " ".join(scopes)},
    }
