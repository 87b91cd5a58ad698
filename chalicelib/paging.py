"""The pages of a listing, one after the other, in the three ways that APIs have of dividing one.

Each generator gives an `Answer` per page, which fits into memory. All pages of a fetch share the client's time
and bytes, so a listing without an end comes to one.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from chalicelib.errors import SourceError
from chalicelib.sources.base import Page

if TYPE_CHECKING:
    from chalicelib.http import Client, Response

PAGE_BYTES = 16 * 1024 * 1024  # a response is parsed whole, so is a page


@dataclass(frozen=True)
class Answer:
    """One page: its bytes, what they say, and where they came from."""

    body: bytes
    document: Any
    headers: Mapping[str, str]
    url: str

    def page(self) -> Page:
        """As `pages()` yields it."""
        return Page(io.BytesIO(self.body), "response")


def by_link(
    client: Client, url: str, params: Mapping | None = None, headers: Mapping[str, str] | None = None
) -> Iterator[Answer]:
    """Pages that name the next one in a Link header (RFC 8288), on the same host.

    Raises SourceError where one of them was there before.
    """
    known: set[str] = set()
    following: str | None = url
    while following:
        if following in known:
            raise SourceError("the `Link` header leads in a circle", url=following)
        known.add(following)
        response = client.get(following, params=params, headers=headers)
        yield _answer(response)
        following, params = response.next_url, None


def by_number(
    client: Client,
    url: str,
    items: Callable[[Any], Any],
    params: Mapping | None = None,
    headers: Mapping[str, str] | None = None,
    parameter: str = "page",
    first: int = 1,
) -> Iterator[Answer]:
    """Pages that are asked for by number, up to the first one in which `items(document)` is empty."""
    number = first
    while True:
        answer = _answer(client.get(url, params={**(params or {}), parameter: number}, headers=headers))
        if not items(answer.document):
            return
        yield answer
        number += 1


def by_cursor(
    client: Client,
    url: str,
    cursor: Callable[[Any], str | None],
    params: Mapping | None = None,
    headers: Mapping[str, str] | None = None,
    parameter: str = "cursor",
) -> Iterator[Answer]:
    """Pages that hold what to ask the next one by, `cursor(document)`; None or "" in the last one.

    Raises SourceError where a cursor comes again.
    """
    known: set[str] = set()
    params = dict(params or {})
    while True:
        answer = _answer(client.get(url, params=params, headers=headers))
        yield answer
        following = cursor(answer.document)
        if not following:
            return
        if following in known:
            raise SourceError("the cursor of the next page was that of an earlier one", url=answer.url)
        known.add(following)
        params[parameter] = following


def _answer(response: Response) -> Answer:
    body = response.read(PAGE_BYTES)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SourceError(
            f"the answer is not JSON: {error}", quote=f"it begins {body[:200]!r}", url=response.url
        ) from None
    return Answer(body, document, response.headers, response.url)
