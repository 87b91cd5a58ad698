"""Vectors in `pipeline.embeddings`: which texts lack them, and writing them, one for each passage.

A text is pending when its row has no vectors of the model, or those of another text (`content_hash`).
Every function but `embed_pending` works in the transaction of the connection it is given and leaves
the commit to its caller. psycopg2's errors pass through; `warehouse.connection` says what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from chalicelib import limits
from chalicelib.embeddings import expressions
from chalicelib.embeddings.passages import Passage
from chalicelib.embeddings.provider import Provider
from chalicelib.errors import EmbeddingsError, EmbeddingsUnavailable
from chalicelib.sources.base import Source
from chalicelib.warehouse.queries import statement

if TYPE_CHECKING:
    import numpy as np

# each read scans the curated table once; its texts are in memory together
_TEXTS_PER_READ = 1024
_CHARACTERS_PER_READ = 16 * 1024**2
# what a batch may take: minilm needed 33 s for 256 texts of 256 tokens on 2 busy cores
_RESERVE_SECONDS = 60


class Pending(NamedTuple):
    """A text to embed. `content_hash` is of the text as it stands in the row; `text` is trimmed."""

    key: str
    text: str
    content_hash: bytes


def shards(connection, source: Source, provider: Provider, texts_per_shard: int) -> int:
    """Into how many shards the pending texts go, at about `texts_per_shard` each; 0 when none is pending.

    A long text counts as often as it has passages, by its length. Shards grow rather than be more than one
    execution can count, see `limits`.
    """
    if not source.text:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            statement("embeddings", "count_pending", texts=expressions.texts(source)),
            {
                "model": provider.model,
                "table": source.table,
                "passage_characters": provider.passage_characters,
                "whitespace": expressions.WHITESPACE,
            },
        )
        (count,) = cursor.fetchone()
    return min(-(-count // texts_per_shard), limits.EMBED_SHARDS)


def pending(connection, source: Source, model: str, shard: int, shards: int, limit: int) -> list[Pending]:
    """Up to `limit` pending texts of one shard, fewer where they are long; a row's shard follows from its key alone."""
    with connection.cursor() as cursor:
        cursor.execute(
            statement("embeddings", "pending", texts=expressions.texts(source)),
            {
                "model": model,
                "table": source.table,
                "shard": shard,
                "shards": shards,
                "limit": limit,
                "characters": _CHARACTERS_PER_READ,
                "whitespace": expressions.WHITESPACE,
            },
        )
        return [Pending(key, text, bytes(content_hash)) for key, text, content_hash in cursor]


def write(
    connection,
    source: Source,
    model: str,
    run_id: str,
    rows: Sequence[Pending],
    passages: Sequence[Sequence[Passage]],
    vectors: np.ndarray,
) -> None:
    """Store the vectors of `rows` in place of older ones; keys must differ.

    `passages` are those of each row, `vectors` is (all passages, dimensions).
    """
    import numpy as np  # here, because Publish and Complete use this module and write no vectors

    from chalicelib.embeddings import binary_copy

    of_row = [
        (row, number, passage)
        for row, parts in zip(rows, passages, strict=True)
        for number, passage in enumerate(parts)
    ]
    if vectors.shape[0] != len(of_row) or not np.isfinite(vectors).all():
        raise EmbeddingsError(
            f"{len(of_row)} passages got vectors of shape {vectors.shape}, or some are not finite", model=model
        )
    if not of_row:
        return
    stream = binary_copy.encode(
        [row.key for row, _, _ in of_row],
        [row.content_hash for row, _, _ in of_row],
        [(number, *passage) for _, number, passage in of_row],
        vectors,
    )
    values = {"model": model, "table": source.table, "run_id": run_id}
    with connection.cursor() as cursor:
        cursor.execute(statement("embeddings", "create_batch"))
        cursor.copy_expert(statement("embeddings", "copy_batch"), stream)
        cursor.execute(statement("embeddings", "write_batch"), values)
        # a text that has more passages than now has had a first one; 20,000 new texts took twice as much of Postgres
        if cursor.fetchone()[0]:
            cursor.execute(statement("embeddings", "remove_surplus"), {**values, "keys": [row.key for row in rows]})
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
    """Embed the shard's pending texts and commit after about `batch` passages; returns how many texts were embedded.

    What is committed is no longer pending, so a retry goes on where the last attempt stopped.
    Raises EmbeddingsUnavailable when less than a minute remains and texts do: a retry has time
    again.
    """
    embedded = 0

    def vectors_of(texts: list[str]) -> Iterator[np.ndarray]:
        for start in range(0, len(texts), batch):
            if remaining_seconds() < _RESERVE_SECONDS:
                raise EmbeddingsUnavailable(
                    f"time ran out after {embedded} texts, which are stored; a retry goes on from there",
                    source=source.name,
                    shard=shard,
                    next_step="lower SLUICE_TEXTS_PER_SHARD if this repeats",
                )
            yield provider.embed(texts[start : start + batch])

    while True:
        rows = pending(connection, source, provider.model, shard, shards, _TEXTS_PER_READ)
        connection.commit()  # no transaction stays open while the model works
        for part, passages in _batches(rows, provider, batch):
            texts = [passage.of(row.text) for row, of in zip(part, passages, strict=True) for passage in of]
            vectors = _stacked(list(vectors_of(texts)))
            write(connection, source, provider.model, run_id, part, passages, vectors)
            connection.commit()
            embedded += len(part)
        if len(rows) < _TEXTS_PER_READ and sum(len(row.text) for row in rows) < _CHARACTERS_PER_READ:
            return embedded


def _batches(
    rows: Sequence[Pending], provider: Provider, size: int
) -> Iterator[tuple[list[Pending], list[list[Passage]]]]:
    """Texts with their passages, `size` of these or a little more at a time: those of one text stay together."""
    part: list[Pending] = []
    passages: list[list[Passage]] = []
    count = 0
    for row in rows:
        part.append(row)
        passages.append(provider.passages(row.text))
        count += len(passages[-1])
        if count >= size:
            yield part, passages
            part, passages, count = [], [], 0
    if part:
        yield part, passages


def _stacked(vectors: list[np.ndarray]) -> np.ndarray:
    import numpy as np

    return np.concatenate(vectors)


def count_of_run(cursor, run_id: str) -> int:
    """How many texts the run has embedded and no later run has embedded again."""
    cursor.execute(statement("embeddings", "count_of_run"), {"run_id": run_id})
    return cursor.fetchone()[0]


def characters_of_run(cursor, run_id: str) -> int:
    """How many characters a model read of the texts that the run embedded, of those still there."""
    cursor.execute(statement("embeddings", "characters_of_run"), {"run_id": run_id})
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
