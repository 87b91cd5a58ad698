"""Each type of resource against moto: what was made reads as it was wanted, can be changed, and goes."""

import base64
import dataclasses
import hashlib
import io
import json
import zipfile
from unittest.mock import patch

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from chalicelib.errors import ConfigurationError
from deploy.kinds import KINDS, Aws
from deploy.kinds.base import canonical, differences
from deploy.kinds.lambdas import layer_key

ACCOUNT, REGION = "123456789012", "eu-west-1"
TAGS = [{"Key": "sluice:stage", "Value": "sluice-dev"}]
# for all tests: making the clients takes longer than what most of them do
SESSION = boto3.session.Session()
CLIENTS = {}
MORE_TAGS = [{"Key": "sluice:stage", "Value": "sluice-dev"}, {"Key": "team", "Value": "data"}]


def trust(service):
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    }


def policy(*actions, sid="One"):
    return {
        "Version": "2012-10-17",
        "Statement": [{"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": ["*"]}],
    }


def bucket_policy(sid):
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": sid,
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": ["arn:aws:s3:::lake", "arn:aws:s3:::lake/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def machine(comment):
    return json.dumps({"Comment": comment, "StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})


def rules(days):
    return {
        "Rules": [
            {"Id": "runs", "Status": "Enabled", "Prefix": "runs/", "ExpirationInDays": days},
            {
                "Id": "raw",
                "Status": "Enabled",
                "Prefix": "raw/",
                "Transitions": [{"StorageClass": "STANDARD_IA", "TransitionInDays": 30}],
            },
            {
                "Id": "rest",
                "Status": "Enabled",
                "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                "ExpiredObjectDeleteMarker": True,
            },
        ]
    }


def notices(queue):
    """As the template has them: of what comes into the inbox."""
    rule = {"Name": "prefix", "Value": "inbox/"}
    return {
        "QueueConfigurations": [
            {
                "Event": "s3:ObjectCreated:*",
                "Filter": {"S3Key": {"Rules": [rule]}},
                "Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
            }
        ]
    }


def encryption(key):
    return {
        "ServerSideEncryptionConfiguration": [
            {
                "BucketKeyEnabled": True,
                "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
            }
        ]
    }


ARN = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine"
ROLE = f"arn:aws:iam::{ACCOUNT}:role"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ALARM = {
    "AlarmName": "sluice-dev-failed",
    "ComparisonOperator": "GreaterThanThreshold",
    "EvaluationPeriods": 1,
    "Namespace": "AWS/States",
    "MetricName": "ExecutionsFailed",
    "Dimensions": [{"Name": "StateMachineArn", "Value": f"{ARN}:sluice-dev"}],
    "Period": 300,
    "Statistic": "Sum",
    "Threshold": 0,
}
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:sluice-dev-start_run"
LOG_GROUP = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/vendedlogs/states/sluice-dev:*"
TARGET = {"Arn": f"{ARN}:sluice-dev", "RoleArn": f"{ROLE}/sluice-dev-scheduler", "Input": '{"source": "weather"}'}

# type: what is made first, then what each property is changed to, one after another
CASES = {
    "AWS::S3::Bucket": (
        {"BucketName": "lake", "Tags": TAGS},
        {
            "VersioningConfiguration": {"Status": "Enabled"},
            "BucketEncryption": encryption(KEY),
            "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
            "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
            "LifecycleConfiguration": rules(90),
            "NotificationConfiguration": notices("triggers"),
            "Tags": MORE_TAGS,
        },
    ),
    "AWS::S3::BucketPolicy": (
        {"Bucket": "lake", "PolicyDocument": bucket_policy("OnlyByTls")},
        {"PolicyDocument": bucket_policy("Changed")},
    ),
    "AWS::KMS::Key": (
        {"KeyPolicy": policy("kms:*"), "Tags": TAGS},
        {
            "Description": "of everything",
            "EnableKeyRotation": True,
            "Enabled": False,
            "KeyPolicy": policy("kms:*", sid="Changed"),
            "Tags": MORE_TAGS,
        },
    ),
    "AWS::SNS::Topic": (
        {"TopicName": "sluice-dev-alerts", "Tags": TAGS},
        {"DisplayName": "Sluice", "KmsMasterKeyId": KEY, "Tags": MORE_TAGS},
    ),
    "AWS::SQS::Queue": (
        {"QueueName": "sluice-dev-dead-letters", "Tags": TAGS},
        {
            "DelaySeconds": 5,
            "KmsMasterKeyId": KEY,
            "KmsDataKeyReusePeriodSeconds": 600,
            "MessageRetentionPeriod": 1209600,
            "ReceiveMessageWaitTimeSeconds": 10,
            "RedrivePolicy": {
                "deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:undelivered",
                "maxReceiveCount": 5,
            },
            "VisibilityTimeout": 60,
            "Tags": MORE_TAGS,
        },
    ),
    "AWS::Kinesis::Stream": (
        {"Name": "sluice-dev-changes", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}, "Tags": TAGS},
        {
            "RetentionPeriodHours": 168,
            "StreamEncryption": {"EncryptionType": "KMS", "KeyId": KEY},
            "Tags": MORE_TAGS,
        },
    ),
    "AWS::IAM::Role": (
        {"RoleName": "sluice-dev-plan", "AssumeRolePolicyDocument": trust("lambda.amazonaws.com"), "Tags": TAGS},
        {
            "AssumeRolePolicyDocument": trust("states.amazonaws.com"),
            "Description": "Role of plan",
            "MaxSessionDuration": 7200,
            "Policies": [{"PolicyName": n, "PolicyDocument": policy("s3:GetObject")} for n in ("plan", "vpc")],
            "Tags": MORE_TAGS,
        },
    ),
    "AWS::Logs::LogGroup": (
        {"LogGroupName": "/aws/vendedlogs/states/sluice-dev", "Tags": TAGS},
        {"RetentionInDays": 30, "Tags": MORE_TAGS},
    ),
    "AWS::StepFunctions::StateMachine": (
        {
            "StateMachineName": "sluice-dev",
            "RoleArn": f"{ROLE}/sluice-dev-state-machine",
            "DefinitionString": machine("first"),
            "Tags": TAGS,
        },
        {
            "DefinitionString": machine("second"),
            "RoleArn": f"{ROLE}/another",
            "LoggingConfiguration": {
                "Level": "ALL",
                "IncludeExecutionData": "false",
                "Destinations": [{"CloudWatchLogsLogGroup": {"LogGroupArn": LOG_GROUP}}],
            },
            "TracingConfiguration": {"Enabled": True},
            "Tags": MORE_TAGS,
        },
    ),
    "AWS::CloudWatch::Alarm": (
        {**ALARM, "Tags": TAGS},
        {
            "AlarmActions": [f"arn:aws:sns:{REGION}:{ACCOUNT}:alerts"],
            "AlarmDescription": "A run failed",
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "Dimensions": [{"Name": "StateMachineArn", "Value": f"{ARN}:other"}],
            "EvaluationPeriods": 3,
            "OKActions": [f"arn:aws:sns:{REGION}:{ACCOUNT}:alerts"],
            "Period": 60,
            "Statistic": "Maximum",
            "Threshold": 2,
            "TreatMissingData": "notBreaching",
            "Tags": MORE_TAGS,
        },
    ),
    "AWS::CloudWatch::Dashboard": (
        {"DashboardName": "sluice-dev", "DashboardBody": json.dumps({"widgets": []})},
        {
            "DashboardBody": json.dumps(
                {
                    "widgets": [
                        {"type": "text", "x": 0, "y": 0, "width": 6, "height": 3, "properties": {"markdown": "hi"}}
                    ]
                }
            )
        },
    ),
    "AWS::Scheduler::ScheduleGroup": ({"Name": "sluice-dev", "Tags": TAGS}, {"Tags": MORE_TAGS}),
    "AWS::Scheduler::Schedule": (
        {
            "Name": "sluice-dev-weather",
            "ScheduleExpression": "cron(0 5 * * ? *)",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": TARGET,
        },
        {
            "Description": "Runs of weather",
            "ScheduleExpression": "rate(1 hour)",
            "ScheduleExpressionTimezone": "Europe/Lisbon",
            "State": "DISABLED",
            "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5},
            "Target": {
                **TARGET,
                "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 10},
                "DeadLetterConfig": {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead-letters"},
            },
        },
    ),
    "AWS::Lambda::EventSourceMapping": (
        {"FunctionName": FUNCTION, "EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:triggers"},
        {
            "BatchSize": 5,
            "Enabled": False,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "MaximumBatchingWindowInSeconds": 20,
            "ScalingConfig": {"MaximumConcurrency": 5},
        },
    ),
    "AWS::SecretsManager::Secret": (
        {"Name": "sluice/dev/tokens", "Description": "Tokens", "KmsKeyId": KEY[:-1], "Tags": TAGS},
        {"Description": "Tokens by name", "KmsKeyId": KEY, "Tags": MORE_TAGS},
    ),
}


@pytest.fixture
def aws(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws(), patch("boto3.DEFAULT_SESSION", SESSION):
        variables = ("SLUICE_BUCKET", "SLUICE_STAGE")
        yield Aws(ACCOUNT, REGION, "aws", "dev", "sluice-dev", bucket="lake", variables=variables, clients=CLIENTS)


def holder(aws, type):
    """What a resource of this type needs beside it."""
    if type == "AWS::S3::BucketPolicy":
        KINDS["AWS::S3::Bucket"].create(aws, {"BucketName": "lake", "Tags": TAGS})
    queues = {"AWS::SQS::Queue": ["undelivered"], "AWS::S3::Bucket": ["triggers"]}
    for name in queues.get(type, ["triggers"] if type == "AWS::Lambda::EventSourceMapping" else []):
        KINDS["AWS::SQS::Queue"].create(aws, {"QueueName": name, "Tags": TAGS})
    if type == "AWS::Lambda::EventSourceMapping":
        actions = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:triggers"
        allowed = {"Sid": "Queue", "Effect": "Allow", "Action": actions, "Resource": [queue]}
        trusted = {
            "RoleName": "start_run",
            "AssumeRolePolicyDocument": trust("lambda.amazonaws.com"),
            "Policies": [{"PolicyName": "own", "PolicyDocument": {"Version": "2012-10-17", "Statement": [allowed]}}],
        }
        aws.client("lambda").create_function(
            FunctionName="sluice-dev-start_run",
            Runtime="python3.11",
            Role=f"{ROLE}/{KINDS['AWS::IAM::Role'].create(aws, trusted)}",
            Handler="app.start_run",
            Code={"ZipFile": zipped("")},
        )


@pytest.mark.parametrize("type", CASES)
def test_what_is_made_reads_as_it_was_wanted_can_be_changed_in_every_property_and_goes(aws, type):
    kind, (first, changes) = KINDS[type], CASES[type]
    holder(aws, type)
    found = kind.find(aws, first)
    assert found is None or kind.read(aws, found) is None
    physical_id = kind.create(aws, first)
    assert kind.predicted(aws, first) in (None, physical_id)
    assert kind.find(aws, first) == physical_id
    assert differences(kind, kind.read(aws, physical_id), first) == []
    wanted = first
    for name, value in changes.items():
        before, wanted = wanted, {**wanted, name: value}
        present = kind.read(aws, physical_id)
        assert name in [d.name for d in differences(kind, present, wanted)]
        kind.update(aws, physical_id, present, wanted)
        assert differences(kind, kind.read(aws, physical_id), wanted) == [], name
        assert differences(kind, kind.read(aws, physical_id), before) != [], name
    # back to where it began: what was added can be taken away again
    kind.update(aws, physical_id, kind.read(aws, physical_id), first)
    assert differences(kind, kind.read(aws, physical_id), first) == []
    kind.delete(aws, physical_id)
    assert kind.read(aws, physical_id) is None
    if type != "AWS::Scheduler::ScheduleGroup":  # there moto fails with a KeyError
        kind.delete(aws, physical_id)


@pytest.mark.parametrize("type", CASES)
def test_all_properties_at_once_are_made_as_they_are_changed(aws, type):
    kind, (first, changes) = KINDS[type], CASES[type]
    holder(aws, type)
    wanted = {**first, **changes}
    assert differences(kind, kind.read(aws, kind.create(aws, wanted)), wanted) == []


@pytest.mark.parametrize("type", CASES)
def test_unknown_and_missing_properties_are_errors_by_name(type):
    kind, (first, changes) = KINDS[type], CASES[type]
    assert kind.check("It", {**first, **changes}) == []
    assert "Wrong" in " ".join(kind.check("It", {**first, "Wrong": 1}))
    for name in kind.required:
        assert f"{name} is missing" in " ".join(kind.check("It", {k: v for k, v in first.items() if k != name}))


def test_every_kind_is_tried_here():
    elsewhere = {
        "AWS::KMS::Alias",
        "AWS::SNS::TopicPolicy",
        "AWS::SNS::Subscription",
        "AWS::SQS::QueuePolicy",
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::Function",
        "Sluice::Configuration",
        "Sluice::RestApi",  # test_apis.py
        "AWS::ApiGateway::DomainName",  # test_serving.py
        "AWS::ApiGateway::BasePathMapping",
        "AWS::ApiGateway::UsagePlan",
    }
    assert set(CASES) | elsewhere == set(KINDS)
    assert not set(CASES) & elsewhere


def test_an_alarm_of_a_percentile_keeps_what_few_samples_mean(aws):
    kind = KINDS["AWS::CloudWatch::Alarm"]
    of_percentile = {**ALARM, "ExtendedStatistic": "p95", "EvaluateLowSampleCountPercentile": "ignore"}
    del of_percentile["Statistic"]
    made = kind.create(aws, of_percentile)
    assert differences(kind, kind.read(aws, made), of_percentile) == []
    without = {name: value for name, value in of_percentile.items() if name != "EvaluateLowSampleCountPercentile"}
    found = [each.name for each in differences(kind, kind.read(aws, made), without)]
    assert found == ["EvaluateLowSampleCountPercentile"]


def test_an_alias_is_pointed_at_another_key(aws):
    keys, alias = KINDS["AWS::KMS::Key"], KINDS["AWS::KMS::Alias"]
    first, second = (keys.create(aws, {"KeyPolicy": policy("kms:*"), "Tags": TAGS}) for _ in range(2))
    wanted = {"AliasName": "alias/sluice-dev", "TargetKeyId": first}
    made = alias.create(aws, wanted)
    assert differences(alias, alias.read(aws, made), wanted) == []
    assert alias.owner(aws, made, alias.read(aws, made)) == "sluice-dev"
    wanted = {**wanted, "TargetKeyId": second}
    assert [d.name for d in differences(alias, alias.read(aws, made), wanted)] == ["TargetKeyId"]
    alias.update(aws, made, alias.read(aws, made), wanted)
    assert differences(alias, alias.read(aws, made), wanted) == []
    alias.delete(aws, made)
    assert alias.read(aws, made) is None


def test_a_key_is_found_by_its_tag_and_one_that_is_to_be_deleted_is_not(aws):
    keys = KINDS["AWS::KMS::Key"]
    keys.create(aws, {"KeyPolicy": policy("kms:*"), "Tags": [{"Key": "sluice:stage", "Value": "other-dev"}]})
    wanted = {"KeyPolicy": policy("kms:*"), "Tags": TAGS}
    assert keys.find(aws, wanted) is None
    made = keys.create(aws, wanted)
    assert keys.find(aws, wanted) == made
    keys.delete(aws, made)
    assert keys.find(aws, wanted) is None


@pytest.mark.parametrize(
    ("holder", "named", "type", "property"),
    [
        ("AWS::SNS::Topic", {"TopicName": "alerts"}, "AWS::SNS::TopicPolicy", "Topics"),
        ("AWS::SQS::Queue", {"QueueName": "letters"}, "AWS::SQS::QueuePolicy", "Queues"),
    ],
)
def test_the_policy_of_a_topic_or_a_queue(aws, holder, named, type, property):
    kind = KINDS[type]
    held = KINDS[holder].create(aws, {**named, "Tags": TAGS})
    document = policy("sns:Publish" if property == "Topics" else "sqs:SendMessage")
    document["Statement"][0]["Principal"] = {"Service": "cloudwatch.amazonaws.com"}
    wanted = {property: [held], "PolicyDocument": document}
    made = kind.create(aws, wanted)
    assert differences(kind, kind.read(aws, made), wanted) == []
    changed = {**wanted, "PolicyDocument": {**document, "Statement": [{**document["Statement"][0], "Sid": "Other"}]}}
    kind.update(aws, made, kind.read(aws, made), changed)
    assert differences(kind, kind.read(aws, made), changed) == []
    kind.delete(aws, made)
    present = kind.read(aws, made)
    assert present is None or differences(kind, present, changed) != []
    assert kind.check("It", {**wanted, property: [held, "another"]})


def test_a_subscription_that_awaits_its_confirmation_is_there_and_is_not_subscribed_twice(aws, monkeypatch):
    topic = KINDS["AWS::SNS::Topic"].create(aws, {"TopicName": "alerts", "Tags": TAGS})
    kind = KINDS["AWS::SNS::Subscription"]
    wanted = {"TopicArn": topic, "Protocol": "email", "Endpoint": "ops@example.com"}
    found = kind.find(aws, wanted)
    assert found is None or kind.read(aws, found) is None
    made = kind.create(aws, wanted)
    assert differences(kind, kind.read(aws, made), wanted) == []
    assert kind.arn(aws, made).startswith("arn:")
    pending = {"Protocol": "email", "Endpoint": "ops@example.com", "SubscriptionArn": "PendingConfirmation"}
    sns = aws.client("sns")
    monkeypatch.setattr(sns, "get_paginator", lambda name: Pages({"Subscriptions": [pending]}))
    assert kind.arn(aws, made) == "PendingConfirmation"
    assert differences(kind, kind.read(aws, made), wanted) == []
    kind.delete(aws, made)  # AWS refuses what is not an ARN: it must not be asked
    monkeypatch.undo()
    kind.delete(aws, made)
    assert kind.arn(aws, made) is None


@pytest.mark.parametrize("confirmed", [[], [f"arn:aws:sns:{REGION}:{ACCOUNT}:alerts:1"]])
def test_a_subscription_that_was_deleted_does_not_hide_the_one_that_took_its_place(aws, monkeypatch, confirmed):
    listed = [
        {"Protocol": "email", "Endpoint": "ops@example.com", "SubscriptionArn": arn} for arn in ["Deleted", *confirmed]
    ]
    monkeypatch.setattr(aws.client("sns"), "get_paginator", lambda name: Pages({"Subscriptions": listed}))
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:alerts"
    found = KINDS["AWS::SNS::Subscription"].arn(aws, f"{topic} email ops@example.com")
    assert found == (confirmed[0] if confirmed else None)


class Pages:
    def __init__(self, *pages):
        self._pages = pages

    def paginate(self, **_):
        return self._pages


def zipped(text):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as package:
        package.writestr("module.py", text)
    return content.getvalue()


def test_a_layer_gets_a_new_version_only_when_its_content_changes(aws, tmp_path):
    KINDS["AWS::S3::Bucket"].create(aws, {"BucketName": "lake", "Tags": TAGS})
    kind, versions = KINDS["AWS::Lambda::LayerVersion"], []
    for text in ("x = 1", "x = 2"):
        path = tmp_path / "gate.zip"
        path.write_bytes(zipped(text))
        sha256 = base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
        key = layer_key("sluice-dev-gate", sha256)
        wanted = {
            "LayerName": "sluice-dev-gate",
            "Content": {"S3Bucket": "lake", "S3Key": key},
            "CompatibleRuntimes": ["python3.11"],
            "CompatibleArchitectures": ["x86_64"],
        }
        if versions:
            assert [d.name for d in differences(kind, kind.read(aws, versions[-1]), wanted)] == ["Content"]
        aws = dataclasses.replace(aws, files={key: path})
        versions.append(kind.create(aws, wanted))
        assert kind.find(aws, wanted) == versions[-1]
        assert differences(kind, kind.read(aws, versions[-1]), wanted) == []
    assert len(set(versions)) == 2
    kind.delete(aws, versions[0])
    assert kind.read(aws, versions[0]) is None
    assert kind.read(aws, versions[1]) is not None


def test_chalices_settings_are_written_without_touching_anything_else(aws, tmp_path):
    aws = dataclasses.replace(aws, folder=tmp_path)
    path = tmp_path / "config.json"
    before = {
        "app_name": "sluice",
        "lambda_functions": {"plan": {"lambda_timeout": 60}},
        "stages": {
            "dev": {"environment_variables": {"SLUICE_STAGE": "dev", "OWN": "ü"}, "deployment": {"alert_emails": []}},
            "prod": {"environment_variables": {"SLUICE_STAGE": "prod"}},
        },
    }
    path.write_text(json.dumps(before, indent=2, ensure_ascii=False) + "\n")
    text = path.read_text()
    kind = KINDS["Sluice::Configuration"]
    wanted = {
        "Path": "config.json",
        "Environment": {"SLUICE_BUCKET": "lake", "SLUICE_STAGE": "dev"},
        "Role": f"{ROLE}/sluice-dev-plan",
        "Roles": {"plan": f"{ROLE}/sluice-dev-plan", "validate": f"{ROLE}/sluice-dev-validate"},
        "Layers": {"validate": ["arn:aws:lambda:eu-west-1:123456789012:layer:gate:1"]},
    }
    assert kind.read(aws, "config.json") is None
    kind.create(aws, wanted)
    assert differences(kind, kind.read(aws, "config.json"), wanted) == []
    document = json.loads(path.read_text())
    assert document["stages"]["prod"] == before["stages"]["prod"]
    assert document["lambda_functions"] == before["lambda_functions"]
    assert document["stages"]["dev"]["environment_variables"]["OWN"] == "ü"
    changed = {**wanted, "Layers": {}, "Roles": {"plan": f"{ROLE}/other"}, "Environment": {"SLUICE_STAGE": "dev"}}
    names = [d.name for d in differences(kind, kind.read(aws, "config.json"), changed)]
    assert names == ["Environment", "Layers", "Roles"]
    kind.update(aws, "config.json", kind.read(aws, "config.json"), changed)
    assert differences(kind, kind.read(aws, "config.json"), changed) == []
    kind.delete(aws, "config.json")
    assert path.read_text() == text
    assert kind.read(aws, "config.json") is None


def test_functions_are_read_as_chalice_made_them(aws):
    kind, client = KINDS["AWS::Lambda::Function"], aws.client("lambda")
    role = boto3.client("iam").create_role(
        RoleName="r", AssumeRolePolicyDocument=json.dumps(trust("lambda.amazonaws.com"))
    )
    code = zipped("def handler(event, context): pass")
    managed = client.publish_layer_version(LayerName="sluice-dev-managed-layer", Content={"ZipFile": code})
    gate = client.publish_layer_version(LayerName="sluice-dev-gate", Content={"ZipFile": code})
    client.create_function(
        FunctionName="sluice-dev-plan",
        Runtime="python3.11",
        Handler="app.plan",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": code},
        MemorySize=512,
        Timeout=60,
        Layers=[managed["LayerVersionArn"], gate["LayerVersionArn"]],
        Environment={"Variables": {"SLUICE_STAGE": "dev"}},
        TracingConfig={"Mode": "Active"},
        Tags={"aws-chalice": "version=1.34.0:stage=dev:app=sluice", "team": "data"},
    )
    for name, days in {"/aws/lambda/sluice-dev-plan": 30, "/aws/lambda/sluice-dev-plan-b": 60}.items():
        aws.client("logs").create_log_group(logGroupName=name)
        aws.client("logs").put_retention_policy(logGroupName=name, retentionInDays=days)
    sha256 = base64.b64encode(hashlib.sha256(code).digest()).decode()
    wanted = {
        "FunctionName": "sluice-dev-plan",
        "Runtime": "python3.11",
        "Handler": "app.plan",
        "Role": role["Role"]["Arn"],
        "Code": {"Sha256": sha256},
        "MemorySize": 512,
        "Timeout": 60,
        "Layers": [f"managed-layer:{sha256}", gate["LayerVersionArn"]],
        "Environment": {"Variables": {"SLUICE_STAGE": "dev"}},
        "LogRetentionInDays": 30,
        "Tags": [{"Key": "team", "Value": "data"}],
        "TracingConfig": {"Mode": "Active"},
    }
    present = kind.read(aws, "sluice-dev-plan")
    assert differences(kind, present, wanted) == []
    assert kind.owner(aws, "sluice-dev-plan", present) == "sluice-dev"
    for name, value in {
        "Code": {"Sha256": "other"},
        "MemorySize": 1024,
        "Timeout": 61,
        "Runtime": "python3.12",
        "Role": "another",
        "Layers": [f"managed-layer:{sha256}"],
        "Architectures": ["arm64"],
        "Environment": {"Variables": {"SLUICE_STAGE": "prod"}},
        "LogRetentionInDays": 90,
        "Tags": [],
        "TracingConfig": {"Mode": "PassThrough"},
        "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    }.items():
        assert [d.name for d in differences(kind, present, {**wanted, name: value})] == [name]
    for name in kind.if_wanted:
        assert differences(kind, present, {k: v for k, v in wanted.items() if k != name}) == []
    assert kind.read(aws, "sluice-dev-unheard") is None


def test_a_bucket_of_another_account_is_refused_by_name(aws):
    other = Aws("999999999999", REGION, "aws", "dev", "sluice-dev", bucket="lake")
    KINDS["AWS::S3::Bucket"].create(aws, {"BucketName": "lake", "Tags": TAGS})
    with pytest.raises(ConfigurationError, match="lake"):
        client = other.client("s3")
        with Stubber(client) as stub:
            stub.add_client_error("head_bucket", "403", "Forbidden", 403)
            KINDS["AWS::S3::Bucket"].find(other, {"BucketName": "lake"})


def test_policies_that_aws_has_written_in_its_own_way_are_the_same():
    ours = {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "B", "Effect": "Allow", "Action": "s3:GetObject", "Resource": ["a", "b"]},
            {"Sid": "A", "Effect": "Allow", "Action": ["x", "y"], "Resource": "*", "Principal": {"Service": "s"},
             "Condition": {"StringEquals": {"k": "v"}}},
        ],
    }  # fmt: skip
    theirs = json.dumps(
        {
            "Statement": [
                {"Effect": "Allow", "Sid": "A", "Resource": ["*"], "Action": ["y", "x"],
                 "Principal": {"Service": ["s"]}, "Condition": {"StringEquals": {"k": ["v"]}}},
                {"Sid": "B", "Resource": ["b", "a"], "Effect": "Allow", "Action": ["s3:GetObject"]},
            ],
            "Version": "2012-10-17",
        }
    )  # fmt: skip
    assert canonical(ours) == canonical(json.loads(theirs))
    assert canonical(ours) != canonical(json.loads(theirs.replace("s3:GetObject", "s3:PutObject")))
    assert canonical(ours) != canonical(json.loads(theirs.replace('"v"', '"w"')))


def test_a_bucket_in_another_region_is_none_of_ours(aws):
    place = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3", region_name="eu-central-1").create_bucket(Bucket="lake", CreateBucketConfiguration=place)
    with pytest.raises(
        ConfigurationError, match="the bucket lake is in eu-central-1, the stage is deployed to eu-west-1"
    ):
        KINDS["AWS::S3::Bucket"].find(aws, {"BucketName": "lake"})


def test_a_secret_that_still_reads_as_deleted_after_it_was_restored_gets_its_settings(aws, monkeypatch):
    kind = KINDS["AWS::SecretsManager::Secret"]
    wanted = {"Name": "sluice/dev/tokens", "Description": "new", "Tags": TAGS}
    made = kind.create(aws, {**wanted, "Description": "old"})
    kind.delete(aws, made)
    with monkeypatch.context() as patched:
        patched.setattr(kind, "read", lambda aws, physical_id: None)
        assert kind.create(aws, wanted) == made
    assert differences(kind, kind.read(aws, made), wanted) == []
