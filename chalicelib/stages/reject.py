"""Reject: the run is closed without touching the curated table; its staging is dropped."""

from __future__ import annotations

from chalicelib import settings as settings_module
from chalicelib import sources
from chalicelib.contracts import RejectRequest, RejectResult
from chalicelib.lake import Lake
from chalicelib.warehouse import connection, ledger, tables


def reject(request: RejectRequest) -> RejectResult:
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    source = sources.as_declared(request.source, request.run_id, Lake(settings.bucket))
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        tables.drop_staging(cursor, source.table, request.run_id)
        ledger.reject(cursor, request.run_id)
    return RejectResult(run_id=request.run_id, status="rejected")
