"""People who do not exist, from RandomUser (https://randomuser.me/documentation).

What a source of personal data needs: columns marked `personal`, and of the login nothing kept but
its uuid. That is taken out before the raw layer is written, the one thing in it that is not as
the source said it: nobody should store passwords, invented or not.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.errors import SourceError
from chalicelib.settings import Settings
from chalicelib.sources.base import Page, Source

if TYPE_CHECKING:
    from chalicelib.http import Client

HOST = "randomuser.me"
PATH = "/api/"
SEED = "sluice"  # a seed's pages hold the same people each time
PAGES = 4
PAGE_PEOPLE = 50
PAGE_BYTES = 16 * 1024 * 1024  # a page of 50 takes 60 kB

_KEPT_OF_LOGIN = "uuid"


class People(Source):
    name = "people"
    key = ("uuid",)
    columns = (
        Column("uuid", "text", nullable=False),
        Column("gender", "text"),
        Column("title", "text"),
        Column("first_name", "text", personal=True),
        Column("last_name", "text", personal=True),
        Column("street_number", "integer", personal=True),
        Column("street_name", "text", personal=True),
        Column("city", "text"),
        Column("state", "text"),
        Column("country", "text"),
        Column("postcode", "text", personal=True),  # a number in some countries, a string in others
        Column("latitude", "double precision", personal=True),  # a string in the API
        Column("longitude", "double precision", personal=True),
        Column("utc_offset", "text"),
        Column("email", "text", personal=True),
        Column("born", "timestamptz", personal=True),
        Column("registered", "timestamptz"),
        Column("phone", "text", personal=True),
        Column("cell", "text", personal=True),
        Column("id_name", "text"),  # of an identity document, such as SSN; empty in countries without
        Column("id_value", "text", personal=True),
        Column("picture", "text", personal=True),
        Column("nationality", "text"),
    )
    repeatable = True
    hosts = (HOST,)
    requests_per_second: ClassVar = {HOST: 1}

    def partitions(self, window: Window, given: str | None, settings: Settings) -> list[dict]:
        """One per page; `given` is another seed, which gives other people."""
        return [{"seed": given or SEED, "page": page, "results": PAGE_PEOPLE} for page in range(1, PAGES + 1)]

    def pages(self, request: dict, client: Client, settings: Settings) -> Iterator[Page]:
        answer = client.get(client.url_of(HOST, PATH), params=request)
        try:
            document = orjson.loads(answer.read(PAGE_BYTES))
        except orjson.JSONDecodeError as error:
            raise SourceError(f"the answer is not JSON: {error}", source=self.name, url=answer.url) from None
        yield Page(io.BytesIO(orjson.dumps(_without_logins(document))), "response")

    def records(self, document: Any, request: dict) -> Iterable[dict]:
        """A flat record per person; what is no object is left to be rejected.

        Raises SourceError where the document is not the page that was asked for.
        """
        where = {"source": self.name, "page": request["page"]}
        if not isinstance(document, dict) or not isinstance(document.get("results"), list):
            raise SourceError("the answer has no array `results`", **where)
        info = document.get("info")
        if not isinstance(info, dict) or any(info.get(name) != value for name, value in request.items()):
            raise SourceError("`info` of the answer is not that of the page that was asked for", **where)
        return [_flat(person) if isinstance(person, dict) else person for person in document["results"]]


def _without_logins(document: Any) -> Any:
    """The document with nothing but the uuid of each `login`, which otherwise holds passwords and their hashes."""
    if isinstance(document, dict) and isinstance(document.get("results"), list):
        for person in document["results"]:
            if isinstance(person, dict) and "login" in person:
                person["login"] = {_KEPT_OF_LOGIN: _at(person, "login", _KEPT_OF_LOGIN)}
    return document


def _flat(person: dict) -> dict:
    """Nested fields under the names of our columns. Values are left as they are, for their columns to judge."""
    return {
        "uuid": _at(person, "login", _KEPT_OF_LOGIN),
        "gender": person.get("gender"),
        "title": _at(person, "name", "title"),
        "first_name": _at(person, "name", "first"),
        "last_name": _at(person, "name", "last"),
        "street_number": _at(person, "location", "street", "number"),
        "street_name": _at(person, "location", "street", "name"),
        "city": _at(person, "location", "city"),
        "state": _at(person, "location", "state"),
        "country": _at(person, "location", "country"),
        "postcode": _at(person, "location", "postcode"),
        "latitude": _at(person, "location", "coordinates", "latitude"),
        "longitude": _at(person, "location", "coordinates", "longitude"),
        "utc_offset": _at(person, "location", "timezone", "offset"),
        "email": person.get("email"),
        "born": _at(person, "dob", "date"),  # the age beside it would change every year
        "registered": _at(person, "registered", "date"),
        "phone": person.get("phone"),
        "cell": person.get("cell"),
        "id_name": _at(person, "id", "name") or None,
        "id_value": _at(person, "id", "value"),
        "picture": _at(person, "picture", "large"),
        "nationality": person.get("nat"),
    }


def _at(value: Any, *path: str) -> Any:
    """The value at a path of field names; None where one of them is missing."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
