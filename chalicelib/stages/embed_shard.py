"""EmbedShard: vectors for the texts of one shard that have none for the current model, or changed."""

from __future__ import annotations

from collections.abc import Callable

from chalicelib import settings as settings_module
from chalicelib import sources
from chalicelib.contracts import EmbedShardRequest, EmbedShardResult
from chalicelib.embeddings import provider, store
from chalicelib.lake import Lake
from chalicelib.warehouse import connection


def embed_shard(
    request: EmbedShardRequest, remaining_seconds: Callable[[], float] = lambda: float("inf")
) -> EmbedShardResult:
    """Commits every few seconds, so that a retry goes on where the last attempt stopped."""
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    source = sources.as_declared(request.source, request.run_id, Lake(settings.bucket))
    with connection.transaction() as open_connection:
        embedded = store.embed_pending(
            open_connection,
            source,
            provider.current(settings),
            request.run_id,
            request.shard,
            request.shards,
            remaining_seconds=remaining_seconds,
        )
    return EmbedShardResult(shard=request.shard, embedded=embedded)
