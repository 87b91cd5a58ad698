"""The floor: CSV that holds one row per key already, copied into an unlogged table, then one MERGE.

No pipeline into a keyed table of this Postgres can be faster by much; reading, parsing and finding the last record of
a key are done before the clock runs. Two connections copy, since one takes twice as long (0.9 s of 1,000,000 rows).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2

from benchmarks.race.heat import Load, serve

COLUMNS = {
    "id": "bigint",
    "customer": "integer",
    "city": "text",
    "status": "text",
    "amount": "double precision",
    "quantity": "integer",
    "ordered_at": "timestamptz",
    "note": "text",
}
BUFFER_BYTES = 1024 * 1024


def create(load: Load) -> str:
    """The statement that makes the table where there is none."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    return f"CREATE TABLE IF NOT EXISTS {load.schema}.{load.table} ({columns}, PRIMARY KEY (id))"


def prepared(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("all-*.csv"))


def floor(load: Load) -> None:
    target, staging = f"{load.schema}.{load.table}", f"{load.schema}.{load.table}_staging"
    with closing(psycopg2.connect(load.database_url)) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute(create(load))
            cursor.execute(f"CREATE UNLOGGED TABLE {staging} (LIKE {target})")
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda path: _copy(load.database_url, staging, path), prepared(load.folder)))
        others = [name for name in COLUMNS if name != "id"]
        with connection, connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {staging}")
            cursor.execute(
                f"MERGE INTO {target} AS t USING {staging} AS s ON t.id = s.id"
                f" WHEN MATCHED AND ({', '.join(f't.{name}' for name in others)})"
                f" IS DISTINCT FROM ({', '.join(f's.{name}' for name in others)})"
                f" THEN UPDATE SET {', '.join(f'{name} = s.{name}' for name in others)}"
                f" WHEN NOT MATCHED THEN INSERT VALUES ({', '.join(f's.{name}' for name in COLUMNS)})"
            )
            cursor.execute(f"DROP TABLE {staging}")


def _copy(database_url: str, staging: str, path: Path) -> None:
    copy = f"COPY {staging} FROM STDIN (FORMAT csv)"
    with path.open("rb") as file, closing(psycopg2.connect(database_url)) as connection, connection:
        connection.cursor().copy_expert(copy, file, size=BUFFER_BYTES)


if __name__ == "__main__":
    serve(floor)
