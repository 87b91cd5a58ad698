"""Sources with text, models that need no weights, and tables of them, for the tests of search."""

import types

import numpy as np
import psycopg2
from psycopg2 import sql

from chalicelib.columns import Column
from chalicelib.embeddings import index, store
from chalicelib.embeddings.provider import Provider
from chalicelib.errors import EmbeddingsUnavailable, UnknownSource
from chalicelib.reading import tables as reading_tables
from chalicelib.search import finding, fulltext
from chalicelib.sources.base import Source
from chalicelib.warehouse import tables


class Notes(Source):
    name = "notes"
    table = "search_notes"
    key = ("owner", "id")
    columns = (
        Column("owner", "text", personal=True),
        Column("id", "integer"),
        Column("title", "text"),
        Column("body", "text"),
        Column("secret", "text", personal=True),
    )
    text = ("title", "body")
    language = "english"


class Memos(Source):
    name = "memos"
    table = "search_memos"
    key = ("id",)
    columns = (Column("id", "integer"), Column("body", "text"))
    text = ("body",)


class Counts(Source):
    name = "counts"
    key = ("id",)
    columns = (Column("id", "integer"),)


class Letters(Provider):
    """Vectors of letters counted: texts of the same letters mean the same."""

    model, dimensions = "letters/26", 26

    def embed(self, texts):
        counts = [[1 + text.lower().count(chr(97 + i)) for i in range(26)] for text in texts]
        return (np.array(counts) / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


class Silent(Letters):
    def embed(self, texts):
        raise EmbeddingsUnavailable("Bedrock is out of reach: secret-of-the-log")


def declare(monkeypatch):
    """The only sources that there are from now on, by name; in place of a source an error may be put."""
    known = {source.name: source for source in (Notes(), Memos(), Counts())}

    def get(name):
        if name not in known:
            raise UnknownSource(f"no source is called {name!r}")
        if isinstance(known[name], Exception):
            raise known[name]
        return known[name]

    stand_in = types.SimpleNamespace(names=lambda: tuple(sorted(known)), get=get)
    for module in (finding, reading_tables):
        monkeypatch.setattr(module, "sources", stand_in)
    return known


def connect(database_url):
    """A connection to tables that are empty, without vectors and indexes."""
    connection = psycopg2.connect(database_url)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS curated.search_notes, curated.search_memos; TRUNCATE pipeline.embeddings")
        cursor.execute("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'embeddings_search%'")
        for (name,) in cursor.fetchall():
            cursor.execute(sql.SQL("DROP INDEX pipeline.{}").format(sql.Identifier(name)))
        for source in (Notes(), Memos()):
            tables.ensure_curated(cursor, source)
    connection.commit()
    return connection


def put(connection, *notes, owner="ada"):
    """Notes (id, title, body)."""
    with connection.cursor() as cursor:
        for number, title, body in notes:
            cursor.execute(
                "INSERT INTO curated.search_notes VALUES (%s, %s, %s, %s, 'hush', 'r', '0:1', 0, now())"
                " ON CONFLICT (owner, id) DO UPDATE SET title = excluded.title, body = excluded.body",
                (owner, number, title, body),
            )
    connection.commit()


def put_memos(connection, *memos):
    with connection.cursor() as cursor:
        for memo in memos:
            cursor.execute("INSERT INTO curated.search_memos VALUES (%s, %s, 'r', '0:1', 0, now())", memo)
    connection.commit()


def embed(connection, source, provider=None):
    provider = provider or Letters()
    store.embed_pending(connection, source, provider, "run-1", 0, 1)
    with connection.cursor() as cursor:
        index.ensure(connection, source, provider.model, provider.dimensions)
        fulltext.ensure_index(cursor, source)
    connection.commit()
