"""The template's resources as the local stack has them: the same that is deployed, evaluated for the stage `local`.

What AWS makes up when it creates a resource (a key's id) is an `Unknown`; queues, streams, functions,
topic, bucket and state machine have the names and ARNs that they have in the emulation.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from chalice.config import Config

from chalicelib.settings import LOCAL
from deploy import roles, template
from deploy.intrinsics import Evaluator, Unknown
from deploy.stage import CONFIG, Deployment, Stage
from local.functions import ACCOUNT, APP, REGION, Function
from local.home import REPOSITORY
from statemachine import render

if TYPE_CHECKING:  # it provisions what is declared here
    from local.provision import Resources

PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": f"{APP}-{LOCAL}",
    "AWS::URLSuffix": "amazonaws.com",
}


class Declared:
    """The resources of a template; by default those of the project in `folder`."""

    def __init__(self, resources: Resources, folder: Path = REPOSITORY, document: dict | None = None):
        self._resources = resources
        self._document = document or template.template(_stage(folder), folder)
        self._functions = {roles.logical_id(name): Function(name).arn for name in render.lambda_functions()}
        given = {"BucketName": resources.bucket}
        known = {name: value for name, value in given.items() if name in self._document.get("Parameters", {})}
        self._evaluator = Evaluator(self._document, known, PSEUDO, self.attribute)

    def of(self, kind: str) -> dict[str, dict]:
        """The properties of all resources of a type, such as `AWS::SQS::Queue`, by logical id."""
        return {
            name: self._evaluator.value(resource.get("Properties", {}))
            for name, resource in self._evaluator.resources().items()
            if resource["Type"] == kind
        }

    def attribute(self, logical_id: str, name: str | None):
        """What Ref (name None) and Fn::GetAtt give for a resource; Unknown for what the stack does not make."""
        if logical_id in self._functions:
            arn = self._functions[logical_id]
            return arn if name == "Arn" else arn.rsplit(":", 1)[1]
        resource = self._document["Resources"].get(logical_id, {})
        known = _ATTRIBUTES.get(resource.get("Type"))
        if known is None:
            return Unknown(f"{logical_id}.{name or 'Ref'}")
        found = known(self._resources, lambda key: self._evaluator.value(resource["Properties"].get(key)))
        return found.get(name, Unknown(f"{logical_id}.{name or 'Ref'}"))


def _queue(resources: Resources, value) -> dict:
    name = value("QueueName")
    url = f"{resources.endpoint}/{ACCOUNT}/{name}"
    return {None: url, "QueueUrl": url, "QueueName": name, "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"}


def _stream(resources: Resources, value) -> dict:
    name = value("Name")
    return {None: name, "Arn": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}"}


def _bucket(resources: Resources, value) -> dict:
    return {None: resources.bucket, "Arn": f"arn:aws:s3:::{resources.bucket}"}


def _topic(resources: Resources, value) -> dict:
    return {None: resources.topic_arn, "TopicArn": resources.topic_arn}


def _machine(resources: Resources, value) -> dict:
    return {None: resources.state_machine_arn, "Arn": resources.state_machine_arn}


def _group(resources: Resources, value) -> dict:
    name = value("Name")
    return {None: name, "Arn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/{name}"}


def _role(resources: Resources, value) -> dict:
    return {"Arn": f"arn:aws:iam::{ACCOUNT}:role/{APP}-{LOCAL}"}  # the one that provision.ROLE names


# by type: what Ref (None) and the attributes of Fn::GetAtt give
_ATTRIBUTES = {
    "AWS::IAM::Role": _role,
    "AWS::Kinesis::Stream": _stream,
    "AWS::S3::Bucket": _bucket,
    "AWS::SNS::Topic": _topic,
    "AWS::SQS::Queue": _queue,
    "AWS::Scheduler::ScheduleGroup": _group,
    "AWS::StepFunctions::StateMachine": _machine,
    "AWS::Serverless::StateMachine": _machine,
}


def _stage(folder: Path) -> Stage:
    document = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return Stage(
        folder, LOCAL, Config(LOCAL, config_from_disk=document), Deployment(simulate_sensors=True, changes=True)
    )
