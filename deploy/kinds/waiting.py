"""Trying again what AWS documents to pass: what is just being made, changed or deleted elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import TypeVar

from botocore.exceptions import ClientError

from chalicelib import boto_errors

_T = TypeVar("_T")

_PAUSE = 2.0
_CALLER = "is not authorized to perform"  # how AWS speaks of the caller, not of a role that it was given
LONGEST = 90.0  # a queue's name is free again 60 s after it was deleted, a role known everywhere within seconds


def retried(call: Callable[[], _T], codes: Collection[str], saying: str = "", longest: float = LONGEST) -> _T:
    """`call()`, again while it fails with one of `codes` whose message contains `saying`.

    That whoever deploys lacks a permission does not pass, and is not waited for.
    """
    end = time.monotonic() + longest
    while True:
        try:
            return call()
        except ClientError as error:
            message = str(error).lower()
            passing = boto_errors.code(error) in codes and saying.lower() in message and _CALLER not in message
            if not passing or time.monotonic() + _PAUSE > end:
                raise
        time.sleep(_PAUSE)
