"""Whoever comes first brings the schema up to date; after that, looking is enough."""

import json
import threading

import psycopg2
import pytest
from psycopg2 import sql

from chalicelib.warehouse import migrations


@pytest.fixture
def empty_database(database_url):
    """The URL of a new database in the same server."""
    name = "migrations_test"
    administrator = psycopg2.connect(database_url)
    administrator.autocommit = True
    with administrator.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    parameters = psycopg2.extensions.parse_dsn(database_url) | {"dbname": name}
    yield psycopg2.extensions.make_dsn(**parameters)
    with administrator.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    administrator.close()


def test_each_is_applied_once_also_when_several_come_at_the_same_time(empty_database):
    applied, barrier = [], threading.Barrier(4)

    def run():
        barrier.wait()
        # `transaction` keeps one connection per address and process: each thread asks by another
        applied.extend(migrations.apply(f"{empty_database} application_name=t{threading.get_ident()}"))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == sorted(path.stem for path in migrations.FOLDER.glob("*.sql"))
    assert migrations.apply(empty_database) == []


def test_looking_needs_no_right_to_create_schemas(empty_database):
    migrations.apply(empty_database)
    administrator = psycopg2.connect(empty_database)
    administrator.autocommit = True
    with administrator.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS onlooker")
        cursor.execute("CREATE ROLE onlooker LOGIN")
        cursor.execute("GRANT USAGE ON SCHEMA pipeline TO onlooker")
        cursor.execute("GRANT SELECT ON pipeline.migrations TO onlooker")
    try:
        parameters = psycopg2.extensions.parse_dsn(empty_database) | {"user": "onlooker"}
        assert migrations.apply(psycopg2.extensions.make_dsn(**parameters)) == []
    finally:
        with administrator.cursor() as cursor:
            cursor.execute("DROP OWNED BY onlooker")
            cursor.execute("DROP ROLE onlooker")
        administrator.close()


def test_what_keys_remembered_before_is_known_after_and_ages_from_then_on(empty_database, monkeypatch, tmp_path):
    older = [path for path in migrations.FOLDER.glob("*.sql") if path.stem < "0011"]
    for path in older:
        (tmp_path / path.name).write_text(path.read_text())
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "FOLDER", tmp_path)
        migrations.apply(empty_database)
    past = [{"since": "1", "order": "2", "values": {"id": "1"}, "stale": {}}]
    database = psycopg2.connect(empty_database)
    with database, database.cursor() as cursor:
        rows = [
            ('["1"]', True, "", json.dumps(past), '[["5", ["2"]]]'),
            ('["2"]', False, "5", "[]", "[]"),
        ]
        for key, deleted, since, remembered, departed in rows:
            cursor.execute(
                "INSERT INTO pipeline.change_keys VALUES ('t', %s, '9', now(), %s, %s, '{}', %s, %s)",
                (key, deleted, since, remembered, departed),
            )
    migrations.apply(empty_database)
    with database, database.cursor() as cursor:
        cursor.execute("SELECT past, departed, kept_since IS NULL FROM pipeline.change_keys ORDER BY key")
        [(past, departed, aging), (none, nowhere, still)] = cursor.fetchall()
    database.close()
    assert past[0].pop("kept_at") == departed[0].pop("kept_at") and not aging
    assert past == [{"since": "1", "order": "2", "values": {"id": "1"}, "stale": {}}]
    assert departed == [{"order": "5", "to": ["2"]}] and (none, nowhere, still) == ([], [], True)
