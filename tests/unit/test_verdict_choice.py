"""Where the state machine goes after the gate: by the verdict, and by who tells of a warning."""

import json
import uuid

import boto3
import moto_server
import pytest

from statemachine import render

WAYS = ("Publish", "AlertQualityWarning", "AlertQualityFailure")


@pytest.fixture(scope="module")
def client():
    with moto_server.running() as url:
        yield boto3.client("stepfunctions", endpoint_url=url)


@pytest.mark.parametrize(
    ("verdict", "gathered", "way"),
    [
        ("pass", False, "Publish"),
        ("pass", True, "Publish"),
        ("warn", False, "AlertQualityWarning"),
        ("warn", True, "Publish"),
        ("fail", False, "AlertQualityFailure"),
        ("fail", True, "AlertQualityFailure"),
    ],
)
def test_a_warning_is_mailed_unless_who_started_the_run_tells_of_it_and_a_failure_always_is(
    client, verdict, gathered, way
):
    ends = {name: {"Type": "Pass", "Result": {"way": name}, "End": True} for name in WAYS}
    definition = {"StartAt": "Verdict", "States": {"Verdict": render.definition()["States"]["Verdict"], **ends}}
    machine = client.create_state_machine(
        name=f"m-{uuid.uuid4().hex[:8]}",
        definition=json.dumps(definition),
        roleArn="arn:aws:iam::123456789012:role/any",
    )["stateMachineArn"]
    given = {"gate": {"result": {"verdict": verdict, "gathered": gathered}}}
    arn = client.start_execution(stateMachineArn=machine, name="run", input=json.dumps(given))["executionArn"]
    while (found := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
        pass
    assert json.loads(found["output"]) == {"way": way}
