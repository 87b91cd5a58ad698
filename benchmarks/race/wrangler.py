"""awswrangler's upsert: INSERT … ON CONFLICT DO UPDATE of many rows each, through pg8000."""

from __future__ import annotations

import urllib.parse
from contextlib import closing

import awswrangler
import pg8000

from benchmarks.race import frames
from benchmarks.race.heat import Load, serve

# rows a statement; 8 columns of the 65,535 parameters that one may have
CHUNK = 1000


def wrangler(load: Load) -> None:
    frame = frames.latest(load)
    with closing(_connect(load.database_url)) as connection:
        awswrangler.postgresql.to_sql(
            frame,
            connection,
            table=load.table,
            schema=load.schema,
            mode="upsert",
            upsert_conflict_columns=["id"],
            use_column_names=True,
            chunksize=CHUNK,
            dtype={"ordered_at": "TIMESTAMPTZ"},
        )
        with closing(connection.cursor()) as cursor:
            cursor.execute("SELECT 1 FROM pg_index WHERE indisprimary AND indrelid = %s::regclass", (_name(load),))
            if cursor.fetchone() is None:
                # it made the column unique, by a constraint of this name, which becomes the primary key's index
                cursor.execute(f"ALTER TABLE {_name(load)} DROP CONSTRAINT {load.table}_id_key, ADD PRIMARY KEY (id)")
        connection.commit()


def _name(load: Load) -> str:
    return f"{load.schema}.{load.table}"


def _connect(database_url: str):
    """pg8000 takes no URL; the server is on a Unix socket in the folder that the URL names."""
    url = urllib.parse.urlsplit(database_url)
    [folder] = urllib.parse.parse_qs(url.query)["host"]
    return pg8000.connect(user=url.username, database=url.path[1:], unix_sock=f"{folder}/.s.PGSQL.5432")


if __name__ == "__main__":
    serve(wrangler)
