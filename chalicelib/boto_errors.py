"""Which of boto's errors may pass by itself: one answer for all services."""

from __future__ import annotations

from collections.abc import Collection

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
)

# the network, before an answer and in the middle of one; the service that hands out credentials
_OUT_OF_REACH = (ConnectionError, HTTPClientError, IncompleteReadError, CredentialRetrievalError)


def may_pass(error: ClientError | BotoCoreError, codes: Collection[str]) -> bool:
    """Whether trying again may help. `codes` are those with which the service says so, besides 429 and 5xx.

    All other BotoCoreErrors come from this side before anything is sent: no credentials, no region,
    a name that cannot be one.
    """
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return code(error) in codes or status == 429 or status >= 500
    return isinstance(error, _OUT_OF_REACH)


def code(error: ClientError) -> str:
    """What the service calls it, e.g. `SlowDown`."""
    return error.response["Error"].get("Code", "")
