"""Everything that is in the emulated AWS, service by service, for comparing before with after."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

Inventory = dict[str, object]


def taken(client: Callable[[str], object], without: str = "sluice-local") -> Inventory:
    """By a readable name: the properties of each resource, times of change included.

    What the stack itself is made of, whose names have `without` in them, is left out.
    """
    found: Inventory = {}
    for read in (_s3, _lambda, _iam, _states, _messages, _kms, _logs, _cloudwatch, _scheduler, _secrets):
        found.update((name, _plain(about)) for name, about in read(client))
    return {name: about for name, about in found.items() if without not in name}


def changed(before: Inventory, after: Inventory) -> dict[str, str]:
    """The names of what differs: made, gone, changed."""
    kinds = {name: "made" for name in after if name not in before}
    kinds |= {name: "gone" for name in before if name not in after}
    return kinds | {name: "changed" for name in before if name in after and before[name] != after[name]}


def _s3(client) -> Iterator[tuple[str, object]]:
    s3 = client("s3")
    asked = ("encryption", "versioning", "tagging", "lifecycle_configuration", "policy", "notification_configuration")
    for bucket in (entry["Name"] for entry in s3.list_buckets()["Buckets"]):
        yield f"bucket {bucket}", [_or_none(getattr(s3, f"get_bucket_{name}"), Bucket=bucket) for name in asked]
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for entry in page.get("Versions", []):
                name = f"object s3://{bucket}/{entry['Key']} {entry.get('VersionId')}"
                yield name, (entry["ETag"], entry["LastModified"])


def _lambda(client) -> Iterator[tuple[str, object]]:
    aws = client("lambda")
    for page in aws.get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            tags = aws.list_tags(Resource=function["FunctionArn"])["Tags"]
            yield f"function {function['FunctionName']}", (function, tags)
    for mapping in aws.list_event_source_mappings()["EventSourceMappings"]:
        yield f"mapping {mapping['EventSourceArn']} to {mapping['FunctionArn']}", mapping
    for layer in aws.list_layers()["Layers"]:
        for version in aws.list_layer_versions(LayerName=layer["LayerName"])["LayerVersions"]:
            yield f"layer {version['LayerVersionArn']}", version["CreatedDate"]


def _iam(client) -> Iterator[tuple[str, object]]:
    iam = client("iam")
    for role in iam.list_roles()["Roles"]:
        name = role["RoleName"]
        own = iam.list_role_policies(RoleName=name)["PolicyNames"]
        documents = {each: iam.get_role_policy(RoleName=name, PolicyName=each)["PolicyDocument"] for each in own}
        tags = iam.list_role_tags(RoleName=name)["Tags"]
        yield f"role {name}", (role["CreateDate"], role["AssumeRolePolicyDocument"], documents, tags)


def _states(client) -> Iterator[tuple[str, object]]:
    states = client("stepfunctions")
    for machine in states.list_state_machines()["stateMachines"]:
        about = states.describe_state_machine(stateMachineArn=machine["stateMachineArn"])
        yield f"state machine {machine['name']}", about
        for execution in states.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]:
            yield f"execution {execution['executionArn']}", execution["startDate"]


def _messages(client) -> Iterator[tuple[str, object]]:
    sns, sqs = client("sns"), client("sqs")
    for topic in sns.list_topics()["Topics"]:
        arn = topic["TopicArn"]
        subscribed = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
        yield f"topic {arn}", (sns.get_topic_attributes(TopicArn=arn)["Attributes"], subscribed)
    for url in sqs.list_queues().get("QueueUrls", []):
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        # a message that was received and not deleted is counted as another kind once its visibility timeout is over
        yield f"queue {url}", {name: value for name, value in attributes.items() if not name.startswith("Approximate")}


def _kms(client) -> Iterator[tuple[str, object]]:
    kms = client("kms")
    for key in kms.list_keys()["Keys"]:
        yield f"key {key['KeyId']}", kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    for alias in kms.list_aliases()["Aliases"]:
        if not alias["AliasName"].startswith("alias/aws/"):
            yield alias["AliasName"], alias


def _logs(client) -> Iterator[tuple[str, object]]:
    for group in client("logs").describe_log_groups()["logGroups"]:
        yield f"log group {group['logGroupName']}", group


def _cloudwatch(client) -> Iterator[tuple[str, object]]:
    cloudwatch = client("cloudwatch")
    for page in cloudwatch.get_paginator("describe_alarms").paginate():
        for alarm in page["MetricAlarms"]:
            yield f"alarm {alarm['AlarmName']}", alarm
    for entry in cloudwatch.list_dashboards().get("DashboardEntries", []):
        body = cloudwatch.get_dashboard(DashboardName=entry["DashboardName"])["DashboardBody"]
        yield f"dashboard {entry['DashboardName']}", (entry["LastModified"], body)


def _scheduler(client) -> Iterator[tuple[str, object]]:
    scheduler = client("scheduler")
    for group in scheduler.list_schedule_groups()["ScheduleGroups"]:
        if group["Name"] != "default":
            yield f"schedule group {group['Name']}", group
    for schedule in scheduler.list_schedules()["Schedules"]:
        yield f"schedule {schedule['Name']}", schedule


def _secrets(client) -> Iterator[tuple[str, object]]:
    secrets = client("secretsmanager")
    for secret in secrets.list_secrets()["SecretList"]:
        secret.pop("LastAccessedDate", None)
        yield f"secret {secret['Name']}", secret


def _or_none(call, **parameters):
    try:
        return {name: value for name, value in call(**parameters).items() if name != "ResponseMetadata"}
    except Exception as error:  # what is not set is told by as many errors as there are questions
        return str(error)


def _plain(about: object) -> str:
    if isinstance(about, dict):
        about = {name: value for name, value in about.items() if name != "ResponseMetadata"}
    return json.dumps(about, sort_keys=True, default=str)
