"""The authorizer: what a bearer token allows, as API Gateway's Lambda authorizers say it.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
The answer is kept by API Gateway for the time that `app.py` gives and used for every route, so it says
all that the token may call, not whether it may call this route.
"""

from __future__ import annotations

from chalicelib.api import tokens
from chalicelib.errors import RequestRefused
from chalicelib.telemetry import logger
from chalicelib.warehouse import connection

# a scope's methods and paths
_ROUTES = {"read": (("GET", "*"),), "run": (("POST", "runs"),), "admin": (("*", "*"),)}


def policy(authorization: str, method_arn: str) -> dict:
    """What the header allows; an explicit Deny for a token that is not known, expired or revoked.

    `method_arn` is `arn:<partition>:execute-api:<region>:<account>:<api>/<stage>/<method>/<path>`. Raises
    WarehouseUnavailable, of which API Gateway makes a 500.
    """
    api = "/".join(method_arn.split("/")[:2])
    with connection.transaction() as open_connection:
        caller = tokens.caller(open_connection, authorization)
    if caller is None:
        logger.warning("token refused", method_arn=method_arn)
        return _document("nobody", "Deny", [f"{api}/*/*"], ())
    allowed = [f"{api}/{method}/{path}" for scope in caller.scopes for method, path in _ROUTES[scope]]
    return _document(caller.name, "Allow", allowed, caller.scopes)


def caller(context: dict) -> tokens.Caller:
    """Who calls, from a request's context, as `policy` had it; nobody where no authorizer let them in."""
    found = context.get("authorizer") or {}
    return tokens.Caller(found.get("principalId", ""), tuple(found.get("scopes", "").split()))


def require(context: dict, scope: str) -> tokens.Caller:
    """The caller; raises RequestRefused where they may not do what `scope` stands for."""
    who = caller(context)
    if not who.may(scope):
        raise RequestRefused(f"the token has not the scope {scope!r}", status=403, reason="scope")
    return who


def _document(name: str, effect: str, resources: list[str], scopes: tuple[str, ...]) -> dict:
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": resources}
    return {
        "principalId": name,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"scopes": " ".join(scopes)},
    }
