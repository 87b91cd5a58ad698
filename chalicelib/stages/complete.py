"""Complete: the run is done; the ledger says so."""

from __future__ import annotations

from chalicelib.contracts import CompleteRequest, CompleteResult
from chalicelib.embeddings import store
from chalicelib.warehouse import connection, ledger


def complete(request: CompleteRequest) -> CompleteResult:
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        embedded = store.count_of_run(cursor, request.run_id)
        ledger.complete(cursor, request.run_id, embedded)
    return CompleteResult(run_id=request.run_id, status="succeeded", embedded=embedded)
