"""`sluice destroy`, as it is meant, broken at each of its calls, and what comes after it."""

import json

import deployed_project
import pytest
from botocore.exceptions import ClientError

from chalicelib.errors import ConfigurationError, DeploymentError
from deploy import destroy, functions, secret
from deploy import stage as stages
from deploy.kinds import KINDS
from statemachine import render

STAYS = {"AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::KMS::Key", "AWS::KMS::Alias", "AWS::SecretsManager::Secret"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    with deployed_project.made(tmp_path, monkeypatch) as made:

        def delete(stage, folder, known, say):
            for name in render.lambda_functions():
                KINDS["AWS::Lambda::Function"].delete(made.aws, stage.function_name(name))

        monkeypatch.setattr(functions, "delete", delete)  # `chalice delete` is a process of its own
        yield made


def destroyed(project, **options):
    planned = destroy.plan(project.folder, "dev", **options)
    planned.run(lambda line: None)
    return planned


def what_is_there(project):
    """By logical id, of what the last deployment made."""
    found = {}
    for name, made in project.record.resources.items():
        if made.type != "Sluice::Configuration" and KINDS[made.type].read(project.aws, made.id) is not None:
            found[name] = made.type
    return found


def test_all_goes_but_the_data_and_what_they_are_encrypted_with(project):
    path = project.folder / ".chalice" / "config.json"
    before = json.loads(path.read_text())
    project.deploy()
    project.aws.client("s3").put_object(Bucket=project.aws.bucket, Key="raw/kept", Body=b"data")
    planned = destroyed(project)
    assert {made.type for made in planned.kept} == STAYS
    assert set(what_is_there(project).values()) == STAYS
    assert project.aws.client("s3").get_object(Bucket=project.aws.bucket, Key="raw/kept")["Body"].read() == b"data"
    assert json.loads(path.read_text()) == before
    assert project.aws.client("logs").describe_log_groups()["logGroups"] == []
    assert project.aws.client("lambda").list_functions()["Functions"] == []
    assert destroy.plan(project.folder, "dev").steps == []


def test_runs_cannot_start_any_more_before_anything_else_goes(project):
    project.deploy()
    types = [step.type for step in destroy.plan(project.folder, "dev").steps]
    first = ["AWS::Lambda::EventSourceMapping", "AWS::StepFunctions::StateMachine", "AWS::Scheduler::Schedule"]
    assert list(dict.fromkeys(types))[:3] == first
    later = types[sum(map(types.count, first)) :]
    assert not set(first) & set(later)
    assert "AWS::IAM::Role" in later


def test_planning_it_changes_nothing(project, monkeypatch):
    project.deploy()
    calls = deployed_project.watch(monkeypatch)
    destroy.plan(project.folder, "dev")
    assert [name for _, name in calls if not name.startswith(deployed_project.READING)] == []


def test_the_data_go_only_by_the_buckets_very_name(project):
    project.deploy()
    client = project.aws.client("s3")
    for _ in range(2):  # of a versioned object the older version goes too
        client.put_object(Bucket=project.aws.bucket, Key="raw/kept", Body=b"data")
    with pytest.raises(ConfigurationError, match=project.aws.bucket):
        destroy.plan(project.folder, "dev", delete_data="sluice-dev")
    destroyed(project, delete_data=project.aws.bucket)
    assert set(what_is_there(project).values()) == STAYS - {"AWS::S3::Bucket", "AWS::S3::BucketPolicy"}


def test_the_secret_of_the_database_stays_whatever_goes(project):
    arn = secret.keep_database(stages.read(project.folder, "dev"), "postgresql://u:p@db.example.com:5432/sluice")
    project.deploy()
    destroyed(project, delete_data=project.aws.bucket)
    assert KINDS["AWS::SecretsManager::Secret"].read(project.aws, arn) is not None


def test_what_bears_a_name_of_ours_and_is_not_ours_stays(project):
    project.plan()
    trust = {"Version": "2012-10-17", "Statement": []}
    project.aws.client("iam").create_role(RoleName="sluice-dev-plan", AssumeRolePolicyDocument=json.dumps(trust))
    project.aws.client("sns").create_topic(Name="sluice-dev-alerts")
    destroyed(project)
    assert project.aws.client("iam").get_role(RoleName="sluice-dev-plan")
    assert len(project.aws.client("sns").list_topics()["Topics"]) == 1


def test_after_it_a_deployment_takes_the_data_up_again(project):
    project.deploy()
    [key] = project.aws.client("kms").list_keys()["Keys"]
    destroyed(project)
    project.deploy()
    assert not project.deploy().changes
    assert project.aws.client("kms").list_keys()["Keys"] == [key]


def test_of_a_deployment_that_broke_half_way_everything_goes_too(project, monkeypatch):
    failed = deployed_project.break_once_at_each_call(monkeypatch, "after")
    for _ in range(25):
        with pytest.raises((DeploymentError, ClientError)):
            project.deploy()
    failed.stop()
    destroyed(project, delete_data=project.aws.bucket)
    client = project.aws.client
    assert client("iam").list_roles()["Roles"] == []
    assert client("sns").list_topics()["Topics"] == []
    assert client("sqs").list_queues().get("QueueUrls", []) == []
    assert client("s3").list_buckets()["Buckets"] == []
    assert client("logs").describe_log_groups()["logGroups"] == []
    assert client("lambda").list_layers()["Layers"] == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_wherever_it_breaks_the_same_command_goes_on_and_comes_to_the_same_end(project, monkeypatch, when):
    project.deploy()
    failed = deployed_project.break_once_at_each_call(monkeypatch, when)
    for _ in range(100):
        try:
            destroyed(project)
            break
        except DeploymentError as error:
            assert "goes on from there" in str(error)
        except ClientError as error:
            assert "PutObject" in str(error)
    else:
        pytest.fail(f"never came to an end: {failed}")
    assert len(failed) > 10
    failed.stop()
    assert set(what_is_there(project).values()) == STAYS
    assert destroy.plan(project.folder, "dev").steps == []
