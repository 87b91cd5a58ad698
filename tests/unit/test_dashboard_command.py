"""`sluice dashboard` becomes Streamlit with the address and the token of the pipeline that is meant, or says what is
missing."""

import os

import pytest
from click.testing import CliRunner

from cli import dashboard, main

URL = "https://abc.execute-api.eu-west-1.amazonaws.com/api"


@pytest.fixture
def started(monkeypatch, tmp_path):
    """started(*arguments, **variables) → (result, what the process became: arguments and environment, or None)."""
    here = os.getcwd()
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLUICE_API_TOKEN", "")  # so that what is taken on is undone
    became = []
    monkeypatch.setattr(dashboard.os, "execv", lambda path, arguments: became.append((arguments, dict(os.environ))))

    def start(*arguments, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        result = CliRunner().invoke(main.main, ["dashboard", *arguments])
        return result, became[0] if became else None

    yield start
    os.chdir(here)


def test_without_a_stack_it_says_how_to_start_one(started):
    result, became = started()
    assert result.exit_code == 1 and became is None
    assert "the local stack is not running" in result.output and "sluice up" in result.output


def test_a_stage_that_the_shell_names_is_asked_with_its_token(started):
    variables = {"SLUICE_STAGE": "dev", "SLUICE_API_URL": URL, "SLUICE_API_TOKEN": "sluice_secret"}
    result, (arguments, environment) = started("--no-open", "--port", "9000", **variables)
    assert result.exit_code == 0
    assert arguments[1:5] == ["-m", "streamlit", "run", "dashboard/app.py"]
    assert {"--server.port=9000", "--server.headless=true"} <= set(arguments)
    assert environment["SLUICE_API_URL"] == URL and environment["SLUICE_API_TOKEN"] == "sluice_secret"
    # whoever lists processes sees arguments
    assert not any("sluice_secret" in argument for argument in arguments)


def test_a_stage_without_a_token_says_how_to_make_one(started):
    result, became = started(SLUICE_STAGE="dev", SLUICE_API_URL=URL)
    assert result.exit_code == 1 and became is None
    assert "SLUICE_API_TOKEN is not set" in result.output and "sluice token create" in result.output


def test_a_stage_without_an_api_says_so(started, monkeypatch):
    monkeypatch.setattr(dashboard, "variables_of_stage", lambda stage: {"SLUICE_STAGE": stage})
    result, became = started("--stage", "dev", SLUICE_API_TOKEN="sluice_secret")
    assert result.exit_code == 1 and became is None
    assert "stage dev has no API" in result.output and "sluice deploy --stage dev" in result.output


def test_a_stage_of_the_configuration_is_asked_at_its_address(started, monkeypatch):
    monkeypatch.setenv("SLUICE_API_URL", "")
    monkeypatch.setenv("SLUICE_STAGE", "local")
    monkeypatch.setattr(dashboard, "variables_of_stage", lambda stage: {"SLUICE_API_URL": URL})
    _, (arguments, environment) = started("--stage", "dev", SLUICE_API_TOKEN="sluice_secret")
    assert environment["SLUICE_API_URL"] == URL and environment["SLUICE_STAGE"] == "dev"
    assert "--server.headless=false" in arguments
