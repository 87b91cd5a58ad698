"""The API's bearer tokens: made, listed and revoked by `sluice token`, looked up by the authorizer."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import secrets

from chalicelib.api import table
from chalicelib.api.callers import Caller
from chalicelib.errors import ConfigurationError, NotFound
from chalicelib.warehouse.queries import rows, statement

# so that a token that was committed or pasted somewhere is found by its looks
PREFIX = "sluice_"
SCOPES = (table.READ, table.RUN, table.ADMIN)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_TOKEN = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}", re.ASCII)


def create(connection, name: str, scopes: tuple[str, ...], expires: dt.timedelta | None = None) -> str:
    """A new token, which is told here and never again: 256 random bits, of which the hash alone is kept."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no name for a token", next_step="use at most 63 letters, digits, _ . and -, a letter first"
        )
    token = PREFIX + secrets.token_urlsafe(32)
    values = {
        "name": name,
        "sha256": _hash(token),
        "scopes": sorted(set(scopes)),
        "expires_at": expires and dt.datetime.now(dt.UTC) + expires,
    }
    with connection.cursor() as cursor:
        if not rows(cursor, "access", "add_token", **values):
            raise ConfigurationError(
                f"there is a token called {name!r}, or there was", next_step="take another name for the new one"
            )
    return token


def existing(connection) -> list[dict]:
    """What there is, newest first: name, scopes, created_at, expires_at, revoked_at, last_used_at."""
    with connection.cursor() as cursor:
        return rows(cursor, "access", "list_tokens")


def revoke(connection, name: str) -> None:
    """Refuse the token from now on; raises NotFound."""
    with connection.cursor() as cursor:
        if not rows(cursor, "access", "revoke_token", name=name):
            raise NotFound(f"no token is called {name!r}", next_step="sluice token list")


def caller(connection, token: str) -> Caller | None:
    """Whose token it is; None for nobody whom we know, or no longer.

    A lookup by hash: how long it takes says nothing about a token.
    """
    if not _TOKEN.fullmatch(token):
        return None
    with connection.cursor() as cursor:
        found = rows(cursor, "access", "find_token", sha256=_hash(token))
        if not found:
            return None
        if found[0]["note_use"]:
            cursor.execute(statement("access", "note_use"), {"name": found[0]["name"]})
    return Caller(found[0]["name"], tuple(found[0]["scopes"]))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
