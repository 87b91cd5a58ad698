"""What `sluice deploy` does with the real template: to the end, a second time, after drift and after breaking."""

import dataclasses
import io
import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import botocore.client
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from chalicelib.errors import ConfigurationError, DeploymentError
from deploy import account, apply, artefacts, functions, plan, record, template
from deploy import stage as stages
from deploy.artefacts import Artefacts
from local import corrections_of_deploying
from statemachine import render

ROOT = Path(__file__).parents[2]
REGION = "eu-west-1"
READING = ("Get", "List", "Describe", "Head", "Lookup")
MORE = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
SECRET = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:sluice/dev/database-AbCdEf"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with the real configuration, template and policies, and small zips for those that are built."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    shutil.copytree(ROOT / "statemachine", tmp_path / "statemachine", ignore=shutil.ignore_patterns("__pycache__"))
    corrections_of_deploying.apply()
    (tmp_path / ".chalice").mkdir()
    document = json.loads((ROOT / ".chalice" / "config.json").read_text())
    document["stages"]["dev"]["deployment"] |= {
        "alert_emails": ["ops@example.com"],
        "database_secret_arn": SECRET,
        "schedules": True,
    }
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(document, indent=2) + "\n")
    with mock_aws():
        yield Project(tmp_path)


def trust(service):
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def zipped(text):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as package:
        package.writestr("module.py", text)
    return content.getvalue()


class Project:
    """Deploys; Chalice's part is played by a few calls that read the same configuration."""

    def __init__(self, folder):
        self.folder = folder
        self.chalice_runs = 0
        self.zips = {}
        for name in ("code", "dependencies", "gate"):
            self.change(name, f"{name} = 1")

    def change(self, name, text):
        path = self.folder / f"{name}.zip"
        path.write_bytes(zipped(text))
        self.zips[name] = artefacts._measured(name, path)

    @property
    def built(self):
        return Artefacts("dev", "python3.11", "x86_64", self.folder, **self.zips)

    def settings(self, **deployment):
        path = self.folder / ".chalice" / "config.json"
        document = json.loads(path.read_text())
        document["stages"]["dev"]["deployment"] |= deployment
        path.write_text(json.dumps(document, indent=2) + "\n")

    def plan(self):
        stage = stages.read(self.folder, "dev")
        made = template.template(stage, self.folder)
        self.aws = account.connect(stage, made)
        self.aws = dataclasses.replace(self.aws, files={functions.layer_key(stage, self.built): self.built.gate.path})
        self.record = record.load(self.aws)
        self.resources = plan.Resources(self.aws, functions.add(made, stage, self.built))
        return plan.make(self.resources, self.record)

    def deploy(self, prepare=False):
        """The plan that was carried out."""
        made = self.plan()
        apply.Executor(self.resources, self.record, self.chalice, lambda line: None).run(made, prepare)
        return made

    def chalice(self):
        self.chalice_runs += 1
        client, stage = self.aws.client("lambda"), stages.read(self.folder, "dev")
        layer = client.publish_layer_version(
            LayerName="sluice-dev-managed-layer", Content={"ZipFile": self.built.dependencies.path.read_bytes()}
        )["LayerVersionArn"]
        for name in render.lambda_functions():
            config = stage.function(name)
            settings = {
                "FunctionName": stage.function_name(name),
                "Runtime": "python3.11",
                "Handler": f"app.{name}",
                "Role": config.iam_role_arn,
                "MemorySize": config.lambda_memory_size,
                "Timeout": config.lambda_timeout,
                "Layers": [layer, *(config.layers or [])],
                "Environment": {"Variables": config.environment_variables},
                "TracingConfig": {"Mode": "Active"},
            }
            code = self.built.code.path.read_bytes()
            try:
                client.get_function(FunctionName=settings["FunctionName"])
            except ClientError:
                tags = {"aws-chalice": "version=1:stage=dev:app=sluice"}
                client.create_function(**settings, Code={"ZipFile": code}, Tags=tags)
            else:
                client.update_function_configuration(**settings)
                client.update_function_code(FunctionName=settings["FunctionName"], ZipFile=code)
        return {"resources": [], "schema_version": "2.0"}


def names(made, action):
    return {step.logical_id for step in made.steps if step.action == action}


def test_a_deployment_makes_all_of_the_template_and_a_second_one_nothing(project):
    first = project.deploy()
    assert {step.action for step in first.steps if step.logical_id != functions.CONFIGURATION} == {plan.CREATE}
    assert project.chalice_runs == 1
    second = project.deploy()
    assert [line for step in second.changes for line in step.lines()] == []
    assert project.chalice_runs == 1
    assert {step.logical_id for step in second.steps} == {step.logical_id for step in first.steps}
    assert "nothing to change" in list(second.lines())


def test_a_plan_changes_nothing_and_says_what_it_would(project, monkeypatch):
    before = (project.folder / ".chalice" / "config.json").read_bytes()
    calls = watch(monkeypatch)
    made = project.plan()
    assert not [name for name in calls if not name.startswith(READING)]
    assert (project.folder / ".chalice" / "config.json").read_bytes() == before
    lines = "\n".join(made.lines())
    for step in made.steps:
        assert step.logical_id in lines
    assert f"{len(made.steps) - 1} to create, 1 to update" in lines  # the configuration is there already


def test_the_state_machine_calls_the_deployed_functions(project):
    project.deploy()
    arn = f"arn:aws:states:{REGION}:123456789012:stateMachine:sluice-dev"
    definition = project.aws.client("stepfunctions").describe_state_machine(stateMachineArn=arn)["definition"]
    for name in render.lambda_functions():
        assert f"arn:aws:lambda:{REGION}:123456789012:function:sluice-dev-{name}" in definition
    assert "${" not in definition


def test_code_that_changed_is_deployed_by_chalice_alone(project):
    project.deploy()
    project.change("code", "code = 2")
    made = project.deploy()
    assert names(made, plan.UPDATE) == {template.logical_id(name) for name in render.lambda_functions()}
    assert all([d.name for d in step.differences] == ["Code"] for step in made.changes)
    assert project.chalice_runs == 2
    assert not project.deploy().changes


def test_a_gate_that_changed_is_a_new_version_and_the_old_one_goes_in_the_same_deployment(project):
    project.deploy()
    project.change("gate", "gate = 2")
    made = project.deploy()
    assert names(made, plan.REPLACE) == {functions.LAYER}
    versions = project.aws.client("lambda").list_layer_versions(LayerName="sluice-dev-gate")["LayerVersions"]
    assert [version["Version"] for version in versions] == [2]
    assert not project.deploy().changes


def test_what_was_changed_by_hand_is_found_and_mended(project):
    project.deploy()
    client = project.aws.client
    client("s3").delete_public_access_block(Bucket=project.aws.bucket)
    client("iam").put_role_policy(RoleName="sluice-dev-plan", PolicyName="more", PolicyDocument=json.dumps(MORE))
    client("cloudwatch").delete_alarms(AlarmNames=["sluice-dev-failed-runs"])
    client("lambda").update_function_configuration(FunctionName="sluice-dev-load", MemorySize=3000)
    made = project.deploy()
    assert names(made, plan.CREATE) == {"FailedRunsAlarm"}
    assert names(made, plan.UPDATE) == {"Bucket", "PlanRole", "Load"}
    assert not project.deploy().changes


def test_what_the_template_has_no_more_is_deleted(project):
    project.deploy()
    project.settings(alert_emails=["data@example.com"], schedules=False)
    made = project.deploy()
    [gone] = [step.physical_id for step in made.steps if step.action == plan.DELETE and "SNS" in step.type]
    assert gone.endswith("ops@example.com")
    topic = f"arn:aws:sns:{REGION}:123456789012:sluice-dev-alerts"
    subscribed = project.aws.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [subscription["Endpoint"] for subscription in subscribed] == ["data@example.com"]
    assert "NoRunSucceededAlarm" in names(made, plan.DELETE)
    assert not project.deploy().changes


def test_prepared_everything_is_there_that_chalice_needs(project):
    project.deploy(prepare=True)
    assert project.chalice_runs == 0
    project.chalice()  # as a user does it by hand
    made = project.deploy()
    assert not {step.type for step in made.changes} & {"AWS::Lambda::Function", "Sluice::Configuration"}
    assert project.chalice_runs == 1
    assert not project.deploy().changes


def test_what_somebody_else_made_is_left_alone_and_all_of_it_is_named(project):
    aws = project.plan() and project.aws
    location = {"LocationConstraint": REGION}
    aws.client("s3").create_bucket(Bucket=aws.bucket, CreateBucketConfiguration=location)
    aws.client("s3").put_object(Bucket=aws.bucket, Key="theirs", Body=b"")
    aws.client("iam").create_role(RoleName="sluice-dev-plan", AssumeRolePolicyDocument=json.dumps(MORE))
    aws.client("sns").create_topic(Name="sluice-dev-alerts", Tags=[{"Key": "sluice:stage", "Value": "prod"}])
    with pytest.raises(ConfigurationError) as raised:
        project.deploy()
    message = str(raised.value)
    assert aws.bucket in message
    assert "sluice-dev-plan" in message
    assert "belongs to stage prod" in message
    assert "sluice:stage" in message


@pytest.mark.parametrize("when", ["before", "after"])
def test_wherever_it_breaks_the_same_command_goes_on_and_comes_to_the_same_end(project, monkeypatch, when):
    """Each kind of call that changes something fails once: before AWS has done it, or with the answer lost."""
    failed = break_once_at_each_call(monkeypatch, when)
    for _ in range(200):
        try:
            project.deploy()
            break
        except DeploymentError as error:
            assert "goes on from there" in str(error)
        except ClientError:
            assert project.chalice_runs  # Chalice's part is not ours to word here
    else:
        pytest.fail(f"never came to an end: {failed}")
    assert len(failed) > 20
    monkeypatch.undo()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", REGION),
    ):
        monkeypatch.setenv(name, value)
    assert [line for step in project.deploy().changes for line in step.lines()] == []
    client = project.aws.client
    assert len([k for k in client("kms").list_keys()["Keys"]]) == 1
    assert len(client("sns").list_topics()["Topics"]) == 1
    topic = f"arn:aws:sns:{REGION}:123456789012:sluice-dev-alerts"
    assert len(client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]) == 1
    assert len(client("secretsmanager").list_secrets()["SecretList"]) == 1
    assert len(client("lambda").list_functions()["Functions"]) == len(render.lambda_functions())
    assert len(client("lambda").list_layer_versions(LayerName="sluice-dev-gate")["LayerVersions"]) == 1


def watch(monkeypatch):
    """The names of all calls from now on."""
    calls, original = Counter(), botocore.client.BaseClient._make_api_call

    def call(self, operation, arguments):
        calls[operation] += 1
        return original(self, operation, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
    return calls


def break_once_at_each_call(monkeypatch, when):
    failed, original = set(), botocore.client.BaseClient._make_api_call

    def call(self, operation, arguments):
        key = (self.meta.service_model.service_name, operation)
        if operation.startswith(READING) or key in failed:
            return original(self, operation, arguments)
        failed.add(key)
        if when == "after":
            original(self, operation, arguments)
        raise ClientError({"Error": {"Code": "InternalError", "Message": "the line is cut"}}, operation)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
    return failed
