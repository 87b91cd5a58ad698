"""The smoke run: what it puts into the bucket, what it makes of the answer, and what it leaves."""

import json

import boto3
import psycopg2
import pytest
from moto import mock_aws

from chalicelib.errors import DeploymentError
from chalicelib.sources import declaration
from deploy import smoke
from deploy.kinds import Aws

BUCKET = "sluice-dev-1"
ACCOUNT = {"fetched": 3, "inserted": 3, "updated": 0, "unchanged": 0, "duplicates": 0, "quarantined": 0}


class Machine:
    """Step Functions: takes an execution, and answers as it is told."""

    def __init__(self, **answer):
        self.answer, self.started = {"status": "SUCCEEDED", **answer}, []

    def start_execution(self, **arguments):
        self.started.append(arguments)
        self.keys = [found["Key"] for found in boto3.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]]
        return {"executionArn": "arn"}

    def describe_execution(self, executionArn):
        return self.answer


@pytest.fixture
def run(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET)

        def run(machine, database_url=None):
            clients = {"stepfunctions": machine, "s3": boto3.client("s3")}
            monkeypatch.setattr(Aws, "client", lambda self, service: clients[service])
            aws = Aws("1", "us-east-1", "aws", "dev", bucket=BUCKET)
            return smoke.run(aws, "machine", database_url, lambda line: None)

        yield run


def succeeded(**changed):
    return json.dumps({"publish": {"result": {**ACCOUNT, **changed, "embed_shards": []}}})


def left():
    return boto3.client("s3").list_objects_v2(Bucket=BUCKET)["KeyCount"]


def test_three_rows_go_through_the_inbox_and_are_accounted_for(run):
    machine = Machine(output=succeeded())
    went = run(machine)
    assert went.account == ACCOUNT
    [started] = machine.started
    given = json.loads(started["input"])
    assert given["source"] == "files"
    assert machine.keys == [f"inbox/{went.run_id}.csv", f"inbox/{went.run_id}.toml"]
    assert given["input"] == f"s3://{BUCKET}/{machine.keys[1]}"
    assert started["name"] == went.run_id
    assert left() == 0


def test_its_declaration_is_one():
    declared = declaration.parse(declaration.load(smoke._DECLARATION, "smoke.toml"))
    assert declared.table == smoke.TABLE
    assert [column.name for column in declared.columns] == smoke._CSV.splitlines()[0].split(",")
    assert len(smoke._CSV.splitlines()) - 1 == smoke.ROWS


def test_a_run_that_fails_is_told_with_its_own_error_and_leaves_nothing_in_the_inbox(run):
    with pytest.raises(DeploymentError, match="failed: WarehouseUnavailable: Postgres is out of reach"):
        run(Machine(status="FAILED", error="WarehouseUnavailable", cause="Postgres is out of reach"))
    assert left() == 0


@pytest.mark.parametrize("changed", [{"fetched": 2, "inserted": 2}, {"inserted": 2, "quarantined": 1}])
def test_rows_that_got_lost_are_no_success(run, changed):
    with pytest.raises(DeploymentError, match="had 3 rows"):
        run(Machine(output=succeeded(**changed)))


def test_a_machine_that_never_ends_is_given_up(run, monkeypatch):
    monkeypatch.setattr(smoke, "_LONGEST", 0)
    monkeypatch.setattr(smoke, "_PAUSE", 0)
    with pytest.raises(DeploymentError, match="takes more than"):
        run(Machine(status="RUNNING"))


def test_the_table_stays_where_the_database_is_out_of_reach(run):
    assert not run(Machine(output=succeeded()), database_url=None).table_dropped
    assert not run(Machine(output=succeeded()), database_url="postgresql://u@127.0.0.1:1/d").table_dropped


def test_the_table_is_dropped_where_the_database_can_be_reached(run, database_url):
    with psycopg2.connect(database_url) as opened, opened.cursor() as cursor:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS curated; CREATE TABLE curated.sluice_smoke (id bigint)")
    assert run(Machine(output=succeeded()), database_url).table_dropped
    with psycopg2.connect(database_url) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT to_regclass('curated.sluice_smoke')")
        assert cursor.fetchone() == (None,)
