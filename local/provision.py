"""What a stage needs to exist before it can run: bucket, topic, queue, state machine. Ordinary boto3 calls."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from deploy.intrinsics import has_unknown
from deploy.kinds import storage
from local.functions import ACCESS_KEY, ACCOUNT, APP, REGION, Function
from statemachine import render

if TYPE_CHECKING:  # it takes the names from here
    from local.declared import Declared

STAGE_NAME = f"{APP}-local"
CHANGE_STREAM = f"{STAGE_NAME}-changes"
SHARDS = 2  # the fewest with which an order may go wrong
EMAIL = "data-team@example.com"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{STAGE_NAME}"  # moto checks no policies

# processes of this machine: `local.containers`
CONTAINERS = {
    "ContainerCluster": STAGE_NAME,
    "ContainerFamily": f"{STAGE_NAME}-stages",
    "ContainerSubnets": "subnet-local",
    "ContainerSecurityGroups": "sg-local",
}


@dataclass(frozen=True)
class Resources:
    """The names of what is provisioned, known before it is: workers get them in their environment."""

    endpoint: str
    bucket: str = STAGE_NAME
    topic_arn: str = f"arn:aws:sns:{REGION}:{ACCOUNT}:{STAGE_NAME}-alerts"
    state_machine_arn: str = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STAGE_NAME}"

    @property
    def dead_letter_url(self) -> str:
        return self.queue_url("dead-letters")

    def queue_url(self, name: str) -> str:
        return f"{self.endpoint}/{ACCOUNT}/{STAGE_NAME}-{name}"


def client(service: str, endpoint: str, config: Config | None = None):
    """boto3's client of what the stack emulates."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ACCESS_KEY["AWS_SECRET_ACCESS_KEY"],
        config=config,
    )


def provision(resources: Resources, declared: Declared) -> None:
    """Create what `resources` names and `declared` has; the state machine is brought up to date where it exists."""
    s3 = client("s3", resources.endpoint)
    s3.create_bucket(Bucket=resources.bucket)
    sns = client("sns", resources.endpoint)
    sns.create_topic(Name=_name(resources.topic_arn))
    sns.subscribe(TopicArn=resources.topic_arn, Protocol="email", Endpoint=EMAIL)
    sqs = client("sqs", resources.endpoint)
    for properties in _in_order(declared.of("AWS::SQS::Queue")):
        sqs.create_queue(QueueName=properties["QueueName"], Attributes=_attributes(properties))
    kinesis = client("kinesis", resources.endpoint)
    for properties in declared.of("AWS::Kinesis::Stream").values():
        kinesis.create_stream(StreamName=properties["Name"], ShardCount=SHARDS)
    [bucket] = declared.of("AWS::S3::Bucket").values()
    notices = bucket.get("NotificationConfiguration", {})
    storage.notify(s3, {"Bucket": resources.bucket}, notices)
    client("stepfunctions", resources.endpoint).create_state_machine(
        name=_name(resources.state_machine_arn), definition=definition(resources), roleArn=ROLE
    )


def _in_order(queues: dict[str, dict]) -> list[dict]:
    """A queue after the one that gets what it cannot deliver."""
    return sorted(queues.values(), key=lambda queue: "RedrivePolicy" in queue)


def _attributes(queue: dict) -> dict[str, str]:
    """A queue's properties as SQS takes them; the key that it would be encrypted with is not made here."""
    return {
        name: json.dumps(value) if isinstance(value, dict) else str(value)
        for name, value in queue.items()
        if name not in ("QueueName", "Tags") and not has_unknown(value)
    }


def definition(resources: Resources) -> str:
    """The state machine's definition for the stack."""
    return render.render(
        {
            **{render.placeholder(name): Function(name).arn for name in render.state_functions()},
            "Bucket": resources.bucket,
            "AlertsTopicArn": resources.topic_arn,
            "DeadLetterUrl": resources.dead_letter_url,
            **CONTAINERS,
        }
    )


def _name(arn: str) -> str:
    return arn.rsplit(":", 1)[1]
