"""The smoke run: three rows through the deployed machine, and what it said about them."""

from __future__ import annotations

import datetime as dt
import json
import secrets as random
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg2
from psycopg2 import sql

from chalicelib.errors import DeploymentError, SluiceError
from chalicelib.lake import keys
from chalicelib.warehouse import connection, tables
from deploy.kinds import Aws

TABLE = "sluice_smoke"
_FILE = "smoke.csv"
_CSV = "id,name,amount\n1,one,1.50\n2,two,2.50\n3,three,\n"
_DECLARATION = f"""location = "{_FILE}"
table    = "{TABLE}"
key      = ["id"]

[columns]
id     = "bigint not null"
name   = "text"
amount = "numeric(12,2)"
"""
ROWS = 3

_PAUSE = 2.0
_LONGEST = 15 * 60  # the first run applies all migrations, and every function starts cold


@dataclass(frozen=True)
class Smoke:
    """How it went: the run's name and its row account."""

    run_id: str
    account: dict[str, int]
    table_dropped: bool


def run(aws: Aws, state_machine: str, database_url: str | None, progress: Callable[[str], None]) -> Smoke:
    """Run the deployed machine on three rows; DeploymentError with the run's own error where it fails.

    `database_url` is None where the database cannot be reached from here: the table then stays.
    """
    run_id = f"smoke-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}-{random.token_hex(2)}"
    prefix = f"{keys.INBOX}{run_id}"  # in no source's folder: nothing else is started by them
    files = {f"{prefix}.csv": _CSV, f"{prefix}.toml": _DECLARATION.replace(_FILE, f"{run_id}.csv")}
    s3 = aws.client("s3")
    try:
        for key, body in files.items():
            s3.put_object(Bucket=aws.bucket, Key=key, Body=body.encode())
        progress(f"smoke run {run_id}")
        output = _execute(aws, state_machine, run_id, f"s3://{aws.bucket}/{prefix}.toml")
    finally:
        for key in files:
            s3.delete_object(Bucket=aws.bucket, Key=key)
        dropped = database_url is not None and _drop(database_url)
    account = {name: value for name, value in output["publish"]["result"].items() if isinstance(value, int)}
    if account["fetched"] != ROWS or account["quarantined"]:
        raise DeploymentError(f"the smoke run {run_id} had {ROWS} rows and accounts for {account}")
    return Smoke(run_id, account, dropped)


def _execute(aws: Aws, state_machine: str, run_id: str, declaration: str) -> dict:
    client = aws.client("stepfunctions")
    given = json.dumps({"source": "files", "input": declaration})
    arn = client.start_execution(stateMachineArn=state_machine, name=run_id, input=given)["executionArn"]
    end = time.monotonic() + _LONGEST
    while (execution := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
        if time.monotonic() > end:
            raise DeploymentError(f"the smoke run {run_id} takes more than {_LONGEST} s", next_step=f"look at {arn}")
        time.sleep(_PAUSE)
    if execution["status"] != "SUCCEEDED":
        raise DeploymentError(
            f"the smoke run {run_id} {execution['status'].lower()}: {execution.get('error')}: {execution.get('cause')}",
            next_step="everything is deployed; mend what it says, then `sluice deploy` tries again",
        )
    return json.loads(execution["output"])


def _drop(database_url: str) -> bool:
    try:
        with connection.transaction(database_url) as opened, opened.cursor() as cursor:
            cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(tables.CURATED, TABLE)))
    except (SluiceError, psycopg2.Error):
        return False
    return True
