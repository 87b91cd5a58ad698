"""Complete: the run is done, the ledger says so. Then its table is kept up, with indexes of what is searched.

Over a few rows these are made before, in the transaction that closes the run.
"""

from __future__ import annotations

import time

from chalicelib import settings as settings_module
from chalicelib import sources
from chalicelib.contracts import CompleteRequest, CompleteResult
from chalicelib.embeddings import provider, store
from chalicelib.lake import Lake
from chalicelib.search import indexing
from chalicelib.warehouse import connection, ledger, upkeep

# of this Lambda's 890 s; what is left by then is for ending what did not come to its end
_SECONDS = 840
_WORTH_BEGINNING = 30


def complete(request: CompleteRequest) -> CompleteResult:
    started = time.monotonic()
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    source = sources.as_declared(request.source, request.run_id, Lake(settings.bucket))
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        embedded = store.count_of_run(cursor, request.run_id)
        # also where this run embedded nothing: an earlier one may have ended before its index was made
        model = provider.current(settings) if source.text else None
        if model and store.has_vectors(cursor, source, model.model):
            store.remove_orphans(open_connection, source)
        indexing.ensure_over_few(open_connection, source, model)
        ledger.complete(cursor, request.run_id, embedded)
    seconds = _SECONDS - (time.monotonic() - started)
    left = upkeep.keep_up_and_log(source, seconds, model) if seconds > _WORTH_BEGINNING else ()
    return CompleteResult(run_id=request.run_id, status="succeeded", embedded=embedded, left=tuple(left))
