"""Reject: the run is closed without touching the curated table; its staging is dropped.

An object of the inbox of which no record could be used is quarantined whole.
"""

from __future__ import annotations

from chalicelib import settings as settings_module
from chalicelib import sources
from chalicelib.contracts import RejectRequest, RejectResult, RunInput
from chalicelib.lake import Lake
from chalicelib.triggers import inbox
from chalicelib.warehouse import connection, ledger, quarantined_objects, tables


def reject(request: RejectRequest) -> RejectResult:
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    lake = Lake(settings.bucket)
    source = sources.as_declared(request.source, request.run_id, lake)
    with connection.transaction() as open_connection:
        run = ledger.get_run(open_connection, request.run_id)
    fetched, quarantined = run["fetched"] or 0, run["quarantined"] or 0
    # S3 is asked between two transactions: neither waits for it
    arrival = inbox.unusable(RunInput.from_json(run["input"]), fetched - quarantined, lake)
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        if arrival is not None:
            reason = f"none of its {fetched:,} records can be used; `sluice runs show {request.run_id}` says why"
            quarantined_objects.add(cursor, arrival, reason, request.run_id)
        tables.drop_staging(cursor, source.table, request.run_id)
        ledger.reject(cursor, request.run_id)
    return RejectResult(run_id=request.run_id, status="rejected")
