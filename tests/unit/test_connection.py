"""The warm connection: what a failed transaction leaves of it, and of what it wrote."""

import contextlib

import psycopg2
import pytest

from chalicelib.errors import NotFound, WarehouseUnavailable
from chalicelib.warehouse import connection


@pytest.fixture(autouse=True)
def table(database_url):
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS public.written (n integer)")
    yield
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        cursor.execute("DROP TABLE public.written")


def backend(database_url):
    with connection.transaction(database_url) as opened:
        return opened.info.backend_pid


def written(database_url):
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM public.written")
        return cursor.fetchone()[0]


def attempt(database_url, fails):
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        cursor.execute("INSERT INTO public.written VALUES (1)")
        cursor.execute("SET LOCAL transaction_read_only = on")
        cursor.execute("SELECT set_config('statement_timeout', '7ms', true)")
        fails(opened, cursor)


def refuse(opened, cursor):
    raise NotFound("there is none")


def lose(opened, cursor):
    opened.close()
    raise NotFound("there is none")


def fail(opened, cursor):
    raise ValueError("a fault")


def break_off(opened, cursor):
    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def err(opened, cursor):
    cursor.execute("SELECT 1 / 0")


def test_a_refusal_of_ours_rolls_back_and_keeps_the_connection_with_its_own_settings(database_url):
    before = backend(database_url)
    with pytest.raises(NotFound):
        attempt(database_url, refuse)
    assert backend(database_url) == before
    assert written(database_url) == 0
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('transaction_read_only')")
        assert cursor.fetchone() == ("14min", "off")


@pytest.mark.parametrize(
    ("fails", "error"),
    [(fail, ValueError), (err, psycopg2.DataError), (break_off, WarehouseUnavailable), (lose, NotFound)],
    ids=["a fault", "refused by Postgres", "broken off", "lost before the refusal"],
)
def test_whatever_else_fails_the_next_transaction_has_a_connection_of_its_own(database_url, fails, error):
    before = backend(database_url)
    with pytest.raises(error):
        attempt(database_url, fails)
    assert backend(database_url) != before
    assert written(database_url) == 0


def test_a_refusal_does_not_hold_what_it_locked(database_url):
    def lock(opened, cursor):
        cursor.execute("SELECT pg_advisory_xact_lock(4711)")
        raise NotFound("there is none")

    with pytest.raises(NotFound):
        attempt(database_url, lock)
    with contextlib.closing(psycopg2.connect(database_url)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(4711)")
        assert cursor.fetchone() == (True,)


def test_a_session_that_ends_while_it_is_set_up_is_one_that_may_be_opened_again(database_url, monkeypatch):
    """It cannot be rolled back any more, which psycopg2 tells by an error of another kind."""
    monkeypatch.setattr(connection, "_SESSION", "SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(WarehouseUnavailable, match="Postgres is out of reach"):
        connection.connect(database_url)
