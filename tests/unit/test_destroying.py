"""`sluice destroy` takes what was made and nothing else; data goes only where its bucket is named."""

import json

import boto3
import pytest

from chalicelib.errors import ConfigurationError
from deploy import destroy, functions
from deploy.plan import DELETE
from statemachine import render
from tests.unit import deployed_project

KEPT = {
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",
    "AWS::KMS::Key",
    "AWS::KMS::Alias",
    "AWS::SecretsManager::Secret",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    with deployed_project.made(tmp_path, monkeypatch) as made:
        yield made


def destroyed(project, **options):
    planned = destroy.plan(project.folder, "dev", **options)
    planned.run(lambda line: None)
    return planned


def what_is_left():
    return {
        "functions": boto3.client("lambda").list_functions()["Functions"],
        "layers": boto3.client("lambda").list_layers()["Layers"],
        "machines": boto3.client("stepfunctions").list_state_machines()["stateMachines"],
        "roles": [r["RoleName"] for r in boto3.client("iam").list_roles()["Roles"]],
        "topics": boto3.client("sns").list_topics()["Topics"],
        "queues": boto3.client("sqs").list_queues().get("QueueUrls", []),
        "alarms": boto3.client("cloudwatch").describe_alarms()["MetricAlarms"],
        "dashboards": boto3.client("cloudwatch").list_dashboards().get("DashboardEntries", []),
        "schedules": boto3.client("scheduler").list_schedules()["Schedules"],
        "logs": boto3.client("logs").describe_log_groups()["logGroups"],
    }


def test_what_was_made_goes_and_what_has_data_stays(project):
    before = what_is_left()
    project.deploy()
    boto3.client("s3").put_object(Bucket=project.aws.bucket, Key="raw/posts/1", Body=b"data")
    planned = destroyed(project)
    assert what_is_left() == before
    assert {made.type for made in planned.kept} == KEPT
    assert boto3.client("s3").get_object(Bucket=project.aws.bucket, Key="raw/posts/1")["Body"].read() == b"data"
    assert boto3.client("kms").list_aliases()["Aliases"]
    [secret] = boto3.client("secretsmanager").list_secrets()["SecretList"]
    assert secret["Name"] == "sluice/dev/tokens"


def test_the_state_machine_goes_first_and_what_others_are_in_last(project):
    project.deploy()
    types = [step.type for step in destroy.plan(project.folder, "dev", project.aws.bucket).steps]
    assert types[0] == "AWS::StepFunctions::StateMachine"
    assert types[1] == "AWS::Scheduler::Schedule"
    assert types.index("AWS::Lambda::Function") < types.index("AWS::IAM::Role") < types.index("AWS::S3::Bucket")
    assert types[-1] == "AWS::KMS::Key"


def test_the_configuration_is_as_it_was_before_the_deployment(project):
    path = project.folder / ".chalice" / "config.json"
    before = path.read_text()
    project.deploy()
    assert path.read_text() != before
    destroyed(project)
    assert path.read_text() == before


def test_a_stage_can_be_deployed_again_on_what_stayed(project):
    project.deploy()
    key, bucket = project.resources.ids["Key"], project.aws.bucket
    destroyed(project)
    project.deploy()
    assert (project.resources.ids["Key"], project.aws.bucket) == (key, bucket)
    assert not project.deploy().changes


def test_nothing_is_deleted_twice(project):
    project.deploy()
    destroyed(project)
    assert [step.type for step in destroy.plan(project.folder, "dev").steps] in ([], ["Sluice::Configuration"])


def test_data_goes_where_its_bucket_is_named_old_versions_and_all(project):
    project.deploy()
    for body in (b"one", b"two"):
        boto3.client("s3").put_object(Bucket=project.aws.bucket, Key="raw/posts/1", Body=body)
    planned = destroyed(project, delete_data=project.aws.bucket)
    assert planned.kept == []
    assert boto3.client("s3").list_buckets()["Buckets"] == []
    assert boto3.client("secretsmanager").list_secrets()["SecretList"] == []  # to be had back for 30 days
    state = boto3.client("kms").describe_key(KeyId=project.resources.ids["Key"])["KeyMetadata"]["KeyState"]
    assert state == "PendingDeletion"


@pytest.mark.parametrize("name", ["yes", "sluice-prod-123456789012-eu-west-1", ""])
def test_another_name_than_the_buckets_deletes_nothing(project, name):
    project.deploy()
    with pytest.raises(ConfigurationError, match=f"--delete-data {project.aws.bucket}"):
        destroy.plan(project.folder, "dev", name)


def test_the_secret_of_the_database_is_never_touched(project):
    secret = boto3.client("secretsmanager").create_secret(
        Name="sluice/dev/database",
        SecretString="postgresql://u:p@h/d",
        Tags=[{"Key": "sluice:stage", "Value": "dev"}],
    )["ARN"]
    project.settings(database_secret_arn=secret)
    project.deploy()
    destroyed(project, delete_data=project.aws.bucket)
    assert boto3.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"] == "postgresql://u:p@h/d"


def test_what_is_not_ours_stays_though_it_bears_one_of_our_names(project):
    """A stage that was never deployed, in an account where somebody has such names."""
    project.plan()
    boto3.client("iam").create_role(RoleName="sluice-dev-plan", AssumeRolePolicyDocument=json.dumps({"Statement": []}))
    boto3.client("sns").create_topic(Name="sluice-dev-alerts", Tags=[{"Key": "sluice:stage", "Value": "prod"}])
    planned = destroy.plan(project.folder, "dev")
    assert not {step.type for step in planned.steps} & {"AWS::IAM::Role", "AWS::SNS::Topic"}


def test_another_stage_is_left_alone(project):
    project.deploy()
    steps = destroy.plan(project.folder, "prod").steps
    assert {step.type for step in steps} <= {"Sluice::Configuration"}


def test_without_a_record_it_finds_things_by_their_names_and_tags(project):
    """The record is lost where somebody emptied the bucket."""
    project.deploy()
    boto3.client("s3").delete_object(Bucket=project.aws.bucket, Key="deployment/record.json")
    planned = destroyed(project)
    assert all(step.action == DELETE for step in planned.steps)
    left = what_is_left()
    assert left["functions"] == left["machines"] == left["topics"] == left["schedules"] == []
    assert not [name for name in left["roles"] if name.startswith("sluice-dev")]


def test_chalice_deletes_the_functions_it_wrote_down(project, monkeypatch):
    project.deploy()
    told = []
    monkeypatch.setattr(functions, "delete", lambda stage, folder, known, say: told.append(known))
    destroyed(project)
    assert told == [{"resources": [], "schema_version": "2.0"}]
    # and those that it forgot are deleted all the same
    assert boto3.client("lambda").list_functions()["Functions"] == []
    assert len(render.lambda_functions()) == 13
