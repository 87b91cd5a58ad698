"""What would keep a deployment from working is found before anything is changed, all at once, with setting and fix."""

import dataclasses
import json

import boto3
import deployed_project
import pytest

from chalicelib import sources
from chalicelib.columns import Column
from chalicelib.errors import ConfigurationError
from chalicelib.sources.files import FileSource
from deploy import account, deployment, permissions, preflight, template
from deploy import stage as stages
from deploy.preflight import Findings
from deploy.record import Record

PLACE = deployed_project.REGION


@pytest.fixture
def project(tmp_path, monkeypatch):
    with deployed_project.made(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def no_database(monkeypatch):
    """The database answers; whether it does is tried in tests of its own."""
    monkeypatch.setattr(preflight, "database", lambda url, stage: None)


def secret(text="postgresql://sluice:s3cret@db.example.com:5432/sluice"):
    client = boto3.client("secretsmanager")
    return client.create_secret(Name="sluice/dev/database", SecretString=text)["ARN"]


def findings_of(project):
    stage = stages.read(project.folder, "dev")
    findings = Findings()
    preflight.settings(stage, findings)
    made = template.template(stage, project.folder)
    aws = findings.note(lambda: account.connect(stage, made))
    if aws is not None:
        preflight.online(stage, aws, findings, Record())
    return findings


def test_nothing_is_wrong_with_a_complete_stage(project, no_database):
    project.settings(database_secret_arn=secret())
    assert findings_of(project).problems == []


def test_missing_settings_are_named_with_their_file_and_what_to_do(project):
    project.settings(alert_emails=[], database_secret_arn="")
    emails, database = findings_of(project).problems
    path = str(project.folder / ".chalice" / "config.json")
    assert emails.startswith(f"deployment.alert_emails of stage dev in {path} is not set: ")
    assert database.startswith(f"deployment.database_secret_arn of stage dev in {path} is not set: ")
    assert "`sluice secret database --stage dev`" in database


@pytest.mark.parametrize(
    ("given", "schedule", "problems", "notices"),
    [
        ("/home/ada/orders.csv", None, 0, 1),
        ("/home/ada/orders.csv", "rate(1 day)", 1, 0),
        ("s3://bucket/inbox/orders.csv", "rate(1 day)", 0, 0),
        (None, "rate(1 day)", 0, 0),
    ],
)
def test_a_source_that_reads_a_laptops_file_is_told_and_with_a_schedule_refused(
    monkeypatch, given, schedule, problems, notices
):
    class Orders(FileSource):
        name, key, columns = "orders", ("id",), (Column("id", "integer"),)
        default_input = given

    Orders.schedule = schedule
    monkeypatch.setattr(sources, "names", lambda: ("orders",))
    monkeypatch.setattr(sources, "get", lambda name: Orders())
    findings = Findings()
    preflight.inputs(findings)
    assert (len(findings.problems), len(findings.notices)) == (problems, notices)
    assert all("chalicelib/sources/orders.py" in told for told in findings.problems + findings.notices)


@pytest.mark.parametrize("address", ["ops", "ops@", "@example.com", "ops@example", "a b@example.com", "a@b.c,d@e.f"])
def test_an_address_that_is_none_is_refused(project, no_database, address):
    project.settings(alert_emails=["ops@example.com", address], database_secret_arn=secret())
    [problem] = findings_of(project).problems
    assert repr(address) in problem and "no email address" in problem


@pytest.mark.parametrize("address", ["ops@example.com", "o.p+s@mail.example.co.uk"])
def test_an_address_is_taken(project, no_database, address):
    project.settings(alert_emails=[address], database_secret_arn=secret())
    assert findings_of(project).problems == []


def test_a_secret_that_is_not_there_is_a_problem(project):
    [problem] = findings_of(project).problems
    assert deployed_project.SECRET in problem and "`sluice secret database --stage dev`" in problem


def test_an_access_log_needs_the_accounts_role_for_it(project, no_database):
    project.settings(database_secret_arn=secret(), access_log=True)
    [problem] = findings_of(project).problems
    assert "deployment.access_log of stage dev" in problem and PLACE in problem
    change = {"op": "replace", "path": "/cloudwatchRoleArn", "value": "arn:aws:iam::123456789012:role/logs"}
    boto3.client("apigateway").update_account(patchOperations=[change])
    assert findings_of(project).problems == []


@pytest.mark.parametrize("text", ["mysql://u:hunter2@h/d", '{"username": "u", "password": "hunter2"}', "{hunter2"])
def test_a_secret_that_is_no_address_is_a_problem_and_is_not_shown(project, text):
    project.settings(database_secret_arn=secret(text))
    [problem] = findings_of(project).problems
    assert "hunter2" not in problem and "secret" in problem


def test_a_database_out_of_reach_is_a_problem_that_names_the_setting(project):
    project.settings(database_secret_arn=secret("postgresql://sluice:hunter2@127.0.0.1:1/sluice"))
    [problem] = findings_of(project).problems
    assert "cannot be reached from here" in problem and "deployment.database_secret_arn of stage dev" in problem
    assert "hunter2" not in problem


def test_a_database_behind_subnets_is_not_tried_and_that_is_said(project):
    project.settings(database_secret_arn=secret("postgresql://sluice:s@127.0.0.1:1/sluice"))
    path = project.folder / ".chalice" / "config.json"
    document = json.loads(path.read_text())
    document["stages"]["dev"] |= {"subnet_ids": ["subnet-1a", "subnet-2b"], "security_group_ids": ["sg-1a"]}
    path.write_text(json.dumps(document))
    found = findings_of(project)
    assert found.problems == []
    assert "the smoke run will" in found.notices[0]


class Database:
    """A connection to a server of some version, with or without pgvector."""

    def __init__(self, server_version, extensions):
        self.server_version, self._extensions, self.closed = server_version, extensions, False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    cursor = lambda self: self  # noqa: E731

    def execute(self, statement):
        assert "pg_available_extensions" in statement

    def fetchone(self):
        return (self._extensions,)

    def close(self):
        self.closed = True


@pytest.mark.parametrize(
    ("version", "extensions", "complaint"),
    [(160004, 1, "is Postgres 16"), (170001, 0, "has no pgvector"), (170001, 1, None)],
)
def test_a_database_too_old_or_without_pgvector_is_refused(project, monkeypatch, version, extensions, complaint):
    opened = Database(version, extensions)
    monkeypatch.setattr(preflight.connection, "connect", lambda url: opened)
    stage = stages.read(project.folder, "dev")
    if complaint is None:
        preflight.database("postgresql://…", stage)
    else:
        with pytest.raises(ConfigurationError, match=complaint):
            preflight.database("postgresql://…", stage)
    assert opened.closed


def test_without_credentials_it_says_how_to_get_some(project, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(ConfigurationError, match="aws sts get-caller-identity"):
        account.connect(stages.read(project.folder, "dev"))


def test_without_a_region_it_says_where_to_set_one(project, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(ConfigurationError, match="no AWS region is set"):
        account.connect(stages.read(project.folder, "dev"))


def test_another_account_or_region_than_the_settings_speak_of_is_a_problem(project):
    elsewhere = "arn:aws:secretsmanager:us-west-2:999999999999:secret:sluice/dev/database-AbCdEf"
    project.settings(database_secret_arn=elsewhere)
    [problem] = findings_of(project).problems
    assert "999999999999 in us-west-2" in problem and f"123456789012 in {PLACE}" in problem


def test_permissions_that_are_missing_are_all_named_before_anything_is_done(project, monkeypatch):
    project.plan()
    stage, client = stages.read(project.folder, "dev"), Simulation({"sns:CreateTopic", "iam:CreateRole"})
    monkeypatch.setattr(permissions.boto3, "client", lambda *_, **__: client)
    missing, notice = permissions.missing(project.aws, stage)
    assert notice is None
    assert sorted(action for actions in missing.values() for action in actions) == ["iam:CreateRole", "sns:CreateTopic"]
    assert client.asked >= {"lambda:CreateFunction", "states:CreateStateMachine", "s3:CreateBucket"}


class Simulation:
    """IAM's simulator, which denies some actions."""

    def __init__(self, denied):
        self._denied, self.asked = denied, set()

    def get_paginator(self, _):
        return self

    def paginate(self, PolicySourceArn, ActionNames, ResourceArns):
        self.asked |= set(ActionNames)
        results = [
            {"EvalActionName": name, "EvalDecision": "implicitDeny" if name in self._denied else "allowed"}
            for name in ActionNames
        ]
        yield {"EvaluationResults": results}


@pytest.mark.parametrize(
    ("caller", "asked"),
    [
        ("arn:aws:iam::123456789012:user/me", "arn:aws:iam::123456789012:user/me"),
        ("arn:aws:sts::123456789012:assumed-role/ci/session", "arn:aws:iam::123456789012:role/ci"),
        ("arn:aws:iam::123456789012:root", None),
    ],
)
def test_whose_permissions_count(project, caller, asked):
    project.plan()
    aws = dataclasses.replace(project.aws, caller=caller)
    assert permissions._principal(aws, aws.client("iam")) == asked


def test_a_role_that_was_assumed_is_asked_about_with_its_path(project):
    """Those of the identity centre, `AWSReservedSSO_…`, have one."""
    project.plan()
    name, path = "AWSReservedSSO_Admin_0123456789abcdef", "/aws-reserved/sso.amazonaws.com/eu-west-1/"
    client = project.aws.client("iam")
    client.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument="{}")
    aws = dataclasses.replace(project.aws, caller=f"arn:aws:sts::123456789012:assumed-role/{name}/ada@example.com")
    assert permissions._principal(aws, client) == f"arn:aws:iam::123456789012:role{path}{name}"


def test_what_the_template_would_leave_to_cloudformation_is_refused(project):
    project.plan()
    stage = stages.read(project.folder, "dev")
    made = template.template(stage, project.folder)
    made["Parameters"]["CreateDatabase"]["Default"] = "true"
    made["Parameters"]["VpcId"]["Default"] = "vpc-1"
    resources = deployment.Resources(project.aws, made)
    assert any("AWS::RDS::DBInstance" in fault and "sluice package" in fault for fault in resources.faults())


def test_all_problems_come_in_one_error_and_nothing_is_changed(project, monkeypatch):
    project.settings(alert_emails=["nobody"], database_secret_arn="")
    boto3.client("iam").create_role(RoleName="sluice-dev-plan", AssumeRolePolicyDocument='{"Statement": []}')
    before = project.folder.joinpath(".chalice", "config.json").read_text()
    calls = deployed_project.watch(monkeypatch)
    monkeypatch.setattr(deployment.artefacts, "build", lambda *_, **__: project.built)
    with (
        pytest.raises(ConfigurationError) as raised,
        deployment.opened(project.folder, "dev", lambda line: None),
    ):
        pytest.fail("it was opened")
    message = str(raised.value)
    assert "nobody" in message and "database_secret_arn" in message and "sluice-dev-plan" in message
    assert [call for call in calls if not call[1].startswith((*deployed_project.READING, "Simulate", "Generate"))] == []
    assert project.folder.joinpath(".chalice", "config.json").read_text() == before


def test_an_unconfirmed_address_stops_the_second_deployment_unless_told_otherwise(project, no_database, monkeypatch):
    project.settings(database_secret_arn=secret())
    project.deploy()
    monkeypatch.setattr(deployment.artefacts, "build", lambda *_, **__: project.built)
    monkeypatch.setattr(preflight.Subscription, "arn", lambda self, aws, physical_id: "PendingConfirmation")
    with (
        pytest.raises(ConfigurationError, match=r"ops@example\.com has not confirmed .* --unconfirmed-alerts"),
        deployment.opened(project.folder, "dev", lambda line: None),
    ):
        pytest.fail("it was opened")
    with deployment.opened(project.folder, "dev", lambda line: None, unconfirmed_alerts=True) as opened:
        assert opened.unconfirmed() == ["ops@example.com"]


def test_a_first_deployment_that_broke_off_goes_on_before_anybody_has_confirmed(project, no_database, monkeypatch):
    project.settings(database_secret_arn=secret())
    project.deploy(prepare=True)
    monkeypatch.setattr(deployment.artefacts, "build", lambda *_, **__: project.built)
    monkeypatch.setattr(preflight.Subscription, "arn", lambda self, aws, physical_id: "PendingConfirmation")
    with deployment.opened(project.folder, "dev", lambda line: None) as opened:
        assert opened.plan.changes
        assert opened.unconfirmed() == ["ops@example.com"]


def test_a_stage_that_does_not_exist_is_refused_with_those_there_are(project):
    with (
        pytest.raises(ConfigurationError, match="has no stage 'qa' Next: take one of dev, staging, prod"),
        deployment.opened(project.folder, "qa", lambda line: None),
    ):
        pytest.fail("it was opened")


def configured(project, **settings):
    path = project.folder / ".chalice" / "config.json"
    document = json.loads(path.read_text())
    document["stages"]["dev"] |= settings
    path.write_text(json.dumps(document))
    stage, findings = stages.read(project.folder, "dev"), Findings()
    preflight.parameters(stage, template.template(stage, project.folder), findings)
    return findings.problems


def test_a_setting_that_cloudformation_would_refuse_is_refused_by_its_name(project):
    assert configured(project) == []
    [problem] = configured(project, log_retention_in_days=31)
    assert "config.json: log_retention_in_days is 31: it must be one of 1, 3, 5" in problem
    [problem] = configured(project, log_retention_in_days=30, subnet_ids=["subnet-1", "subnet-2"])
    assert problem.endswith("subnet_ids needs security_group_ids, or CreateDatabase")
    problems = configured(project, subnet_ids=["subnet-1"], security_group_ids=["sg-1"])
    assert [p.partition("config.json: ")[2] for p in problems] == [
        "subnet_ids is 'subnet-1': it must be empty, or at least two subnets, separated by commas"
    ]
    project.settings(runs_days=0)
    [problem] = configured(project, subnet_ids=[], security_group_ids=[])
    assert problem.endswith("deployment.runs_days is 0: it must be from 1 to 3650")


def test_aws_out_of_reach_is_not_taken_for_wrong_credentials(project, monkeypatch):
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="AWS cannot be reached: Could not connect to the endpoint URL"):
        account.connect(stages.read(project.folder, "dev"))


def test_a_python_that_lambda_does_not_run_is_a_problem_with_those_it_does(project, no_database, monkeypatch):
    project.settings(database_secret_arn=secret())
    monkeypatch.setattr(preflight.platform, "python_version_tuple", lambda: ("3", "14", "0"))
    [problem] = findings_of(project).problems
    assert "this is Python 3.14" in problem and "3.11, 3.12, 3.13" in problem
