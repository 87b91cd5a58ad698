"""What Plan does for a replay: the run takes its place in the ledger, and the lake is told what is to be read."""

from __future__ import annotations

from chalicelib.contract_reading import write_contract
from chalicelib.contracts import Partition, StoredObject
from chalicelib.errors import ContractError
from chalicelib.lake import Lake, keys
from chalicelib.quarantine import REQUEST, claims
from chalicelib.quarantine.rows import FILE
from chalicelib.sources.base import Source
from chalicelib.warehouse import ledger, queries
from chalicelib.warehouse.queries import statement


def enter(cursor, source: Source, run_id: str, claim: str) -> tuple[StoredObject, ...]:
    """Give the run, which is in the ledger, the place of the one whose rows it replays; that one's raw objects.

    Raises ContractError where no row is claimed, or the source writes to another table today.
    """
    rows = claims.rows(cursor, claim)
    if len(rows) != 1:
        raise ContractError(
            f"{claim!r} is the claim on rows of {len(rows)} runs, expected one",
            run_id=run_id,
            next_step="start replays by `sluice quarantine replay` or POST /quarantine/replay",
        )
    [(original, parts)] = rows.items()
    table = ledger.get_run(cursor.connection, original)["table_name"]
    if table != source.table:
        raise ContractError(
            f"the rows were meant for the table {table}, the source writes to {source.table}",
            run_id=original,
            source=source.name,
        )
    cursor.execute(statement(FILE, "enter_replay"), {"run_id": run_id, "original": original})
    found = queries.rows(cursor, FILE, "raw_objects", run_id=original)
    return tuple(StoredObject(**row, lines=tuple(parts.get(row["part"], ()))) for row in found)


def partition(lake: Lake, run_id: str, objects: tuple[StoredObject, ...]) -> Partition:
    """The one partition of a replay; what it reads is in the lake, however many rows there are."""
    lake.put_json(keys.replayed_objects(run_id), [write_contract(stored) for stored in objects])
    lake.put_json(keys.replayed_rows(run_id), {str(stored.part): stored.lines for stored in objects if stored.lines})
    return Partition(0, REQUEST)
