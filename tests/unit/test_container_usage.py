"""What containers cost: vCPU- and GB-hours of what their stages took, a minute at least each."""

import json
from types import SimpleNamespace

import boto3
import pytest
from botocore.stub import Stubber
from test_cost import OBJECTS, PASSED, amounts, execution, log, of_all

from chalicelib.errors import TerminalError
from chalicelib.executions import Children
from chalicelib.settings import Settings
from cli import cost as cli_cost
from deploy import container_usage, cost, log_usage, prices, usage
from deploy.container_usage import TaskSize
from deploy.cost import DERIVED, MEASURED
from statemachine import render

SIZE = TaskSize(2, 8)
CONTAINERS = {
    name: given for name, given in PASSED.items() if name not in ("Process", "Transform", "Validate", "Load")
} | {
    "ProcessInContainers": {"entered": 1, "children": Children(total=2, succeeded=2)},
    "ProcessChunkInContainer": 2,
}


def hours(found):
    return {quantity.item: quantity.amount for quantity in found}


def test_a_run_on_lambda_has_none():
    assert container_usage.quantities(execution(**PASSED), of_all(), SIZE) == []


def test_each_container_pays_what_its_stages_took_and_a_minute_at_least():
    known = log({}, tasks={"chunk 0": 1_800_000, "chunk 1": 2_000})
    cpu, memory = container_usage.quantities(execution(**CONTAINERS), known, SIZE)
    assert hours([cpu, memory]) == pytest.approx(
        {"fargate.vcpu_hour": 2 * 1860 / 3600, "fargate.gb_hour": 8 * 1860 / 3600}
    )
    assert cpu.how == memory.how == MEASURED
    assert cpu.note.startswith("2 containers of 2 vCPU and 8 GB, 1,860 s")
    assert "left no measurement" not in cpu.note


def test_a_partition_in_a_container_is_one_too():
    tried = {**CONTAINERS, "FetchInContainers": 1, "FetchPartitionInContainer": {"entered": 3, "retries": 1}}
    assert container_usage.started(execution(**tried)) == 2 + 4


@pytest.mark.parametrize("known", [None, log({})], ids=["no-log", "nothing-in-it"])
def test_containers_that_left_no_measurement_are_a_minute_each_and_told(known):
    cpu, _ = container_usage.quantities(execution(**CONTAINERS), known, SIZE)
    assert cpu.amount == pytest.approx(2 * 120 / 3600)
    assert cpu.how == DERIVED
    assert "2 left no measurement" in cpu.note


def test_the_containers_log_tells_stages_by_chunk_and_partition():
    def done(seconds, **about):
        return json.dumps({"message": "stage done", "state": "load", "run_id": "run", "seconds": seconds, **about})

    lines = [done(1, chunk=0), done(2.5, chunk=0), done(4, chunk=1, partition=None), done(8, partition=0), done(16)]
    assert log_usage.read(lines, "run").tasks == {"chunk 0": 3500, "chunk 1": 4000, "partition 0": 8000}


def test_what_containers_do_with_the_lake_and_their_logs_is_counted():
    put, get = usage.lake(execution(**CONTAINERS), OBJECTS, None)
    on_lambda_put, on_lambda_get = usage.lake(execution(**PASSED), OBJECTS, None)
    # each of the two containers asks for what an earlier attempt left, and reads what it is to do
    assert (put.amount, get.amount) == (on_lambda_put.amount, on_lambda_get.amount + 4)
    both = usage.logs(log({}, bytes=2**29, metric_hours=3), log({}, bytes=2**29, metric_hours=4))
    assert amounts(both) == pytest.approx({"logs.gb": 1.0, "cloudwatch.metric_month": 7 / 730})


def test_a_lambda_is_not_taken_for_what_a_container_did():
    known = of_all(transform=[], validate=[], load=[])
    requests, _ = usage.invocations(execution(**CONTAINERS), known, lambda function: usage.Size(512, "x86_64"))
    assert requests.amount == 1 + 3 + 1 + 1 + 1 + 1  # Plan, three partitions, manifest, gate, publish, complete


def test_an_hour_of_the_templates_container_at_the_list_price():
    known = log({}, tasks={"chunk 0": 1_800_000, "chunk 1": 1_800_000})
    found = container_usage.quantities(execution(**CONTAINERS), known, container_usage.default_size())
    bill = cost.bill(found, prices.read("us-east-1"))
    assert bill.services() == pytest.approx({"Fargate": 2 * 0.04048 + 8 * 0.004445})


def test_a_deployed_containers_size_is_that_of_its_task_definition():
    client = boto3.client("ecs", region_name="eu-west-1")
    with Stubber(client) as stub:
        answer = {"taskDefinition": {"cpu": "512", "memory": "3072"}}
        stub.add_response("describe_task_definition", answer, {"taskDefinition": "sluice-dev-stages"})
        assert container_usage.deployed_size(client, "sluice-dev") == TaskSize(0.5, 3)
        stub.add_client_error("describe_task_definition", "AccessDeniedException")
        with pytest.raises(TerminalError, match=r"sluice-dev-stages.*ecs:DescribeTaskDefinition"):
            container_usage.deployed_size(client, "sluice-dev")


def test_names_are_those_of_the_template():
    resources = json.loads((cli_cost.REPOSITORY / "statemachine" / "resources.json").read_text())["Resources"]

    def named(logical_id, name):
        return resources[logical_id]["Properties"][name]["Fn::Sub"].replace("${App}-${Stage}", "sluice-dev")

    assert container_usage.log_group("sluice-dev") == named("ContainerLog", "LogGroupName")
    assert named("ContainerTask", "Family") == "sluice-dev-stages"
    inside = {name for name, state, _ in usage.asl.placed(render.definition()) if ":ecs:" in state.get("Resource", "")}
    assert inside == {usage._CHUNK_CONTAINER, usage._PARTITION_CONTAINER}


def test_the_log_of_a_deployed_stages_containers_is_its_group(tmp_path):
    asked = []

    class Logs:
        def get_paginator(self, operation):
            return self

        def paginate(self, **given):
            asked.append(given["logGroupName"])
            return [{"events": []}]

    arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:sluice-dev"
    session = SimpleNamespace(
        settings=Settings(stage="dev", state_machine_arn=arn), folder=tmp_path, client={"logs": Logs()}.get
    )
    assert cli_cost._container_log(session, "run", execution(**CONTAINERS)) is None
    assert asked == ["/ecs/sluice-dev-stages"]
