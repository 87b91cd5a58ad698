"""StartRun: a trigger becomes an execution of the state machine."""

from __future__ import annotations

import json

import boto3

from chalicelib import settings as settings_module
from chalicelib import sources
from chalicelib.contracts import RunInput


def start_run(event: dict) -> dict:
    """`event` is {"name": of the execution, "input": a `RunInput` as JSON}; raises UnknownSource or ContractError.

    Returns {"run_id", "execution"}. The same name is the same run.
    """
    settings = settings_module.current()
    settings.require("state_machine_arn")
    sources.get(RunInput.from_json(event["input"]).source)
    started = boto3.client("stepfunctions").start_execution(
        stateMachineArn=settings.state_machine_arn, name=event["name"], input=json.dumps(event["input"])
    )
    return {"run_id": event["name"], "execution": started["executionArn"]}
