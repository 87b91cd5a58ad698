"""Vectors of a shard that ended are on the disk, though no commit but the last waited for it."""

import os
import signal

import psycopg2
import pytest
from searchable_notes import Letters, Notes, connect, put

from chalicelib.embeddings import store
from chalicelib.warehouse import migrations
from local.postgres import Postgres

NOTES = Notes()


@pytest.fixture
def postgres(tmp_path):
    """One that writes to the disk when it must, and may be killed."""
    server = Postgres(tmp_path / "data", tmp_path / "log")
    server.start()
    migrations.apply(server.database_url)
    connection = psycopg2.connect(server.database_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        cursor.execute("SELECT pg_reload_conf()")
    connection.close()
    yield server
    server.stop()


def crash(server: Postgres) -> None:
    """What is in the memory of Postgres alone is lost, and nothing else."""
    os.kill(server.pid, signal.SIGQUIT)
    server._process.wait()
    server.start()


def stored(server: Postgres) -> int:
    with psycopg2.connect(server.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pipeline.embeddings")
        (count,) = cursor.fetchone()
    connection.close()
    return count


def test_a_crash_takes_back_no_vector_of_a_shard_that_ended(postgres):
    connection = connect(postgres.database_url)
    put(connection, *((number, f"note {number}", None) for number in range(50)))
    assert store.embed_pending(connection, NOTES, Letters(), "run", 0, 1, batch=10, commit_seconds=0) == 50
    crash(postgres)
    assert stored(postgres) == 50


def test_a_retry_waits_for_what_the_attempt_before_it_did_not_wait_for(postgres, monkeypatch):
    """It finds nothing pending, where the first one was cut off before its last commit; and that it says so counts."""
    connection = connect(postgres.database_url)
    put(connection, *((number, f"note {number}", None) for number in range(50)))
    with monkeypatch.context() as cut_off:
        cut_off.setattr(store.Held, "flush", lambda held: None)
        store.embed_pending(connection, NOTES, Letters(), "run", 0, 1, batch=10, commit_seconds=0)
    assert store.embed_pending(connection, NOTES, Letters(), "run", 0, 1) == 0
    crash(postgres)
    assert stored(postgres) == 50


def test_what_a_crash_takes_back_in_the_middle_of_a_shard_is_pending_again(postgres, monkeypatch):
    """Without the last commit a crash may take vectors: the test before this one can fail."""
    monkeypatch.setattr(store.Held, "flush", lambda held: None)
    connection = connect(postgres.database_url)
    put(connection, *((number, f"note {number}", None) for number in range(50)))
    store.embed_pending(connection, NOTES, Letters(), "run", 0, 1, batch=10, commit_seconds=0)
    crash(postgres)
    kept = stored(postgres)
    assert kept < 50
    connection = psycopg2.connect(postgres.database_url)
    assert store.embed_pending(connection, NOTES, Letters(), "next", 0, 1) == 50 - kept
    connection.close()
    assert stored(postgres) == 50
