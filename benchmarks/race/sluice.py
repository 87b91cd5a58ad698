"""Sluice as it is deployed: the real state machine on the warm local stack, every gate on.

The time is the execution's own, from its start to its end by Step Functions.
"""

from __future__ import annotations

import json
import time
from contextlib import closing

import boto3
import psycopg2

from benchmarks.race.heat import Load, serve
from chalicelib import executions
from chalicelib import settings as settings_module
from chalicelib.warehouse.publishing import COUNTS
from local.home import home
from local.stack import Stack

STATES = ("Plan", "Fetch", "WriteManifest", "Process", "QualityGate", "Publish", "Complete")
_ACCOUNT = (*COUNTS, "kept_chunks")


def sluice(load: Load) -> dict:
    """The details: seconds by state; by function calls, seconds and memory in MB; the row account."""
    stack = Stack(home())
    stack.usage(reset=True)
    states, seconds = execute(load.name, given(load))
    usage = stack.usage()
    return {
        "seconds": seconds,
        "states": {name: states[name].seconds for name in STATES},
        "functions": usage,
        "worker_mb": max(used["peak_rss_mb"] for used in usage.values()),
        "account": account(load.database_url, load.name),
    }


def given(load: Load) -> dict:
    """The input of the run: a first load takes over nothing of an earlier round, whose data are the same."""
    wanted = {"source": "files", "input": f"{load.folder}/orders.toml"}
    return wanted | {"from_scratch": True} if load.first else wanted


def execute(name: str, given: dict) -> tuple[dict, float]:
    """(states by name, seconds) of an execution, waited for; raises RuntimeError where it does not succeed."""
    client = boto3.client("stepfunctions")
    machine = settings_module.current().state_machine_arn
    arn = client.start_execution(stateMachineArn=machine, name=name, input=json.dumps(given))["executionArn"]
    while client.describe_execution(executionArn=arn)["status"] == "RUNNING":
        time.sleep(0.1)
    found = executions.read(client, arn)
    if found.status != "SUCCEEDED":
        raise RuntimeError(f"{name} {found.status}: {found.error} {found.cause}")
    return found.states, found.seconds


def account(database_url: str, run_id: str) -> dict[str, int | None]:
    """The run's row account, and how many chunks it took over, None where it could not take over any."""
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(_ACCOUNT)} FROM pipeline.runs WHERE run_id = %s", (run_id,))
        return dict(zip(_ACCOUNT, cursor.fetchone(), strict=True))


if __name__ == "__main__":
    serve(sluice)
