"""The API of a stack over HTTP: `call(pipeline, …)` gives status, headers and body."""

from __future__ import annotations

import datetime as dt
import json
import re
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass

from chalicelib.api import table, tokens
from chalicelib.warehouse import connection


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def media(self) -> str:
        return self.headers.get("Content-Type", "").split(";")[0]


def call(address: str, method: str, path: str, token: str | None = None, body=None, headers=()) -> Answer:
    """`body` is sent as JSON unless it is bytes; `token` as a bearer token."""
    given = {"Content-Type": "application/json", **dict(headers)}
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, given, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read().decode())
    except urllib.error.HTTPError as error:
        return Answer(error.code, dict(error.headers), error.read().decode())


def token(database_url: str, *scopes: str, expires: dt.timedelta | None = None, revoked: bool = False) -> str:
    name = f"test-{uuid.uuid4().hex[:8]}"
    with connection.transaction(database_url) as opened:
        made = tokens.create(opened, name, scopes, expires)
        if revoked:
            tokens.revoke(opened, name)
    return made


def path_of(route: table.Route) -> str:
    """The route's path with something in place of its parameters."""
    return re.sub(r"\{\w+\}", "nothing", route.path)
