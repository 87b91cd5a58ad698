"""Transactions of the API's routes that change rows: they end before API Gateway's 29 s, or nothing was changed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import psycopg2
from psycopg2.errors import QueryCanceled

from chalicelib.errors import RequestRefused, WarehouseUnavailable
from chalicelib.warehouse import connection
from chalicelib.warehouse.queries import statement

SECONDS = 15  # of all statements together; API Gateway waits 29 for the whole request
_OF_ONE = 0.8  # of that: a statement that is broken off leaves the session, a transaction that is ends it


@contextlib.contextmanager
def transaction() -> Iterator[psycopg2.extensions.connection]:
    """A transaction of the pipeline's own login, see `connection.transaction`.

    Raises RequestRefused, of which the API makes a 503, where it takes longer than SECONDS, also where it waits for
    somebody else's; what it did is undone.
    """
    begun = time.monotonic()
    try:
        with connection.transaction() as opened:
            with opened.cursor() as cursor:
                limits = {"statement": _milliseconds(SECONDS * _OF_ONE), "transaction": _milliseconds(SECONDS)}
                cursor.execute(statement("writer", "bound"), limits)
            yield opened
    except (QueryCanceled, WarehouseUnavailable) as error:
        # a session that was ended says no more than that
        if isinstance(error, WarehouseUnavailable) and time.monotonic() - begun < SECONDS:
            raise
        told = f"it took more than {SECONDS} s, and nothing was changed; mean fewer rows: a run's, or since a day"
        raise RequestRefused(told, status=503, reason="too slow") from None


def _milliseconds(seconds: float) -> str:
    return f"{int(seconds * 1000)}ms"
