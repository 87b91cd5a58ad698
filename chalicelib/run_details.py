"""All that the ledger knows of one run, as it may be shown: personal values of quarantined records are masked."""

from __future__ import annotations

from chalicelib import personal, sources
from chalicelib.errors import DeclarationError, NotFound, UnknownSource
from chalicelib.lake.store import Lake
from chalicelib.sources.base import Source
from chalicelib.warehouse import ledger, table_columns


def read(connection, lake: Lake, run_id: str) -> dict:
    """The run's row, and `failed` expectations, `reasons` of quarantine, `schema_changes`, `raw_only` fields.

    Raises NotFound where the ledger has no such run.
    """
    run = ledger.get_run(connection, run_id)
    with connection.cursor() as cursor:
        failed = ledger.rows(cursor, "failed_expectations", run_id=run_id)
        reasons = ledger.rows(cursor, "quarantine_reasons", run_id=run_id)
        changes = table_columns.changes(cursor, run_id=run_id)
        raw_only = ledger.rows(cursor, "raw_only", run_id=run_id)
    source = _source(lake, run["source"], run_id) if reasons else None
    reasons = [{**reason, "record": personal.record(source, reason["record"])} for reason in reasons]
    return {**run, "failed": failed, "reasons": reasons, "schema_changes": changes, "raw_only": raw_only}


def _source(lake: Lake, name: str, run_id: str) -> Source | None:
    """The run's source; None where it, or what declared it, is gone."""
    try:
        return sources.as_declared(name, run_id, lake)
    except (UnknownSource, DeclarationError, NotFound):
        return None
