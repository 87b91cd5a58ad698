"""The curated table of a source and the staging table of a run."""

from __future__ import annotations

import hashlib

from psycopg2 import sql

from chalicelib.columns import ANOMALIES, FINGERPRINT, SEQ
from chalicelib.errors import SchemaMismatch
from chalicelib.sources.base import Source
from chalicelib.warehouse import table_columns, totals

CURATED = "curated"
STAGING = "staging"

LINEAGE = (("_run_id", "text"), ("_raw", "text"), (FINGERPRINT, "bigint"), ("_loaded_at", "timestamptz"))


def curated(source: Source) -> sql.Identifier:
    return sql.Identifier(CURATED, source.table)


def staging_name(table: str, run_id: str) -> str:
    """Within Postgres' 63 bytes whatever the run is called, and different for every run."""
    return f"{table[:46]}_{hashlib.sha256(run_id.encode()).hexdigest()[:16]}"


def staging(table: str, run_id: str) -> sql.Identifier:
    return sql.Identifier(STAGING, staging_name(table, run_id))


def ensure_curated(cursor, source: Source) -> bool:
    """Create the curated table, or raise SchemaMismatch where there is one that does not fit the declaration.

    Says whether it was made just now. Who makes it makes its `indexes` too.
    """
    definitions = [
        sql.SQL("{} {}{}").format(
            sql.Identifier(column.name),
            sql.SQL(column.type),
            sql.SQL("" if column.nullable else " NOT NULL"),
        )
        for column in source.columns
    ]
    definitions += [sql.SQL("{} {} NOT NULL").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in LINEAGE]
    definitions += [sql.SQL("{} jsonb").format(sql.Identifier(ANOMALIES))] if source.anomalies else []
    definitions.append(sql.SQL("PRIMARY KEY ({})").format(sql.SQL(", ").join(map(sql.Identifier, source.key))))
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"create {CURATED}.{source.table}",))
    cursor.execute("SELECT to_regclass(%s)", (f'{CURATED}."{source.table}"',))
    is_new = cursor.fetchone()[0] is None
    if is_new:
        cursor.execute(sql.SQL("CREATE TABLE {} ({})").format(curated(source), sql.SQL(", ").join(definitions)))
        table_columns.forget(cursor, source.table)
    if source.anomalies:
        _ensure_marks(cursor, source)
    _compare(cursor, source)
    if is_new:
        totals.begin(cursor, source)
    else:  # one that is not counted yet, or not by this day, is counted aside: `upkeep`
        totals.forget_lost_day(cursor, source)
    return is_new


def _ensure_marks(cursor, source: Source) -> None:
    """The column for marks, on a table that was made before its source declared anomalies."""
    found = "SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped"
    cursor.execute(found, (f'{CURATED}."{source.table}"', ANOMALIES))
    if cursor.fetchone() is None:  # asked first: adding it, even in vain, waits for all who read the table
        add = sql.SQL("ALTER TABLE {} ADD COLUMN {} jsonb")
        cursor.execute(add.format(curated(source), sql.Identifier(ANOMALIES)))


def _compare(cursor, source: Source) -> None:
    found, known = table_columns.types(cursor, CURATED, source.table), table_columns.known(cursor, source.table)
    declared = {c.name: c.type for c in source.columns}
    accepted = {c.name for c in source.columns if table_columns.is_accepted(source, c, found.get(c.name), known)}
    accepted.update(name for name, column in known.items() if column.added and name not in declared)
    declared.update(LINEAGE)
    found.pop(ANOMALIES, None)  # marks stay where they are when a source declares no anomalies any more
    table = f"{CURATED}.{source.table}"
    differences, remedies = [], []
    for name, kind in declared.items():
        if name in accepted or found.get(name) == kind:
            continue
        if name in found:
            differences.append(f"{name} is {found[name]}, declared as {kind}")
            remedies.append(f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {kind} USING {name}::{kind};")
        else:
            differences.append(f"{name}, declared as {kind}, is not there")
            remedies.append(f"ALTER TABLE {table} ADD COLUMN {name} {kind};")
    for name, kind in found.items():
        if name not in declared and name not in accepted:
            differences.append(f"{name}, {kind}, is not declared")
            remedies.append(f"ALTER TABLE {table} DROP COLUMN {name}; -- and its data")
    cursor.execute(
        "SELECT array_agg(a.attname::text ORDER BY array_position(i.indkey::int2[], a.attnum)) FROM pg_index i"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)"
        " WHERE i.indisprimary AND i.indrelid = to_regclass(%s)",
        (f'{CURATED}."{source.table}"',),
    )
    key = tuple(cursor.fetchone()[0] or ())
    if sorted(key) != sorted(source.key):
        differences.append(f"its key is {', '.join(key) or 'none'}, declared as {', '.join(source.key)}")
        remedies.append(
            f"ALTER TABLE {table} DROP CONSTRAINT {source.table}_pkey, ADD PRIMARY KEY ({', '.join(source.key)});"
        )
    if remedies:
        raise SchemaMismatch(
            f"{table} differs from the columns that the source declares: {'; '.join(differences)}",
            source=source.name,
            next_step="change the declaration, or the table: " + " ".join(remedies),
        )


def create_staging(cursor, source: Source, run_id: str) -> None:
    """The run's staging table, empty; a retry starts anew. Unlogged and without constraints: COPY at full speed."""
    columns = [sql.SQL("{} {}").format(sql.Identifier(c.name), sql.SQL(c.type)) for c in source.columns]
    columns += [sql.SQL(f"{FINGERPRINT} bigint"), sql.SQL(f"{SEQ} bigint")]
    columns += [sql.SQL(f"{ANOMALIES} jsonb")] if source.anomalies else []
    drop_staging(cursor, source.table, run_id)
    cursor.execute(
        sql.SQL("CREATE UNLOGGED TABLE {} ({}) WITH (autovacuum_enabled = false)").format(
            staging(source.table, run_id), sql.SQL(", ").join(columns)
        )
    )


def count_staged(cursor, table: str, run_id: str) -> int:
    cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(staging(table, run_id)))
    return cursor.fetchone()[0]


def drop_staging(cursor, table: str, run_id: str) -> None:
    cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(staging(table, run_id)))


def copy_columns(source: Source) -> sql.Composable:
    """The columns of a staged row, in the order of `copy_text`."""
    return sql.SQL(", ").join(map(sql.Identifier, (*source.column_names, FINGERPRINT, SEQ)))


def equal(left: str, right: str, key: tuple[str, ...]) -> sql.Composable:
    """That two rows have the same key, by the aliases of their tables."""
    pairs = [sql.SQL("{}.{} = {}.{}").format(*map(sql.Identifier, (left, name, right, name))) for name in key]
    return sql.SQL(" AND ").join(pairs)
