"""What the ledger tells of a run's quarantine: each reason once, how often, and the first record that had it."""

import json
import uuid

import psycopg2
import pytest

from chalicelib.warehouse import ledger

TYPE = {"kind": "type", "column": "day", "message": "day is 'x'", "value": "x"}
OTHER = {"kind": "type", "column": "total", "message": "total is 'x'", "value": "x"}
RECORD = {"kind": "record", "column": None, "message": "no JSON"}
RULE = {"kind": "expectation", "column": "total", "message": "total at least 0", "expectation": "e1"}


@pytest.fixture
def cursor(database_url):
    connection = psycopg2.connect(database_url)
    with connection.cursor() as cursor:
        yield cursor
    connection.rollback()
    connection.close()


@pytest.fixture
def run_id(cursor):
    name = f"run-{uuid.uuid4().hex}"
    cursor.execute(
        "INSERT INTO pipeline.runs (run_id, source, table_name, execution, input, status, started_at)"
        " VALUES (%s, 'orders', 'orders', 'arn', '{}', 'running', now())",
        [name],
    )
    for part in (0, 1):
        cursor.execute(
            "INSERT INTO pipeline.raw_objects (run_id, part, key, bytes, sha256) VALUES (%s, %s, %s, 1, '')",
            [name, part, f"raw/{part}"],
        )
    return name


def set_aside(cursor, run_id, part, line, *reasons):
    cursor.execute(
        "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)"
        " VALUES (%s, 'orders', 0, %s, %s, %s, %s)",
        [run_id, part, line, json.dumps(reasons), f"record {part}:{line}"],
    )


def reasons(cursor, run_id):
    found = ledger.rows(cursor, "quarantine_reasons", run_id=run_id)
    return [(row["kind"], row["rows"], row["message"], row["record"], row["line"], row["key"]) for row in found]


def test_each_reason_is_counted_once_with_its_first_record(cursor, run_id):
    set_aside(cursor, run_id, 1, 1, {**TYPE, "message": "day is 'y'"}, OTHER)
    set_aside(cursor, run_id, 0, 7, TYPE, RULE)
    set_aside(cursor, run_id, 0, 9, TYPE, RULE)
    set_aside(cursor, run_id, 0, 10, RECORD)
    assert reasons(cursor, run_id) == [
        ("type", 3, "day is 'x'", "record 0:7", 7, "raw/0"),
        ("expectation", 2, "total at least 0", "record 0:7", 7, "raw/0"),
        ("record", 1, "no JSON", "record 0:10", 10, "raw/0"),
        ("type", 1, "total is 'x'", "record 1:1", 1, "raw/1"),
    ]


def test_a_quarantine_of_more_than_a_gigabyte_has_reasons_too(cursor, run_id):
    cursor.execute(
        "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)"
        " SELECT %s, 'orders', 0, 0, line, %s, repeat('x', 20000000) FROM generate_series(1, 55) AS line",
        [run_id, json.dumps([TYPE])],
    )
    [row] = ledger.rows(cursor, "quarantine_reasons", run_id=run_id)
    assert (row["rows"], row["line"], len(row["record"])) == (55, 1, 20_000_000)
