"""Vectors: how fast they are written against binary COPY alone, and that an unchanged run embeds none again."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import click
import numpy as np
import psycopg2

from benchmarks.race.sluice import execute
from chalicelib import settings as settings_module
from chalicelib import sources
from chalicelib.embeddings import binary_copy, store
from chalicelib.embeddings.passages import Passage
from chalicelib.embeddings.provider import unit_length
from chalicelib.embeddings.store import Pending

DIMENSIONS = 384
MODEL = "race"
SOURCE = "posts"
# without a key, and with the key and the index that the pipeline's has
BARE = (
    "CREATE TABLE public.copied (key text, content_hash bytea, passage integer, start integer, length integer,"
    " embedding vector)"
)
KEYED = "CREATE TABLE public.copied (LIKE pipeline.embeddings INCLUDING ALL)"
PLACED = "key, content_hash, passage, start, length, embedding"


@dataclass(frozen=True)
class Vectors:
    """Texts, one passage each, and a vector of unit length for each."""

    rows: list[Pending]
    passages: list[list[Passage]]
    vectors: np.ndarray


def make(count: int) -> Vectors:
    random = np.random.default_rng(1)
    vectors = unit_length(random.standard_normal((count, DIMENSIONS), dtype=np.float32))
    rows = [Pending(f"[{number}]", "", number.to_bytes(32, "big")) for number in range(count)]
    return Vectors(rows, [[Passage(0, 40)]] * count, vectors)


def copied(connection, given: Vectors, table: str, constants: dict[str, str]) -> float:
    """Seconds of their binary COPY into a `table` of its own, in one transaction, in what blocks are read fastest.

    `constants` are the columns that have one value in all rows.
    """
    with connection.cursor() as cursor:
        cursor.execute(table)
        connection.commit()
        copy = f"COPY public.copied ({', '.join([*constants, PLACED])}) FROM STDIN (FORMAT binary)"
        started = time.perf_counter()
        for part in _parts(given):
            stream = binary_copy.Stream(
                tuple(constants.values()),
                [row.key for row in given.rows[part]],
                [row.content_hash for row in given.rows[part]],
                [(0, *passage) for [passage] in given.passages[part]],
                given.vectors[part],
            )
            cursor.copy_expert(copy, stream)
        connection.commit()
        seconds = time.perf_counter() - started
        cursor.execute("DROP TABLE public.copied")
        connection.commit()
    return seconds


def written(connection, given: Vectors, run_id: str) -> float:
    """Seconds of writing them as EmbedShard does, where the model is fast: a transaction per `VECTORS_PER_COMMIT`."""
    source = sources.get(SOURCE)
    started = time.perf_counter()
    held = store.Held(connection, source, MODEL, run_id, store.SECONDS_PER_COMMIT)
    for part in _parts(given):
        held.add(given.rows[part], given.passages[part], [given.vectors[part]])
    held.flush()
    return time.perf_counter() - started


def _parts(given: Vectors) -> Iterator[slice]:
    for start in range(0, len(given.rows), store.VECTORS_PER_COMMIT):
        yield slice(start, start + store.VECTORS_PER_COMMIT)


@click.command()
@click.option("--vectors", default=100_000, show_default=True)
@click.option("--times", default=9, show_default=True)
def main(vectors: int, times: int) -> None:
    """Print, as JSON, vectors per second by each way, and how many texts two runs of the same posts embedded.

    The environment is that of a running stack.
    """
    given = make(vectors)
    constants = {"model": MODEL, "table_name": SOURCE, "run_id": "embeddings"}
    of_bare, of_keyed, of_written = [], [], []
    with closing(psycopg2.connect(settings_module.current().database_url)) as connection:
        for number in range(times):
            of_bare.append(copied(connection, given, BARE, {}))
            of_keyed.append(copied(connection, given, KEYED, constants))
            of_written.append(written(connection, given, f"embeddings-{number}"))
            with connection, connection.cursor() as cursor:
                cursor.execute("DELETE FROM pipeline.embeddings WHERE model = %s", (MODEL,))
        embedded = []
        for run_id in ("embeddings-first", "embeddings-again"):
            execute(run_id, {"source": SOURCE, "embed": True})
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT embedded FROM pipeline.runs WHERE run_id = %s", (run_id,))
                embedded += cursor.fetchone()
    figures = {
        "vectors": vectors,
        "bare_per_second": vectors / statistics.median(of_bare),
        "keyed_per_second": vectors / statistics.median(of_keyed),
        "written_per_second": vectors / statistics.median(of_written),
        "embedded": embedded,
    }
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
