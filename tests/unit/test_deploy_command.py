"""`sluice deploy` and `sluice destroy` as commands: what they ask, what they say, and with which exit status."""

import re

import boto3
import deployed_project
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from cli.main import main
from deploy import deployment, functions, plan, preflight, record, secret
from deploy import stage as stages
from deploy.kinds import KINDS
from statemachine import render


@pytest.fixture
def project(tmp_path, monkeypatch):
    with deployed_project.made(tmp_path, monkeypatch) as made:
        monkeypatch.chdir(made.folder)
        monkeypatch.setattr(preflight, "database", lambda url, stage: None)
        monkeypatch.setattr(deployment.artefacts, "build", lambda *_, **__: made.built)
        monkeypatch.setattr(functions, "deploy", lambda stage, built, known, say: deployed(made))
        monkeypatch.setattr(functions, "superfluous_layers", lambda *_: [])
        monkeypatch.setattr(functions, "delete", lambda *_: deleted(made))
        monkeypatch.setattr(deployment.smoke, "run", smoke(made))
        secret.keep_database(stages.read(made.folder, "dev"), "postgresql://u:p@db.example.com:5432/sluice")
        yield made


def deployed(project):
    project.connect()
    return project.chalice()


def deleted(project):
    project.connect()
    for name in render.lambda_functions():
        KINDS["AWS::Lambda::Function"].delete(project.aws, render.full_name("sluice-dev", name))


def smoke(project):
    project.smoke_runs, project.smoke_fails = 0, None

    def run(aws, machine, url, progress):
        project.smoke_runs += 1
        if project.smoke_fails:
            raise project.smoke_fails
        account = dict.fromkeys(("updated", "unchanged", "duplicates", "quarantined"), 0)
        return deployment.smoke.Smoke("smoke-1", {"fetched": 3, "inserted": 3, **account}, True)

    return run


def sluice(*arguments, answer="", status=0):
    result = CliRunner().invoke(main, [*arguments, "--stage", "dev"], input=answer)
    assert result.exit_code == status, result.output
    return result.output


def test_what_was_done_and_the_account_of_the_smoke_run_are_said(project):
    said = sluice("deploy")
    assert "Deployed: " in said and "created" in said
    assert "Smoke run smoke-1: 3 fetched = 3 inserted + 0 updated + 0 unchanged + 0 duplicates + 0 quarantined." in said


def test_what_the_record_of_the_apis_domain_has_to_lead_to_is_said(project):
    certificate = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
    project.settings(api_domain="sluice.example.org", api_certificate_arn=certificate)
    wanted = r"Its domain sluice\.example\.org needs a CNAME or alias record that leads to (\S+)\.\n"
    said = re.search(wanted, sluice("deploy"))
    client = boto3.client("apigateway", region_name="eu-west-1")
    assert said[1] == client.get_domain_name(domainName="sluice.example.org")["regionalDomainName"]
    assert "CNAME" not in sluice("deploy")


def test_layers_are_deleted_once_what_chalice_wrote_down_is_in_the_record(project, monkeypatch):
    recorded = []
    monkeypatch.setattr(
        functions,
        "superfluous_layers",
        lambda aws, stage, written: recorded.append(record.load(aws).chalice == written) or [],
    )
    sluice("deploy")
    assert recorded == [True]


def test_a_second_time_nothing_is_changed_and_nothing_run(project, monkeypatch):
    sluice("deploy")
    calls = deployed_project.watch(monkeypatch)
    assert "Nothing to change: stage dev is as the code has it." in sluice("deploy")
    assert project.smoke_runs == 1
    other = [name for _, name in calls if not name.startswith((*deployed_project.READING, "Simulate"))]
    assert other == []


def test_a_dry_run_says_what_would_be_done_and_does_not(project):
    assert "create    AWS::S3::Bucket" in sluice("deploy", "--dry-run")
    assert project.plan().changes
    assert project.smoke_runs == 0


def test_a_smoke_run_that_failed_is_made_again_though_nothing_changes(project):
    project.smoke_fails = deployment.smoke.DeploymentError("the smoke run smoke-1 failed")
    assert "the smoke run smoke-1 failed" in sluice("deploy", status=1)
    assert "the smoke run smoke-1 failed" in sluice("deploy", status=1)
    project.smoke_fails = None
    said = sluice("deploy")
    assert "Nothing to change" in said and "Smoke run smoke-1" in said
    sluice("deploy")
    assert project.smoke_runs == 3


@pytest.mark.parametrize(("flag", "runs"), [("--no-smoke", 0), ("--smoke", 1)])
def test_the_smoke_run_is_as_wanted(project, flag, runs):
    said = sluice("deploy", flag)
    assert ("The next run brings the database's schema up to date" in said) == (not runs)
    assert project.smoke_runs == runs
    sluice("deploy", flag)
    assert project.smoke_runs == 2 * runs


def test_what_is_deleted_is_shown_and_asked_about(project):
    sluice("deploy")
    project.settings(alert_emails=["data@example.com"])
    said = sluice("deploy", answer="n\n", status=1)
    assert "ops@example.com" in said and "Delete or replace these?" in said
    assert project.plan().changes
    sluice("deploy", "--yes")
    assert not project.plan().changes


def test_prepared_it_says_what_comes_next(project):
    assert "Next: chalice deploy --stage dev, then sluice deploy --stage dev" in sluice("deploy", "--prepare")
    assert (project.chalice_runs, project.smoke_runs) == (0, 0)


def test_preparing_deletes_nothing_and_does_not_ask_about_it(project):
    sluice("deploy")
    project.settings(alert_emails=["data@example.com"])
    assert "Delete or replace these?" not in sluice("deploy", "--prepare")
    assert plan.DELETE in {step.action for step in project.plan().steps}


def test_what_preparing_replaces_is_asked_about(project):
    sluice("deploy")
    project.change("gate", "gate = 2")
    assert "Delete or replace these?" in sluice("deploy", "--prepare", answer="n\n", status=1)


def test_who_has_to_confirm_the_alerts_is_said_at_the_end(project, monkeypatch):
    monkeypatch.setattr(preflight.Subscription, "arn", lambda self, aws, physical_id: "PendingConfirmation")
    said = sluice("deploy")
    assert "Alerts reach nobody at ops@example.com yet: click the link" in said
    assert "--unconfirmed-alerts" in sluice("deploy", status=1)
    assert "Nothing to change" in sluice("deploy", "--unconfirmed-alerts")


def test_what_aws_refuses_is_one_line_and_no_traceback(project):
    error = {"Error": {"Code": "AccessDeniedException", "Message": "you may not"}}
    project.smoke_fails = ClientError(error, "StartExecution")
    said = sluice("deploy", status=1)
    assert "sluice: ConfigurationError: AWS refused StartExecution: you may not" in said


@pytest.mark.parametrize("fresh", [False, True])
def test_another_bucket_for_a_deployed_stage_is_refused_by_name(project, tmp_path_factory, monkeypatch, fresh):
    """The record is in the bucket: with another one nothing would be known of what was deployed."""
    sluice("deploy")
    bucket = project.aws.bucket
    if fresh:
        project = project.checkout(tmp_path_factory.mktemp("other") / "project")
        monkeypatch.chdir(project.folder)
    project.settings(bucket="another-lake")
    calls = deployed_project.watch(monkeypatch)
    for command in (("deploy",), ("destroy", "--yes")):
        said = sluice(*command, status=1)
        assert f"is deployed with the bucket {bucket}" in said and "another-lake" in said
        assert "put the old name back" in said
    other = [name for _, name in calls if not name.startswith((*deployed_project.READING, "Simulate"))]
    assert other == []
    project.settings(bucket="")
    assert "Delete all this of stage dev?" in sluice("destroy", answer="n\n", status=1)


def test_destroying_is_asked_about_and_says_what_stays(project):
    sluice("deploy")
    assert "Delete all this of stage dev?" in sluice("destroy", answer="n\n", status=1)
    assert not project.plan().changes
    listed = sluice("destroy", "--dry-run")
    assert "delete    AWS::StepFunctions::StateMachine" in listed
    assert not project.plan().changes
    said = sluice("destroy", "--yes")
    assert f"Stays: AWS::S3::Bucket {project.aws.bucket}" in said
    assert "Stays: the database, and its secret arn:" in said
    assert "Nothing was there." in sluice("destroy", "--yes")
