"""Publish: one transaction that merges, moves the cursor, balances the row account and closes the ledger."""

from __future__ import annotations

from collections.abc import Callable

from psycopg2 import sql

from chalicelib import settings as settings_module
from chalicelib import sources
from chalicelib.contracts import PublishRequest, PublishResult
from chalicelib.embeddings import provider as embedding_provider
from chalicelib.embeddings import store
from chalicelib.lake import Lake
from chalicelib.quarantine import claims
from chalicelib.warehouse import connection, evolution, ledger, publishing, upkeep


def publish(request: PublishRequest) -> PublishResult:
    """A retry after the commit finds the run published and answers what the first did."""
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    source = sources.for_run(request.source, request.run_id, Lake(settings.bucket))
    if source.schema and source.schema.changes:
        upkeep.wait_for(source)
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        # first: a retry beside a first attempt that still runs must wait to see how that ended
        publishing.lock(cursor, source)
        run = ledger.get_run(open_connection, request.run_id)
        if run["published_at"] is None:
            fetched = sum(chunk.records for chunk in ledger.chunks(cursor, request.run_id))
            quarantined = ledger.count_quarantined(cursor, request.run_id)
            source = evolution.apply(cursor, source, request.run_id)
            settle = _settling(cursor, run, fetched) if run["replay_of"] else None
            account = publishing.merge(cursor, source, request.run_id, fetched, quarantined, run["replay_of"], settle)
            ledger.publish(cursor, request.run_id, request.verdict, account)
        else:
            account = publishing.Account(**{name: run[name] for name in publishing.COUNTS})
    shards = 0
    if request.embed:
        model = embedding_provider.current(settings)
        with connection.transaction() as open_connection:
            shards = store.shards(open_connection, source, model, settings.texts_per_shard)
    return PublishResult(**vars(account), embed_shards=tuple(range(shards)))


def _settling(cursor, run: dict, fetched: int) -> Callable[[sql.Composable], None]:
    """Settles the rows that a replay was to judge, where its duplicates are known."""
    claim = run["input"]["replay"]
    return lambda staging: claims.settle(cursor, claim, run["run_id"], staging, fetched)
