"""Posts and their comments, from JSONPlaceholder (https://jsonplaceholder.typicode.com/guide/).

Both kinds go into one table, so that one search covers them. `post_id` is the thread: a post's
own id, or the post that a comment answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from chalicelib import paging
from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.errors import NotFound, SourceError, SourceUnavailable
from chalicelib.settings import Settings
from chalicelib.sources.base import Page, Source

if TYPE_CHECKING:
    from chalicelib.http import Client

HOST = "jsonplaceholder.typicode.com"
PAGE_ITEMS = 50

_PATHS = {"post": "/posts", "comment": "/comments"}
_COLUMN_OF = {"userId": "user_id", "postId": "post_id", "name": "title"}


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
    repeatable = True
    hosts = (HOST,)
    text = ("title", "body")
    language = "english"
    schedule = "rate(1 day)"

    def partitions(self, window: Window, given: str | None, settings: Settings) -> list[dict]:
        """One for the posts, one for the comments; `given` may be "post" or "comment" to take one alone."""
        if given and given not in _PATHS:
            raise NotFound(f"posts has no kind {given!r}", next_step="use --input post or --input comment")
        return [{"kind": kind} for kind in _PATHS if given in (None, "", kind)]

    def pages(self, request: dict, client: Client, settings: Settings) -> Iterator[Page]:
        """All pages of one listing, following `Link: …; rel="next"` on the same host.

        Raises SourceUnavailable when what arrived is not what `X-Total-Count` announced: then the
        listing changed while it was read, and reading it again helps.
        """
        url = client.url_of(HOST, _PATHS[request["kind"]])
        arrived: set[str] = set()
        announced = None
        for answer in paging.by_link(client, url, {"_page": 1, "_limit": PAGE_ITEMS}):
            arrived |= _identities(answer)
            announced = answer.headers.get("X-Total-Count", announced)
            yield answer.page()
        if announced is not None and announced != str(len(arrived)):
            raise SourceUnavailable(
                f"{len(arrived)} of {announced} {request['kind']}s arrived; the listing changed while it was read",
                source=self.name,
            )

    def records(self, document: Any, request: dict) -> Iterable[dict]:
        """The items of one page under the names of our columns; what is no object is left to be rejected."""
        return [_record(request["kind"], item) if isinstance(item, dict) else item for item in document]


def _record(kind: str, item: dict) -> dict:
    record = {"kind": kind, **{_COLUMN_OF.get(field, field): value for field, value in item.items()}}
    if kind == "post":
        record["post_id"] = item.get("id")
    return record


def _identities(answer: paging.Answer) -> set[str]:
    """What tells the items of a page apart: the id, or where that is missing the whole item."""
    if not isinstance(answer.document, list):
        raise SourceError("expected an array", quote=f"the answer begins {answer.body[:200]!r}", url=answer.url)
    return {repr(item.get("id", item) if isinstance(item, dict) else item) for item in answer.document}
