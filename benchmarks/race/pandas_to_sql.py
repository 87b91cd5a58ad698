"""pandas `to_sql`, with the method that its documentation gives for an upsert: INSERT … ON CONFLICT DO UPDATE."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import sqlalchemy
from sqlalchemy.dialects.postgresql import insert

from benchmarks.race import frames
from benchmarks.race.floor import create
from benchmarks.race.heat import Load, serve

CHUNK = 5_000
PAGE = 1000


def pandas_to_sql(load: Load) -> None:
    with closing(psycopg2.connect(load.database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(create(load))  # `to_sql` makes no key
    frame = frames.latest(load)
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg2://", creator=lambda: psycopg2.connect(load.database_url), insertmanyvalues_page_size=PAGE
    )
    frame.to_sql(
        load.table, engine, schema=load.schema, if_exists="append", index=False, chunksize=CHUNK, method=_upsert
    )
    engine.dispose()


def _upsert(table, connection, names, rows) -> int:
    statement = insert(table.table)
    others = {name: statement.excluded[name] for name in names if name != "id"}
    statement = statement.on_conflict_do_update(index_elements=["id"], set_=others)
    # rows beside the statement, not `values(rows)` in it, are compiled once for all pages: half of the CPU
    return connection.execute(statement, [dict(zip(names, row, strict=True)) for row in rows]).rowcount


if __name__ == "__main__":
    serve(pandas_to_sql)
