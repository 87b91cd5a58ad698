"""Complete: what is searched is indexed, the run is done; the ledger says so."""

from __future__ import annotations

from chalicelib import settings as settings_module
from chalicelib import sources
from chalicelib.contracts import CompleteRequest, CompleteResult
from chalicelib.embeddings import index, provider, store
from chalicelib.lake import Lake
from chalicelib.search import fulltext
from chalicelib.warehouse import connection, ledger


def complete(request: CompleteRequest) -> CompleteResult:
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    source = sources.as_declared(request.source, request.run_id, Lake(settings.bucket))
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        embedded = store.count_of_run(cursor, request.run_id)
        # also where this run embedded nothing: an earlier one may have ended before its index was made
        model = provider.current(settings) if source.text else None
        if model and store.has_vectors(cursor, source, model.model):
            store.remove_orphans(open_connection, source)
            index.ensure(open_connection, source, model.model, model.dimensions)
        if source.text:
            fulltext.ensure_index(cursor, source)
        ledger.complete(cursor, request.run_id, embedded)
    return CompleteResult(run_id=request.run_id, status="succeeded", embedded=embedded)
