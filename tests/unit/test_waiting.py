"""What AWS documents to pass is waited for, each where it happens; nothing else is."""

import json

import botocore.client
import deployed_project
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from deploy.kinds import KINDS, Aws, waiting

ACCOUNT, REGION = "123456789012", deployed_project.REGION
ROLE = f"arn:aws:iam::{ACCOUNT}:role/sluice-dev"
MACHINE = {
    "StateMachineName": "sluice-dev",
    "RoleArn": ROLE,
    "DefinitionString": json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}),
}
SCHEDULE = {
    "Name": "weather",
    "ScheduleExpression": "rate(1 hour)",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "Target": {"Arn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:sluice-dev", "RoleArn": ROLE},
}
NOT_ASSUMABLE = (
    "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume"
)
NO_LOG = "The state machine IAM Role is not authorized to access the Log Destination"
NO_ROLE = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
LATELY = "You must wait 60 seconds after deleting a queue before you can create another with the same name."
BUSY = "A conflicting conditional operation is currently in progress against this resource."

PASSING = [
    ("AWS::StepFunctions::StateMachine", MACHINE, "CreateStateMachine", "AccessDeniedException", NOT_ASSUMABLE),
    ("AWS::StepFunctions::StateMachine", MACHINE, "CreateStateMachine", "AccessDeniedException", NO_LOG),
    ("AWS::StepFunctions::StateMachine", MACHINE, "CreateStateMachine", "StateMachineDeleting", "it is being deleted"),
    ("AWS::Scheduler::Schedule", SCHEDULE, "CreateSchedule", "ValidationException", NO_ROLE),
    ("AWS::SQS::Queue", {"QueueName": "q"}, "CreateQueue", "AWS.SimpleQueueService.QueueDeletedRecently", LATELY),
    ("AWS::S3::Bucket", {"BucketName": "lake-of-mine"}, "CreateBucket", "OperationAborted", BUSY),
    ("AWS::Scheduler::ScheduleGroup", {"Name": "sluice-dev"}, "CreateScheduleGroup", "ConflictException", "deleting"),
]


@pytest.fixture
def aws(monkeypatch):
    for name, value in deployed_project.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield Aws(ACCOUNT, REGION, "aws", "dev")


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only in sleep; the seconds slept."""
    slept = []
    monkeypatch.setattr(waiting.time, "sleep", slept.append)
    monkeypatch.setattr(waiting.time, "monotonic", lambda: sum(slept))
    return slept


def fail(monkeypatch, operation, code, message, times):
    """The operation fails so many times; the list of its attempts."""
    attempts, original = [], botocore.client.BaseClient._make_api_call

    def call(self, name, arguments):
        if name == operation:
            attempts.append(arguments)
            if len(attempts) <= times:
                raise ClientError({"Error": {"Code": code, "Message": message}}, name)
        return original(self, name, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
    return attempts


@pytest.mark.parametrize(("type", "properties", "operation", "code", "message"), PASSING)
def test_what_is_only_not_there_yet_is_tried_again(aws, clock, monkeypatch, type, properties, operation, code, message):
    attempts = fail(monkeypatch, operation, code, message, times=2)
    made = KINDS[type].create(aws, properties)
    assert len(attempts) == 3
    assert len(clock) >= 2
    assert KINDS[type].read(aws, made) is not None


@pytest.mark.parametrize(("type", "properties", "operation", "code", "message"), PASSING)
def test_it_comes_to_an_end(aws, clock, monkeypatch, type, properties, operation, code, message):
    fail(monkeypatch, operation, code, message, times=10_000)
    with pytest.raises(ClientError, match=code):
        KINDS[type].create(aws, properties)
    assert 60 <= sum(clock) <= waiting.LONGEST  # a queue's name is taken for 60 s


@pytest.mark.parametrize(
    ("type", "properties", "operation", "code", "message"),
    [
        (
            "AWS::StepFunctions::StateMachine",
            MACHINE,
            "CreateStateMachine",
            "AccessDeniedException",
            f"User: arn:aws:sts::{ACCOUNT}:assumed-role/ci/me is not authorized to perform: states:CreateStateMachine",
        ),
        ("AWS::StepFunctions::StateMachine", MACHINE, "CreateStateMachine", "InvalidDefinition", "no such state"),
        ("AWS::Scheduler::Schedule", SCHEDULE, "CreateSchedule", "ValidationException", "Invalid expression"),
    ],
)
def test_what_will_not_pass_is_told_at_once(aws, clock, monkeypatch, type, properties, operation, code, message):
    attempts = fail(monkeypatch, operation, code, message, times=10_000)
    with pytest.raises(ClientError, match=code):
        KINDS[type].create(aws, properties)
    assert (len(attempts), clock) == (1, [])
