"""One connection per warm process, and what its failures mean to a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import psycopg2

from chalicelib import secrets
from chalicelib.errors import ConfigurationError, SluiceError, WarehouseUnavailable

# Set by statement, not as connection options, which RDS Proxy refuses. A wait for a lock ends before
# the shortest Lambda that waits for one (60 s); a statement before the longest (15 min); and what a
# killed Lambda left running ends within seconds of its death.
_SESSION = """
SET timezone = 'UTC';
SET lock_timeout = '45s';
SET statement_timeout = '14min';
SET client_connection_check_interval = '5s';
"""

# what may pass by itself: classes 08 (connection), 40 (rollback: deadlock, serialization),
# 53 (out of disk, memory, connections), 57P (shutdown, crash), 58 (system error), and
# 55P03 (lock timeout), 25006 (read-only: a failover in progress); a statement that took 14 minutes
# (57014) would take them again
_TRANSIENT = ("08", "40", "53", "57P", "58", "55P03", "25006")

# where the address comes from, which an error names
OWN_LOGIN = "SLUICE_DATABASE_URL, or the secret SLUICE_DATABASE_SECRET_ARN"

_warm: dict[str, psycopg2.extensions.connection] = {}


def connect(database_url: str, login: str = OWN_LOGIN):
    """A new connection with the pipeline's timeouts; raises WarehouseUnavailable.

    ConfigurationError for an address that is none or a login that is refused: it names `login`, where it was set.
    """
    try:
        connection = psycopg2.connect(database_url, application_name="sluice", connect_timeout=10, keepalives_idle=30)
        with connection, connection.cursor() as cursor:
            cursor.execute(_SESSION)
        return connection
    except psycopg2.ProgrammingError:  # it quotes the address, with its password
        raise ConfigurationError(
            "the database's address is none that Postgres' clients read",
            next_step=f"check {login}: postgresql://user:password@host:5432/database",
        ) from None
    # a session that is cut off while it is set up cannot even be rolled back, which is an InterfaceError
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        text = str(error).strip()
        if "password authentication failed" in text or "does not exist" in text:
            raise ConfigurationError(
                f"Postgres refused the connection: {text}",
                next_step=f"check {login}",
            ) from error
        raise WarehouseUnavailable(f"Postgres is out of reach: {text}") from error


@contextlib.contextmanager
def transaction(
    database_url: str | Callable[[], str] | None = None,
    login: str = OWN_LOGIN,
) -> Iterator[psycopg2.extensions.connection]:
    """A transaction on the process's warm connection: committed at the end, rolled back on any error.

    psycopg2's errors come out as WarehouseUnavailable where trying again may help. A function that looks
    up the `database_url` is asked again where its password is refused. Without one it is the pipeline's
    own, from the settings or the secret that they name. `login` says where it was set, see `connect`.
    """
    database_url, connection = _open(secrets.database_url if database_url is None else database_url, login)
    try:
        yield connection
        connection.commit()
    except psycopg2.Error as error:
        _discard(database_url, connection)
        if is_transient(error):
            # only the first line: what follows names rows ("CONTEXT:  COPY orders, line 3: …")
            said = error.diag.message_primary or str(error).strip()
            raise WarehouseUnavailable(f"Postgres broke off: {said}", code=error.pgcode) from error
        raise
    except SluiceError:
        _roll_back(database_url, connection)  # a refusal of ours: nothing is wrong with the connection
        raise
    except BaseException:
        # whatever state it is in, the next invocation starts with a connection of its own
        _discard(database_url, connection)
        raise


def is_transient(error: psycopg2.Error) -> bool:
    if isinstance(error, psycopg2.InterfaceError) or (
        isinstance(error, psycopg2.OperationalError) and not error.pgcode
    ):
        return True
    return (error.pgcode or "").startswith(_TRANSIENT)


def _open(database_url: str | Callable[[], str], login: str) -> tuple[str, psycopg2.extensions.connection]:
    """A refused password is looked up anew, since it may have been rotated."""
    if isinstance(database_url, str):
        return database_url, _usable(database_url, login)
    known = database_url()
    try:
        return known, _usable(known, login)
    except ConfigurationError:
        secrets.forget()
        renewed = database_url()
        if renewed == known:
            raise
        return renewed, _usable(renewed, login)


def _usable(database_url: str, login: str):
    connection = _warm.get(database_url)
    if connection is not None and not connection.closed:
        try:
            with connection.cursor() as cursor:  # 0.1 ms; finds a server that restarted meanwhile
                cursor.execute("SELECT 1")
            return connection
        except psycopg2.Error:
            _discard(database_url, connection)
    connection = _warm[database_url] = connect(database_url, login)
    return connection


def _roll_back(database_url: str, connection) -> None:
    try:
        connection.rollback()
    except psycopg2.Error:  # it broke, and that is what the error tells of
        _discard(database_url, connection)


def _discard(database_url: str, connection) -> None:
    _warm.pop(database_url, None)
    with contextlib.suppress(psycopg2.Error):
        connection.close()
