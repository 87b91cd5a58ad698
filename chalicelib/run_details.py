"""All that the ledger knows of one run, as it may be shown: personal values of quarantined records are masked."""

from __future__ import annotations

from chalicelib import personal, sources
from chalicelib.lake.store import Lake
from chalicelib.quarantine import rows
from chalicelib.warehouse import ledger, table_columns


def read(connection, lake: Lake, run_id: str) -> dict:
    """The run's row, and `failed` expectations, `reasons` of quarantine, `schema_changes`, `raw_only` fields.

    `quarantine_states` says how many of the rows that it set aside are in which state, see `quarantine.rows.STATES`; of
    a replay, whose rows are those of another run, none is counted. `settled_by`: see `warehouse.ledger.settled_by`.

    Raises NotFound where the ledger has no such run.
    """
    run = {**ledger.get_run(connection, run_id), "settled_by": ledger.settled_by(connection, run_id)}
    with connection.cursor() as cursor:
        failed = ledger.rows(cursor, "failed_expectations", run_id=run_id)
        reasons = ledger.rows(cursor, "quarantine_reasons", run_id=run_id)
        changes = table_columns.changes(cursor, run_id=run_id)
        raw_only = ledger.rows(cursor, "raw_only", run_id=run_id)
        states = rows.states(cursor, run_id)
    source = sources.shown(run["source"], run_id, lake) if reasons else None
    reasons = [{**reason, "record": personal.record(source, reason["record"])} for reason in reasons]
    found = {"failed": failed, "reasons": reasons, "schema_changes": changes, "raw_only": raw_only}
    return {**run, **found, "quarantine_states": states}
