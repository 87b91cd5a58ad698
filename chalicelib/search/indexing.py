"""The indexes that searches go by, of words and of vectors: over a few rows made as a run ends, over many aside.

Who writes to the table, or embeds texts of any table, waits for an index that is made in a transaction. See
docs/decisions/0032-tables-are-kept-up-aside.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from psycopg2 import errors

from chalicelib.embeddings import index
from chalicelib.embeddings.provider import Provider
from chalicelib.search import fulltext
from chalicelib.sources.base import Source
from chalicelib.warehouse.deadline import Deadline
from chalicelib.warehouse.queries import statement

FEW = 10_000  # rows or vectors, for which others wait 3 s or 4 s

# For locks. An index that is made aside, for minutes, keeps others of its table from being made, and at its end waits
# for every transaction that is open: one that waits for it is a deadlock, which Postgres looks for after 1 s, and the
# index of minutes may be what it breaks off.
WAIT = "500ms"


@dataclass(frozen=True)
class Missing:
    """An index that there is not, `name` in words. `at_once` makes it by a connection, in its transaction; `aside` and
    `clear`, which drops what is left of one that broke off, do their work by a cursor outside of transactions.
    """

    name: str
    is_broken: bool
    has_few: Callable[[], bool]
    at_once: Callable[[object], None]
    aside: Callable[[object, Deadline], None]
    clear: Callable[[object, Deadline], None]


def missing(cursor, source: Source, model: Provider | None) -> list[Missing]:
    """What there is not of the indexes of the source's text; without a `model`, of its words alone."""
    found = []
    if source.text and not fulltext.is_indexed(cursor, source):
        found.append(
            Missing(
                "the index of words",
                fulltext.is_broken(cursor, source),
                lambda: not fulltext.has_more_rows(cursor, source, FEW),
                lambda connection: fulltext.ensure_index(connection.cursor(), source),
                functools.partial(fulltext.index_aside, source=source),
                functools.partial(fulltext.drop_broken, source=source),
            )
        )
    if source.text and model and not index.is_there(cursor, source, model.model):
        vectors = index.count(cursor, source, model.model)
        given = {"source": source, "model": model.model, "dimensions": model.dimensions}
        if vectors:
            found.append(
                Missing(
                    f"the index of vectors of {model.model}",
                    index.is_broken(cursor, source, model.model),
                    lambda: vectors <= FEW,
                    functools.partial(index.ensure, **given),
                    functools.partial(index.make_aside, **given),
                    functools.partial(index.drop_broken, source=source, model=model.model),
                )
            )
    return found


def ensure_over_few(connection, source: Source, model: Provider | None) -> None:
    """Make those over a few rows in the caller's transaction: the first searches go by them, and nobody waits long.

    Where somebody has the table locked they are left to be made aside.
    """
    with connection.cursor() as cursor:
        for each in missing(cursor, source, model):
            if each.has_few():
                _at_once(connection, cursor, each)


def _at_once(connection, cursor, each: Missing) -> None:
    cursor.execute("SHOW lock_timeout")
    [usual] = cursor.fetchone()
    cursor.execute("SAVEPOINT indexing")
    try:
        cursor.execute(statement("upkeep", "limit_wait"), {"wait": WAIT})
        each.at_once(connection)
    except (errors.LockNotAvailable, errors.DeadlockDetected):
        cursor.execute("ROLLBACK TO SAVEPOINT indexing")  # with it goes the limit
    else:
        cursor.execute(statement("upkeep", "limit_wait"), {"wait": usual})
    cursor.execute("RELEASE SAVEPOINT indexing")
