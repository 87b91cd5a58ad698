"""What both of dlt's contestants share: the settings that made it fastest here, and its pipeline."""

from __future__ import annotations

import os
from contextlib import closing

import psycopg2

from benchmarks.race.heat import Load

# dlt's own names for its configuration; without them its record path takes 44 s of a million rows instead of 18 to 23
SETTINGS = {
    "SOURCES__DATA_WRITER__FILE_MAX_ITEMS": "100000",
    "NORMALIZE__WORKERS": "2",
    "LOAD__WORKERS": "2",
    "DATA_WRITER__BUFFER_MAX_ITEMS": "50000",
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "250000",
    "SOURCES__DATA_WRITER__DISABLE_COMPRESSION": "true",
    "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
}

# through ADBC: of 600,000 rows as Arrow tables 3.2 s of CPU instead of 4.1 with CSV; INSERT statements, its default,
# take more than twice as much of both sides. With records, Parquet and CSV are a tie.
FILE_FORMAT = "parquet"

# an update of all rows, equal or not, takes twice as long at the second load
UPSERT = {"disposition": "merge", "strategy": "upsert", "skip_unchanged_rows": True}


def pipeline(load: Load):
    """The pipeline of a load; the one of the same schema before it is continued."""
    os.environ.update(SETTINGS)
    os.environ["DLT_DATA_DIR"] = load.scratch
    import dlt

    return dlt.pipeline(
        load.schema,
        destination=dlt.destinations.postgres(_credentials(load.database_url)),
        dataset_name=load.schema,
        pipelines_dir=load.scratch,
    )


def _credentials(database_url: str) -> str:
    """dlt insists on a host and a password; libpq takes the socket's folder, which comes later, for the host."""
    return database_url.replace("@/", ":none@localhost/")


def add_key(load: Load) -> None:
    """dlt declares no primary key in Postgres. An index made after the rows is faster than one beside them."""
    with closing(psycopg2.connect(load.database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_index WHERE indrelid = %s::regclass AND indisprimary", (f"{load.schema}.{load.table}",)
        )
        if cursor.fetchone() is None:
            cursor.execute(f"ALTER TABLE {load.schema}.{load.table} ADD PRIMARY KEY (id)")
