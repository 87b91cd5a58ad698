"""How much of what an exact search finds the index finds, and how long a search takes.

    python -m benchmarks.search [--rows 100000] [--queries 200]

In a Postgres of its own, a table of 100,000 rows, each of one passage of 384 dimensions. The vectors are seeded and
lie in 2,000 clusters, and these around 100 topics, as texts about the same things do: among vectors without any, all
are about as near as each other, and which ten are the nearest means nothing. Each query is in a cluster, and none of
its vectors.

Recall is the share of the ten nearest, found by comparing the query with all vectors in numpy, that the search gives.
Times are of a search from Python, without the model that embeds the query. A filter keeps a share of the rows that has
nothing to do with their vectors. Texts are 30 words of a vocabulary whose frequencies are like those of prose.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import numpy as np
from psycopg2 import sql

from chalicelib.columns import Column
from chalicelib.embeddings import index, store
from chalicelib.embeddings.passages import Passage
from chalicelib.search import fulltext, fusion, semantic
from chalicelib.search.declaration import HALF, SINGLE
from chalicelib.search.hit import EVERY_ROW, Filter
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, migrations, tables
from local.postgres import Postgres

MODEL, DIMENSIONS = "clusters/384", 384
TOPICS, CLUSTERS = 100, 2000
SPREAD = 0.6  # of a cluster, and of the clusters of a topic, beside the distance between two topics
TEN = 10
BATCH = 5000
# column and the share that it keeps; of the two columns, `percent` has an index
FILTERS = {
    "no filter": None,
    "filter keeps 50%": ("percent", 50),
    "filter keeps 10%": ("percent", 10),
    "filter keeps 1%": ("percent", 1),
    "filter keeps 1%, unindexed column": ("unindexed", 1),
}
WORDS = 30_000
RARITIES = {"a rare word": 2000, "a common word": 20, "a rare and a common word": (2000, 20)}


class Articles(Source):
    name = "articles"
    key = ("id",)
    columns = (
        Column("id", "integer"),
        Column("percent", "integer"),
        Column("unindexed", "integer"),
        Column("body", "text"),
    )
    text = ("body",)


@click.command()
@click.option("--rows", default=100_000, show_default=True)
@click.option("--queries", default=200, show_default=True)
def main(rows: int, queries: int) -> None:
    """Print recall and times of searches by meaning, of single and of half precision, by words, and by both."""
    rng = np.random.default_rng(1)
    topics = rng.normal(size=(TOPICS, DIMENSIONS)).astype(np.float32)
    centres = topics[np.arange(CLUSTERS) % TOPICS]
    centres = centres + SPREAD * rng.normal(size=centres.shape).astype(np.float32)
    vectors = _near(rng, centres[rng.integers(CLUSTERS, size=rows)])
    asked = _near(rng, centres[rng.integers(CLUSTERS, size=queries)])
    percent = rng.permutation(rows) % 100
    source = Articles()
    with tempfile.TemporaryDirectory(prefix="sluice-search-") as folder:
        postgres = Postgres(Path(folder, "data"), Path(folder, "log"))
        postgres.start()
        try:
            migrations.apply(postgres.database_url)
            with connection.transaction(postgres.database_url) as conn:
                _fill(conn, source, rng, vectors, percent)
            with connection.transaction(postgres.database_url) as conn:
                _analyze(conn)
            click.echo(f"{rows:,} rows of {DIMENSIONS} dimensions, {queries} queries, the {TEN} best rows of each\n")
            click.echo(f"{'':34}{'recall':>9}{'p50':>10}{'p95':>10}")
            for precision in (SINGLE, HALF):
                source.vectors = precision
                _semantic(postgres.database_url, source, vectors, asked, percent)
            _text(postgres.database_url, source, asked)
        finally:
            postgres.stop()


def _near(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """A unit vector near each of `points` (n, DIMENSIONS)."""
    vectors = points + SPREAD * rng.normal(size=points.shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _fill(conn, source: Source, rng: np.random.Generator, vectors: np.ndarray, percent: np.ndarray) -> None:
    frequencies = 1 / np.arange(1, WORDS + 1)
    words = rng.choice(WORDS, size=(len(vectors), 30), p=frequencies / frequencies.sum())
    texts = [" ".join(f"word{word}" for word in row) for row in words]
    with conn.cursor() as cursor:
        tables.ensure_curated(cursor, source)
        lines = (f"{n}\t{percent[n]}\t{percent[n]}\t{text}\tr\t0:1\t0\tnow\n" for n, text in enumerate(texts))
        cursor.copy_expert(sql.SQL("COPY {} FROM STDIN").format(tables.curated(source)), io.StringIO("".join(lines)))
    pending = [store.Pending(f"[{n}]", text, hashlib.sha256(text.encode()).digest()) for n, text in enumerate(texts)]
    for start in range(0, len(pending), BATCH):
        rows = pending[start : start + BATCH]
        passages = [[Passage(0, len(row.text))] for row in rows]
        store.write(conn, source, MODEL, "benchmark", rows, passages, vectors[start : start + BATCH])


def _analyze(conn) -> None:
    with conn.cursor() as cursor:
        cursor.execute("CREATE INDEX ON curated.articles (percent)")
        cursor.execute("ANALYZE curated.articles; ANALYZE pipeline.embeddings")


def _semantic(url: str, source: Source, vectors: np.ndarray, asked: np.ndarray, percent: np.ndarray) -> None:
    started = time.perf_counter()
    with connection.transaction(url) as conn:
        index.ensure(conn, source, MODEL, DIMENSIONS)
    built = time.perf_counter() - started
    with connection.transaction(url) as conn, conn.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_relation_size(to_regclass('pipeline.' || quote_ident(indexname)))) FROM pg_indexes"
            " WHERE indexdef LIKE '%USING hnsw%'"
        )
        (size,) = cursor.fetchone()
    click.echo(f"{source.vectors} precision: index of {float(size) / 1e6:,.0f} MB, built in {built:.0f} s")
    similarity = asked @ vectors.T
    for name, condition in FILTERS.items():
        kept, among = EVERY_ROW, similarity
        if condition is not None:
            column, share = condition
            kept = Filter(sql.SQL("t.{} < {}").format(sql.Identifier(column), sql.Literal(share)))
            among = np.where(percent < share, similarity, -2)
        exact = np.argpartition(-among, TEN, axis=1)[:, :TEN]
        found: list[list[int]] = []
        times = []
        with connection.transaction(url) as conn:
            for vector in asked:
                started = time.perf_counter()
                hits = semantic.nearest(conn, source, MODEL, vector, TEN, kept)
                times.append(time.perf_counter() - started)
                found.append([int(hit.key[1:-1]) for hit in hits])
        recall = np.mean([len(set(one) & set(of)) / TEN for one, of in zip(found, exact.tolist(), strict=True)])
        _line(f"  {name}", f"{recall:.1%}", times)


def _text(url: str, source: Source, asked: np.ndarray) -> None:
    started = time.perf_counter()
    with connection.transaction(url) as conn, conn.cursor() as cursor:
        fulltext.ensure_index(cursor, source)
    click.echo(f"full text: index built in {time.perf_counter() - started:.0f} s")
    for name, ranks in RARITIES.items():
        ranks = ranks if isinstance(ranks, tuple) else (ranks,)
        queries = [" ".join(f"word{rank + n % 10}" for rank in ranks) for n in range(len(asked))]
        _line(f"  {name}", "", _timed(url, queries, lambda conn, words: fulltext.matching(conn, source, words, TEN)))

    def both(conn, given: tuple[np.ndarray, str]) -> None:
        vector, words = given
        found = {
            "semantic": [hit.row for hit in semantic.nearest(conn, source, MODEL, vector, 50)],
            "text": [hit.row for hit in fulltext.matching(conn, source, words, 50)],
        }
        fusion.fuse(found)

    queries = [(vector, f"word{2000 + n % 10}") for n, vector in enumerate(asked)]
    _line("hybrid, a rare word", "", _timed(url, queries, both))


def _timed(url: str, queries: list, ask: Callable) -> list[float]:
    times = []
    with connection.transaction(url) as conn:
        for query in queries:
            started = time.perf_counter()
            ask(conn, query)
            times.append(time.perf_counter() - started)
    return times


def _line(name: str, recall: str, times: list[float]) -> None:
    cells = (f"{1000 * seconds:.1f} ms" for seconds in (median(times), float(np.quantile(times, 0.95))))
    click.echo(f"{name:34}{recall:>9}" + "".join(f"{cell:>10}" for cell in cells))


if __name__ == "__main__":
    main()
