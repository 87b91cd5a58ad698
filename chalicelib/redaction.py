"""Secrets out of messages: errors are logged, mailed and kept in the ledger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_plus, urlsplit, urlunsplit

MASK = "***"

# Names of query parameters and headers whose value is withheld. Better one harmless value too many
# (`design=` holds "sig") than a key in somebody's inbox.
_SECRET_NAME = re.compile(r"key|token|secret|passw|pwd|auth|sig|cred|appid|session|cookie", re.IGNORECASE)
# shorter values would mask ordinary words and numbers wherever they occur
_SECRET_LENGTH = 6


def url(text: str) -> str:
    """A URL without its password and without the values of secret query parameters."""
    parts = urlsplit(text)
    netloc = f"{MASK}@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    query = "&".join(_parameter(pair) for pair in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))


def secrets(request_url: str, headers: Mapping[str, str]) -> frozenset[str]:
    """The values, sent with a request, that no message may repeat."""
    pairs = [*parse_qsl(urlsplit(request_url).query), *headers.items()]
    values = {value for name, value in pairs if _SECRET_NAME.search(name)}
    values |= {word for value in values for word in value.split()}  # the token of "Bearer <token>"
    return frozenset(value for value in values if len(value) >= _SECRET_LENGTH)


def text(message: str, withheld: frozenset[str]) -> str:
    """`message` with every one of `withheld` masked, such as where a server repeats what it was sent."""
    for value in sorted(withheld, key=len, reverse=True):
        message = message.replace(value, MASK)
    return message


def _parameter(pair: str) -> str:
    name, equals, value = pair.partition("=")
    return f"{name}={MASK}" if equals and value and _SECRET_NAME.search(unquote_plus(name)) else pair
