"""From staging to curated, in the caller's transaction, every row accounted for.

Every number of the account but one sum is measured on its own: `staged`, `duplicates`,
`unchanged`, `inserted` and `updated` are counted by the statements that did the work, so that the
account can fail to balance, and then nothing is published.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from psycopg2 import sql

from chalicelib.columns import ANOMALIES, FINGERPRINT
from chalicelib.errors import STAGE_ANEW, AccountError
from chalicelib.lake.position import LINE_BITS
from chalicelib.sources.base import Source
from chalicelib.warehouse import filling, superseded, tables
from chalicelib.warehouse.queries import statement

# sorts and hashes of a publish, in memory: 256 MB holds a million rows
WORK_MEM = "256MB"

# times 300 rows are read for the statistics of staging: 3,000 say as well as 30,000 that keys are many, for a sixth of
# the CPU (0.02 s and 0.12 s of a million rows)
STATISTICS_TARGET = 10

# `_raw` of a curated row: 'part:line', see `lake.position`
_RAW = f"(s._seq >> {LINE_BITS}) || ':' || (s._seq & {(1 << LINE_BITS) - 1})"


@dataclass(frozen=True)
class Account:
    """What became of the rows that were fetched."""

    fetched: int
    inserted: int
    updated: int
    unchanged: int
    duplicates: int
    quarantined: int

    def check(self, run_id: str) -> None:
        """Raise AccountError unless every fetched row is accounted for, once."""
        found = self.inserted + self.updated + self.unchanged + self.duplicates + self.quarantined
        if found != self.fetched:
            raise AccountError(
                f"{self.fetched} rows were fetched, {found} are accounted for: {self.inserted} inserted"
                f" + {self.updated} updated + {self.unchanged} unchanged + {self.duplicates} duplicates"
                f" + {self.quarantined} quarantined",
                run_id=run_id,
                next_step=STAGE_ANEW,
            )


COUNTS = tuple(field.name for field in fields(Account))


def lock(cursor, source: Source) -> None:
    """Wait for whoever publishes to this table, and keep others waiting until the transaction ends."""
    cursor.execute(statement("publish", "lock"), {"name": f"{tables.CURATED}.{source.table}"})


def merge(
    cursor,
    source: Source,
    run_id: str,
    fetched: int,
    quarantined: int,
    replay_of: str | None = None,
    settle: Callable[[sql.Composable], None] | None = None,
) -> Account:
    """Merge the run's staging table into the curated table and drop it; the caller holds the table's lock.

    Where runs bring the same key, the one that was entered in the ledger later wins, also when it is published
    first; the other's row counts as a duplicate. A run that replays rows of `replay_of` has that run's place in the
    ledger; of a redriven run each row has the place of the run that fetched it.
    `settle` is told of the staging table once the duplicates are out of it.
    Raises AccountError where rows are missing.
    """
    curated, staging = tables.curated(source), tables.staging(source.table, run_id)
    cursor.execute(
        "SELECT set_config('work_mem', %s, true), set_config('default_statistics_target', %s, true)",
        (WORK_MEM, str(STATISTICS_TARGET)),
    )
    cursor.execute("SELECT to_regclass(%s)", (f'{tables.STAGING}."{tables.staging_name(source.table, run_id)}"',))
    if cursor.fetchone()[0] is None:
        raise AccountError("the staging table of the run is gone", run_id=run_id, next_step=STAGE_ANEW)
    # without statistics the planner takes an empty table to hold a few rows, and nests loops
    columns = sql.SQL(", ").join(map(sql.Identifier, (*source.key, FINGERPRINT)))
    cursor.execute(sql.SQL("ANALYZE {} ({})").format(staging, columns))
    identifiers = {"curated": curated, "staging": staging, "same_key_curated": tables.equal("t", "s", source.key)}
    identifiers |= {"raw": sql.SQL(_RAW), "bits": sql.Literal(LINE_BITS)}

    duplicates = superseded.drop(cursor, source, run_id)
    run = {"table": source.table, "run_id": run_id}
    cursor.execute(statement("publish", "later"), run)
    if found := cursor.fetchall():
        values = {**run, "later": [name for name, _ in found], "mixed": any(mixed for _, mixed in found)}
        cursor.execute(statement("publish", "drop_overtaken", **identifiers), values)
        duplicates += cursor.rowcount
    if replay_of is not None:
        day = sql.SQL("s.{}::date").format(sql.Identifier(source.day)) if source.day else sql.SQL("NULL::date")
        cursor.execute(statement("publish", "drop_older", **identifiers, day=day), {"replay_of": replay_of})
        duplicates += cursor.rowcount
    if settle is not None:
        settle(staging)
    count = "count_unchanged" if filling.holds_rows(cursor, curated) else "count_staged"
    cursor.execute(statement("publish", count, **identifiers))
    staged, unchanged = cursor.fetchone()
    actions = {}
    if staged > unchanged:
        actions = _filled(cursor, source, staging, run_id) if staged >= filling.ROWS and not unchanged else None
        actions = actions or merge_rows(cursor, source, staging, run_id)
    if unchanged:
        _confirm_unchanged(cursor, source, identifiers, run)
    account = Account(
        fetched=fetched,
        inserted=actions.get("INSERT", 0),
        updated=actions.get("UPDATE", 0),
        unchanged=unchanged,
        duplicates=duplicates,
        quarantined=quarantined,
    )
    account.check(run_id)
    tables.drop_staging(cursor, source.table, run_id)
    return account


def _confirm_unchanged(cursor, source: Source, identifiers: dict[str, sql.Composable], run: dict) -> None:
    """Make the rows that this run found unchanged its own, where an earlier run or a replay might still overwrite them.

    Without such a run that is open, and a row that was set aside and has the same key, nothing is written; for each
    that is, a row once: a repeated load touches no row.
    """
    cursor.execute(statement("publish", "confirm_set_aside", **identifiers, key_set_aside=_key_set_aside(source)), run)
    confirm = statement("publish", "confirm_unchanged", **identifiers)
    cursor.execute(statement("publish", "places"), run)
    for place, parts in cursor.fetchall():
        cursor.execute(statement("publish", "open_before"), {**run, "place": place})
        if (open_before := cursor.fetchone()[0]) is not None:
            cursor.execute(confirm, {**run, "parts": parts, "open": open_before})


def _key_set_aside(source: Source) -> sql.Composable:
    """That a curated row `t` has the key `a.key` of rows that were set aside, maybe when columns had other types."""
    types = {column.name: column.type for column in source.columns}
    pairs = [
        sql.SQL("t.{0} = CASE WHEN pg_input_is_valid({1}, {2}) THEN ({1})::{3} END").format(
            sql.Identifier(name), sql.SQL(f"(a.key ->> {place})"), sql.Literal(types[name]), sql.SQL(types[name])
        )
        for place, name in enumerate(source.key)
    ]
    return sql.SQL(" AND ").join(pairs)


def merge_rows(cursor, source: Source, staging: sql.Composable, run_id: str) -> dict[str, int]:
    """Insert new keys into the curated table, update rows that differ, leave the rest alone; returns rows by action.

    `staging` is any table with the columns of a staged row, each key once: a run's, or a batch of changes.
    """
    assigned = [name for name in _carried(source) if name not in source.key]
    # a table that is all key has nothing to assign; the lineage columns follow
    assignments = [sql.SQL("{0} = s.{0}, ").format(sql.Identifier(name)) for name in assigned]
    merge = statement(
        "publish",
        "merge",
        same_key_curated=tables.equal("t", "s", source.key),
        assignments=sql.SQL("").join(assignments),
        **_identifiers(source, staging),
    )
    cursor.execute(merge, {"run_id": run_id})
    return dict(cursor.fetchall())


def _filled(cursor, source: Source, staging: sql.Composable, run_id: str) -> dict[str, int] | None:
    """As `merge_rows`, where the curated table is empty; None where it is not, or cannot be filled in one go."""
    insert = statement("publish", "insert", **_identifiers(source, staging))
    table = f'{tables.CURATED}."{source.table}"'
    inserted = filling.fill(cursor, table, tables.curated(source), insert, {"run_id": run_id})
    return None if inserted is None else {"INSERT": inserted}


def _carried(source: Source) -> tuple[str, ...]:
    """The columns that curated rows have from staged ones as they are."""
    return (*source.column_names, *((ANOMALIES,) if source.anomalies else ()))


def _identifiers(source: Source, staging: sql.Composable) -> dict[str, sql.Composable]:
    names = [sql.Identifier(name) for name in _carried(source)]
    return {
        "curated": tables.curated(source),
        "staging": staging,
        "columns": sql.SQL(", ").join(names),
        "values": sql.SQL(", ").join(sql.SQL("s.{}").format(name) for name in names),
        "raw": sql.SQL(_RAW),
    }
