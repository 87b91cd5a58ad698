"""Vectors: how fast they are written against a bare binary COPY, and that an unchanged run embeds none again."""

from __future__ import annotations

import json
import statistics
import time
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
# texts whose vectors a transaction of EmbedShard writes
BATCH = 256


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


def bare(connection, given: Vectors) -> float:
    """Seconds of one binary COPY of the same rows into a table without a key, that is then dropped."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE public.bare (key text, content_hash bytea, passage integer, start integer, length integer,"
            " embedding vector)"
        )
        connection.commit()
        started = time.perf_counter()
        stream = binary_copy.encode(
            [row.key for row in given.rows],
            [row.content_hash for row in given.rows],
            [(0, *passage) for [passage] in given.passages],
            given.vectors,
        )
        cursor.copy_expert("COPY public.bare FROM STDIN (FORMAT binary)", stream)
        connection.commit()
        seconds = time.perf_counter() - started
        cursor.execute("DROP TABLE public.bare")
        connection.commit()
    return seconds


def written(connection, given: Vectors, run_id: str) -> float:
    """Seconds of writing them as EmbedShard does: keyed, replacing older ones, a transaction per `BATCH`."""
    source = sources.get(SOURCE)
    started = time.perf_counter()
    for start in range(0, len(given.rows), BATCH):
        part = slice(start, start + BATCH)
        store.write(connection, source, MODEL, run_id, given.rows[part], given.passages[part], given.vectors[part])
        connection.commit()
    return time.perf_counter() - started


@click.command()
@click.option("--vectors", default=100_000, show_default=True)
@click.option("--times", default=3, show_default=True)
def main(vectors: int, times: int) -> None:
    """Print, as JSON, vectors per second by both ways, and how many texts two runs of the same posts embedded.

    The environment is that of a running stack.
    """
    given = make(vectors)
    of_bare, of_written = [], []
    with closing(psycopg2.connect(settings_module.current().database_url)) as connection:
        for number in range(times):
            of_bare.append(bare(connection, given))
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
        "written_per_second": vectors / statistics.median(of_written),
        "embedded": embedded,
    }
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
