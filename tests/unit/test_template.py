"""The CloudFormation template, as AWS gets it: complete, least open, and free of names that lead nowhere.

Chalice packs here what is not built: small zips stand for the artefacts. Every check is shown to find a fault that was
put in.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import stack_checks as checks
from click.testing import CliRunner
from samtranslator.model.exceptions import InvalidDocumentException

from chalicelib import sources
from chalicelib.api import table
from chalicelib.errors import ConfigurationError, DeclarationError, DeploymentError
from chalicelib.sources.base import Source
from cli.main import main
from deploy import artefacts, constraints, references, roles, sam, schedules, stage, template
from deploy import package as packages
from deploy.artefacts import Artefact, Artefacts
from deploy.intrinsics import Evaluator
from deploy.kinds import apis
from statemachine import render

ROOT = Path(__file__).parents[2]
CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
EMAILS = ["b@example.com", "a@example.com"]


# --- the template under test -----------------------------------------------------------------


def project(folder: Path, **deployment) -> Path:
    """A project with our code and configuration; `deployment` goes into stage dev."""
    for name in ("chalicelib", "statemachine"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", *(path.name for path in ROOT.glob("requirements*.txt")), "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / ".chalice").mkdir()
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    config["stages"]["dev"]["deployment"] = {"alert_emails": EMAILS, "schedules": True, **deployment}
    (folder / ".chalice" / "config.json").write_text(json.dumps(config))
    return folder


def unbuilt(folder, stage_name, architecture=None, progress=None) -> Artefacts:
    """In place of `artefacts.build`: zips of next to nothing."""
    config = stage.read(Path(folder), stage_name).config
    made = []
    for name in ("code", "dependencies", *artefacts.ABOVE):
        path = Path(folder) / f"{name}.zip"
        with zipfile.ZipFile(path, "w") as package:
            package.writestr(zipfile.ZipInfo(f"{name}.py"), "")
        made.append(Artefact(name, path, "", path.stat().st_size, 0))
    architecture = architecture or config.lambda_architecture
    return Artefacts(stage_name, config.lambda_python_version, architecture, Path(folder), *made)


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artefacts, "build", unbuilt)
        yield patch


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return project(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def packaged(checkout, patched):
    return packages.package(checkout, "dev", checkout / "stack")


@pytest.fixture(scope="module")
def snapped(checkout, patched):
    """With SnapStart, whatever Python the tests run on."""
    patched.setattr(packages, "_NO_SNAP_START", ())
    made = packages.package(checkout, "dev", checkout / "snapped", snap_start=True)
    return sam.translate(made.template)


@pytest.fixture(scope="module")
def translated(packaged):
    return sam.translate(packaged.template)


def broken(document: dict, fault) -> dict:
    document = copy.deepcopy(document)
    fault(document)
    return document


def own(document: dict, logical_id: str) -> dict:
    return document["Resources"][logical_id]["Properties"]


def test_the_apis_stage_logs_requests_where_that_is_asked_for(translated):
    [stage] = [r["Properties"] for r in translated["Resources"].values() if r["Type"] == "AWS::ApiGateway::Stage"]
    condition, logs, otherwise = stage["AccessLogSetting"]["Fn::If"]
    assert (condition, otherwise) == ("LogsAccess", {"Ref": "AWS::NoValue"})
    assert logs["Format"] == apis.ACCESS_LOG_FORMAT
    assert "ApiAccessLog" in json.dumps(logs["DestinationArn"])
    assert translated["Resources"]["ApiAccessLog"]["Condition"] == condition
    assert own(translated, "ApiAccessLog")["RetentionInDays"] == own(translated, "StateMachineLog")["RetentionInDays"]


# --- checks, and faults that they must find --------------------------------------------------


def put(logical_id: str, path: str, value):
    """The fault of having `value` at `path`, e.g. "Target.Input"; None takes it away."""

    def fault(document):
        at = own(document, logical_id)
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in way:
            at = at[part]
        if value is None:
            del at[last]
        else:
            at[last] = value

    fault.__name__ = f"{logical_id}.{path}={value}"
    return fault


def drop(logical_id: str):
    def fault(document):
        del document["Resources"][logical_id]

    fault.__name__ = f"without_{logical_id}"
    return fault


def attribute(logical_id: str, name: str, value):
    def fault(document):
        document["Resources"][logical_id][name] = value

    fault.__name__ = f"{logical_id}.{name}={value}"
    return fault


def add(kind: str, **properties):
    def fault(document):
        document["Resources"]["Added"] = {"Type": kind, "Properties": properties}

    fault.__name__ = f"another_{kind}"
    return fault


def statement(logical_id: str, document_path: str, sid: str, name: str, value):
    """The fault of having `value` as `name` in the statement `sid`; with `name` None the statement is taken away."""

    def fault(document):
        at = own(document, logical_id)
        for part in document_path.split("."):
            at = at[int(part) if part.isdigit() else part]
        [found] = [s for s in at["Statement"] if s.get("Sid") == sid]
        if name is None:
            at["Statement"].remove(found)
        else:
            found[name] = value

    fault.__name__ = f"{logical_id}.{sid}.{name}={value}"
    return fault


def cut(text: str):
    """The fault of a definition in which a placeholder is called otherwise."""

    def fault(document):
        machine = own(document, "StateMachine")
        machine["DefinitionString"] = machine["DefinitionString"].replace(text, "${MistypedArn}")

    fault.__name__ = f"without_{text}"
    return fault


def leads_to_reject(document):
    machine = json.loads(own(document, "StateMachine")["DefinitionString"])
    machine["States"]["WriteManifest"]["Next"] = "Reject"
    own(document, "StateMachine")["DefinitionString"] = json.dumps(machine)


def shows(old: str, new: str):
    def fault(document):
        body = own(document, "Dashboard")["DashboardBody"]
        assert old in body["Fn::Sub"]
        body["Fn::Sub"] = body["Fn::Sub"].replace(old, new)

    fault.__name__ = f"{old}_as_{new}"
    return fault


def many(what: str, count: int):
    def fault(document):
        document[what] |= {f"More{number}": {"Type": "AWS::SNS::Topic"} for number in range(count)}

    fault.__name__ = f"{count}_more_{what}"
    return fault


def parameter(name: str, **changes):
    def fault(document):
        document["Parameters"][name] = document["Parameters"].get(name, {}) | changes

    fault.__name__ = f"{name}_{changes}"
    return fault


STAR = "lambda:*"
MACHINE_POLICY = "Policies.0.PolicyDocument"
NOTICE = "NotificationConfiguration.QueueConfigurations.0."
FAULTS = {
    checks.schedules: [
        put("WeatherSchedule", "ScheduleExpressionTimezone", "America/NewYork"),
        put("WeatherSchedule", "ScheduleExpressionTimezone", "UTC"),
        put("WeatherSchedule", "ScheduleExpressionTimezone", None),
        put("WeatherSchedule", "ScheduleExpression", "cron(0 8 * * *)"),
        put("WeatherSchedule", "ScheduleExpression", "cron(0 9 * * ? *)"),
        put("WeatherSchedule", "Target.Input", '{"source": "wether", "scheduled": "<aws.scheduler.scheduled-time>"}'),
        put("WeatherSchedule", "Target.Input", '{"source": "weather"}'),
        put("WeatherSchedule", "Target.Arn", {"Ref": "StateMachine"}),
        put("WeatherSchedule", "Target.DeadLetterConfig.Arn", {"Fn::GetAtt": ["DeadLetters", "Arn"]}),
        put("WeatherSchedule", "Target.RoleArn", {"Fn::GetAtt": ["PlanRole", "Arn"]}),
        put("WeatherSchedule", "Target.DeadLetterConfig", None),
        put("WeatherSchedule", "Target.RetryPolicy", None),
        put("WeatherSchedule", "GroupName", None),
        put("WeatherSchedule", "State", "ENABLED"),
        put("SensorsSchedule", "State", {"Fn::If": ["RunsAreScheduled", "ENABLED", "DISABLED"]}),
        put("SensorsSchedule", "Target.Arn", {"Fn::GetAtt": ["StartRun", "Arn"]}),
        put("SensorsSchedule", "Target.Input", '{"source": "sensors", "scheduled": "<aws.scheduler.scheduled-time>"}'),
        put("SensorsSchedule", "Target.Input", "{}"),
        put("HousekeepingSchedule", "Target.Input", '{"scheduled": "<aws.scheduler.scheduled-time>"}'),
        put("HousekeepingSchedule", "Target.Arn", {"Ref": "StateMachine"}),
        drop("WeatherSchedule"),
        drop("HousekeepingSchedule"),
    ],
    checks.scheduler_role: [
        statement("SchedulerRole", MACHINE_POLICY, "SendTriggers", "Action", ["sqs:*"]),
        statement("SchedulerRole", MACHINE_POLICY, "SendTriggers", "Resource", ["*"]),
        statement("SchedulerRole", MACHINE_POLICY, "InvokeSimulators", "Resource", ["*"]),
        statement("SchedulerRole", MACHINE_POLICY, "KeepUndelivered", None, None),
        put("SchedulerRole", "AssumeRolePolicyDocument.Statement.0.Principal.Service", "events.amazonaws.com"),
        put("SchedulerRole", "AssumeRolePolicyDocument.Statement.0.Condition", None),
    ],
    checks.alarms: [
        put("FailedRunsAlarm", "AlarmActions", None),
        put("FailedRunsAlarm", "AlarmActions", [{"Ref": "DeadLetters"}]),
        put("FailedRunsAlarm", "ActionsEnabled", False),
        put("FailedRunsAlarm", "MetricName", "ExecutionFailed"),
        put("FailedRunsAlarm", "Namespace", "AWS/StepFunctions"),
        put("FailedRunsAlarm", "Dimensions.0.Name", "StateMachine"),
        put("FailedRunsAlarm", "Dimensions.0.Value", {"Fn::GetAtt": ["StateMachine", "Name"]}),
        put("PlanErrorsAlarm", "Dimensions.0.Value", {"Fn::Sub": "${App}-${Stage}-Plan"}),
        put("DeadLettersAlarm", "Dimensions.0.Value", {"Ref": "DeadLetters"}),
        put("NoRunSucceededAlarm", "EvaluationPeriods", 169),
        put("FailedRunsAlarm", "EvaluationPeriods", 289),
        put("ApiErrorsAlarm", "Dimensions.0.Value", {"Ref": "App"}),
        put("ApiLatencyAlarm", "Statistic", "Average"),
        put("ApiLatencyAlarm", "ExtendedStatistic", None),
        put("ApiLatencyAlarm", "EvaluateLowSampleCountPercentile", None),
    ],
    checks.alarms_that_must_be: [
        drop("QualityFailuresAlarm"),
        drop("RejectThrottlesAlarm"),
        put("NoRunSucceededAlarm", "TreatMissingData", "notBreaching"),
        put("DeadLettersAlarm", "Threshold", 1),
        drop("UndeliveredAlarm"),
        drop("ApiErrorsAlarm"),
        drop("ApiLatencyAlarm"),
        put("TimedOutRunsAlarm", "ComparisonOperator", "LessThanThreshold"),
    ],
    checks.reject_means_quality: [leads_to_reject],
    checks.dashboard: [
        shows('MetricName=\\"RowsIn\\"', 'MetricName=\\"RowsRead\\"'),
        shows('state=\\"quality_gate\\"', 'state=\\"write_manifest\\"'),
        shows("service,source,stage,state", "source,state"),
        shows("{Sluice,", "{sluice,"),
        shows("Milliseconds per run", "Seconds per run"),
        shows("ExecutionsFailed", "ExecutionsBroken"),
        shows("5XXError", "5xx"),
        shows('"ApiName", "${App}-${Stage}"', '"ApiName", "${App}"'),
        shows('"${StateMachine}"', '"${App}-${Stage}"'),
        shows("${App}-${Stage}-dead-letters", "${App}-dead-letters"),
        shows("${App}-${Stage}-plan", "${App}-${Stage}-planner"),
    ],
    checks.machine: [
        put("StateMachine", "DefinitionSubstitutions.PlanArn", None),
        put("StateMachine", "DefinitionSubstitutions.MistypedArn", "x"),
        put("StateMachine", "DefinitionSubstitutions.PlanArn", {"Fn::GetAtt": ["Load", "Arn"]}),
        put("StateMachine", "DefinitionSubstitutions.DeadLetterUrl", {"Fn::GetAtt": ["DeadLetters", "Arn"]}),
        cut("${RejectArn}"),
        put("StateMachine", "LoggingConfiguration.Level", "ERROR"),
        put("StateMachine", "LoggingConfiguration.IncludeExecutionData", True),
        put("StateMachine", "LoggingConfiguration.Destinations", []),
        put("StateMachine", "TracingConfiguration", None),
        put("StateMachineLog", "RetentionInDays", None),
    ],
    checks.machine_role: [
        put("StateMachineRole", f"{MACHINE_POLICY}.Statement.0.Resource.3", None),
        put("StateMachineRole", f"{MACHINE_POLICY}.Statement.0.Resource", ["*"]),
        statement("StateMachineRole", MACHINE_POLICY, "Alert", None, None),
        statement("StateMachineRole", MACHINE_POLICY, "KeepDeadLetters", None, None),
        statement("StateMachineRole", MACHINE_POLICY, "UseKey", None, None),
        statement("StateMachineRole", MACHINE_POLICY, "UseKey", "Action", ["kms:Decrypt"]),
        statement("StateMachineRole", MACHINE_POLICY, "UseKey", "Resource", ["*"]),
        statement("StateMachineRole", MACHINE_POLICY, "UseKey", "Condition",
            {"StringEquals": {"kms:ViaService": ["s3.eu-west-1.amazonaws.com"]}}),
        statement("StateMachineRole", MACHINE_POLICY, "DeliverLogs", None, None),
        statement("StateMachineRole", MACHINE_POLICY, "DeliverLogs", "Action", ["logs:*"]),
        statement("StateMachineRole", MACHINE_POLICY, "SendTraces", None, None),
        statement("StateMachineRole", MACHINE_POLICY, "SendTraces", "Effect", "Deny"),
    ],
    checks.functions: [
        put("Plan", "Role", {"Fn::GetAtt": ["LoadRole", "Arn"]}),
        put("PlanRole", "RoleName", "sluice-dev-load"),
        put("Plan", "FunctionName", None),
        put("Plan", "TracingConfig", None),
        put("PlanLogGroup", "RetentionInDays", None),
        put("PlanLogGroup", "LogGroupName", {"Fn::Sub": "/aws/lambda/plan"}),
        put("Validate", "Layers.1", None),
        put("Plan", "Environment.Variables.SLUICE_BUCKET", None),
        put("Plan", "Environment.Variables.SLUICE_DATABASE_URL", "postgresql://"),
        put("Plan", "Environment.Variables.TOKEN", "{{resolve:secretsmanager:tokens}}"),
        put("Plan", "VpcConfig", None),
        put("Plan", "Tags", []),
        put("PlanRole", f"{MACHINE_POLICY}.Statement.0.Action", ["s3:*"]),
    ],
    checks.roles: [
        add("AWS::IAM::Role"),
        put("PlanRole", f"{MACHINE_POLICY}.Statement.0.Resource", [f"arn:aws:s3:::{n:060d}" for n in range(150)]),
    ],
    checks.bucket: [
        statement("BucketPolicy", "PolicyDocument", "OnlyOverTls", None, None),
        statement("BucketPolicy", "PolicyDocument", "OnlyOverTls", "Effect", "Allow"),
        statement("BucketPolicy", "PolicyDocument", "OnlyOverTls", "Resource", {"Fn::GetAtt": ["Bucket", "Arn"]}),
        statement("BucketPolicy", "PolicyDocument", "OnlyOverTls", "Condition", {}),
        put("BucketPolicy", "Bucket", "other"),
        put("Bucket", "VersioningConfiguration", None),
        put("Bucket", "BucketEncryption.ServerSideEncryptionConfiguration.0.ServerSideEncryptionByDefault",
            {"SSEAlgorithm": "AES256"}),
        put("Bucket", "PublicAccessBlockConfiguration.BlockPublicPolicy", False),
        put("Bucket", "OwnershipControls", None),
        put("Bucket", "LifecycleConfiguration.Rules.0.Status", "Disabled"),
        put("Bucket", "LifecycleConfiguration.Rules.0.ExpirationInDays", None),
        put("Bucket", "LifecycleConfiguration.Rules.1.Prefix", "declarations/"),
        put("Bucket", "LifecycleConfiguration.Rules.2.ExpirationInDays", 90),
        put("Bucket", "LifecycleConfiguration.Rules.2.Transitions", None),
        put("Bucket", "LifecycleConfiguration.Rules.3.ExpirationInDays", 90),
        put("Bucket", "LifecycleConfiguration.Rules.3.AbortIncompleteMultipartUpload", None),
    ],
    checks.topic_and_queues: [
        put("AlertsTopic", "KmsMasterKeyId", None),
        *(put(queue, "KmsMasterKeyId", None) for queue in checks.QUEUES),
        put("DeadLetters", "MessageRetentionPeriod", 345600),
        put("Undelivered", "MessageRetentionPeriod", None),
        drop("AlertsTopicPolicy"),
        *(drop(f"{queue}Policy") for queue in checks.QUEUES),
        put("AlertsTopicPolicy", "Topics", []),
        put("DeadLettersPolicy", "Queues", []),
        put("TriggersPolicy", "Queues", [{"Ref": "Undelivered"}]),
        statement("TriggersPolicy", "PolicyDocument", "OnlyOverTls", None, None),
        statement("AlertsTopicPolicy", "PolicyDocument", "OnlyOverTls", None, None),
        statement("AlertsTopicPolicy", "PolicyDocument", "AlarmsPublish", "Condition", {}),
        statement("Key", "KeyPolicy", "AlarmsReachTheTopic", None, None),
        statement("Key", "KeyPolicy", "AlarmsReachTheTopic", "Action", ["kms:Decrypt"]),
    ],
    checks.triggers: [
        drop("TriggersMapping"),
        drop("WebhookEventsMapping"),
        put("ChangeStreamMapping", "MaximumRetryAttempts", 100),
        put("ChangeStreamMapping", "MaximumRecordAgeInSeconds", 3600),
        put("WebhookEvents", "VisibilityTimeout", 719),
        put("Bucket", "NotificationConfiguration.QueueConfigurations.1.Filter.S3Key.Rules.0.Value", "inbox/x/"),
        put("TriggersMapping", "FunctionResponseTypes", None),
        put("TriggersMapping", "EventSourceArn", {"Fn::GetAtt": ["Undelivered", "Arn"]}),
        put("TriggersMapping", "FunctionName", {"Fn::GetAtt": ["Plan", "Arn"]}),
        put("Triggers", "RedrivePolicy", None),
        put("Triggers", "RedrivePolicy.deadLetterTargetArn", {"Fn::GetAtt": ["DeadLetters", "Arn"]}),
        put("Triggers", "RedrivePolicy.maxReceiveCount", 1),
        put("Triggers", "VisibilityTimeout", 300),
        put("StartRun", "Timeout", 61),
        statement("StartRunRole", MACHINE_POLICY, "ReceiveTriggers", None, None),
        put("Bucket", "NotificationConfiguration", None),
        put("Bucket", NOTICE + "Filter", None),
        put("Bucket", NOTICE + "Filter.S3Key.Rules.0.Value", "raw/"),
        put("Bucket", NOTICE + "Event", "s3:ObjectRemoved:*"),
        attribute("Bucket", "DependsOn", "Triggers"),
        statement("TriggersPolicy", "PolicyDocument", "InboxTells", None, None),
        statement("TriggersPolicy", "PolicyDocument", "InboxTells", "Principal", "*"),
        statement("TriggersPolicy", "PolicyDocument", "InboxTells", "Condition", {}),
        statement("Key", "KeyPolicy", "BucketReachesTheQueues", None, None),
        statement("Key", "KeyPolicy", "BucketReachesTheQueues", "Condition", {}),
    ],
    checks.subscriptions: [
        add("AWS::SNS::Subscription", TopicArn={"Ref": "AlertsTopic"}, Protocol="email", Endpoint="c@example.com"),
        add("AWS::SNS::Subscription", TopicArn={"Ref": "AlertsTopic"}, Protocol="http", Endpoint="a@example.com"),
    ],
    checks.kept: [
        attribute("Bucket", "DeletionPolicy", "Delete"),
        attribute("Key", "UpdateReplacePolicy", "Delete"),
        attribute("DatabaseSecret", "DeletionPolicy", None),
        attribute("TokensSecret", "DeletionPolicy", "Retain"),
        attribute("BucketPolicy", "DeletionPolicy", None),
        attribute("Database", "DeletionPolicy", "Delete"),
    ],
    checks.secrets: [
        put("TokensSecret", "SecretString", '{"name": "token"}'),
        put("TokensSecret", "KmsKeyId", None),
        put("TokensSecret", "Name", "tokens"),
        drop("DatabaseSecret"),
        put("Key", "EnableKeyRotation", None),
    ],
    checks.database: [
        *(put("Database", name, False) for name in ("StorageEncrypted", "DeletionProtection")),
        put("Database", "PubliclyAccessible", True),
        put("Database", "EnableIAMDatabaseAuthentication", None),
        put("Database", "EnablePerformanceInsights", None),
        put("Database", "EnableCloudwatchLogsExports", None),
        put("Database", "EngineVersion", "16.9"),
        put("Database", "BackupRetentionPeriod", 1),
        put("Database", "MasterUserPassword", "sluice"),
        put("Database", "VPCSecurityGroups", []),
        put("Database", "DBParameterGroupName", None),
        put("DatabaseParameters", "Parameters", {}),
        put("DatabaseSecurityGroup", "SecurityGroupIngress.0",
            {"IpProtocol": "tcp", "CidrIp": "10.0.0.0/8", "FromPort": 5432, "ToPort": 5432}),
        put("ProxyToDatabase", "ToPort", 65535),
        put("FunctionsSecurityGroup", "SecurityGroupIngress", [{"CidrIp": "10.0.0.0/8"}]),
        put("DatabaseProxy", "RequireTLS", False),
        attribute("Database", "Condition", "InVpc"),
    ],
    checks.replication: [
        put("ReplicationSource", "SslMode", "none"),
        put("ReplicationSource", "KmsKeyId", None),
        put("ReplicationSource", "Password", "secret"),
        put("ReplicationSource", "PostgreSqlSettings.SecretsManagerSecretId", "shop"),
        put("ReplicationSource", "PostgreSqlSettings.FailTasksOnLobTruncation", None),
        put("ReplicationTarget", "KinesisSettings.IncludeNullAndEmpty", False),
        put("ReplicationTarget", "KinesisSettings.IncludeTransactionDetails", None),
        put("ReplicationTarget", "KinesisSettings.StreamArn", "arn:aws:kinesis:eu-west-1:123456789012:stream/theirs"),
        put("ReplicationConfig", "ReplicationType", "cdc"),
        put("ReplicationConfig", "TableMappings", {"rules": []}),
        put("ReplicationConfig", "ReplicationSettings.BeforeImageSettings", None),
        put("ReplicationConfig", "ComputeConfig.KmsKeyId", None),
        put("ReplicationConfig", "ComputeConfig.ReplicationSubnetGroupId", "default"),
        put("ReplicationSubnets", "SubnetIds", ["subnet-1"]),
        statement("ReplicationSecretRole", MACHINE_POLICY, "ReadSecret", "Resource", ["*"]),
        statement("ReplicationStreamRole", MACHINE_POLICY, "WriteChanges", "Resource", ["*"]),
        statement("ReplicationStreamRole", MACHINE_POLICY, "UseKeyOfStream", None, None),
        put("ReplicationStreamRole", "AssumeRolePolicyDocument.Statement.0.Condition", None),
        put("ReplicationSecretRole", "AssumeRolePolicyDocument.Statement.0.Principal.Service", "dms.amazonaws.com"),
        attribute("ReplicationConfig", "Condition", "TakesChanges"),
        attribute("ReplicationStreamRole", "Condition", "TakesChanges"),
        drop("ReplicationTarget"),
    ],
    checks.serving: [
        put("RestAPI", "Name", "sluice"),
        put("RestAPI", "Body.info.title", "sluice"),
        put("RestAPIapiStage", "MethodSettings", []),
        put("RestAPIapiStage", "MethodSettings.0.ThrottlingRateLimit", 10_000),
        put("ApiDomainName", "SecurityPolicy", "TLS_1_0"),
        put("ApiDomainName", "EndpointConfiguration.Types", ["EDGE"]),
        put("ApiDomainName", "RegionalCertificateArn", "arn:aws:acm:us-east-1:123456789012:certificate/1"),
        put("ApiDomainMapping", "Stage", "dev"),
        put("ApiUsagePlan", "ApiStages", []),
        put("ApiUsagePlan", "Quota.Period", "MONTH"),
        attribute("ApiUsagePlan", "Condition", "HasApiDomain"),
        drop("ApiDomainMapping"),
    ],
    checks.names: [
        put("ReplicationTarget", "EndpointIdentifier", {"Fn::Sub": "${App}-${Stage}-changes-source"}),
        put("AlertsTopic", "TopicName", "alerts"),
        put("DeadLetters", "QueueName", {"Fn::Sub": "${App}-dead-letters"}),
        put("PlanErrorsAlarm", "AlarmName", {"Fn::Sub": "${App}-${Stage}-errors-load"}),
    ],
    checks.sizes: [
        *(many(what, count) for what, count in (("Resources", 500), ("Parameters", 200), ("Outputs", 200))),
        put("Key", "Description", "x" * 10**6),
    ],
    checks.parameters: [
        parameter("RunsDays", Description=""),
        parameter("RunsDays", Default=None),
        parameter("RawDays", Default="30"),
        parameter("Schedules", Default="yes"),
        parameter("Unused", Description="It is not used.", Default=1, MinValue=1),
        parameter("VpcId", AllowedPattern=".+"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("check", FAULTS, ids=lambda check: check.__name__)
def test_the_template_is_in_order(check, translated, snapped):
    assert list(check(translated)) == []
    assert list(check(snapped)) == []


@pytest.mark.parametrize(
    ("check", "fault"),
    [(check, fault) for check, faults in FAULTS.items() for fault in faults],
    ids=lambda value: value.__name__[:60],
)
def test_a_fault_is_found(check, fault, translated):
    assert list(check(broken(translated, fault)))


def test_no_check_is_without_a_fault():
    tools = {"resources", "properties", "text", "statements", "inline", "allowed"}
    written = {name for name, value in vars(checks).items() if callable(value) and value.__module__ == checks.__name__}
    assert {check.__name__ for check in FAULTS} == {name for name in written if not name.startswith("_")} - tools


# --- names that lead nowhere -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (lambda t: t["Resources"].update(Plam={"Properties": {"Timeout": 3}}), "Plam has no Type"),
        (put("BucketPolicy", "Bucket", {"Ref": "Bukcet"}), "Bukcet"),
        (put("Plan", "Role", {"Fn::GetAtt": ["PlamRole", "Arn"]}), "PlamRole"),
        (put("KeyAlias", "AliasName", {"Fn::Sub": "alias/${Ap}"}), "Ap"),
        (put("KeyAlias", "AliasName", {"Fn::Sub": ["${A}${B}", {"A": {"Ref": "Nobody"}, "B": ""}]}), "Nobody"),
        (put("Plan", "VpcConfig", {"Fn::If": ["InVcp", {}, {}]}), "InVcp"),
        (attribute("Database", "Condition", "MakesDatabse"), "MakesDatabse"),
        (attribute("Database", "DependsOn", ["Ghost"]), "Ghost"),
        (put("StateMachine", "DefinitionSubstitutions.PlanArn", {"Ref": "Plan.Alias"}), "Plan.Alias"),
        (lambda t: t["Outputs"].update(Wrong={"Value": {"Ref": "Nowhere"}}), "Nowhere"),
        (lambda t: t["Conditions"].update(Wrong={"Fn::Equals": [{"Ref": "Nothing"}, ""]}), "Nothing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_name_that_leads_nowhere_is_an_error_that_says_it(fault, named, packaged):
    assert references.problems(packaged.template) == []
    [problem] = references.problems(broken(packaged.template, fault))
    assert named in problem


def test_a_function_without_a_role_of_ours_is_refused(packaged):
    def foreign(document):
        own(document, "Plan")["Role"] = "arn:aws:iam::000000000000:role/none"

    def unknown(document):
        document["Resources"]["Trigger"] = copy.deepcopy(document["Resources"]["Plan"])

    assert packages.problems(packaged.template) == []
    for fault, named in ((foreign, "Plan"), (unknown, "Trigger"), (drop("Reject"), "Reject")):
        assert any(named in problem for problem in packages.problems(broken(packaged.template, fault)))


def test_a_template_beyond_cloudformations_limits_is_refused(packaged):
    for fault in (many("Resources", 500), put("Key", "Description", "x" * 10**6)):
        assert any("CloudFormation takes" in problem for problem in packages.problems(broken(packaged.template, fault)))


def test_a_mistyped_function_is_found_while_packaging(checkout, patched, monkeypatch):
    monkeypatch.setattr(packages, "logical_id", lambda name: "Plam" if name == "plan" else roles.logical_id(name))
    with pytest.raises(ConfigurationError, match="Plam has no Type"):
        packages.package(checkout, "dev", checkout / "mistyped")


# --- other people's checks -------------------------------------------------------------------


@pytest.fixture(scope="module")
def linted(translated, snapped, tmp_path_factory) -> dict[str, list[str]]:
    """What cfn-lint says of each document; it reads its specification of all resources once for all of them."""

    def faults(document):
        own(document, "Key")["Rotate"] = True
        own(document, "WeatherSchedule")["FlexibleTimeWindow"] = {"Mode": "SOMETIMES"}

    # Lambda has SnapStart from 3.12 on
    newer = json.loads(json.dumps(snapped).replace("python3.11", "python3.12"))
    documents = {"translated": translated, "snapped": newer, "faulty": broken(translated, faults)}
    folder = tmp_path_factory.mktemp("linted")
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    cfn_lint = str(Path(sys.executable).with_name("cfn-lint"))
    files = [str(folder / f"{name}.json") for name in documents]
    command = [cfn_lint, *files, "--include-checks", "I", "--format", "parseable", "-r", "us-east-1", "eu-west-1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 1, done.stderr
    said = done.stdout.splitlines()
    found = {name: [line for line in said if line.startswith(f"{folder / name}.json:")] for name in documents}
    assert sum(map(len, found.values())) == len(said), said
    return found


@pytest.mark.parametrize("document", ["translated", "snapped"])
def test_cfn_lint_finds_nothing(document, linted):
    assert linted[document] == []


def test_cfn_lint_looks(linted):
    found = "\n".join(linted["faulty"])
    assert "Rotate" in found
    assert "SOMETIMES" in found


def bare(document):
    for resource in document["Resources"].values():
        resource.pop("Metadata", None)
    del own(document, "Bucket")["VersioningConfiguration"]


@pytest.fixture(scope="module")
def checked(translated, tmp_path_factory) -> dict[str, set[tuple[str, str]]]:
    """(check, logical id) of all that checkov finds wrong in each document; it starts once, and nothing is fetched."""
    assert CHECKOV.exists(), f"{CHECKOV} is not there; run make test, or make .venv-checkov/installed"
    documents = {"translated": translated, "bare": broken(translated, bare)}
    folder = tmp_path_factory.mktemp("checked")
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    command = [str(CHECKOV), "-f", *(str(folder / f"{name}.json") for name in documents)]
    options = ["--framework", "cloudformation", "--skip-download", "--compact", "--quiet", "-o", "json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["resource_count"] == sum(len(document["Resources"]) for document in documents.values())
    failed = report["results"]["failed_checks"]
    found = {
        name: {
            (each["check_id"], each["resource"].split(".")[-1])
            for each in failed
            if each["file_path"].endswith(f"/{name}.json")
        }
        for name in documents
    }
    assert {Path(each["file_path"]).stem for each in failed} <= set(documents)
    return found


def skipped(document: dict) -> dict[tuple[str, str], str]:
    return {
        (skip["id"], name): skip["comment"]
        for name, resource in document["Resources"].items()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    }


def test_checkov_finds_nothing_but_what_is_justified_where_it_stands(translated, checked):
    exceptions = skipped(translated)
    assert all(len(comment) > 40 for comment in exceptions.values())
    assert checked["translated"] == set()


def test_every_exception_from_checkov_is_needed_and_it_looks(translated, checked):
    found = checked["bare"]
    assert found - set(skipped(translated)) == {("CKV_AWS_21", "Bucket")}
    assert set(skipped(translated)) - found == set()


def test_sam_refuses_what_aws_would(packaged):
    with pytest.raises(InvalidDocumentException):
        sam.translate(broken(packaged.template, put("Plan", "Handler", None)))


def test_the_replication_has_the_settings_that_the_document_takes_for_granted(translated):
    text = (ROOT / "docs" / "change-data-capture.md").read_text()
    wanted = {
        (section, name)
        for names in re.findall(r"^\| ((?:`\w+Settings\.)?`?[^|]*`?) = true \|", text, re.MULTILINE)
        for section, listed in re.findall(r"(\w+Settings)\.(.*)", names)
        for name in re.findall(r"\w+", listed)
    }
    settings = {
        **{
            ("KinesisSettings", name): value
            for name, value in own(translated, "ReplicationTarget")["KinesisSettings"].items()
        },
        **{
            ("PostgreSQLSettings", name): value
            for name, value in own(translated, "ReplicationSource")["PostgreSqlSettings"].items()
        },
    }
    # CloudFormation has no property for one, which the document says
    assert len(wanted) == 7
    assert {name for name in wanted if settings.get(name) is not True} == {("KinesisSettings", "UseLargeIntegerValue")}


# --- what goes in ----------------------------------------------------------------------------


def defaults(folder: Path, name: str = "dev") -> dict:
    made = template.template(stage.read(folder, name), folder)
    return {key: value.get("Default") for key, value in made["Parameters"].items()}


def test_a_stages_settings_are_the_defaults_of_the_stack(tmp_path):
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:sluice/dev/database-AbCdEf"
    folder = project(
        tmp_path, bucket="my-lake", runs_days=7, raw_days=400, schedules=False, database_secret_arn=arn,
        database_host="proxy.example.com",
    )  # fmt: skip
    given = defaults(folder)
    assert (
        given.items()
        >= {
            "App": "sluice",
            "Stage": "dev",
            "BucketName": "my-lake",
            "RunsDays": 7,
            "RawDays": "400",
            "LogDays": 30,
            "Schedules": "false",
            "Simulation": "false",
            "DatabaseSecretArn": arn,
            "DatabaseHost": "proxy.example.com",
            "SubnetIds": "",
            "CreateDatabase": "false",
            "Replication": "false",
        }.items()
    )
    assert defaults(folder, "prod")["LogDays"] == 365


def asking_for_a_key(document: dict) -> set[tuple[str, str]]:
    """(method, path) of the routes that do."""
    return {
        (method, path)
        for path, methods in own(document, "RestAPI")["DefinitionBody"]["paths"].items()
        for method, about in methods.items()
        if {"api_key": []} in about.get("security", ())
    }


def test_with_a_quota_the_routes_that_need_a_token_ask_for_a_key_too(tmp_path, packaged, patched):
    folder = project(tmp_path, api_quota=5000)
    made = packages.package(folder, "dev", folder / "stack").template
    guarded = {(route.method.lower(), route.path) for route in table.ROUTES if route.scope}
    assert asking_for_a_key(made) == guarded
    assert asking_for_a_key(packaged.template) == set()
    # how it was packed decides, and the stack's parameter cannot say otherwise
    bounds = [t["Parameters"]["ApiQuota"] for t in (made, packaged.template)]
    assert [(each["MinValue"], each["MaxValue"], each["Default"]) for each in bounds] == [(1, 10**9, 5000), (0, 0, 0)]


def test_a_domain_without_a_certificate_is_refused_by_the_settings_name(tmp_path):
    folder = project(tmp_path, api_domain="sluice.example.org", api_rate=0)
    made = template.template(stage.read(folder, "dev"), folder)
    found = constraints.faults(made, Evaluator(made, {}, {}, lambda *_: None).value)
    assert found == [
        "deployment.api_rate is 0: it must be from 1 to 10000",
        "deployment.api_domain needs deployment.api_certificate_arn",
    ]


def test_raw_days_that_s3_would_refuse_are_refused_by_name(tmp_path):
    folder = project(tmp_path, raw_days=30)
    with pytest.raises(ConfigurationError, match=r"raw_days of stage dev in .*config\.json is 30"):
        defaults(folder)


def test_a_schedule_in_an_unknown_time_zone_is_refused(monkeypatch):
    class Tides(Source):
        name, key, columns = "tides", (), ()
        schedule, timezone = "rate(1 day)", "Atlantis/Capital"

    monkeypatch.setattr(sources, "names", lambda: ("tides",))
    monkeypatch.setattr(sources, "get", lambda name: Tides())
    with pytest.raises(DeclarationError, match="Atlantis/Capital"):
        schedules.of_sources()
    Tides.timezone = "Europe/Lisbon"
    assert schedules.of_sources()["TidesSchedule"]["Properties"]["ScheduleExpressionTimezone"] == "Europe/Lisbon"


def test_other_buckets_are_read_only_by_who_fetches_and_only_if_named(tmp_path):
    folder = project(tmp_path, read_buckets=["theirs"])
    made = template.template(stage.read(folder, "dev"), folder)["Resources"]
    readers = {name for name, r in made.items() if "arn:${AWS::Partition}:s3:::theirs" in json.dumps(r)}
    assert readers == {"PlanRole", "FetchPartitionRole", "ContainerRole"}


def test_a_policy_with_an_unknown_name_is_refused(tmp_path):
    folder = project(tmp_path)
    path = folder / "statemachine" / "policies" / "plan.json"
    path.write_text(path.read_text().replace("${BucketArn}", "${BuketArn}"))
    with pytest.raises(ConfigurationError, match=r"plan\.json has \$\{BuketArn\}"):
        template.template(stage.read(folder, "dev"), folder)


def test_an_address_keeps_its_subscription_whatever_others_come_and_go(tmp_path):
    both = template.subscriptions.of_addresses(EMAILS)
    assert both == template.subscriptions.of_addresses(EMAILS[::-1])
    assert template.subscriptions.of_addresses(EMAILS[:1]).items() <= both.items()


# --- what comes out --------------------------------------------------------------------------


def test_a_package_holds_the_template_and_the_zips_that_it_names(packaged):
    named = set(re.findall(r'"\./([^"]+)"', json.dumps(packaged.template)))
    assert {path.name for path in packaged.folder.iterdir()} == named | {packages.TEMPLATE}
    assert json.loads((packaged.folder / packages.TEMPLATE).read_text()) == packaged.template
    assert packaged.size == (packaged.folder / packages.TEMPLATE).stat().st_size
    assert packaged.needs_s3


def test_the_same_project_makes_the_same_package(packaged, checkout, patched):
    again = packages.package(checkout, "dev", checkout / "again")
    for path in packaged.folder.iterdir():
        assert path.read_bytes() == (again.folder / path.name).read_bytes(), path.name


def test_limits_are_those_of_the_configuration(packaged):
    for name in render.lambda_functions():
        config = stage.read(ROOT, "dev").function(name)
        made = own(packaged.template, roles.logical_id(name))
        assert (made["Timeout"], made["MemorySize"]) == (config.lambda_timeout, config.lambda_memory_size)


def test_nothing_of_an_account_that_was_deployed_to_is_in_a_package(tmp_path, patched):
    folder = project(tmp_path)
    path = folder / ".chalice" / "config.json"
    config = json.loads(path.read_text())
    theirs = "arn:aws:iam::999999999999:role/sluice-dev-plan"
    dev = config["stages"]["dev"]
    dev["subnet_ids"], dev["security_group_ids"] = ["subnet-99999999", "subnet-88888888"], ["sg-99999999"]
    dev["environment_variables"]["SLUICE_BUCKET"] = "sluice-dev-999999999999-eu-west-1"
    dev["lambda_functions"] = {
        "plan": {"iam_role_arn": theirs, "layers": [theirs], "environment_variables": {"SLUICE_CHUNK_ROWS": "7"}}
    }
    path.write_text(json.dumps(config))
    made = packages.package(folder, "dev", folder / "stack", architecture="arm64").template
    assert "999999999999" not in json.dumps(made)
    assert made["Parameters"]["SubnetIds"]["Default"] == "subnet-99999999,subnet-88888888"
    plan = own(made, "Plan")
    assert plan["Environment"]["Variables"]["SLUICE_CHUNK_ROWS"] == "7"
    assert plan["Architectures"] == own(made, artefacts.layer_id("gate"))["CompatibleArchitectures"] == ["arm64"]
    assert json.loads(path.read_text()) == config


def test_a_folder_with_other_things_is_left_alone(checkout, patched, tmp_path):
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(ConfigurationError, match="holds other things"):
        packages.package(checkout, "dev", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_chalice_says_is_told(tmp_path, patched):
    folder = project(tmp_path)
    (folder / "app.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(DeploymentError, match="nothing_of_that_name"):
        packages.package(folder, "dev", folder / "stack")


def test_the_command_says_what_comes_next(checkout, patched, monkeypatch):
    monkeypatch.chdir(checkout)
    done = CliRunner().invoke(main, ["package", "--stage", "dev", "stack-of-dev"])
    assert done.exit_code == 0, done.output
    assert "aws cloudformation package --template-file stack-of-dev/template.json" in done.output
    assert "--s3-bucket BUCKET --stack-name sluice-dev --capabilities CAPABILITY_NAMED_IAM" in done.output
    assert (checkout / "stack-of-dev" / packages.TEMPLATE).exists()


# --- SnapStart -------------------------------------------------------------------------------


def test_the_gate_starts_from_a_snapshot_through_its_alias(snapped):
    for name in checks.FUNCTIONS:
        has = "SnapStart" in own(snapped, roles.logical_id(name))
        assert has == (name in artefacts.GATE_FUNCTIONS)
    versions = checks.resources(snapped, "AWS::Lambda::Version")
    aliases = checks.resources(snapped, "AWS::Lambda::Alias")
    assert len(versions) == 2
    assert set(aliases) == {"ValidateAliaslive", "QualityGateAliaslive"}
    assert own(snapped, "StateMachine")["DefinitionSubstitutions"]["ValidateArn"] == {"Ref": "ValidateAliaslive"}
    assert "<ValidateAliaslive>" in checks.allowed(snapped, "StateMachineRole", "lambda:InvokeFunction")


def test_a_machine_that_passes_the_snapshot_by_is_found(snapped):
    past = put("StateMachine", "DefinitionSubstitutions.ValidateArn", {"Fn::GetAtt": ["Validate", "Arn"]})
    assert list(checks.machine(broken(snapped, past)))


def test_snap_start_is_refused_where_lambda_has_none(checkout, patched, monkeypatch):
    monkeypatch.setattr(packages, "_NO_SNAP_START", (f"python3.{sys.version_info.minor}",))
    with pytest.raises(ConfigurationError, match="no SnapStart"):
        packages.package(checkout, "dev", checkout / "refused", snap_start=True)
    assert not (checkout / "refused").exists()
