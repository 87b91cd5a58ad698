"""Vectors in `pipeline.embeddings`: which texts lack them, and writing them, one for each passage.

A text is pending when its row has no vectors of the model, or those of another text (`content_hash`).
Every function but `embed_pending` works in the transaction of the connection it is given and leaves
the commit to its caller. psycopg2's errors pass through; `warehouse.connection` says what they mean.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from psycopg2 import errors

from chalicelib import limits
from chalicelib.embeddings import expressions
from chalicelib.embeddings.passages import Passage
from chalicelib.embeddings.provider import Provider
from chalicelib.errors import EmbeddingsError, EmbeddingsUnavailable, SluiceError
from chalicelib.sources.base import Source
from chalicelib.warehouse.queries import statement

if TYPE_CHECKING:
    import numpy as np

    from chalicelib.embeddings import binary_copy

# each read scans the curated table once; its texts are in memory together
_TEXTS_PER_READ = 4096
_CHARACTERS_PER_READ = 16 * 1024**2
# A transaction per 256 vectors takes 1.5 times as long as one per 4,096, more take more memory and save nothing. A
# model that is slow fills none in this time: what a killed worker has made since then, at most, is made again.
VECTORS_PER_COMMIT = 4096
SECONDS_PER_COMMIT = 5
# what a batch may take: minilm needed 33 s for 256 texts of 256 tokens on 2 busy cores
_RESERVE_SECONDS = 60


class Pending(NamedTuple):
    """A text to embed. `content_hash` is of the text as it stands in the row; `text` is trimmed.

    `has_vectors` says whether the row had any of the model when it was read.
    """

    key: str
    text: str
    content_hash: bytes
    has_vectors: bool = False


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
    """Up to `limit` pending texts of one shard, fewer where they are long; a row's shard follows from its key alone.

    They are in the order of their keys, the shorter ones first, see `write`.
    """
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
        return [Pending(key, text, bytes(content_hash), has) for key, text, content_hash, has in cursor]


def write(
    connection,
    source: Source,
    model: str,
    run_id: str,
    rows: Sequence[Pending],
    passages: Sequence[Sequence[Passage]],
    vectors: np.ndarray,
) -> None:
    """Store the vectors of `rows` in place of older ones; keys must differ and be in the order of `pending`.

    `passages` are those of each row, `vectors` is (all passages, dimensions). Call it once in a transaction.

    New vectors go straight into the table. Several writers may do so at once: since each goes through its keys in the
    same order, one that comes to another's key waits for that one's end, and never two for each other. Where there
    were vectors, or another writer's turn out to be there, one writer at a time deletes them and writes its own.
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
    stream = functools.partial(
        binary_copy.Stream,
        (model, source.table, run_id),
        [row.key for row, _, _ in of_row],
        [row.content_hash for row, _, _ in of_row],
        [(number, *passage) for _, number, passage in of_row],
        vectors,
    )
    values = {"model": model, "table": source.table, "keys": [row.key for row in rows]}
    with connection.cursor() as cursor:
        if not any(row.has_vectors for row in rows) and _copied(cursor, stream, values):
            return
        cursor.execute(statement("embeddings", "lock"), values)
        cursor.execute(statement("embeddings", "remove"), values)
        _copy(cursor, stream)


def _copied(cursor, stream: Callable[[], binary_copy.Stream], values: dict) -> bool:
    """Whether the vectors are stored: not where one of the keys has some, and nothing is changed then."""
    cursor.execute(statement("embeddings", "before_copy"))
    try:
        cursor.execute(statement("embeddings", "lock_shared"), values)
        _copy(cursor, stream)
    except errors.UniqueViolation:
        # with the savepoint goes the shared lock: two writers that both kept theirs could not get the other one
        cursor.execute(statement("embeddings", "undo_copy"))
        return False
    cursor.execute(statement("embeddings", "after_copy"))
    return True


def _copy(cursor, stream: Callable[[], binary_copy.Stream]) -> None:
    cursor.copy_expert(statement("embeddings", "copy"), stream())


def embed_pending(
    connection,
    source: Source,
    provider: Provider,
    run_id: str,
    shard: int,
    shards: int,
    batch: int = 256,
    remaining_seconds: Callable[[], float] = lambda: float("inf"),
    commit_seconds: float = SECONDS_PER_COMMIT,
) -> int:
    """Embed the shard's pending texts, about `batch` passages at once; returns how many texts were embedded.

    What was made is committed after `commit_seconds` or `VECTORS_PER_COMMIT`, and before an error of the model goes
    on to the caller. It is no longer pending then, so a retry goes on where the last attempt stopped. It is on the
    disk, whatever becomes of Postgres, when this returns.
    Raises EmbeddingsUnavailable when less than a minute remains and texts do: a retry has time again.
    """
    held = Held(connection, source, provider.model, run_id, commit_seconds)

    def vectors_of(texts: list[str]) -> Iterator[np.ndarray]:
        for start in range(0, len(texts), batch):
            if remaining_seconds() < _RESERVE_SECONDS:
                raise EmbeddingsUnavailable(
                    f"time ran out after {held.texts} texts, which are stored; a retry goes on from there",
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
            try:
                vectors = list(vectors_of(texts))
            except SluiceError:
                held.commit()
                raise
            held.add(part, passages, vectors)
        held.commit()  # the next read is of what is pending then
        if len(rows) < _TEXTS_PER_READ and sum(len(row.text) for row in rows) < _CHARACTERS_PER_READ:
            held.flush()
            return held.texts


class Held:
    """Vectors that were made and are not committed yet. `texts` counts those that are, too.

    No commit waits for the disk but the last, `flush`: a third of the time where the model is fast.
    """

    def __init__(self, connection, source: Source, model: str, run_id: str, seconds: float):
        self.texts = 0
        self._connection, self._seconds = connection, seconds
        self._of = (source, model, run_id)
        self._begin()

    def add(self, rows: Sequence[Pending], passages: Sequence[Sequence[Passage]], vectors: list[np.ndarray]) -> None:
        self._rows += rows
        self._passages += passages
        self._vectors += vectors
        self.texts += len(rows)
        count = sum(map(len, self._vectors))
        if count >= VECTORS_PER_COMMIT or time.monotonic() - self._since >= self._seconds:
            self.commit()

    def commit(self) -> None:
        import numpy as np

        if self._rows:
            with self._connection.cursor() as cursor:
                cursor.execute(statement("embeddings", "flush_later"))
            write(self._connection, *self._of, self._rows, self._passages, np.concatenate(self._vectors))
            self._connection.commit()
        self._begin()

    def flush(self) -> None:
        """Wait until all that was committed is on the disk, also by an attempt before that did not get here."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement("embeddings", "flush"))
        self._connection.commit()

    def _begin(self) -> None:
        self._rows: list[Pending] = []
        self._passages: list[Sequence[Passage]] = []
        self._vectors: list[np.ndarray] = []
        self._since = time.monotonic()


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
