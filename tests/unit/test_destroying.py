"""Destroying a stage: what it leaves in the project and of other stages, and how it finds what nobody wrote down."""

import boto3
import deployed_project
import pytest

from deploy import destroy, functions
from deploy.plan import DELETE


@pytest.fixture
def project(tmp_path, monkeypatch):
    with deployed_project.made(tmp_path, monkeypatch) as made:
        # `chalice delete` is a process of its own
        made.told = []
        monkeypatch.setattr(functions, "delete", lambda stage, folder, known, say: made.told.append(known))
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


def test_the_configuration_is_as_it_was_before_the_deployment(project):
    path = project.folder / ".chalice" / "config.json"
    before = path.read_text()
    project.deploy()
    assert path.read_text() != before
    destroyed(project)
    assert path.read_text() == before


def test_a_bucket_that_is_kept_tells_no_queue_any_more_until_it_is_deployed_again(project):
    def told():
        return (
            boto3.client("s3")
            .get_bucket_notification_configuration(Bucket=project.aws.bucket)
            .get("QueueConfigurations", [])
        )

    project.deploy()
    assert f":{project.aws.prefix}-triggers" in " ".join(notice["QueueArn"] for notice in told())
    destroyed(project)
    assert told() == []
    project.deploy()
    assert told()
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
    assert boto3.client("s3").list_buckets()["Buckets"] == []
    assert {made.type for made in planned.kept} == {
        "AWS::KMS::Key",
        "AWS::KMS::Alias",
        "AWS::SecretsManager::Secret",
    }
    assert len(boto3.client("secretsmanager").list_secrets()["SecretList"]) == 1
    state = boto3.client("kms").describe_key(KeyId=project.resources.ids["Key"])["KeyMetadata"]["KeyState"]
    assert state == "Enabled"
    assert destroy.plan(project.folder, "dev").steps == []
    project.deploy()
    assert not project.deploy().changes


def test_another_stage_is_left_alone(project):
    project.deploy()
    steps = destroy.plan(project.folder, "prod").steps
    assert {step.type for step in steps} <= {"Sluice::Configuration"}


def test_two_apps_in_one_account_leave_each_others_key_alone(project, tmp_path_factory):
    other = project.checkout(tmp_path_factory.mktemp("other") / "project")
    other.rename("other")
    project.deploy()
    other.deploy()
    mine, theirs = project.resources.ids["Key"], other.resources.ids["Key"]
    assert mine != theirs
    # nor where the record is lost
    boto3.client("s3").delete_object(Bucket=other.aws.bucket, Key="deployment/record.json")
    planned = destroyed(other)
    assert mine not in {made.id for made in planned.kept} | {step.physical_id for step in planned.steps}
    assert theirs in {made.id for made in planned.kept}
    assert not project.deploy().changes


def test_without_a_record_it_finds_things_by_their_names_and_tags(project):
    """The record is lost where somebody emptied the bucket."""
    project.deploy()
    boto3.client("s3").delete_object(Bucket=project.aws.bucket, Key="deployment/record.json")
    planned = destroyed(project)
    assert all(step.action == DELETE for step in planned.steps)
    left = what_is_left()
    assert left["functions"] == left["machines"] == left["topics"] == left["schedules"] == []
    assert not [name for name in left["roles"] if name.startswith("sluice-dev")]


def test_chalice_is_told_what_it_wrote_down_and_what_it_forgot_is_deleted_all_the_same(project):
    project.deploy()
    written = project.record.chalice
    destroyed(project)
    assert project.told == [written]
    assert boto3.client("lambda").list_functions()["Functions"] == []
