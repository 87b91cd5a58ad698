"""What whoever deploys must be allowed: the actions of `sluice deploy`, of Chalice and of `sluice destroy`."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import quote

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from chalicelib import boto_errors
from chalicelib.lake import keys
from deploy.artefacts import ABOVE
from deploy.kinds import Aws
from deploy.record import Made
from deploy.stage import Stage
from statemachine import render

# the last: an answer that is no IAM's
_UNTOLD = (ClientError, BotoCoreError, ResponseParserError)


def needed(aws: Aws, stage: Stage, made: Collection[Made] = ()) -> dict[str, list[str]]:
    """Actions by the resource that they are done to; of what was `made` and is not wanted any more, too."""
    wanted, has = stage.deployment, {each.type for each in made}
    logs = any(each == Made("AWS::Logs::LogGroup", f"/aws/apigateway/{stage.prefix}") for each in made)
    domains = {wanted.api_domain, *(each.id for each in made if each.type == "AWS::ApiGateway::DomainName")} - {""}
    prefix, arn = stage.prefix, aws.arn
    bucket = f"arn:{aws.partition}:s3:::{aws.bucket}"
    functions = [stage.function(name) for name in render.lambda_functions()]
    # Lambda looks at subnets and security groups in the name of whoever makes the function
    network = _of("ec2", "DescribeSecurityGroups DescribeSubnets DescribeVpcs")
    return {
        bucket: _of(
            "s3",
            "CreateBucket ListBucket GetBucketTagging PutBucketTagging GetBucketVersioning PutBucketVersioning "
            "GetEncryptionConfiguration PutEncryptionConfiguration GetBucketPublicAccessBlock "
            "PutBucketPublicAccessBlock GetBucketOwnershipControls PutBucketOwnershipControls "
            "GetLifecycleConfiguration PutLifecycleConfiguration GetBucketPolicy PutBucketPolicy DeleteBucketPolicy "
            "GetBucketNotification PutBucketNotification",
        ),
        f"{bucket}/deployment/record.json": _of("s3", "GetObject PutObject"),
        f"{bucket}/deployment/layers/layer.zip": _of("s3", "GetObject PutObject"),
        f"{bucket}/{keys.INBOX}smoke.csv": _of("s3", "PutObject DeleteObject"),
        arn("sns", f"{prefix}-alerts"): _of(
            "sns",
            "CreateTopic DeleteTopic GetSubscriptionAttributes GetTopicAttributes SetTopicAttributes "
            "ListSubscriptionsByTopic Unsubscribe "
            "ListTagsForResource Subscribe TagResource UntagResource",
        ),
        arn("sqs", f"{prefix}-dead-letters"): _of(
            "sqs",
            "CreateQueue DeleteQueue GetQueueAttributes GetQueueUrl ListQueueTags SetQueueAttributes "
            "TagQueue UntagQueue",
        ),
        f"arn:{aws.partition}:iam::{aws.account}:role/{prefix}-plan": _of(
            "iam",
            "CreateRole DeleteRole GetRole GetRolePolicy PutRolePolicy DeleteRolePolicy ListRolePolicies "
            "ListAttachedRolePolicies TagRole UntagRole UpdateAssumeRolePolicy UpdateRole PassRole",
        ),
        arn("logs", f"log-group:/aws/vendedlogs/states/{prefix}"): _of(
            "logs", "CreateLogGroup DeleteLogGroup ListTagsForResource PutRetentionPolicy TagResource UntagResource"
        ),
        arn("logs", f"log-group:/aws/lambda/{prefix}-plan"): _of(
            "logs", "CreateLogGroup DeleteLogGroup PutRetentionPolicy"
        ),
        arn("lambda", f"function:{prefix}-plan"): _of(
            "lambda",
            "CreateFunction DeleteFunction DeleteFunctionConcurrency GetFunction GetFunctionConfiguration ListTags "
            "TagResource UntagResource UpdateFunctionCode UpdateFunctionConfiguration"
            + (" PutFunctionConcurrency" if any(f.reserved_concurrency is not None for f in functions) else ""),
        ),
        # its id is made up by AWS
        arn("lambda", "event-source-mapping:00000000-0000-0000-0000-000000000000"): _of(
            "lambda", "DeleteEventSourceMapping GetEventSourceMapping UpdateEventSourceMapping"
        ),
        # Chalice looks at the permission of API Gateway, whose resources have no account in their ARNs
        arn("lambda", f"function:{prefix}"): _of("lambda", "AddPermission GetPolicy RemovePermission"),
        f"arn:{aws.partition}:apigateway:{aws.region}::/restapis": _of("apigateway", "GET POST"),
        f"arn:{aws.partition}:apigateway:{aws.region}::/restapis/0": _of("apigateway", "DELETE GET PATCH PUT"),
        f"arn:{aws.partition}:apigateway:{aws.region}::/restapis/0/deployments": _of("apigateway", "POST"),
        f"arn:{aws.partition}:apigateway:{aws.region}::/restapis/0/stages": _of("apigateway", "GET"),
        f"arn:{aws.partition}:apigateway:{aws.region}::/restapis/0/stages/api": _of("apigateway", "PATCH"),
        **{
            arn("lambda", f"layer:{prefix}-{layer}{version}"): _of("lambda", calls)
            for layer in ABOVE
            for version, calls in (
                ("", "ListLayerVersions PublishLayerVersion"),
                (":1", "DeleteLayerVersion GetLayerVersion"),
            )
        },
        arn("states", f"stateMachine:{prefix}"): _of(
            "states",
            "CreateStateMachine DeleteStateMachine DescribeStateMachine ListTagsForResource StartExecution TagResource "
            "UntagResource UpdateStateMachine",
        ),
        arn("states", f"execution:{prefix}:smoke"): _of("states", "DescribeExecution"),
        arn("cloudwatch", f"alarm:{prefix}-failed-runs"): _of(
            "cloudwatch", "DeleteAlarms DescribeAlarms ListTagsForResource PutMetricAlarm TagResource UntagResource"
        ),
        f"arn:{aws.partition}:cloudwatch::{aws.account}:dashboard/{prefix}": _of(
            "cloudwatch", "DeleteDashboards GetDashboard PutDashboard"
        ),
        arn("scheduler", f"schedule-group/{prefix}"): _of(
            "scheduler",
            "CreateScheduleGroup DeleteScheduleGroup GetScheduleGroup ListTagsForResource TagResource UntagResource",
        ),
        arn("scheduler", f"schedule/{prefix}/{prefix}-weather"): _of(
            "scheduler", "CreateSchedule DeleteSchedule GetSchedule UpdateSchedule"
        ),
        arn("secretsmanager", f"secret:{stage.app}/{stage.name}/tokens-AbCdEf"): _of(
            "secretsmanager",
            "CreateSecret DeleteSecret DescribeSecret RestoreSecret TagResource UntagResource UpdateSecret",
        ),
        # its id is made up by AWS, and S3 and Secrets Manager use it in the name of whoever asks them
        arn("kms", "key/00000000-0000-0000-0000-000000000000"): _of(
            "kms",
            "CreateAlias Decrypt DeleteAlias DescribeKey EnableKeyRotation GenerateDataKey GetKeyPolicy "
            "GetKeyRotationStatus ListResourceTags PutKeyPolicy ScheduleKeyDeletion TagResource UntagResource "
            "UpdateAlias UpdateKeyDescription",
        ),
        **(_streams(aws, prefix) if wanted.changes or "AWS::Kinesis::Stream" in has else {}),
        **(_access_log(aws, prefix) if wanted.access_log or logs else {}),
        **{resource: actions for name in sorted(domains) for resource, actions in _domain(aws, name).items()},
        **(_usage_plan(aws) if wanted.api_quota or "AWS::ApiGateway::UsagePlan" in has else {}),
        # no narrower resource: what is to be made has no name yet, or the service knows none
        "*": [
            "kms:CreateKey",
            "kms:ListAliases",
            "kms:ListKeys",
            "lambda:CreateEventSourceMapping",
            "lambda:ListEventSourceMappings",
            "logs:DescribeLogGroups",
            *(network if any(f.subnet_ids for f in functions) else []),
        ],
    }


def _access_log(aws: Aws, prefix: str) -> dict[str, list[str]]:
    actions = "CreateLogGroup DeleteLogGroup ListTagsForResource PutRetentionPolicy TagResource UntagResource"
    return {
        aws.arn("logs", f"log-group:/aws/apigateway/{prefix}"): _of("logs", actions),
        f"arn:{aws.partition}:apigateway:{aws.region}::/account": _of("apigateway", "GET"),
    }


def _domain(aws: Aws, name: str) -> dict[str, list[str]]:
    """Tags are put as well when something is made."""
    gateway = f"arn:{aws.partition}:apigateway:{aws.region}::"
    domain = f"{gateway}/domainnames/{name}"
    return {
        f"{gateway}/domainnames": _of("apigateway", "POST"),
        domain: _of("apigateway", "DELETE GET PATCH"),
        f"{domain}/basepathmappings": _of("apigateway", "POST"),
        f"{domain}/basepathmappings/(none)": _of("apigateway", "DELETE GET PATCH"),
        f"{gateway}/tags/{quote(domain, safe='')}": _of("apigateway", "PUT"),
    }


def _usage_plan(aws: Aws) -> dict[str, list[str]]:
    gateway = f"arn:{aws.partition}:apigateway:{aws.region}::"
    plan = f"{gateway}/usageplans/0"  # its id is made up by AWS
    return {
        f"{gateway}/usageplans": _of("apigateway", "GET POST"),
        plan: _of("apigateway", "DELETE GET PATCH"),
        f"{gateway}/tags/{quote(plan, safe='')}": _of("apigateway", "PUT"),
    }


def _streams(aws: Aws, prefix: str) -> dict[str, list[str]]:
    actions = (
        "AddTagsToStream CreateStream DecreaseStreamRetentionPeriod DeleteStream DescribeStreamSummary "
        "IncreaseStreamRetentionPeriod ListTagsForStream RemoveTagsFromStream StartStreamEncryption "
        "StopStreamEncryption"
    )
    return {aws.arn("kinesis", f"stream/{prefix}-changes"): _of("kinesis", actions)}


def missing(aws: Aws, stage: Stage, made: Collection[Made] = ()) -> tuple[dict[str, list[str]], str | None]:
    """What the caller may not do, by resource; and a notice where IAM does not tell."""
    client = boto3.client("iam", region_name=aws.region, config=Config(retries={"total_max_attempts": 1}))
    caller = _principal(aws, client)
    if caller is None:
        return {}, None  # root may do all of it
    denied: dict[str, list[str]] = {}
    try:
        for resource, actions in needed(aws, stage, made).items():
            pages = client.get_paginator("simulate_principal_policy").paginate(
                PolicySourceArn=caller, ActionNames=actions, ResourceArns=[resource]
            )
            for page in pages:
                for result in page["EvaluationResults"]:
                    # what depends on the request's own values cannot be known here
                    if result["EvalDecision"] != "allowed" and not result.get("MissingContextValues"):
                        denied.setdefault(resource, []).append(result["EvalActionName"])
    except _UNTOLD as error:
        why = boto_errors.code(error) if isinstance(error, ClientError) else str(error)
        return {}, f"whether {caller} may do all this is not known before it is tried (simulation: {why})"
    return denied, None


def _principal(aws: Aws, client) -> str | None:
    """The user or role whose policies count; None for root."""
    parts = aws.caller.split(":", 5)
    kind, _, name = parts[5].partition("/")
    if kind == "root":
        return None
    if kind == "assumed-role":
        role = name.split("/")[0]
        try:
            return client.get_role(RoleName=role)["Role"]["Arn"]  # with its path, which the session's ARN leaves out
        except _UNTOLD:
            return f"arn:{aws.partition}:iam::{aws.account}:role/{role}"
    return aws.caller


def _of(service: str, actions: str) -> list[str]:
    return [f"{service}:{action}" for action in actions.split()]
