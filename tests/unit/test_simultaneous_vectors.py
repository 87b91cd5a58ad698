"""Several writers of the same vectors at once, and one that is killed: no error, no text with those of two writers."""

import concurrent.futures
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psycopg2
import pytest
from searchable_notes import Letters, Notes, connect, put

from chalicelib.embeddings import store
from chalicelib.embeddings.passages import Passage
from chalicelib.errors import EmbeddingsUnavailable

NOTES = Notes()
MODEL = "numbers/3"
WAIT_SECONDS = 20


@pytest.fixture
def connection(database_url):
    connection = connect(database_url)
    yield connection
    connection.close()


@pytest.fixture
def other(database_url):
    connection = psycopg2.connect(database_url)
    yield connection
    connection.close()


def write(connection, writer, numbers, passages=1, has_vectors=False):
    """Vectors of texts, all (writer, writer, writer), as a transaction of EmbedShard writes them; not committed."""
    keys = sorted((f'["ada", {number}]' for number in numbers), key=lambda key: (len(key), key))
    rows = [store.Pending(key, "text", writer.to_bytes(32, "big"), has_vectors) for key in keys]
    vectors = np.full((len(rows) * passages, 3), writer, np.float32)
    store.write(connection, NOTES, MODEL, f"run-{writer}", rows, [[Passage(0, 4)] * passages] * len(rows), vectors)


def stored(connection):
    """By key, what is stored of each passage: the run, the number that the hash is, and the vector."""
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT key, passage, run_id, get_byte(content_hash, 31), embedding::text FROM pipeline.embeddings"
            " ORDER BY key, passage"
        )
        for key, passage, *values in cursor:
            found.setdefault(key, []).append(values)
            assert len(found[key]) == passage + 1
    connection.rollback()
    return found


def of(writer, passages=1):
    return [[f"run-{writer}", writer, f"[{writer},{writer},{writer}]"]] * passages


def wait_until_blocked(connection, pid):
    """Until the session waits for a lock."""
    deadline = time.monotonic() + WAIT_SECONDS
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT cardinality(pg_blocking_pids(%s))", (pid,))
            if cursor.fetchone()[0]:
                return
            time.sleep(0.01)
    pytest.fail("it did not wait")


def commit_after(connection, *given, **options):
    write(connection, *given, **options)
    connection.commit()


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("has_vectors", [False, True], ids=["new", "replaced"])
def test_who_comes_second_to_a_key_waits_and_replaces_all_of_the_other_ones_passages(
    connection, other, end, has_vectors
):
    write(connection, 1, range(5), passages=3)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        second = pool.submit(commit_after, other, 2, range(3, 8), passages=2, has_vectors=has_vectors)
        wait_until_blocked(connection, other.info.backend_pid)
        getattr(connection, end)()
        second.result(WAIT_SECONDS)
    first = {f'["ada", {number}]': of(1, 3) for number in range(3)} if end == "commit" else {}
    assert stored(connection) == first | {f'["ada", {number}]': of(2, 2) for number in range(3, 8)}


def test_new_vectors_of_other_keys_wait_for_nobody(connection, other):
    write(connection, 1, range(5))
    with other.cursor() as cursor:
        cursor.execute("SET lock_timeout = '1ms'")
    commit_after(other, 2, range(5, 10))
    connection.commit()
    assert len(stored(connection)) == 10


def test_vectors_that_another_writer_has_committed_meanwhile_are_replaced(connection, other):
    commit_after(other, 1, range(4), passages=2)
    commit_after(connection, 2, range(2, 6))
    assert stored(connection) == {f'["ada", {n}]': of(1, 2) if n < 2 else of(2) for n in range(6)}


def test_nothing_but_a_key_that_is_there_already_sends_a_writer_the_other_way(connection, other):
    with other.cursor() as cursor:
        cursor.execute("ALTER TABLE pipeline.embeddings ADD CONSTRAINT refused CHECK (run_id <> 'run-1')")
    other.commit()
    try:
        with pytest.raises(psycopg2.errors.CheckViolation):
            write(connection, 1, range(3))
        connection.rollback()
        assert stored(connection) == {}
    finally:
        with other.cursor() as cursor:
            cursor.execute("ALTER TABLE pipeline.embeddings DROP CONSTRAINT refused")
        other.commit()


@pytest.mark.parametrize("seed", range(3))
def test_many_writers_of_overlapping_keys_all_succeed(connection, database_url, seed):
    """Some believe that their keys are new, some that they have vectors, and either may be wrong."""

    def work(writer):
        chance = random.Random(f"{seed} {writer}")
        own = psycopg2.connect(database_url)
        try:
            written = set()
            for _ in range(12):
                numbers = chance.sample(range(150), 60)
                commit_after(own, writer, numbers, passages=writer % 3 + 1, has_vectors=chance.random() < 0.3)
                written.update(numbers)
            return written
        finally:
            own.close()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        written = set().union(*pool.map(work, range(1, 6)))
    found = stored(connection)
    assert set(found) == {f'["ada", {number}]' for number in written}
    for values in found.values():
        writer = values[0][1]
        assert values == of(writer, writer % 3 + 1)


def test_two_runs_that_embed_the_same_texts_at_once_leave_one_vector_of_each(connection, database_url):
    put(connection, *((number, f"note {number}", None) for number in range(300)))

    def work(run_id, shards, shard):
        own = psycopg2.connect(database_url)
        try:
            return store.embed_pending(own, NOTES, Letters(), run_id, shard, shards, batch=20, commit_seconds=0)
        finally:
            own.close()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = [pool.submit(work, *shard) for shard in (("one", 2, 0), ("one", 2, 1), ("other", 1, 0))]
        embedded = [one.result() for one in running]
    assert sum(embedded[:2]) >= 1 and max(embedded) <= 300 <= sum(embedded)
    assert len(stored(connection)) == 300
    assert store.embed_pending(connection, NOTES, Letters(), "again", 0, 1) == 0


# --- commits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "vectors", "transactions"),
    [(0, 4096, 5), (3600, 4096, 1), (3600, 20, 3)],
    ids=["by-time", "at-the-end", "by-number"],
)
def test_vectors_are_committed_after_a_time_or_a_number(connection, monkeypatch, seconds, vectors, transactions):
    monkeypatch.setattr(store, "VECTORS_PER_COMMIT", vectors)
    put(connection, *((number, f"note {number}", None) for number in range(50)))
    assert store.embed_pending(connection, NOTES, Letters(), "run", 0, 1, batch=10, commit_seconds=seconds) == 50
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT xmin::text) FROM pipeline.embeddings")
        assert cursor.fetchone() == (50, transactions)


def test_what_was_made_is_stored_before_an_error_of_the_model_is_told(connection):
    put(connection, *((number, f"note {number}", None) for number in range(30)))
    with pytest.raises(EmbeddingsUnavailable, match="gone"):
        store.embed_pending(connection, NOTES, Ending(20, None), "run", 0, 1, batch=10, commit_seconds=3600)
    connection.rollback()
    assert len(stored(connection)) == 20


class Ending(Letters):
    """A model that is gone after so many texts, or with it the process that asks."""

    def __init__(self, texts, number):
        self.left, self.signal = texts, number

    def embed(self, texts):
        self.left -= len(texts)
        if self.left < 0:
            if self.signal is None:
                raise EmbeddingsUnavailable("the model is gone")
            os.kill(os.getpid(), self.signal)
        return super().embed(texts)


def embed_and_die(database_url, seconds):
    own = psycopg2.connect(database_url)
    store.embed_pending(own, NOTES, Ending(30, signal.SIGKILL), "killed", 0, 1, batch=10, commit_seconds=seconds)


@pytest.mark.parametrize(("seconds", "kept"), [(0, 30), (3600, 0)], ids=["just-committed", "between-two-commits"])
def test_a_worker_that_is_killed_leaves_whole_transactions_and_the_next_goes_on(
    connection, database_url, seconds, kept
):
    put(connection, *((number, f"note {number}", None) for number in range(50)))
    code = f"import {Path(__file__).stem} as test; test.embed_and_die({database_url!r}, {seconds})"
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    ended = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    assert ended.returncode == -signal.SIGKILL
    assert len(stored(connection)) == kept
    assert store.embed_pending(connection, NOTES, Letters(), "next", 0, 1) == 50 - kept
    assert len(stored(connection)) == 50
