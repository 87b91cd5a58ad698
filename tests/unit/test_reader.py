"""As whom the API reads: the tables of runs and what is published, never the tokens, never a write, never long."""

import psycopg2
import pytest
from psycopg2 import errors

from chalicelib.errors import ConfigurationError, RequestRefused
from chalicelib.warehouse import connection, migrations, reader


@pytest.fixture(scope="module")
def published(database_url):
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS curated.made_after_the_role (id integer)")
    return database_url


def test_it_reads_what_is_published_later_and_the_pipelines_tables_but_the_tokens(published):
    with reader.transaction(published) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == (reader.ROLE,)
        cursor.execute("SELECT count(*) FROM curated.made_after_the_role")
        cursor.execute(
            "SELECT relname, has_table_privilege(c.oid, 'SELECT') FROM pg_class c"
            " WHERE relnamespace = 'pipeline'::regnamespace AND relkind = 'r'"
        )
        readable = dict(cursor.fetchall())
    assert [name for name, may in sorted(readable.items()) if not may] == ["api_tokens"]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT sha256 FROM pipeline.api_tokens",
        "SELECT name FROM pipeline.api_tokens",
        "INSERT INTO pipeline.api_tokens (name, sha256, scopes) VALUES ('x', 'x', '{admin}')",
        "DELETE FROM pipeline.runs",
        "UPDATE pipeline.cursors SET position = '2020-01-01'",
        "INSERT INTO curated.made_after_the_role VALUES (1)",
        "CREATE TABLE curated.more (id integer)",
        "COPY (SELECT 1) TO PROGRAM 'true'",
    ],
    ids=lambda text: text.split(" ")[0].lower() + "-" + text.split(".")[-1].split(" ")[0].lower(),
)
@pytest.mark.parametrize("writable", [False, True], ids=["read-only", "as-the-role-alone"])
def test_it_reads_no_tokens_and_writes_nothing(published, statement, writable):
    with psycopg2.connect(published) as opened, opened.cursor() as cursor:
        if writable:  # the role itself refuses, not only the transaction
            cursor.execute(f"SET LOCAL ROLE {reader.ROLE}")
        else:
            cursor.execute(reader.statement("reader", "restrict"), {"role": reader.ROLE, "timeout": "5s"})
        with pytest.raises((errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction)):
            cursor.execute(statement)


def test_the_next_transaction_of_the_same_connection_is_the_pipelines_own_again(published):
    with reader.transaction(published):
        pass
    with connection.transaction(published) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT current_user, current_setting('transaction_read_only')")
        assert cursor.fetchone() == ("postgres", "off")
        cursor.execute("SELECT count(*) FROM pipeline.api_tokens")


def test_what_takes_too_long_is_broken_off_and_says_so(published, monkeypatch):
    monkeypatch.setattr(reader, "SECONDS", 0.05)
    with (
        pytest.raises(RequestRefused) as raised,
        reader.transaction(published) as opened,
        opened.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_sleep(30)")
    assert raised.value.where["status"] == 503


@pytest.fixture
def maker(published):
    """A database of a login that may make roles and is no superuser, with what that gives it of the reader's role."""
    name = "maker_of_roles"
    administrator = psycopg2.connect(published)
    administrator.autocommit = True
    parameters = psycopg2.extensions.parse_dsn(published) | {"dbname": name}
    with administrator.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {name} LOGIN CREATEROLE")
        cursor.execute(f"CREATE DATABASE {name} OWNER {name}")
        # as CREATE ROLE by that login leaves it
        cursor.execute(f"GRANT {reader.ROLE} TO {name} WITH ADMIN TRUE, SET FALSE, INHERIT FALSE")
        made = psycopg2.connect(psycopg2.extensions.make_dsn(**parameters))
        with made, made.cursor() as inside:
            inside.execute("CREATE EXTENSION vector")
        made.close()
        url = psycopg2.extensions.make_dsn(**parameters | {"user": name})
        try:
            yield url
        finally:
            if url in connection._warm:
                connection._discard(url, connection._warm[url])
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
            cursor.execute(f"DROP ROLE {name}")
    administrator.close()


def test_a_login_that_made_the_role_takes_it_on(maker):
    migrations.apply(maker)
    with reader.transaction(maker) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT session_user, current_user, count(*) FROM pipeline.runs")
        assert cursor.fetchone() == ("maker_of_roles", reader.ROLE, 0)
        cursor.execute("SELECT pg_has_role('maker_of_roles', %s, 'USAGE')", (reader.ROLE,))
        assert cursor.fetchone() == (False,)


def test_a_role_that_is_made_later_is_taken_on_once_it_is_granted_what_it_may(maker, published):
    with connection.transaction(published) as opened, opened.cursor() as cursor:
        cursor.execute("REVOKE sluice_reader FROM maker_of_roles")
    migrations.apply(maker)
    with reader.transaction(maker) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == ("maker_of_roles",)
    # as CREATE ROLE by that login leaves it
    with connection.transaction(published) as opened, opened.cursor() as cursor:
        cursor.execute("GRANT sluice_reader TO maker_of_roles WITH ADMIN TRUE, SET FALSE, INHERIT FALSE")
    with connection.transaction(maker) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT pipeline.grant_reader()")
        assert cursor.fetchone() == (True,)
    with reader.transaction(maker) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT current_user, count(*) FROM pipeline.runs")
        assert cursor.fetchone() == (reader.ROLE, 0)


def test_a_refused_login_of_the_reader_is_named_by_its_own_setting(published, monkeypatch):
    from chalicelib import secrets, settings

    parameters = psycopg2.extensions.parse_dsn(published)
    address = f"postgresql://nobody_like_that@/{parameters['dbname']}?host={parameters['host']}"
    for given, named in (
        ({"reader_database_url": address, "database_url": published}, "SLUICE_READER_DATABASE_URL"),
        ({"database_url": address}, "SLUICE_DATABASE_URL"),
    ):
        configured = settings.load({}, **given)
        monkeypatch.setattr(secrets.settings_module, "current", lambda configured=configured: configured)
        with pytest.raises(ConfigurationError, match=f"check {named},"), reader.transaction():
            pass


def test_a_login_without_the_role_reads_read_only_and_that_is_told_once(published, monkeypatch):
    warned = []
    monkeypatch.setattr(reader.logger, "warning", lambda message, **more: warned.append(more["role"]))
    reader._warn.cache_clear()
    with connection.transaction(published) as opened, opened.cursor() as cursor:
        cursor.execute("CREATE ROLE reader_without_role LOGIN")
    parameters = psycopg2.extensions.parse_dsn(published) | {"user": "reader_without_role"}
    try:
        for _ in range(2):
            with reader.transaction(psycopg2.extensions.make_dsn(**parameters)) as opened, opened.cursor() as cursor:
                cursor.execute("SELECT current_user, current_setting('transaction_read_only')")
                assert cursor.fetchone() == ("reader_without_role", "on")
        assert warned == [reader.ROLE]
    finally:
        with connection.transaction(published) as opened, opened.cursor() as cursor:
            cursor.execute("DROP ROLE reader_without_role")


def test_the_api_reads_by_a_login_of_its_own_where_one_is_set(published, monkeypatch):
    from chalicelib import secrets, settings

    with connection.transaction(published) as opened, opened.cursor() as cursor:
        cursor.execute("CREATE ROLE api_login LOGIN IN ROLE sluice_reader")
    parameters = psycopg2.extensions.parse_dsn(published)
    address = f"postgresql://api_login@/{parameters['dbname']}?host={parameters['host']}"
    try:
        configured = settings.load({}, database_url=published, reader_database_url=address)
        monkeypatch.setattr(secrets.settings_module, "current", lambda: configured)
        with reader.transaction() as opened, opened.cursor() as cursor:
            cursor.execute("SELECT session_user, count(*) FROM pipeline.runs")
            assert cursor.fetchone()[0] == "api_login"
            with pytest.raises(errors.InsufficientPrivilege):
                cursor.execute("SELECT name FROM pipeline.api_tokens")
            opened.rollback()
    finally:
        connection._discard(address, connection._warm[address])
        with connection.transaction(published) as opened, opened.cursor() as cursor:
            cursor.execute("DROP ROLE api_login")
