"""Transactions of the API's reading routes: read-only, short, and of a role that may read and nothing else.

`sluice_reader` may select from what is published and from the ledger, not from the API's tokens: the schema's
migrations grant it that, infra/database.sql makes it where the pipeline's login may not. The strongest is a login of
its own, see `secrets.reader_database_url`. Without one it is the pipeline's own login, which takes on the role where
there is one; where there is none, the transaction is only read-only.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import psycopg2
from psycopg2.errors import QueryCanceled

from chalicelib import secrets
from chalicelib.errors import RequestRefused
from chalicelib.telemetry import logger
from chalicelib.warehouse import connection
from chalicelib.warehouse.queries import statement

ROLE = "sluice_reader"
# where the address of a login of its own comes from, which an error names
OWN_LOGIN = f"SLUICE_READER_DATABASE_URL, or the token {secrets.READER}, the login as which the API reads"
SECONDS = 5  # of one statement; API Gateway waits 29 for the whole request


@contextlib.contextmanager
def transaction(database_url: str | None = None) -> Iterator[psycopg2.extensions.connection]:
    """A read-only transaction on the process's warm connection, see `connection.transaction`.

    Raises RequestRefused, of which the API makes a 503, where a statement takes longer than SECONDS.
    """
    try:
        login = connection.OWN_LOGIN if database_url or not secrets.reader_database_url() else OWN_LOGIN
        with connection.transaction(database_url or _login, login) as opened:
            with opened.cursor() as cursor:
                cursor.execute(statement("reader", "restrict"), {"role": ROLE, "timeout": f"{int(SECONDS * 1000)}ms"})
                if cursor.fetchone()[2] is None:
                    _warn()
            yield opened
    except QueryCanceled:
        told = f"reading took more than {SECONDS} s; ask for less, or by an indexed column"
        raise RequestRefused(told, status=503, reason="too slow") from None


@contextlib.contextmanager
def attempt(connection) -> Iterator[None]:
    """A part of a transaction that only reads: its settings, and an error such as QueryCanceled, end with it."""
    with connection.cursor() as cursor:
        cursor.execute(statement("reader", "begin_attempt"))
        try:
            yield
        finally:
            cursor.execute(statement("reader", "end_attempt"))


@functools.cache  # once per process
def _warn() -> None:
    logger.warning(
        "the API reads with the rights of its own login: there is no role to take on, or it may not",
        role=ROLE,
        next_step=f"let an administrator of the database GRANT {ROLE} to the login, see infra/database.sql",
    )


def _login() -> str:
    return secrets.reader_database_url() or secrets.database_url()
