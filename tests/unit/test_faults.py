"""Faults on demand in AWS and in the workers: each does what the stack's own module says that it does."""

import json
import os
import threading
import time
from types import SimpleNamespace

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from moto.server import DomainDispatcherApplication, create_backend_app

from local import faults, shortcuts
from local.deployed import Lambdas
from local.faults import Faults
from local.gateway import Gateway
from local.http import listen, serve, url
from local.runtime import NoWorker, Runtime

APP = """
import os, time
from chalice import Chalice

app = Chalice(app_name="sluice")


@app.lambda_function(name="plan")
def plan(event, context):
    time.sleep(event.get("sleep", 0))
    with open(event["file"], "a") as file:
        file.write("done\\n")
    return {"started_at": event.get("started_at")}
"""
CONFIG = {"version": "2.0", "app_name": "sluice", "lambda_functions": {"plan": {"lambda_timeout": 20}}}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / ".chalice").mkdir()
    (folder / "app.py").write_text(APP)
    (folder / ".chalice" / "config.json").write_text(json.dumps(CONFIG))
    runtime = Runtime(folder, {"PATH": os.environ["PATH"]}, folder / "lambda.log", workers=2, preload=())
    yield runtime
    runtime.close()


class NotDeployed:
    def find(self, reference):
        return None


@pytest.fixture
def armed(runtime):
    made = Faults()
    made.kill = runtime.kill_busy_with
    return made


@pytest.fixture
def invoke(runtime, armed, tmp_path):
    """invoke(**event): the answer as the state machine gets it, and how often the work was done so far."""
    client, file = shortcuts.LambdaClient(Lambdas(runtime, NotDeployed(), armed)), tmp_path / "done"
    file.touch()

    def invoked(**event):
        answer = client.invoke(FunctionName="plan", Payload=json.dumps({"file": str(file), **event}).encode())
        return json.load(answer["Payload"]), len(file.read_text().splitlines())

    invoked.file = file
    return invoked


def fault(service, action, *texts, **given):
    return {"name": "a fault", "service": service, "action": action, "texts": list(texts), **given}


# its error, how often the work was done, what the fault is given, and how many seconds the work takes: what is to be
# broken off takes longer than any busy machine is late
WORKERS = {
    "kill": ("Runtime.ExitError", 0, {"seconds": 0.1}, 15),
    "kill-after": ("Runtime.ExitError", 1, {}, 0),
    "timeout": ("Sandbox.Timedout", 0, {"seconds": 0.05}, 15),
    "memory": ("Runtime.ExitError", None, {}, 0.5),
}


@pytest.mark.parametrize("action", WORKERS)
def test_a_worker_ends_as_it_would_on_aws_and_the_next_one_works(armed, invoke, action):
    error, done, given, seconds = WORKERS[action]
    armed.arm([fault("lambda", action, '"sleep"', function="plan", **given)])
    answer, found = invoke(sleep=seconds)
    assert answer["errorType"] == error
    assert done in (None, found)
    assert invoke(sleep=0)[0] == {"started_at": None}
    assert armed.told()[0]["struck"] == 1


def test_a_throttled_function_does_nothing(armed, invoke):
    armed.arm([fault("lambda", "throttle", function="plan")])
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        invoke()
    assert invoke.file.read_text() == ""


def test_what_is_not_heard_is_done_all_the_same(armed, invoke):
    armed.arm([fault("lambda", "unheard", function="plan")])
    with pytest.raises(ClientError, match="ServiceException"):
        invoke()
    deadline = time.monotonic() + 60
    while not invoke.file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert invoke()[1] == 2


def test_the_state_machines_clock_can_be_off(armed, invoke):
    armed.arm([fault("lambda", "clock", function="plan", seconds=-3600)])
    answer, _ = invoke(started_at="2026-11-21T00:30:00+00:00")
    assert answer == {"started_at": "2026-11-20T23:30:00+00:00"}


@pytest.mark.parametrize(("after", "times", "struck"), [(0, 1, [0]), (1, 2, [1, 2]), (2, 9, [2, 3])])
def test_the_first_calls_pass_the_next_are_struck_and_others_are_not_counted(armed, after, times, struck):
    armed.arm([fault("s3", "error", "GET ", "/rows", after=after, times=times)])
    assert armed.met("s3", "PUT /b/rows") is armed.met("s3", "GET /b/raw") is armed.met("sqs", "GET /b/rows") is None
    assert [n for n in range(4) if armed.met("s3", "GET /b/rows")] == struck
    assert armed.told()[0]["met"] == 4


def test_faults_are_taken_away_by_the_beginning_of_their_names(armed):
    armed.arm([{**fault("s3", "error"), "name": name} for name in ("a-1", "a-2", "b-1")])
    armed.disarm("a-")
    assert [each["name"] for each in armed.told()] == ["b-1"]


@pytest.mark.parametrize("wrong", [fault("s3", "throttle"), fault("ec2", "kill"), {"name": "nothing"}], ids=str)
def test_what_is_no_fault_is_refused(armed, wrong):
    with pytest.raises((TypeError, ValueError)):
        armed.arm([wrong])


def test_a_lambda_without_a_worker_is_a_failure_that_the_state_machine_retries():
    """As an exception of ours it ended the execution at once, as `States.Runtime`, which nothing catches."""

    def invoke(function, payload):
        raise NoWorker("the Lambda workers' pre-fork server is gone")

    with pytest.raises(ClientError, match="pre-fork server is gone") as raised:
        shortcuts.LambdaClient(SimpleNamespace(invoke=invoke)).invoke("plan")
    error = raised.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("ServiceException", 500)


# --- S3, SNS, SQS --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moto():
    return DomainDispatcherApplication(create_backend_app)


@pytest.fixture
def client(moto, armed):
    """client(service) of moto behind the faults, which does not try again."""
    listening = listen()
    server = serve(listening, Gateway(moto, SimpleNamespace(invoke=None), {}, list, faults=armed))

    def client(service):
        return boto3.client(
            service,
            endpoint_url=url(listening),
            region_name="us-east-1",
            aws_access_key_id="ak",
            aws_secret_access_key="sk",
            config=Config(retries={"total_max_attempts": 1}, response_checksum_validation="when_required"),
        )

    yield client
    server.shutdown()


@pytest.fixture
def objects(client):
    s3 = client("s3")
    s3.create_bucket(Bucket="lake")
    s3.put_object(Bucket="lake", Key="one", Body=b"first")
    return s3


S3 = {"error": "InternalError", "slow-down": "SlowDown", "missing": "NoSuchKey"}


@pytest.mark.parametrize("action", S3)
def test_s3_fails_as_it_does_on_aws(armed, objects, action):
    armed.arm([fault("s3", action, "GET ", "one")])
    with pytest.raises(ClientError) as raised:
        objects.get_object(Bucket="lake", Key="one")
    assert raised.value.response["Error"]["Code"] == S3[action]
    assert objects.get_object(Bucket="lake", Key="one")["Body"].read() == b"first"


def test_s3_gives_what_an_object_was(armed, objects):
    armed.arm([fault("s3", "stale", "GET ", times=2)])
    objects.put_object(Bucket="lake", Key="one", Body=b"second")
    objects.put_object(Bucket="lake", Key="new", Body=b"new")
    assert objects.get_object(Bucket="lake", Key="one")["Body"].read() == b"first"
    with pytest.raises(ClientError, match="NoSuchKey"):
        objects.get_object(Bucket="lake", Key="new")
    assert objects.get_object(Bucket="lake", Key="one")["Body"].read() == b"second"


def test_s3_does_what_it_says_has_failed(armed, objects):
    armed.arm([fault("s3", "unheard", "PUT ")])
    with pytest.raises(ClientError, match="InternalError"):
        objects.put_object(Bucket="lake", Key="two", Body=b"there")
    assert objects.get_object(Bucket="lake", Key="two")["Body"].read() == b"there"


def test_s3_breaks_off_in_the_middle_of_an_object(armed, objects):
    armed.arm([fault("s3", "cut", "GET ")])
    with pytest.raises(HTTPClientError):
        objects.get_object(Bucket="lake", Key="one")["Body"].read()


def test_a_call_of_s3_can_be_the_last_that_a_worker_makes(armed, objects, invoke):
    armed.arm([fault("s3", "kill", "PUT ", worker="run-7"), {**fault("s3", "error", "never"), "name": "other"}])
    answers = []
    working = threading.Thread(target=lambda: answers.append(invoke(sleep=15, run="run-7")[0]))
    working.start()
    while not answers:
        objects.put_object(Bucket="lake", Key="x", Body=b"x")
        armed.arm([fault("s3", "kill", "PUT ", worker="run-7")])
    working.join()
    assert answers[0]["errorType"] == "Runtime.ExitError"


@pytest.mark.parametrize(("action", "arrived"), [("error", 0), ("unheard", 1)])
def test_a_message_that_could_not_be_sent(armed, client, action, arrived):
    sqs = client("sqs")
    queue = sqs.create_queue(QueueName=f"letters-{action}")["QueueUrl"]
    armed.arm([fault("sqs", action, "about run-7")])
    with pytest.raises(ClientError, match="InternalFailure"):
        sqs.send_message(QueueUrl=queue, MessageBody="about run-7")
    sqs.send_message(QueueUrl=queue, MessageBody="about run-8")
    found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert len(found) == 1 + arrived


def test_a_notice_that_could_not_be_sent(armed, client):
    sns = client("sns")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    armed.arm([fault("sns", "error", "run-7")])
    with pytest.raises(ClientError, match="InternalFailure"):
        sns.publish(TopicArn=topic, Subject="failed", Message="about run-7")
    assert sns.publish(TopicArn=topic, Subject="failed", Message="about run-7")["MessageId"]


@pytest.mark.parametrize(("action", "begun"), [("error", 0), ("unheard", 1)])
def test_a_run_that_could_not_be_started_may_have_begun(armed, client, action, begun):
    states = client("stepfunctions")
    machine = states.create_state_machine(
        name=f"sluice-{action}",
        definition='{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}',
        roleArn="arn:aws:iam::123456789012:role/sluice",
    )["stateMachineArn"]
    armed.arm([fault("states", action, "run-7", "inbox/")])
    given = {"stateMachineArn": machine, "name": "run-7", "input": '{"input": "s3://lake/inbox/x"}'}
    with pytest.raises(ClientError, match="InternalFailure"):
        states.start_execution(**given)
    assert len(states.list_executions(stateMachineArn=machine)["executions"]) == begun


def test_every_action_says_what_it_does():
    assert all(told for actions in faults.ACTIONS.values() for told in actions.values())
