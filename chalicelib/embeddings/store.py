"""Vectors in `pipeline.embeddings`: which texts lack one, writing them, searching them.

A text is pending when its row has no vector of the model, or one of another text (`content_hash`).
Every function but `embed_pending` works in the transaction of the connection it is given and leaves
the commit to its caller. psycopg2's errors pass through; `warehouse.connection` says what they mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg2 import sql

from chalicelib import limits
from chalicelib.embeddings import expressions
from chalicelib.embeddings.provider import MAX_CHARACTERS, Provider
from chalicelib.errors import EmbeddingsError, EmbeddingsUnavailable
from chalicelib.sources.base import Source
from chalicelib.warehouse import tables
from chalicelib.warehouse.queries import statement

if TYPE_CHECKING:
    import numpy as np

# candidates that a search keeps in view (pgvector's default 40, maximum 1,000); of the 10 nearest
# among 100,000 vectors in 2,000 clusters, 40 find 91 to 96%, 100 find 99% or more
_EF_SEARCH = 100
_EF_SEARCH_MAX = 1000

# each read scans the curated table once; texts are at most 50,000 characters
_TEXTS_PER_READ = 1024
# what a batch may take: minilm needed 33 s for 256 texts of 256 tokens on 2 busy cores
_RESERVE_SECONDS = 60


class Pending(NamedTuple):
    """A text to embed. `content_hash` is of the whole text; `text` is trimmed, and cut where no model reads on."""

    key: str
    text: str
    content_hash: bytes


@dataclass(frozen=True)
class Match:
    """A row that a search found. `score` is the cosine similarity: 1 for the same meaning, about 0 for none shared."""

    key: dict[str, Any]
    text: str
    score: float


def shards(connection, source: Source, model: str, texts_per_shard: int) -> int:
    """Into how many shards the pending texts go, at about `texts_per_shard` each; 0 when none is pending.

    Shards grow rather than be more than one execution can count, see `limits`.
    """
    if not source.text:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            statement("embeddings", "count_pending", texts=expressions.texts(source)),
            {"model": model, "table": source.table, "whitespace": expressions.WHITESPACE},
        )
        (count,) = cursor.fetchone()
    return min(-(-count // texts_per_shard), limits.EMBED_SHARDS)


def pending(connection, source: Source, model: str, shard: int, shards: int, limit: int) -> list[Pending]:
    """Up to `limit` pending texts of one shard; a row's shard follows from its key alone."""
    with connection.cursor() as cursor:
        cursor.execute(
            statement("embeddings", "pending", texts=expressions.texts(source)),
            {
                "model": model,
                "table": source.table,
                "shard": shard,
                "shards": shards,
                "limit": limit,
                "max_characters": MAX_CHARACTERS,
                "whitespace": expressions.WHITESPACE,
            },
        )
        return [Pending(key, text, bytes(content_hash)) for key, text, content_hash in cursor]


def write(connection, source: Source, model: str, run_id: str, rows: Sequence[Pending], vectors: np.ndarray) -> None:
    """Store the vectors (len(rows), dimensions) of `rows`, in place of older ones; keys must differ."""
    import numpy as np  # here, because Publish and Complete use this module and write no vectors

    from chalicelib.embeddings import binary_copy

    if vectors.shape[0] != len(rows) or not np.isfinite(vectors).all():
        raise EmbeddingsError(
            f"{len(rows)} texts got vectors of shape {vectors.shape}, or some are not finite", model=model
        )
    if not rows:
        return
    stream = binary_copy.encode([row.key for row in rows], [row.content_hash for row in rows], vectors)
    with connection.cursor() as cursor:
        cursor.execute(statement("embeddings", "create_batch"))
        cursor.copy_expert(statement("embeddings", "copy_batch"), stream)
        cursor.execute(
            statement("embeddings", "write_batch"), {"model": model, "table": source.table, "run_id": run_id}
        )
        cursor.execute(statement("embeddings", "drop_batch"))


def embed_pending(
    connection,
    source: Source,
    provider: Provider,
    run_id: str,
    shard: int,
    shards: int,
    batch: int = 256,
    remaining_seconds: Callable[[], float] = lambda: float("inf"),
) -> int:
    """Embed the shard's pending texts and commit after every `batch`; returns how many were embedded.

    What is committed is no longer pending, so a retry goes on where the last attempt stopped.
    Raises EmbeddingsUnavailable when less than a minute remains and texts do: a retry has time
    again.
    """
    embedded = 0
    while True:
        rows = pending(connection, source, provider.model, shard, shards, _TEXTS_PER_READ)
        connection.commit()  # no transaction stays open while the model works
        for start in range(0, len(rows), batch):
            if remaining_seconds() < _RESERVE_SECONDS:
                raise EmbeddingsUnavailable(
                    f"time ran out after {embedded} texts, which are stored; a retry goes on from there",
                    source=source.name,
                    shard=shard,
                    next_step="lower SLUICE_TEXTS_PER_SHARD if this repeats",
                )
            part = rows[start : start + batch]
            write(connection, source, provider.model, run_id, part, provider.embed([row.text for row in part]))
            connection.commit()
            embedded += len(part)
        if len(rows) < _TEXTS_PER_READ:
            return embedded


def count_of_run(cursor, run_id: str) -> int:
    """How many vectors the run has written and no later run has replaced."""
    cursor.execute(statement("embeddings", "count_of_run"), {"run_id": run_id})
    return cursor.fetchone()[0]


def characters_of_run(cursor, source: Source, run_id: str) -> int:
    """How many characters a model read of the texts that the run embedded, of those still there."""
    if not source.text:
        return 0
    cursor.execute(
        statement("embeddings", "characters_of_run", texts=expressions.texts(source)),
        {
            "run_id": run_id,
            "table": source.table,
            "max_characters": MAX_CHARACTERS,
            "whitespace": expressions.WHITESPACE,
        },
    )
    return cursor.fetchone()[0]


def has_vectors(cursor, source: Source, model: str) -> bool:
    """Whether anything of the source's table was ever embedded by the model."""
    cursor.execute(statement("embeddings", "has_vectors"), {"model": model, "table": source.table})
    return cursor.fetchone()[0]


def remove_orphans(connection, source: Source) -> int:
    """Delete the vectors, of every model, whose curated row is gone or has no text left; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            statement("embeddings", "remove_orphans", texts=expressions.texts(source)),
            {"table": source.table, "whitespace": expressions.WHITESPACE},
        )
        return cursor.rowcount


def ensure_index(connection, source: Source, model: str, dimensions: int) -> None:
    """Make the HNSW index of the model's vectors of this table, where there is none.

    Call it when the first vectors are in: building over 100,000 x 384 takes 0.2 to 0.4 ms a vector, adding
    one to the index afterwards 2 ms. Writers of embeddings wait for it.
    """
    name = _index_name(source, model)
    with connection.cursor() as cursor:
        # CREATE INDEX IF NOT EXISTS takes its lock before it looks
        cursor.execute(statement("embeddings", "find_index"), {"index": f'pipeline."{name}"'})
        if cursor.fetchone()[0]:
            return
        cursor.execute(statement("embeddings", "count_vectors"), {"model": model, "table": source.table})
        cursor.execute(
            statement("embeddings", "prepare_index"), {"memory": _build_memory(cursor.fetchone()[0], dimensions)}
        )
        cursor.execute(
            statement(
                "embeddings",
                "create_index",
                index=sql.Identifier(name),
                dimensions=sql.Literal(dimensions),
                model=sql.Literal(model),
                table=sql.Literal(source.table),
            )
        )


def search(connection, source: Source, model: str, vector: np.ndarray, limit: int) -> list[Match]:
    """The `limit` rows whose text is nearest in meaning to `vector` (dimensions,), best first.

    Compares only vectors of `model`; by the HNSW index where there is one, else exactly.
    """
    from pgvector import Vector

    identifiers = {
        "dimensions": sql.Literal(len(vector)),
        "key_columns": expressions.key_columns(source),
        "text": expressions.text(source),
        "curated": tables.curated(source),
        "same_key": expressions.same_key(source, sql.SQL("nearest.key")),
    }
    ef_search = min(max(_EF_SEARCH, 2 * limit), _EF_SEARCH_MAX)
    with connection.cursor() as cursor:
        cursor.execute(statement("embeddings", "prepare_search"), {"ef_search": str(ef_search)})
        cursor.execute(
            statement("embeddings", "search", **identifiers),
            {"model": model, "table": source.table, "limit": limit, "vector": Vector(vector).to_text()},
        )
        return [Match(dict(zip(source.key, key, strict=True)), text, score) for *key, text, score in cursor]


def _build_memory(vectors: int, dimensions: int) -> str:
    """Postgres' maintenance_work_mem for an index over so many vectors.

    A graph that does not fit is built three times more slowly (100,000 x 384: 41 s, in 64 MB 134 s); more than it
    needs is not taken either, as a parallel build takes all of it from /dev/shm, 64 MB in a container.
    """
    needed = vectors * (4 * dimensions + 1024) * 1.2 / 1024**2  # a node and its neighbours: measured 830 bytes
    return f"{round(min(max(needed, 16), 1024))}MB"


def _index_name(source: Source, model: str) -> str:
    """Within Postgres' 63 bytes, and different for every table and model."""
    digest = hashlib.sha256(f"{source.table}\0{model}".encode()).hexdigest()[:12]
    return f"embeddings_{source.table[:30]}_{digest}_hnsw"
