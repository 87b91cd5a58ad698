"""Where the next page of a list begins: the parameter `page`, opaque to who sends it.

It holds the values that the rows are sorted by, of the last row of the page before: the next page begins behind
them, also where rows came or went meanwhile. It is bound to its query, whose parameters it is a hash over: that
of another query is refused. Whoever makes up one of his own gets no rows that the query would not give: its
values are parameters like any others, to be checked by who reads them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from chalicelib.errors import RequestRefused
from chalicelib.warehouse.texts import is_storable

# the parameters that may change from page to page
_FREE = frozenset({"page", "limit"})
# from which length on it is compressed: only keys are so long, and an index takes none that cannot be made shorter
_LONG = 1000
_MOST = 1_000_000  # bytes that a page may be of: somebody may make one up that never ends


def following(path: str, query: Mapping[str, Any], position: list) -> str:
    """Path and query of the page behind `position`, a list of JSON values.

    `query` are the parameters of this page by name, lists where there are several, as texts; None for those not given.
    """
    given = {name: value for name, value in query.items() if value is not None and name != "page"}
    return f"{path}?{urlencode({**given, 'page': _token(query, position)}, doseq=True)}"


def position(query: Mapping[str, Any], size: int) -> list | None:
    """The `size` values behind which the page begins, that `query["page"]` holds; None for the first page.

    Raises RequestRefused (422) for a page of another query, or none.
    """
    token = query.get("page")
    if token is None:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        digest, found = json.loads(_plain(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)))
        if not isinstance(found, list) or len(found) != size:
            raise ValueError
        if not all(is_storable(value) for value in found if isinstance(value, str)):
            raise ValueError
    except (ValueError, TypeError, binascii.Error, zlib.error, RecursionError):
        raise refused("is none that this API made") from None
    if digest != _digest(query, found):
        raise refused("is that of another query")
    return found


def refused(told: str) -> RequestRefused:
    fault = {"in": "query", "name": "page", "detail": told}
    return RequestRefused(f"page: {told}", status=422, reason="invalid", errors=[fault])


def _token(query: Mapping[str, Any], values: list) -> str:
    text = json.dumps([_digest(query, values), values], ensure_ascii=False, separators=(",", ":"))
    data = text.encode() if len(text) < _LONG else zlib.compress(text.encode())
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _plain(data: bytes) -> bytes:
    """JSON begins with a bracket, what is compressed with 0x78 (RFC 1950)."""
    return data if data[:1] == b"[" else zlib.decompressobj().decompress(data, _MOST)


def _digest(query: Mapping[str, Any], values: list) -> str:
    bound = sorted((n, v) for n, v in query.items() if v is not None and n not in _FREE)
    return hashlib.sha256(json.dumps([bound, values], default=str).encode()).hexdigest()[:16]
