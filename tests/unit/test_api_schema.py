"""Between a deployment and the first run after it, the API says what the database lacks and what to do."""

import contextlib
import json
import uuid

import psycopg2
import pytest
from test_api_routes import call

from chalicelib import secrets
from chalicelib.api import access
from chalicelib.warehouse import migrations


@pytest.fixture
def empty(database_url, monkeypatch):
    """A database of its own in which nothing was ever run, as that of the API."""
    name = f"schema_{uuid.uuid4().hex[:8]}"
    with contextlib.closing(psycopg2.connect(database_url)) as opened:
        opened.autocommit = True
        opened.cursor().execute(f"CREATE DATABASE {name}")
    parameters = psycopg2.extensions.parse_dsn(database_url) | {"dbname": name}
    url = psycopg2.extensions.make_dsn(**parameters)
    monkeypatch.setattr(secrets, "database_url", lambda: url)
    monkeypatch.setattr(secrets, "reader_database_url", lambda: None)
    return url


def asked(path):
    answer = call(path, path, None)
    return answer["statusCode"], json.loads(answer["body"])


def test_before_the_first_run_it_says_to_start_one(empty):
    status, problem = asked("/runs")
    assert (status, problem["reason"]) == (503, "schema")
    assert "0001_pipeline" in problem["detail"] and "start a run" in problem["detail"]
    migrations.apply(empty)
    assert asked("/runs") == (200, {"runs": [], "next": None})


def test_after_an_upgrade_only_what_needs_the_newer_schema_waits_for_it(empty):
    migrations.apply(empty)
    with psycopg2.connect(empty) as opened, opened.cursor() as cursor:  # as the release before had it
        cursor.execute(
            "DROP TABLE pipeline.totals, pipeline.totals_by_day CASCADE;"
            "DELETE FROM pipeline.migrations WHERE name = '0013_totals'"
        )
    status, problem = asked("/analytics")
    assert (status, problem["reason"]) == (503, "schema")
    assert "lacks 0013_totals" in problem["detail"]
    assert asked("/runs")[0] == 200


def test_what_is_missing_from_an_up_to_date_schema_is_a_failure(empty):
    migrations.apply(empty)
    with psycopg2.connect(empty) as opened, opened.cursor() as cursor:
        cursor.execute("DROP TABLE pipeline.totals, pipeline.totals_by_day CASCADE")
    assert asked("/analytics")[0] == 500


def test_a_token_is_nobodys_where_there_is_no_table_of_tokens(empty):
    said = access.policy(f"Bearer sluice_{'A' * 43}", "arn:aws:execute-api:eu-west-1:123456789012:a1b2/api/GET/runs")
    assert said["policyDocument"]["Statement"][0]["Effect"] == "Deny"
