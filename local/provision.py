"""What a stage needs to exist before it can run: bucket, topic, queue, state machine. Ordinary boto3 calls."""

from __future__ import annotations

from dataclasses import dataclass

import boto3

from local.functions import ACCOUNT, APP, REGION, Function
from statemachine import render

STAGE_NAME = f"{APP}-local"
EMAIL = "data-team@example.com"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{STAGE_NAME}"  # moto checks no policies

# any will do, but all clients of the stack have to sign with some
ACCESS_KEY = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}


@dataclass(frozen=True)
class Resources:
    """The names of what is provisioned, known before it is: workers get them in their environment."""

    endpoint: str
    bucket: str = STAGE_NAME
    topic_arn: str = f"arn:aws:sns:{REGION}:{ACCOUNT}:{STAGE_NAME}-alerts"
    state_machine_arn: str = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STAGE_NAME}"

    @property
    def dead_letter_url(self) -> str:
        return f"{self.endpoint}/{ACCOUNT}/{STAGE_NAME}-dead-letters"


def client(service: str, endpoint: str):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ACCESS_KEY["AWS_SECRET_ACCESS_KEY"],
    )


def provision(resources: Resources) -> None:
    """Create what `resources` names; the state machine is brought up to date where it exists."""
    client("s3", resources.endpoint).create_bucket(Bucket=resources.bucket)
    sns = client("sns", resources.endpoint)
    sns.create_topic(Name=_name(resources.topic_arn))
    sns.subscribe(TopicArn=resources.topic_arn, Protocol="email", Endpoint=EMAIL)
    client("sqs", resources.endpoint).create_queue(
        QueueName=resources.dead_letter_url.rsplit("/", 1)[1],
        Attributes={"MessageRetentionPeriod": str(14 * 24 * 3600)},
    )
    client("stepfunctions", resources.endpoint).create_state_machine(
        name=_name(resources.state_machine_arn), definition=definition(resources), roleArn=ROLE
    )


def definition(resources: Resources) -> str:
    """The state machine's definition for the stack."""
    return render.render(
        {
            **{render.placeholder(name): Function(name).arn for name in render.state_functions()},
            "Bucket": resources.bucket,
            "AlertsTopicArn": resources.topic_arn,
            "DeadLetterUrl": resources.dead_letter_url,
        }
    )


def _name(arn: str) -> str:
    return arn.rsplit(":", 1)[1]
