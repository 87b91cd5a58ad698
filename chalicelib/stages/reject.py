"""Reject: the run is closed without touching the curated table; its staging is dropped.

An object of the inbox is quarantined whole: none of its records is in the table, however many could be used.
"""

from __future__ import annotations

from chalicelib import code_fingerprint, sources
from chalicelib import settings as settings_module
from chalicelib.contracts import RejectRequest, RejectResult
from chalicelib.lake import Lake
from chalicelib.quarantine import claims
from chalicelib.run_input import RunInput
from chalicelib.triggers import inbox
from chalicelib.warehouse import connection, ledger, quarantined_objects, tables


def reject(request: RejectRequest) -> RejectResult:
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    lake = Lake(settings.bucket)
    source = sources.as_declared(request.source, request.run_id, lake)
    code = code_fingerprint.of(source, settings)
    with connection.transaction() as open_connection:
        run = ledger.get_run(open_connection, request.run_id)
    fetched, quarantined = run["fetched"] or 0, run["quarantined"] or 0
    # S3 is asked between two transactions: neither waits for it
    given = RunInput.from_json(run["input"])
    unread = inbox.rejected(given, lake)
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        if unread is not None:
            usable = f"{fetched - quarantined:,}" if fetched > quarantined else "none"
            reason = f"{usable} of its {fetched:,} records can be used" if fetched else "it has no records"
            reason += f"; `sluice runs show {request.run_id}` says why. Once that is mended: `{given.command()}`"
            quarantined_objects.add(cursor, unread, reason, request.run_id)
        tables.drop_staging(cursor, source.table, request.run_id)
        if given.replay is not None:
            claims.keep(cursor, given.replay, request.run_id)
            claims.release(cursor, given.replay, judged=True)
        ledger.reject(cursor, request.run_id, code)
    return RejectResult(run_id=request.run_id, status="rejected")
