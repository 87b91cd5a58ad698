"""Secrets out of messages: errors are logged, mailed and kept in the ledger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

MASK = "***"

# Names of query parameters and headers whose value is withheld. Better one harmless value too many
# (`design=` holds "sig") than a key in somebody's inbox.
_SECRET_NAME = re.compile(r"key|token|secret|passw|pwd|auth|sig|cred|appid|session|cookie", re.IGNORECASE)
_USER = re.compile(r"(?<=//)[^/?#]*@")
_PARAMETER = re.compile(r"(?<=[?&])([^=&#]+)=([^&#]+)")
# shorter values would mask ordinary words and numbers wherever they occur
_SECRET_LENGTH = 6


def url(text: str) -> str:
    """A URL, or what was meant as one, without its password and the values of secret query parameters."""
    return _PARAMETER.sub(_masked, _USER.sub(f"{MASK}@", text))


def strings(value: Any) -> Any:
    """A JSON value, every string of which is treated as `url` does: no other string holds anything to mask."""
    if isinstance(value, dict):
        return {name: strings(part) for name, part in value.items()}
    if isinstance(value, list):
        return [strings(part) for part in value]
    return url(value) if isinstance(value, str) else value


def secrets(request_url: str, headers: Mapping[str, str]) -> frozenset[str]:
    """The values, sent with a request, that no message may repeat."""
    values = {value for name, value in headers.items() if _SECRET_NAME.search(name)}
    for name, value in _PARAMETER.findall(request_url):
        if _SECRET_NAME.search(unquote_plus(name)):
            values |= {value, unquote_plus(value)}
    values |= {word for value in values for word in value.split()}  # the token of "Bearer <token>"
    return frozenset(value for value in values if len(value) >= _SECRET_LENGTH)


def text(message: str, withheld: frozenset[str]) -> str:
    """`message` with every one of `withheld` masked, such as where a server repeats what it was sent."""
    for value in sorted(withheld, key=len, reverse=True):
        message = message.replace(value, MASK)
    return message


def _masked(parameter: re.Match) -> str:
    return f"{parameter[1]}={MASK}" if _SECRET_NAME.search(unquote_plus(parameter[1])) else parameter[0]
