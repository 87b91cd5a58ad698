"""Rows whose text is nearest in meaning to a vector, by the HNSW index of their passages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg2 import sql

from chalicelib.embeddings import expressions, index
from chalicelib.embeddings.passages import Passage
from chalicelib.search.hit import EVERY_ROW, Filter, Hit
from chalicelib.sources.base import Source
from chalicelib.warehouse import reader, tables
from chalicelib.warehouse.queries import statement

if TYPE_CHECKING:
    import numpy as np

# candidates that a search keeps in view (pgvector's default 40, maximum 1,000); of the 10 nearest
# among 100,000 vectors in 2,000 clusters, 40 find 91 to 96%, 100 find 99% or more
_EF_SEARCH = 100
_EF_SEARCH_MAX = 1000
# passages that are looked at beyond the rows that are wanted: of one row, several may follow each other
_MORE_PASSAGES = 25
_MOST_PASSAGES = 20_000  # an index is read no further: it is pgvector's hnsw.max_scan_tuples
# of the processor's time: a passage that the index gives takes so many times what one takes that is read by its key
_COST_BY_INDEX = 3


def nearest(
    connection, source: Source, model: str, vector: np.ndarray, limit: int, kept: Filter = EVERY_ROW
) -> list[Hit]:
    """The `limit` rows nearest in meaning to `vector` (dimensions,), best first, each with its nearest passage.

    `score` is the cosine similarity: 1 for the same meaning, about 0 for none shared. Compares only
    vectors of `model`; by the HNSW index where there is one, else exactly. However few rows are
    `kept`, those are found.
    """
    from pgvector import Vector

    values = {"model": model, "table": source.table, "vector": Vector(vector).to_text(), **kept.values}
    wanted = limit + _MORE_PASSAGES
    with reader.attempt(connection), connection.cursor() as cursor:  # the settings of its plans end with it
        share = 1.0
        if kept is not EVERY_ROW:
            rows = max(1.0, _estimate(cursor, source, kept))
            share = min(1.0, rows / _estimate(cursor, source, EVERY_ROW))
            if rows <= _COST_BY_INDEX * wanted / share:
                return _of_few(cursor, source, values, len(vector), wanted, kept)[:limit]
        found = _by_index(cursor, source, values, len(vector), limit, share, kept)
        if len(found) < limit:  # the index was read as far as it goes: few rows there are, or many are not kept
            found = _of_few(cursor, source, values, len(vector), wanted, kept)[:limit]
        return found


def _by_index(
    cursor, source: Source, values: dict, dimensions: int, limit: int, share: float, kept: Filter
) -> list[Hit]:
    query = statement(
        "search",
        "nearest_passages",
        dimensions=sql.Literal(dimensions),
        curated=tables.curated(source),
        same_key=expressions.same_key(source, sql.SQL("e.key::jsonb")),
        filter=kept.text,
        indexed=index.indexed(source, dimensions, sql.SQL("e.embedding")),
        asked=index.indexed(source, dimensions, sql.Placeholder("vector")),
    )
    passages = limit + _MORE_PASSAGES
    while True:
        # what is in view holds as many as are wanted of those that the filter keeps: where the scan goes on beyond
        # its view, it finds 93 to 96% of the ten nearest instead of 99% or more
        ef_search = min(max(_EF_SEARCH, int(passages / share)), _EF_SEARCH_MAX)
        cursor.execute(statement("search", "prepare_by_index"), {"ef_search": str(ef_search)})
        cursor.execute(query, {**values, "limit": passages})
        found = cursor.fetchall()
        hits = _best_of_each(source, found)[:limit]
        if len(hits) == limit or len(found) < passages or passages >= _MOST_PASSAGES:
            return hits
        passages = min(4 * passages, _MOST_PASSAGES)  # one row has so many passages that others had no place


def _of_few(cursor, source: Source, values: dict, dimensions: int, wanted: int, kept: Filter) -> list[Hit]:
    cursor.execute(statement("search", "prepare_exact"))
    query = statement(
        "search",
        "nearest_of_few",
        dimensions=sql.Literal(dimensions),
        curated=tables.curated(source),
        key=expressions.key(source),
        filter=kept.text,
    )
    passages = wanted
    while True:
        cursor.execute(query, {**values, "limit": passages})
        found = cursor.fetchall()
        hits = _best_of_each(source, found)
        if len(hits) >= wanted or len(found) < passages:
            return hits
        passages *= 4


def _best_of_each(source: Source, passages: list[tuple]) -> list[Hit]:
    """A hit per row: its nearest passage. An index of half precision orders by what is nearly the distance."""
    hits: dict[str, Hit] = {}
    for key, start, length, distance in sorted(passages, key=lambda passage: passage[3]):
        # of before texts were divided: nobody knows how far the model read
        passage = None if length is None else Passage(start, length)
        hits.setdefault(key, Hit(source.name, key, 1 - distance, passage))
    return list(hits.values())


def _estimate(cursor, source: Source, kept: Filter) -> float:
    cursor.execute(statement("search", "estimate", curated=tables.curated(source), filter=kept.text), kept.values)
    return cursor.fetchone()[0][0]["Plan"]["Plan Rows"]
