"""JSONPlaceholder's posts and comments, in the format of https://jsonplaceholder.typicode.com/guide/.

100 posts written for the purpose, ten per subject, one author per subject; three comments each,
put together from an opening and a remark on the subject, no two alike.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from urllib.parse import urlencode

from werkzeug.wrappers import Request, Response

COMMENTS_PER_POST = 3
_WRITTEN = Path(__file__).with_name("sample_posts.json")


@functools.cache
def posts() -> list[dict]:
    return [
        {"userId": user, "id": 10 * (user - 1) + number, "title": post["title"], "body": post["body"]}
        for user, subject in enumerate(_written()["subjects"].values(), 1)
        for number, post in enumerate(subject["posts"], 1)
    ]


@functools.cache
def comments() -> list[dict]:
    openings = _written()["openings"]
    made = []
    for post in posts():
        remarks = list(_written()["subjects"].values())[post["userId"] - 1]["remarks"]
        for turn in range(COMMENTS_PER_POST):
            # counts through a subject's remarks; each round of remarks meets other openings
            nth = (post["id"] - 1) % 10 * COMMENTS_PER_POST + turn
            opening = openings[(nth + nth // len(remarks) + post["userId"]) % len(openings)]
            made.append(
                {
                    "postId": post["id"],
                    "id": len(made) + 1,
                    "name": opening["name"],
                    "email": f"reader{1 + len(made) * 7 % 60}@example.org",
                    "body": f"{opening['body']} {remarks[nth % len(remarks)]}",
                }
            )
    return made


def respond(request: Request, path: str) -> Response:
    """`/posts`, `/comments`, one of them by `/<id>`, and `/posts/<id>/comments`."""
    found = re.fullmatch(r"/(posts|comments)(?:/(\d+)(/comments)?)?", path.rstrip("/"))
    if not found or (found[1] == "comments" and found[3]):
        return _json({}, 404)
    items = posts() if found[1] == "posts" else comments()
    if found[3]:
        items = [c for c in comments() if c["postId"] == int(found[2])]
    elif found[2]:
        one = [item for item in items if item["id"] == int(found[2])]
        return _json(one[0]) if one else _json({}, 404)
    for field in ("userId", "postId", "id"):
        if field in request.args:
            items = [item for item in items if str(item.get(field)) == request.args[field]]
    return _page(request, items)


def _page(request: Request, items: list[dict]) -> Response:
    """The page that `_page` (from 1) and `_limit` (10) ask for; everything when neither is given."""
    page = request.args.get("_page", type=int)
    limit = request.args.get("_limit", default=10 if page else None, type=int)
    if limit is None:
        return _json(items)
    start = ((page or 1) - 1) * limit
    response = _json(items[start : start + limit])
    response.headers["X-Total-Count"] = str(len(items))
    if page:
        last = max(1, -(-len(items) // limit))
        places = {"first": 1, "prev": page - 1, "next": page + 1, "last": last}
        response.headers["Link"] = ", ".join(
            f'<{request.base_url}?{urlencode({**request.args.to_dict(), "_page": number})}>; rel="{rel}"'
            for rel, number in places.items()
            if 1 <= number <= last
        )
    return response


@functools.cache
def _written() -> dict:
    return json.loads(_WRITTEN.read_text(encoding="utf-8"))


def _json(document, status: int = 200) -> Response:
    return Response(json.dumps(document, indent=2), status, content_type="application/json; charset=utf-8")
