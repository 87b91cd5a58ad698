"""Who calls, and what they may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.api.table import ADMIN
from chalicelib.errors import RequestRefused

# the header by which the same request is known for the same
IDEMPOTENCY_KEY = "Idempotency-Key"


@dataclass(frozen=True)
class Caller:
    """Whose token it is, and what it may do: `admin` may do everything."""

    name: str
    scopes: tuple[str, ...]

    def may(self, scope: str) -> bool:
        return scope in self.scopes or ADMIN in self.scopes


def of(context: Mapping) -> Caller:
    """From a request's context, as the authorizer had it; nobody where no authorizer let them in."""
    found = context.get("authorizer") or {}
    return Caller(found.get("principalId", ""), tuple(found.get("scopes", "").split()))


def require(context: Mapping, scope: str | None) -> Caller:
    """The caller; raises RequestRefused where they may not do what `scope` stands for."""
    who = of(context)
    if scope and not who.may(scope):
        raise RequestRefused(f"the token has not the scope {scope!r}", status=403, reason="scope")
    return who
