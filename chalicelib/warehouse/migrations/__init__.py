"""Numbered schema changes: `NNNN_name.sql`, applied in order, all pending ones in one transaction."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from psycopg2 import errors

from chalicelib.errors import ConfigurationError
from chalicelib.warehouse import connection

FOLDER = Path(__file__).parent
# MERGE … RETURNING merge_action(), which counts what publishing did, came with PostgreSQL 17
OLDEST_SERVER = 170000

# a line `-- replaces: <name>`: where both are pending, that one is entered as applied and not run, so that nobody waits
# for work that the later one makes needless. A file that was released is never edited
_REPLACES = re.compile(r"^-- replaces: (\w+)$", re.MULTILINE)

_LOCK = 0x51_01_CE  # any number, as long as all migrations use the same


def apply(database_url: str | None = None) -> list[str]:
    """Bring the schema up to date; returns the names applied now. Safe to call at the same time twice.

    Without a `database_url` it is the pipeline's own database. Where nothing is pending it only looks.
    """
    with connection.transaction(database_url) as open_connection, open_connection.cursor() as cursor:
        if open_connection.server_version < OLDEST_SERVER:
            raise ConfigurationError(
                f"Postgres is version {open_connection.server_version // 10000}", next_step="use PostgreSQL 17 or newer"
            )
        if not _pending(cursor):
            return []
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        with _rights_explained("the schema pipeline"):
            cursor.execute("CREATE SCHEMA IF NOT EXISTS pipeline")
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS pipeline.migrations"
            " (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())"
        )
        pending = _pending(cursor)  # another may have been here while we waited for the lock
        replaced = {name for path in pending for name in _REPLACES.findall(path.read_text())}
        for path in pending:
            if path.stem not in replaced:
                with _rights_explained(f"migration {path.stem}"):
                    cursor.execute(path.read_text())
            cursor.execute("INSERT INTO pipeline.migrations (name) VALUES (%s)", (path.stem,))
    return [path.stem for path in pending]


def pending(database_url: str | None = None) -> list[str]:
    """The names of those that `apply` would apply now."""
    with connection.transaction(database_url) as open_connection, open_connection.cursor() as cursor:
        return [path.stem for path in _pending(cursor)]


@contextlib.contextmanager
def _rights_explained(what: str) -> Iterator[None]:
    """Raise ConfigurationError where the login may not do it, or the server has no pgvector.

    pgvector is not a trusted extension: only an administrator may create it.
    """
    try:
        yield
    except (errors.InsufficientPrivilege, errors.FeatureNotSupported, errors.UndefinedFile) as error:
        raise ConfigurationError(
            f"Postgres refused {what}: {str(error).strip()}",
            next_step="let an administrator of the database run what is in infra/database.sql",
        ) from error


def _pending(cursor) -> list[Path]:
    """The files that have not been applied, in their order."""
    cursor.execute("SELECT to_regclass('pipeline.migrations') IS NOT NULL")
    done = set()
    if cursor.fetchone()[0]:
        cursor.execute("SELECT name FROM pipeline.migrations")
        done = {name for (name,) in cursor.fetchall()}
    return [path for path in sorted(FOLDER.glob("*.sql")) if path.stem not in done]
