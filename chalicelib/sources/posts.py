"""Posts and their comments, from JSONPlaceholder (https://jsonplaceholder.typicode.com/guide/).

Both kinds go into one table, so that one search covers them. `post_id` is the thread: a post's
own id, or the post that a comment answers.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.errors import NotFound, SourceError, SourceUnavailable
from chalicelib.settings import Settings
from chalicelib.sources.base import Page, Source

HOST = "jsonplaceholder.typicode.com"
PAGE_ITEMS = 50
# a page of 50 posts takes 10 to 15 kB; one that is counted here must fit a Lambda's memory
PAGE_BYTES = 16 * 1024 * 1024

_PATHS = {"post": "/posts", "comment": "/comments"}
_FIELDS = {"userId": "user_id", "postId": "post_id"}


class Posts(Source):
    name = "posts"
    key = ("kind", "id")
    columns = (
        Column("kind", "text", nullable=False),  # post | comment
        Column("id", "integer", nullable=False),  # unique within its kind
        Column("post_id", "integer", nullable=False),
        Column("user_id", "integer"),  # of a post
        Column("email", "text"),  # of a comment's author
        Column("title", "text", nullable=False),  # of a comment: its `name`
        Column("body", "text", nullable=False),
    )
    hosts = (HOST,)
    text = ("title", "body")
    schedule = "rate(1 day)"

    def partitions(self, window: Window, given: str | None, settings: Settings) -> list[dict]:
        """One for the posts, one for the comments; `given` may be "post" or "comment" to take one alone."""
        if given and given not in _PATHS:
            raise NotFound(f"posts has no kind {given!r}", next_step="use --input post or --input comment")
        return [{"kind": kind} for kind in _PATHS if given in (None, "", kind)]

    def pages(self, request: dict, client, settings: Settings) -> Iterator[Page]:
        """All pages of one listing, following `Link: …; rel="next"` on the same host.

        Raises SourceUnavailable when what arrived is not what `X-Total-Count` announced: then the
        listing changed while it was read, and reading it again helps.
        """
        url: str | None = client.url_of(HOST, _PATHS[request["kind"]])
        params: dict | None = {"_page": 1, "_limit": PAGE_ITEMS}
        arrived: set[int] = set()
        announced = None
        while url:
            answer = client.get(url, params=params)
            body = answer.read(PAGE_BYTES)
            ids = _ids(body, answer.url)
            if ids and ids <= arrived:
                raise SourceError("the page repeats earlier ones; its `Link` header leads in a circle", url=answer.url)
            arrived |= ids
            announced = answer.headers.get("X-Total-Count", announced)
            yield Page(io.BytesIO(body), "response")
            url, params = answer.next_url, None
        if announced is not None and announced != str(len(arrived)):
            raise SourceUnavailable(
                f"{len(arrived)} of {announced} {request['kind']}s arrived; the listing changed while it was read",
                source=self.name,
            )

    def records(self, document: Any, request: dict) -> Iterable[dict]:
        """The items of one page, each with its `kind`."""
        return [{"kind": request["kind"], **item} for item in document]

    def transform(self, frame):
        frame = frame.rename(columns=_FIELDS)
        comments = frame["kind"] == "comment"
        if "name" in frame:
            frame["title"] = frame["name"].where(comments, frame.get("title"))
        if "id" in frame:
            thread = frame.get("post_id", frame["id"])
            frame["post_id"] = thread.where(comments, frame["id"])
        return frame


def _ids(body: bytes, url: str) -> set[int]:
    try:
        items = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SourceError(f"the answer is not JSON: {error}", url=url) from None
    if not isinstance(items, list) or not all(isinstance(item, dict) and "id" in item for item in items):
        raise SourceError(f"expected an array of objects with an id, got {body[:200]!r}", url=url)
    return {item["id"] for item in items}
