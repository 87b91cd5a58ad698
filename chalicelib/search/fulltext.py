"""Rows in which words are, by Postgres' full text search, and its index.

The index is on an expression of the curated table, so Postgres itself keeps it true to the rows, whoever
writes them. Formats: https://www.postgresql.org/docs/current/textsearch-controls.html
"""

from __future__ import annotations

import functools
import hashlib
import re

from psycopg2 import sql

from chalicelib.embeddings import expressions
from chalicelib.search.hit import EVERY_ROW, Filter, Hit
from chalicelib.sources.base import Source
from chalicelib.warehouse import tables
from chalicelib.warehouse.deadline import Deadline, clearing
from chalicelib.warehouse.queries import statement

# What is read of a row's text. Postgres refuses a document of more than 1 MB of words, and refusing would fail the
# run that publishes the row; 65,000 characters of four bytes, each word in the document twice, stay below.
MAX_CHARACTERS = 65_000

_OF_TABLE = sql.SQL("t.")

# in bytes; Postgres keeps no longer word: https://www.postgresql.org/docs/current/textsearch-limitations.html
_LONGEST_WORD = 2046

# `-word` and `-"some words"` in a query: what must not be there
_EXCLUDED = re.compile(r'(?:^|(?<=\s))-(?:"[^"]*"?|\S+)')


def is_indexed(cursor, source: Source) -> bool:
    """Whether the source's text has its index, of its columns and language, and no other."""
    return _indexes(cursor, source) == {_index_name(source): True}


def is_broken(cursor, source: Source) -> bool:
    """Whether something is left of an index that broke off: no search goes by it, and all who write keep it."""
    return not all(_indexes(cursor, source).values())


def has_more_rows(cursor, source: Source, rows: int) -> bool:
    cursor.execute(statement("search", "has_more_rows", curated=tables.curated(source)), {"rows": rows})
    return cursor.fetchone()[0]


def ensure_index(cursor, source: Source) -> None:
    """Make the GIN index of the source's text where there is none of its columns and language.

    Writers of the table wait while it is made.
    """
    name = _index_name(source)
    if is_indexed(cursor, source):
        return
    # IF NOT EXISTS looks before it waits: of two runs that end at once the second would fail
    cursor.execute(statement("search", "take_turns"), {"table": source.table})
    found = _indexes(cursor, source)
    for other in found:
        if other != name or not found[other]:
            cursor.execute(statement("search", "drop_document_index", index=sql.Identifier(tables.CURATED, other)))
    if not found.get(name):
        _create(cursor, "create_document_index", source)


def index_aside(cursor, deadline: Deadline, *, source: Source) -> None:
    """As `ensure_index`, while others write: by a cursor outside of transactions.

    Raises psycopg2's errors, and leaves nothing.
    """
    drop_broken(cursor, deadline, source=source)
    name = _index_name(source)
    with clearing(functools.partial(drop_broken, cursor, source=source)):
        deadline.limit(cursor)
        if name not in _indexes(cursor, source):
            _create(cursor, "create_document_index_aside", source)
    _drop_aside(cursor, deadline, set(_indexes(cursor, source)) - {name})


def drop_broken(cursor, deadline: Deadline, *, source: Source) -> None:
    """Outside of transactions; waits for who writes."""
    _drop_aside(cursor, deadline, {name for name, is_whole in _indexes(cursor, source).items() if not is_whole})


def _drop_aside(cursor, deadline: Deadline, names: set[str]) -> None:
    for name in names:
        deadline.limit(cursor)
        cursor.execute(statement("search", "drop_document_index_aside", index=sql.Identifier(tables.CURATED, name)))


def _create(cursor, how: str, source: Source) -> None:
    identifiers = {"index": sql.Identifier(_index_name(source)), "curated": tables.curated(source)}
    cursor.execute(statement("search", how, **identifiers, document=document(source, sql.SQL(""))))


def _indexes(cursor, source: Source) -> dict[str, bool]:
    cursor.execute(statement("search", "document_indexes"), {"qualified": f'{tables.CURATED}."{source.table}"'})
    return dict(cursor.fetchall())


def matching(connection, source: Source, words: str, limit: int, kept: Filter = EVERY_ROW) -> list[Hit]:
    """The `limit` best rows for `words`, as web search engines take them: all words, "a phrase", or, -without.

    `score` is between 0 and 1: how often and how near to each other the words are, in relation to the length of
    the text.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            statement(
                "search",
                "matching_words",
                key=expressions.key(source),
                document=document(source),
                curated=tables.curated(source),
                filter=kept.text,
            ),
            {"language": source.language, "words": words, "limit": limit, **kept.values},
        )
        return [Hit(source.name, key, score) for key, score in cursor]


def has_words(connection, source: Source, words: str) -> bool:
    """Whether a row must hold any of `words`: languages leave out such as `the`, and `-oven` alone asks for nothing."""
    with connection.cursor() as cursor:
        cursor.execute(statement("search", "has_words"), {"language": source.language, "words": words})
        return cursor.fetchone()[0]


def asked_for(connection, source: Source, query: str, words: list[str]) -> set[str]:
    """Which of `words` are forms of those that `query` asks for, in the source's language."""
    # of a text without white space one "word" may be all of it: a document that Postgres refuses
    words = [word for word in words if len(word.encode()) <= _LONGEST_WORD]
    with connection.cursor() as cursor:
        cursor.execute(
            statement("search", "asked_words"),
            {"language": source.language, "query": _EXCLUDED.sub(" ", query), "words": words},
        )
        return {word for (word,) in cursor}


def document(source: Source, table: sql.Composable = _OF_TABLE) -> sql.Composable:
    """The source's text as a tsvector, as the index has it: a search for anything else does not go by the index."""
    # concat_ws, of which the embedded text is made, may not be in an index: it is not immutable
    columns = sql.SQL(" || E'\\n' || ").join(
        sql.SQL("coalesce({}{}, '')").format(table, sql.Identifier(name)) for name in source.text
    )
    return sql.SQL("to_tsvector({}::regconfig, left({}, {}))").format(
        sql.Literal(source.language), columns, sql.Literal(MAX_CHARACTERS)
    )


def _index_name(source: Source) -> str:
    """Within Postgres' 63 bytes, and different for every table, language and list of columns."""
    digest = hashlib.sha256("\0".join((source.table, source.language, *source.text)).encode()).hexdigest()[:12]
    return f"{source.table[:40]}_{digest}_words"
