"""The work of one Embed Lambda: the pending texts of one shard, batch by batch."""

from __future__ import annotations

from collections.abc import Callable

from chalicelib.embeddings import store
from chalicelib.embeddings.provider import Provider
from chalicelib.errors import EmbeddingsUnavailable
from chalicelib.sources.base import Source

# each read scans the curated table once; texts are at most 50,000 characters
_TEXTS_PER_READ = 1024
# what a batch may take: 256 texts of 256 tokens take minilm 13 s, Titan about as long
_RESERVE_SECONDS = 30


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
    Raises EmbeddingsUnavailable when less than half a minute remains and texts do: a retry
    has time again.
    """
    embedded = 0
    while True:
        rows = store.pending(connection, source, provider.model, shard, shards, _TEXTS_PER_READ)
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
            store.write(connection, source, provider.model, run_id, part, provider.embed([row.text for row in part]))
            connection.commit()
            embedded += len(part)
        if len(rows) < _TEXTS_PER_READ:
            return embedded
