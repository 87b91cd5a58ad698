"""What moto gets wrong, corrected: each shown by a small machine on the endpoint that the stack serves."""

import json
import logging
import os
import re
import threading
import time
import uuid

import boto3
import pytest
from botocore.exceptions import ClientError

from local.functions import REGION, Function
from local.runtime import Result


class FakeRuntime:
    """Functions in this process: `echo` answers its event, `fail` fails as told, `wait` waits to be let go."""

    preloaded, workers = True, 1

    def __init__(self):
        self.let_go = threading.Event()

    def invoke(self, reference, payload):
        event = json.loads(payload)
        if reference.endswith("-fail"):
            body = {"errorType": event["error"], "errorMessage": "as told"}
            return Result(json.dumps(body).encode(), "Unhandled", "1")
        if reference.endswith("-wait"):
            self.let_go.wait(20)
        return Result(payload, None, "1")


@pytest.fixture(scope="module")
def runtime():
    return FakeRuntime()


@pytest.fixture(scope="module")
def endpoint(runtime):
    from moto.server import DomainDispatcherApplication, create_backend_app

    from local import corrections, shortcuts
    from local.gateway import Gateway
    from local.http import listen, serve, url

    corrections.apply()
    shortcuts.apply(runtime)
    listening = listen()
    before = os.environ.get("MOTO_PORT")
    os.environ["MOTO_PORT"] = str(listening.getsockname()[1])
    server = serve(listening, Gateway(DomainDispatcherApplication(create_backend_app), runtime, {}, list))
    yield url(listening)
    server.shutdown()
    server.server_close()
    listening.close()
    os.environ.pop("MOTO_PORT")
    if before is not None:
        os.environ["MOTO_PORT"] = before


@pytest.fixture(scope="module")
def client(endpoint):
    def make(service):
        return boto3.client(
            service,
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    return make


@pytest.fixture(scope="module")
def states(client):
    return client("stepfunctions")


def task(function, **fields):
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": Function(function).arn, "Payload.$": "$"},
        "OutputPath": "$.Payload",
        "End": True,
        **fields,
    }


def machine(**states):
    return {"StartAt": next(iter(states)), "States": states}


def create(states, definition):
    text = definition if isinstance(definition, str) else json.dumps(definition)
    role = "arn:aws:iam::123456789012:role/any"
    return states.create_state_machine(name=f"m{uuid.uuid4().hex}", definition=text, roleArn=role)["stateMachineArn"]


def start(states, definition, given=None):
    return states.start_execution(
        stateMachineArn=create(states, definition), name="one", input=json.dumps(given or {})
    )["executionArn"]


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def ended(states, execution):
    def poll():
        described = states.describe_execution(executionArn=execution)
        return described if described["status"] != "RUNNING" else None

    return until(poll)


def run(states, definition, given=None):
    return ended(states, start(states, definition, given))


def test_a_name_that_is_taken_by_two_at_the_same_moment_runs_once(states, monkeypatch):
    from moto.stepfunctions.parser import models

    copied = models.copy.deepcopy

    def slowly(*args):
        time.sleep(0.2)  # between finding the name free and taking it
        return copied(*args)

    arn = states.create_state_machine(
        name=f"m-{uuid.uuid4().hex[:8]}",
        definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 5, "End": True}}}),
        roleArn="arn:aws:iam::123456789012:role/any",
    )["stateMachineArn"]
    monkeypatch.setattr(models.copy, "deepcopy", slowly)
    threads = [
        threading.Thread(target=lambda: states.start_execution(stateMachineArn=arn, name="one", input="{}"))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found["name"] for found in states.list_executions(stateMachineArn=arn)["executions"]] == ["one"]


def test_executions_without_a_name_do_not_collide(states):
    arn = create(states, machine(Only={"Type": "Pass", "End": True}))
    names = {states.start_execution(stateMachineArn=arn)["executionArn"] for _ in range(2)}
    assert len(names) == 2
    assert not any(name.endswith(":None") for name in names)


@pytest.mark.parametrize("tolerance", [100, 100.0])
def test_a_tolerated_failure_percentage_may_be_a_whole_number(states, tolerance):
    each = {
        "Type": "Map",
        "ToleratedFailurePercentage": tolerance,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            **machine(Fail=task("fail")),
        },
        "End": True,
    }
    described = run(states, machine(Each=each), [{"error": "Any"}, {"error": "Any"}])
    assert described["status"] == "SUCCEEDED"


def test_a_dangling_next_is_refused(states):
    with pytest.raises(states.exceptions.InvalidDefinition, match="Nowhere"):
        create(states, machine(First={"Type": "Pass", "Next": "Nowhere"}))


def test_errors_of_the_interpreter_have_their_names(states):
    with pytest.raises(states.exceptions.InvalidDefinition):
        create(states, "{}")


def test_states_all_catches_a_functions_error(states):
    caught = {"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]}
    described = run(states, machine(Fail=task("fail", **caught), Caught={"Type": "Succeed"}), {"error": "Mine"})
    assert json.loads(described["output"])["Error"] == "Mine"


def test_states_all_catches_no_runtime_error(states):
    broken = {"Type": "Pass", "Parameters": {"x.$": "$.missing"}, "End": True}
    each = {"Type": "Parallel", "Branches": [machine(Broken=broken)], "End": True}
    each["Catch"] = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    described = run(states, machine(Each=each, Caught={"Type": "Succeed"}))
    assert (described["status"], described["error"]) == ("FAILED", "States.Runtime")


def test_states_all_catches_no_exceeded_data_limit(states):
    big = task("echo", Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Caught"}])
    big["Parameters"]["Payload"] = {"x.$": "States.Format('{}{}', $.half, $.half)"}
    del big["Parameters"]["Payload.$"]
    described = run(states, machine(Big=big, Caught={"Type": "Succeed"}), {"half": "x" * 140_000})
    assert (described["status"], described["error"]) == ("FAILED", "States.DataLimitExceeded")


def test_a_timeout_inside_a_map_keeps_its_name(states, runtime):
    runtime.let_go.clear()
    each = {"Type": "Map", "ItemProcessor": machine(Wait=task("wait", TimeoutSeconds=1)), "End": True}
    each["Catch"] = [{"ErrorEquals": ["States.Timeout"], "Next": "Late"}]
    described = run(states, machine(Each=each, Late={"Type": "Succeed"}), [{}])
    runtime.let_go.set()
    assert json.loads(described["output"])["Error"] == "States.Timeout"


def test_a_result_writer_reads_the_states_input(states, client):
    client("s3").create_bucket(Bucket="written")
    each = {
        "Type": "Map",
        "ItemsPath": "$.items",
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            **machine(Echo=task("echo")),
        },
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket.$": "$.bucket", "Prefix": "results"},
        },
        "End": True,
    }
    described = run(states, machine(Each=each), {"bucket": "written", "items": [{"a": 1}]})
    assert json.loads(described["output"])["ResultWriterDetails"]["Bucket"] == "written"


def distributed(**reader_or_writer):
    return {
        "Type": "Map",
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            **machine(Echo=task("echo")),
        },
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
        "End": True,
        **reader_or_writer,
    }


OF_S3 = {
    "States.ItemReaderFailed": {
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Parameters": {"Bucket": "in-a-map", "Key.$": "$.key"},
        }
    },
    "States.ResultWriterFailed": {
        "ItemsPath": "$.items",
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket.$": "$.bucket", "Prefix": "results"},
        },
    },
}


@pytest.mark.parametrize("error", OF_S3)
def test_what_s3_fails_in_a_map_is_caught_under_its_name(states, client, error):
    client("s3").create_bucket(Bucket="in-a-map")
    each = distributed(**OF_S3[error])
    described = run(
        states,
        machine(Each=each, Caught={"Type": "Succeed"}),
        {"key": "none", "bucket": "no-such-bucket", "items": [1]},
    )
    assert (described["status"], json.loads(described["output"])["Error"]) == ("SUCCEEDED", error)


@pytest.mark.parametrize("error", OF_S3)
def test_what_s3_fails_in_a_map_can_be_retried(states, client, error):
    s3 = client("s3")
    s3.create_bucket(Bucket="in-a-map")
    each = distributed(**OF_S3[error], Retry=[{"ErrorEquals": [error], "IntervalSeconds": 1, "MaxAttempts": 20}])
    each["Retry"][0]["BackoffRate"] = 1.0
    key, bucket = f"items-{uuid.uuid4().hex}", f"later-{uuid.uuid4().hex}"
    execution = start(
        states, machine(Each=each, Caught={"Type": "Succeed"}), {"key": key, "bucket": bucket, "items": [1, 2]}
    )
    until(lambda: [e["type"] for e in history(states, execution)].count("MapRunStarted") > 1)
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="in-a-map", Key=key, Body=b"[1, 2]")
    until(lambda: states.describe_execution(executionArn=execution)["status"] != "RUNNING")
    described = states.describe_execution(executionArn=execution)
    assert described["status"] == "SUCCEEDED"
    assert "Error" not in described["output"]


def test_a_stop_takes_effect_at_once_and_says_why(states, runtime):
    runtime.let_go.clear()
    execution = start(states, machine(Wait=task("wait")))
    until(lambda: "TaskStarted" in [e["type"] for e in history(states, execution)])
    states.stop_execution(executionArn=execution, error="Operator", cause="no longer wanted")
    described = states.describe_execution(executionArn=execution)
    assert (described["status"], described["error"], described["cause"]) == ("ABORTED", "Operator", "no longer wanted")
    assert described["stopDate"] >= described["startDate"]
    runtime.let_go.set()
    time.sleep(0.2)  # what the task does now is nobody's business
    last = history(states, execution)[-1]
    assert last["type"] == "ExecutionAborted"
    assert last["executionAbortedEventDetails"] == {"error": "Operator", "cause": "no longer wanted"}
    assert states.describe_execution(executionArn=execution)["status"] == "ABORTED"


def test_a_stop_ends_the_children_of_a_map(states, runtime):
    runtime.let_go.clear()
    each = {
        "Type": "Map",
        "MaxConcurrency": 1,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            **machine(Wait=task("wait")),
        },
        "End": True,
    }
    execution = start(states, machine(Each=each), [{}] * 5)
    map_run = until(lambda: states.list_map_runs(executionArn=execution)["mapRuns"])[0]["mapRunArn"]
    until(lambda: states.describe_map_run(mapRunArn=map_run)["itemCounts"]["running"])
    states.stop_execution(executionArn=execution)
    runtime.let_go.set()
    until(lambda: not states.describe_map_run(mapRunArn=map_run)["itemCounts"]["running"])
    assert states.describe_map_run(mapRunArn=map_run)["itemCounts"]["succeeded"] <= 1


def history(states, execution):
    return states.get_execution_history(executionArn=execution)["events"]


def test_an_execution_that_has_just_started_can_be_asked_about(states):
    for _ in range(5):
        execution = start(states, machine(Only={"Type": "Pass", "End": True}))
        assert states.list_map_runs(executionArn=execution)["mapRuns"] == []
        assert states.describe_execution(executionArn=execution)["status"] in ("RUNNING", "SUCCEEDED")


def test_an_execution_that_timed_out_has_an_end(states, runtime):
    runtime.let_go.clear()
    described = run(states, {**machine(Wait=task("wait")), "TimeoutSeconds": 1})
    runtime.let_go.set()
    assert described["status"] == "TIMED_OUT"
    assert described["stopDate"] > described["startDate"]


def test_a_failing_machine_logs_nothing(states, caplog):
    with caplog.at_level(logging.DEBUG, "moto.stepfunctions"):
        assert run(states, machine(Fail=task("fail")), {"error": "Mine"})["status"] == "FAILED"
    assert [record.message for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_threads_of_past_executions_are_forgotten(states):
    from moto.stepfunctions.parser.asl.component.program import program

    run(states, machine(Only={"Type": "Pass", "End": True}))
    assert len(program.TMP_THREADS) == 0


def test_an_unknown_function_fails_the_state_with_lambdas_error(states, client, runtime, monkeypatch):
    from local.runtime import UnknownFunction

    def unknown(reference, payload):
        raise UnknownFunction(f"Function not found: {reference}")

    monkeypatch.setattr(runtime, "invoke", unknown)
    described = run(states, machine(Only=task("gone")))
    assert described["error"] == "Lambda.ResourceNotFoundException"
    with pytest.raises(ClientError, match=re.escape("Function not found")):
        client("lambda").invoke(FunctionName="gone")
