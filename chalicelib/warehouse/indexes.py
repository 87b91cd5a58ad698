"""Indexes of a curated table besides its key's: those its source declares, and those that its anomalies need.

A table that was just made gets them at once (`ensure`). One that has rows gets them aside (`make_aside`, which
`upkeep` calls), by CREATE INDEX CONCURRENTLY, so that nobody waits who writes to it:
https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator

from psycopg2 import sql

from chalicelib.sources.base import Source
from chalicelib.warehouse import tables
from chalicelib.warehouse.deadline import Deadline, clearing
from chalicelib.warehouse.queries import statement


def ensure(cursor, source: Source) -> None:
    """Make the indexes that there are not, in the caller's transaction: of a table that was just made."""
    for columns in missing(cursor, source):
        _create(cursor, "create", source, _free_name(cursor, source, columns), columns)


def missing(cursor, source: Source) -> list[tuple[str, ...]]:
    """The columns of each index that there is not.

    One that begins with these columns, such as the key's, will do. A column that the table does not have yet is left
    out.
    """
    cursor.execute(statement("indexes", "columns"), _of_table(source))
    known = {name for (name,) in cursor.fetchall()}
    return [
        columns
        for columns in dict.fromkeys(source.sorted_by)
        if known.issuperset(columns) and columns != source.key and not _is_there(cursor, source, columns)
    ]


def make_aside(cursor, source: Source, columns: tuple[str, ...], deadline: Deadline) -> None:
    """Make one of `missing` while others write, by a connection outside of transactions.

    What is left of it where that fails is dropped, or else to be dropped by `drop_broken`. Raises psycopg2's errors.
    """
    deadline.limit(cursor)
    name = _free_name(cursor, source, columns)

    def drop(deadline: Deadline) -> None:
        deadline.limit(cursor)
        cursor.execute(statement("indexes", "drop_aside", index=sql.Identifier(tables.CURATED, name)))

    with clearing(drop):
        deadline.limit(cursor)
        _create(cursor, "create_aside", source, name, columns)


def is_broken(cursor, source: Source, columns: tuple[str, ...]) -> bool:
    """Whether something is left of an index that could not be made: it helps no reader, and all who write keep it."""
    return any(_state(cursor, source, name) == (True, False) for name in _names(cursor, source, columns))


def drop_broken(cursor, source: Source, columns: tuple[str, ...], deadline: Deadline) -> None:
    """Outside of transactions; waits for who writes."""
    deadline.limit(cursor)
    _free_name(cursor, source, columns)


def _is_there(cursor, source: Source, columns: tuple[str, ...]) -> bool:
    wanted = {**_of_table(source), "columns": list(columns), "count": len(columns)}
    cursor.execute(statement("indexes", "find"), wanted)
    return cursor.fetchone()[0]


def _create(cursor, how: str, source: Source, name: str, columns: tuple[str, ...]) -> None:
    identifiers = {
        "index": sql.Identifier(name),
        "curated": tables.curated(source),
        "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
    }
    cursor.execute(statement("indexes", how, **identifiers))


def _free_name(cursor, source: Source, columns: tuple[str, ...]) -> str:
    """A name that nothing in the schema has; a broken index of this table that has it is dropped."""
    *_, name = _names(cursor, source, columns)
    if _state(cursor, source, name) is not None:
        cursor.execute(statement("indexes", "drop_aside", index=sql.Identifier(tables.CURATED, name)))
    return name


def _names(cursor, source: Source, columns: tuple[str, ...]) -> Iterator[str]:
    """Names that are another's, then the first that is free or of a broken index of this table.

    A table that was renamed keeps its indexes, and their names.
    """
    for attempt in itertools.count():
        name = _name(source.table, columns, attempt)
        yield name
        if _state(cursor, source, name) in (None, (True, False)):
            return


def _state(cursor, source: Source, index: str) -> tuple[bool, bool] | None:
    """(whether it is an index of the source's table, whether it is whole); None where nothing has the name."""
    cursor.execute(statement("indexes", "named"), {**_of_table(source), "index": f'{tables.CURATED}."{index}"'})
    return cursor.fetchone()


def _name(table: str, columns: tuple[str, ...], attempt: int = 0) -> str:
    """Within Postgres' 63 bytes, and different for every table and list of columns; names are ASCII."""
    digest = hashlib.sha256("\0".join((table, *columns, str(attempt))).encode()).hexdigest()[:12]
    return f"{table}_by_{'_'.join(columns)}"[:50] + f"_{digest}"


def _of_table(source: Source) -> dict[str, str]:
    return {"table": f'{tables.CURATED}."{source.table}"'}
