"""The sweep: what runs left behind that ended without a word, once an hour.

An execution that is stopped, or runs out of time, enters no state any more: nobody writes into the ledger how it ended,
and its staging table stays. Objects of the lake expire by the bucket's own rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql

from chalicelib import executions
from chalicelib.errors import TerminalError, WarehouseUnavailable
from chalicelib.quarantine import claims
from chalicelib.telemetry import logger
from chalicelib.triggers import starting
from chalicelib.warehouse import connection, ledger, migrations, queries, tables
from chalicelib.warehouse.queries import statement

FILE = "sweep"
LOST = "RunLost"
# DescribeExecution may lag behind, and RecordFailure is tried for some minutes while Postgres is out of reach
AGE = "15 minutes"
_OVER = ("FAILED", "TIMED_OUT", "ABORTED")


@dataclass(frozen=True)
class Swept:
    """What a sweep did: `lost` are runs, `staging` tables, `files` rows of `pipeline.change_files`."""

    lost: tuple[str, ...]
    staging: tuple[str, ...]
    files: int


def sweep(stepfunctions) -> Swept:
    """Close the runs whose executions are over, drop the staging tables of none that is under way, forget old rows.

    `stepfunctions` is boto3's client. Done twice, the second time does nothing. A run is under way as long as the
    ledger says so, and the ledger is doubted only where Step Functions says that the execution has ended.
    """
    migrations.apply()  # it may come before the first run of a stage
    swept = Swept(_close_lost(stepfunctions), _drop_orphans(), _forget_files())
    logger.info("swept", lost=list(swept.lost), staging=list(swept.staging), files=swept.files)
    return swept


def _close_lost(stepfunctions) -> tuple[str, ...]:
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        found = queries.rows(cursor, FILE, "under_way", age=AGE)
    # Step Functions is asked between two transactions: neither waits for it
    lost = [(run, why) for run in found if (why := _ended(stepfunctions, run)) is not None]
    return tuple(run["run_id"] for run, (error, reason) in lost if _close(run, error, reason))


def _close(run: dict, error: str, reason: str) -> bool:
    """False where the run is no longer the one that was asked after."""
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        cursor.execute(statement(FILE, "hold_lost"), {"run_id": run["run_id"], "started_at": run["started_at"]})
        if not cursor.rowcount:
            return False
        told = {"state": "unknown", "error": error, "reason": reason}
        ledger.fail(cursor, run["run_id"], run["source"], run["execution"], run["input"], told)
        claims.release_of_lost(cursor, run["run_id"])
    return True


def _ended(stepfunctions, run: dict) -> tuple[str, str] | None:
    """(error, reason) of a run whose execution is over without success, or forgotten; None for any other.

    What to type is not in the reason: `sluice runs show` says it of each run that failed.
    """
    execution = run["execution"]
    try:
        found = executions.described(stepfunctions, execution)
    except TerminalError as error:  # of another stage or account, as in a database that was restored: others wait
        logger.warning("nothing can be known of an execution", execution=execution, reason=str(error))
        return None
    if found is None:
        return LOST, "Step Functions knows nothing of its execution any more"
    if found["status"] not in _OVER or found.get("error") == starting.REJECTED:
        return None
    why = found.get("cause") or "no state could tell"
    return found.get("error") or LOST, f"its execution ended as {found['status']}: {why}"


def _drop_orphans() -> tuple[str, ...]:
    """The staging tables that were dropped: of no run that is under way, however long that takes."""
    try:
        with connection.transaction() as open_connection, open_connection.cursor() as cursor:
            cursor.execute(statement(FILE, "hold_ledger"))
            there = [row["tablename"] for row in queries.rows(cursor, FILE, "staging_tables", schema=tables.STAGING)]
            live = {tables.staging_name(*row.values()) for row in queries.rows(cursor, FILE, "live_tables")}
            orphans = tuple(name for name in there if name not in live)
            for name in orphans:
                cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(tables.STAGING, name)))
    except WarehouseUnavailable as error:  # a lock that is not free: in an hour it is
        logger.warning("staging tables are left to the next sweep", reason=str(error))
        return ()
    return orphans


def _forget_files() -> int:
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        cursor.execute(statement(FILE, "forget_written_files"))
        return cursor.rowcount
