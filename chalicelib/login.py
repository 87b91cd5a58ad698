"""Logins of sources: a token that is fetched with a client's id and secret."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson

from chalicelib.errors import ConfigurationError, SourceError

if TYPE_CHECKING:
    from chalicelib.http import Client


def client_credentials(client: Client, url: str, credentials: str, scope: str | None = None) -> dict[str, str]:
    """The header with an access token, by OAuth 2.0's client credentials (RFC 6749, 4.4).

    `credentials` is "id:secret", as `secrets.token` gives it. Ask once per fetch: a partition takes at most 15
    minutes, less than tokens last. Raises ConfigurationError for credentials of another form, SourceError where
    the answer holds no bearer token.
    """
    user, colon, secret = credentials.partition(":")
    if not user or not colon or not secret:
        raise ConfigurationError(
            "the login's token is not of the form id:secret", next_step="write it so with `sluice secret token`"
        )
    # the id and the secret are form-encoded before they are joined: RFC 6749, 2.3.1
    basic = base64.b64encode(f"{quote(user, safe='')}:{quote(secret, safe='')}".encode()).decode()
    form = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}
    answer = client.post(url, form, headers={"Authorization": f"Basic {basic}"})
    try:
        document = orjson.loads(answer.read(1024 * 1024))
    except orjson.JSONDecodeError:
        document = None
    token = document.get("access_token") if isinstance(document, dict) else None
    if not isinstance(token, str) or str(document.get("token_type", "")).lower() != "bearer":
        raise SourceError("the login gave no bearer token", url=url)
    return {"Authorization": f"Bearer {token}"}
