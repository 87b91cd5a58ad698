"""The login that infra/database.sql makes is enough for the pipeline, and for nothing else."""

import subprocess
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import errors

from chalicelib.errors import ConfigurationError
from chalicelib.warehouse import migrations
from local.postgres import BINARIES, Postgres

SCRIPT = Path(__file__).parents[2] / "infra" / "database.sql"


def url(server: Postgres, user: str, database: str = "sluice") -> str:
    parameters = psycopg2.extensions.parse_dsn(server.database_url) | {"user": user, "dbname": database}
    return psycopg2.extensions.make_dsn(**parameters)


def execute(dsn: str, statement: str) -> list[tuple]:
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server as RDS hands it over: without our database and our login."""
    folder = tmp_path_factory.mktemp("role")
    server = Postgres(folder / "data", folder / "log")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def prepared(server):
    execute(url(server, "postgres", "postgres"), "DROP DATABASE IF EXISTS sluice WITH (FORCE)")
    execute(url(server, "postgres", "postgres"), "DROP ROLE IF EXISTS sluice, sluice_reader")
    subprocess.run(
        [BINARIES / "psql", url(server, "postgres", "postgres"), "-v", "ON_ERROR_STOP=1", "-q", "-f", SCRIPT],
        check=True,
    )
    return server


def test_the_login_applies_all_migrations_and_owns_what_they_make(prepared):
    assert migrations.apply(url(prepared, "sluice")) == sorted(path.stem for path in migrations.FOLDER.glob("*.sql"))
    owners = execute(
        url(prepared, "postgres"),
        "SELECT nspname FROM pg_namespace WHERE pg_get_userbyid(nspowner) = 'sluice' ORDER BY nspname",
    )
    assert owners == [("curated",), ("pipeline",), ("staging",)]


def test_the_login_may_do_nothing_beyond_its_database(prepared):
    [attributes] = execute(
        url(prepared, "postgres"),
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
        " FROM pg_roles WHERE rolname = 'sluice'",
    )
    assert attributes == (False,) * 5
    for statement in (
        "CREATE DATABASE more",
        "CREATE ROLE more",
        "CREATE TABLE public.more (id integer)",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            execute(url(prepared, "sluice"), statement)


def test_nobody_else_may_connect(prepared):
    execute(url(prepared, "postgres"), "CREATE ROLE stranger LOGIN")
    try:
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            execute(url(prepared, "stranger"), "SELECT 1")
    finally:
        execute(url(prepared, "postgres"), "DROP ROLE stranger")


@pytest.mark.parametrize(
    ("missing", "refused"),
    [
        ("DROP EXTENSION vector", r'migration 0002_embeddings: permission denied to create extension "vector"'),
        ("REVOKE CREATE ON DATABASE sluice FROM sluice", "the schema pipeline: permission denied for database sluice"),
    ],
)
def test_what_the_administrator_left_out_is_said_and_nothing_is_half_done(prepared, missing, refused):
    execute(url(prepared, "postgres"), missing)
    with pytest.raises(ConfigurationError, match=refused) as raised:
        migrations.apply(url(prepared, "sluice"))
    assert "infra/database.sql" in str(raised.value)
    assert execute(url(prepared, "postgres"), "SELECT to_regnamespace('pipeline')") == [(None,)]
