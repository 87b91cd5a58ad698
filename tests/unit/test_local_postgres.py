"""The local Postgres: it starts anywhere, keeps its data, survives what kills it, and leaves nothing running."""

import contextlib
import os
import select
import signal
import subprocess

import psutil
import psycopg2
import pytest
import sqlalchemy
from psycopg2 import extras

from local.postgres import BINARIES, PORT, SOCKET_PATH_BYTES, Postgres


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pg")


@pytest.fixture
def postgres(folder):
    """One cluster for all tests: each starts it, finds the data of those before, stops it."""
    server = Postgres(folder / "postgres", folder / "postgres.log")
    server.start()
    yield server
    server.stop()
    assert not processes(server)


def processes(server):
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(server.data):
                found.append(process)
    return found


def query(server, sql):
    with contextlib.closing(psycopg2.connect(server.database_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else None


def test_psql_psycopg2_and_sqlalchemy_take_the_url(postgres):
    assert query(postgres, "SELECT current_database()") == [("sluice",)]
    url = postgres.database_url.replace("postgresql://", "postgresql+psycopg2://", 1)
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
    engine.dispose()
    said = subprocess.run(
        [BINARIES / "psql", postgres.database_url, "-Atc", "SELECT 2"], capture_output=True, text=True
    )
    assert said.stdout == "2\n"


def test_vectors_and_change_streams_are_available_and_no_data_are_at_risk(postgres):
    query(postgres, "CREATE EXTENSION IF NOT EXISTS vector")
    names = ("wal_level", "fsync", "full_page_writes", "synchronous_commit", "listen_addresses")
    assert [query(postgres, f"SHOW {name}")[0][0] for name in names] == ["logical", "on", "on", "on", ""]


def test_data_outlive_a_restart(postgres):
    query(postgres, "CREATE TABLE kept AS SELECT 1 AS n")
    postgres.stop()
    postgres.start()
    assert query(postgres, "SELECT n FROM kept") == [(1,)]


def test_a_killed_server_starts_again_with_what_was_committed(postgres):
    query(postgres, "CREATE TABLE committed AS SELECT generate_series(1, 1000) AS n")
    os.kill(postgres.pid, signal.SIGKILL)
    postgres.start()
    assert query(postgres, "SELECT count(*) FROM committed") == [(1000,)]


def test_a_stale_pid_file_that_names_a_living_process_does_not_matter(postgres):
    postgres.stop()
    (postgres.data / "postmaster.pid").write_text(f"{os.getppid()}\n{postgres.data}\n1\n{PORT}\n\n\n\n")
    postgres.start()
    assert query(postgres, "SELECT 1") == [(1,)]


def test_a_busy_client_does_not_delay_the_stop(postgres):
    with contextlib.closing(psycopg2.connect(postgres.database_url)) as connection:
        connection.cursor().execute("SELECT 1")
        postgres.stop()
    assert not processes(postgres)


def test_who_reads_a_change_stream_and_confirms_nothing_does_not_keep_it_from_shutting_down(postgres):
    query(postgres, "CREATE TABLE streamed (n int)")
    query(postgres, "CREATE PUBLICATION streamed FOR TABLE streamed")
    connecting = psycopg2.connect(postgres.database_url, connection_factory=extras.LogicalReplicationConnection)
    with contextlib.closing(connecting) as connection, connection.cursor() as stream:
        stream.create_replication_slot("streamed", output_plugin="pgoutput")
        options = {"proto_version": "1", "publication_names": "streamed"}
        stream.start_replication("streamed", options=options, decode=False)
        query(postgres, "INSERT INTO streamed VALUES (1)")
        while not stream.read_message():
            select.select([stream], [], [], 10)
        postgres.stop()
    # killed, it says nothing more
    assert "database system is shut down" in postgres.log.read_text().splitlines()[-1]
    postgres.start()
    query(postgres, "SELECT pg_drop_replication_slot('streamed')")


def test_a_long_path_gets_its_socket_elsewhere(folder):
    deep = folder / ("long name/" * 12)
    server = Postgres(deep / "postgres", folder / "deep.log")
    assert len(os.fsencode(server.folder)) > SOCKET_PATH_BYTES
    server.start()
    try:
        assert query(server, "SELECT 1") == [(1,)]
    finally:
        server.stop()
    assert not server._socket_folder.exists()
