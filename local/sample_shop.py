"""A shop's API that does not exist, for docs/sources-over-http.md: a login, pages with cursors, a limit, many days.

`POST /oauth/token` is OAuth 2.0's client credentials; `GET /v1/orders?day=…&cursor=…` has at most
PAGE orders. Every tenth request is one too many: 429, with Retry-After.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import itertools
import json
import random

from werkzeug.wrappers import Request, Response

HOST = "api.shop.example"
CLIENT = "sluice-sample:open-sesame"
TOKEN = hashlib.sha256(CLIENT.encode()).hexdigest()
PAGE = 20
FIRST_DAY = dt.date(2020, 1, 1)
ONE_TOO_MANY = 10

_requests = itertools.count(1)


def respond(request: Request, path: str) -> Response:
    if path == "/oauth/token":
        return _token(request)
    if path != "/v1/orders" or request.method != "GET":
        return _json({"error": "not found"}, 404)
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return _json({"error": "log in first"}, 401)
    if next(_requests) % ONE_TOO_MANY == 0:
        refused = _json({"error": "too many requests"}, 429)
        refused.headers["Retry-After"] = "1"
        return refused
    try:
        day = dt.date.fromisoformat(request.args.get("day", ""))
        start = int(request.args.get("cursor", "0"))
    except ValueError:
        return _json({"error": "day is not YYYY-MM-DD, or the cursor not one of ours"}, 400)
    found = orders(day)
    following = str(start + PAGE) if start + PAGE < len(found) else None
    return _json({"orders": found[start : start + PAGE], "next": following})


def orders(day: dt.date) -> list[dict]:
    """The orders of a day, always the same; none before the shop opened, or on days to come."""
    if not FIRST_DAY <= day <= dt.datetime.now(dt.UTC).date():
        return []
    rng = random.Random(f"orders {day}")
    number = (day - FIRST_DAY).days * 100
    seconds = sorted(rng.randrange(86400) for _ in range(rng.randrange(25, 60)))
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    return [
        {
            "id": number + place,
            "ordered": (midnight + dt.timedelta(seconds=second)).isoformat(),
            "email": f"customer{rng.randrange(500)}@example.com",
            "total": f"{rng.randrange(500, 20000) / 100:.2f}",
        }
        for place, second in enumerate(seconds)
    ]


def _token(request: Request) -> Response:
    given = request.headers.get("Authorization", "").removeprefix("Basic ")
    if request.method != "POST" or given != base64.b64encode(CLIENT.encode()).decode():
        return _json({"error": "invalid_client"}, 401)
    if request.form.get("grant_type") != "client_credentials":
        return _json({"error": "unsupported_grant_type"}, 400)
    return _json({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})


def _json(document, status: int = 200) -> Response:
    return Response(json.dumps(document), status, content_type="application/json")
