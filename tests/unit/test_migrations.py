"""Whoever comes first brings the schema up to date; after that, looking is enough."""

import contextlib
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


OLD_TABLE = """
CREATE SCHEMA IF NOT EXISTS curated;
CREATE TABLE curated.old
    (id integer PRIMARY KEY, day date, _run_id text, _raw text, _fingerprint bigint, _loaded_at timestamptz);
INSERT INTO curated.old SELECT n, '2026-01-01', 'r', '0:1', n, now() FROM generate_series(1, 5) AS n;
"""
# what a table has by its totals, and what the schema of them looks like
OF_OLD = "SELECT rows, rows_known, counting IS NULL FROM pipeline.totals WHERE table_name = 'old'"
SHAPE = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'pipeline'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
UNION ALL
SELECT 'index', tablename, indexdef, true, NULL FROM pg_indexes WHERE schemaname = 'pipeline'
UNION ALL
SELECT 'function', proname, md5(prosrc), true, NULL FROM pg_proc WHERE pronamespace = 'pipeline'::regnamespace
ORDER BY 1, 2, 3
"""


def apply_before(number, url, monkeypatch, folder):
    """The migrations of an earlier release."""
    folder.mkdir()
    for path in migrations.FOLDER.glob("*.sql"):
        if path.stem < number:
            (folder / path.name).write_text(path.read_text())
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "FOLDER", folder)
        return migrations.apply(url)


def execute(url, text):
    database = psycopg2.connect(url)
    with contextlib.closing(database), database, database.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchall() if cursor.description else []


def test_an_upgrade_counts_no_table_and_leaves_it_to_the_next_run(empty_database, monkeypatch, tmp_path):
    apply_before("0013", empty_database, monkeypatch, tmp_path / "before")
    execute(empty_database, OLD_TABLE)
    assert "0013_totals" in migrations.apply(empty_database)
    assert execute(empty_database, OF_OLD) == [], "nobody read its rows"
    assert execute(empty_database, "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") == [(0,)]
    assert migrations.apply(empty_database) == []


def test_what_an_earlier_release_counted_stays_counted_and_the_schema_is_the_same_either_way(
    empty_database, monkeypatch, tmp_path
):
    migrations.apply(empty_database)
    shape = execute(empty_database, SHAPE)
    execute(empty_database, "DROP SCHEMA pipeline, staging CASCADE; DROP SCHEMA IF EXISTS curated CASCADE")
    apply_before("0013", empty_database, monkeypatch, tmp_path / "before")
    execute(empty_database, OLD_TABLE)
    assert "0013_totals" in apply_before("0019", empty_database, monkeypatch, tmp_path / "after")
    migrations.apply(empty_database)
    assert sorted(execute(empty_database, SHAPE)) == sorted(shape)
    assert execute(empty_database, OF_OLD) == [(5, True, True)]
    execute(empty_database, "DELETE FROM curated.old WHERE id = 1")
    assert execute(empty_database, OF_OLD) == [(4, True, True)]
    execute(empty_database, "TRUNCATE curated.old")
    assert execute(empty_database, OF_OLD) == [(0, True, True)]


def test_what_keys_remembered_before_is_known_after_and_ages_from_then_on(empty_database, monkeypatch, tmp_path):
    apply_before("0011", empty_database, monkeypatch, tmp_path / "before")
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


def test_runs_of_before_keep_the_order_of_their_entry_and_replays_the_place_of_their_run(
    empty_database, monkeypatch, tmp_path
):
    for path in migrations.FOLDER.glob("*.sql"):
        if path.stem < "0021":
            (tmp_path / path.name).write_text(path.read_text())
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "FOLDER", tmp_path)
        migrations.apply(empty_database)
    database = psycopg2.connect(empty_database)
    insert = (
        "INSERT INTO pipeline.runs (run_id, source, execution, input, status, started_at, entered_at, replay_of)"
        " VALUES (%s, 's', 'arn', '{}', 'failed', now(), %s, %s)"
    )
    with database, database.cursor() as cursor:
        for run in (("b", "2026-01-02", None), ("a", "2026-01-03", None), ("again", "2026-01-02", "b")):
            cursor.execute(insert, run)
    migrations.apply(empty_database)
    with database, database.cursor() as cursor:
        cursor.execute(insert, ("next", "2026-01-01", None))
        cursor.execute("SELECT run_id FROM pipeline.runs ORDER BY entry, run_id")
        assert [run_id for (run_id,) in cursor.fetchall()] == ["again", "b", "a", "next"]
        cursor.execute("SELECT count(DISTINCT entry) FROM pipeline.runs")
        assert cursor.fetchone() == (3,)
    database.close()
