"""One role per function, from `statemachine/policies/`, as CloudFormation resources."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from chalicelib.errors import ConfigurationError
from statemachine import render

FOLDER = Path("statemachine", "policies")

# the source `files` reads from other buckets, where the stage names them; containers do too
READS_BUCKETS = ("plan", "fetch_partition")

_STATES = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}"

# what the policies' `${Name}` stand for. The machine and the functions' logs go by their names: their
# resources refer to the roles
VALUES = {
    "Account": {"Ref": "AWS::AccountId"},
    "AlertsTopicArn": {"Ref": "AlertsTopic"},
    "BucketArn": {"Fn::GetAtt": ["Bucket", "Arn"]},
    # by name: there is a stream only where a stage takes changes
    "ChangeStreamArn": {
        "Fn::Sub": "arn:${AWS::Partition}:kinesis:${AWS::Region}:${AWS::AccountId}:stream/${App}-${Stage}-changes"
    },
    "DatabaseSecretArn": {"Fn::If": ["MakesDatabaseSecret", {"Ref": "DatabaseSecret"}, {"Ref": "DatabaseSecretArn"}]},
    "DeadLetterArn": {"Fn::GetAtt": ["DeadLetters", "Arn"]},
    "EmbeddingModelArn": {
        "Fn::Sub": "arn:${AWS::Partition}:bedrock:${AWS::Region}::foundation-model/amazon.titan-embed-text-v2:0"
    },
    "ExecutionsArn": {"Fn::Sub": _STATES + ":execution:${App}-${Stage}:*"},
    "KeyArn": {"Fn::GetAtt": ["Key", "Arn"]},
    "Partition": {"Ref": "AWS::Partition"},
    "Prefix": {"Fn::Sub": "${App}-${Stage}"},
    "Region": {"Ref": "AWS::Region"},
    "ReplicationSecretArn": {"Ref": "ReplicationSecretArn"},
    "StateMachineArn": {"Fn::Sub": _STATES + ":stateMachine:${App}-${Stage}"},
    "TokensSecretArn": {"Ref": "TokensSecret"},
    "TriggersArn": {"Fn::GetAtt": ["Triggers", "Arn"]},
    "UndeliveredArn": {"Fn::GetAtt": ["Undelivered", "Arn"]},
    "WebhookEventsArn": {"Fn::GetAtt": ["WebhookEvents", "Arn"]},
}

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def of_functions(folder: Path, functions: Iterable[str], read_buckets: Iterable[str] = ()) -> dict[str, dict]:
    """The functions' roles, by logical id. `read_buckets` are other buckets that runs may read."""
    return {role_id(name): _role(folder, name, read_buckets) for name in functions}


def logical_id(function: str) -> str:
    """The function's name in Chalice's template: `fetch_partition` -> `FetchPartition`."""
    return "APIHandler" if function == render.API_HANDLER else render.placeholder(function).removesuffix("Arn")


def role_id(function: str) -> str:
    """A role's logical id: `fetch_partition` -> `FetchPartitionRole`."""
    return render.placeholder(function).removesuffix("Arn") + "Role"


def policy(folder: Path, name: str, more: dict | None = None, called: str | None = None) -> dict:
    """The file `<name>.json` as an inline policy; `more` are values beside `VALUES`."""
    functions = {
        render.placeholder(function): {
            "Fn::GetAtt": [logical_id(function), "Arn"],
        }
        for function in render.lambda_functions()
    }
    path = folder / f"{name}.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    return {
        "PolicyName": called or name,
        "PolicyDocument": _filled(document, VALUES | functions | (more or {}), path),
    }


def of_buckets(folder: Path, read_buckets: Iterable[str]) -> list[dict]:
    """Policies of whoever reads what `files` declares: one for each of the other buckets."""
    return [
        policy(
            folder,
            "read_bucket",
            {"ReadBucketArn": {"Fn::Sub": f"arn:${{AWS::Partition}}:s3:::{bucket}"}},
            f"read-{bucket}",
        )
        for bucket in sorted(read_buckets)
    ]


def _role(folder: Path, function: str, read_buckets: Iterable[str]) -> dict:
    log_group = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:/aws/lambda/"
    policies = [
        policy(
            folder, function, {"LogGroupArn": {"Fn::Sub": log_group + render.full_name("${App}-${Stage}", function)}}
        ),
        {"Fn::If": ["InVpc", policy(folder, "vpc"), {"Ref": "AWS::NoValue"}]},
    ]
    if function in READS_BUCKETS:
        policies += of_buckets(folder, read_buckets)
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": {"Fn::Sub": f"${{App}}-${{Stage}}-{function}"},
            "Description": {"Fn::Sub": f"Role of ${{App}}-${{Stage}}-{function}"},
            "AssumeRolePolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "lambda.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                    }
                ],
            },
            "Policies": policies,
        },
    }


def _filled(value, values: dict, path: Path):
    """`value` with its `${Name}` as CloudFormation has it: the value itself, or in an `Fn::Sub`."""
    if isinstance(value, dict):
        return {key: _filled(item, values, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values, path) for item in value]
    if not isinstance(value, str) or not (names := sorted(set(_VARIABLE.findall(value)))):
        return value
    if unknown := [name for name in names if name not in values]:
        raise ConfigurationError(
            f"{path} has ${{{unknown[0]}}}, which stands for nothing",
            next_step="use one of " + ", ".join(sorted(values)),
        )
    if value == f"${{{names[0]}}}":
        return values[names[0]]
    return {"Fn::Sub": [value, {name: values[name] for name in names}]}
