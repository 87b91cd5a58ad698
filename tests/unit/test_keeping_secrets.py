"""`sluice secret` and `sluice env --stage`: the values go to Secrets Manager, their ARNs into the configuration."""

import json
import shlex

import boto3
import deployed_project
import pytest
from click.testing import CliRunner

from chalicelib import settings
from cli import main as cli

URL = "postgresql://sluice:hunter2@db.example.com:5432/sluice"


@pytest.fixture
def project(tmp_path, monkeypatch):
    with deployed_project.made(tmp_path, monkeypatch) as made:
        made.settings(database_secret_arn="")
        monkeypatch.chdir(tmp_path)
        yield made


def run(*arguments, value=""):
    return CliRunner().invoke(cli.main, arguments, input=value)


def stage_of(project):
    return json.loads((project.folder / ".chalice" / "config.json").read_text())["stages"]["dev"]


def stored(name):
    return boto3.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]


@pytest.mark.parametrize("value", [URL, '{"username": "u", "password": "hunter2", "host": "h", "port": 5432}'])
def test_the_databases_url_is_kept_and_its_arn_is_written(project, value):
    result = run("secret", "database", "--stage", "dev", value=value + "\n")
    assert result.exit_code == 0, result.output
    arn = stage_of(project)["deployment"]["database_secret_arn"]
    assert arn.startswith("arn:aws:secretsmanager:") and arn in result.output
    assert stored(arn) == value and "hunter2" not in result.output
    about = boto3.client("secretsmanager").describe_secret(SecretId=arn)
    assert about["Name"] == "sluice/dev/database"
    assert about["Tags"] == [{"Key": "sluice:stage", "Value": "sluice-dev"}]


def test_only_that_line_of_the_configuration_changes(project):
    path = project.folder / ".chalice" / "config.json"
    before = path.read_text().splitlines()
    run("secret", "database", "--stage", "dev", value=URL)
    after = path.read_text().splitlines()
    [changed] = [line for line, old in zip(after, before, strict=True) if line != old]
    assert "database_secret_arn" in changed


def test_a_second_value_replaces_the_first_and_the_arn_stays(project):
    run("secret", "database", "--stage", "dev", value=URL)
    arn = stage_of(project)["deployment"]["database_secret_arn"]
    run("secret", "database", "--stage", "dev", value=URL + "2")
    assert stage_of(project)["deployment"]["database_secret_arn"] == arn
    assert stored(arn) == URL + "2"


@pytest.mark.parametrize(
    "value",
    ["", "hunter2", "mysql://u:hunter2@h/d", "postgresql://", '{"username": "u", "password": "hunter2"}', "{hunter2"],
)
def test_what_is_no_database_is_refused_and_not_shown(project, value):
    result = run("secret", "database", "--stage", "dev", value=value)
    assert result.exit_code == 1
    assert "hunter2" not in result.output
    assert boto3.client("secretsmanager").list_secrets()["SecretList"] == []
    assert stage_of(project)["deployment"]["database_secret_arn"] == ""


def test_a_secret_of_that_name_that_is_not_ours_is_left_alone(project):
    boto3.client("secretsmanager").create_secret(Name="sluice/dev/database", SecretString="theirs")
    result = run("secret", "database", "--stage", "dev", value=URL)
    assert result.exit_code == 1 and "was not made by Sluice" in result.output
    assert stored("sluice/dev/database") == "theirs"


def test_tokens_are_kept_side_by_side(project):
    for name, value in (("github", "one"), ("crm", "two"), ("github", "three")):
        assert run("secret", "token", name, "--stage", "dev", value=value).exit_code == 0
    assert json.loads(stored("sluice/dev/tokens")) == {"github": "three", "crm": "two"}


def test_an_empty_token_is_refused(project):
    assert run("secret", "token", "github", "--stage", "dev", value=" \n").exit_code == 1


def test_deploying_takes_the_tokens_secret_over_with_what_is_in_it(project):
    run("secret", "token", "github", "--stage", "dev", value="one")
    run("secret", "database", "--stage", "dev", value=URL)
    project.deploy()
    assert json.loads(stored("sluice/dev/tokens")) == {"github": "one"}
    assert not project.deploy().changes


def test_env_prints_what_a_deployed_stage_is_and_takes_out_what_is_the_local_stacks(project):
    run("secret", "database", "--stage", "dev", value=URL)
    project.deploy()
    result = run("env", "--stage", "dev")
    first, *exports = result.output.splitlines()
    variables = dict(shlex.split(line)[1].split("=", 1) for line in exports)
    assert variables["SLUICE_STAGE"] == "dev"
    assert variables["SLUICE_BUCKET"] == project.aws.bucket
    assert variables["SLUICE_STATE_MACHINE_ARN"].endswith(":stateMachine:sluice-dev")
    assert "SLUICE_DATABASE_URL" in first.split() and first.startswith("unset ")
    loaded = settings.load(variables)
    loaded.require("state_machine_arn", "bucket", "database_url")


def test_env_of_a_stage_that_is_not_deployed_says_so(project):
    result = run("env", "--stage", "dev")
    assert result.exit_code == 1 and "sluice deploy --stage dev" in result.output
