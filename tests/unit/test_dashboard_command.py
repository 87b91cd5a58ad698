"""`sluice dashboard` becomes Streamlit with the address and the token of the pipeline that is meant, or says what is
missing."""

import datetime as dt
import os
from types import SimpleNamespace

import psycopg2
import pytest
from click.testing import CliRunner

from chalicelib.api import tokens
from chalicelib.warehouse import connection
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


# --- the local stack's token ---------------------------------------------------------------------


@pytest.fixture
def stack(monkeypatch, database_url, tmp_path):
    """A stack with no more than its database; `stack.folder` is where it keeps things."""
    with psycopg2.connect(database_url) as opened, opened.cursor() as cursor:
        cursor.execute("DELETE FROM pipeline.api_tokens")
    session = SimpleNamespace(folder=tmp_path, database_url=database_url)
    monkeypatch.setattr(dashboard, "connect", lambda: session)
    return session


def known(stack, token=None):
    """Whose the token is; without one, the names of all that there are."""
    with connection.transaction(stack.database_url) as opened:
        return tokens.caller(opened, token) if token else [row["name"] for row in tokens.existing(opened)]


@pytest.fixture
def restarted(started, monkeypatch):
    """restarted() is the token with which one more start asks the API."""

    def start():
        became = []
        monkeypatch.setattr(dashboard.os, "execv", lambda path, arguments: became.append(dict(os.environ)))
        result, _ = started("--no-open", SLUICE_API_TOKEN="")
        assert result.exit_code == 0, result.output
        return became[0]["SLUICE_API_TOKEN"]

    return start


def test_starts_on_the_laptop_share_one_token_that_may_read_and_run(stack, restarted):
    first = restarted()
    assert known(stack, first).scopes == ("read", "run")
    # what became of the first start, an end or a kill, does not matter
    assert [restarted(), restarted()] == [first, first]
    assert len(known(stack)) == 1


def test_the_shared_token_is_for_this_account_alone(stack, restarted):
    token = restarted()
    [kept] = stack.folder.glob("dashboard-token*")
    assert kept.read_text() == token and kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("fate", ["revoked", "ends-within-a-day", "of-another-database"])
def test_a_token_that_does_not_last_is_replaced(stack, restarted, fate):
    first = restarted()
    with connection.transaction(stack.database_url) as opened, opened.cursor() as cursor:
        if fate == "revoked":
            tokens.revoke(opened, known(stack)[0])
        elif fate == "ends-within-a-day":
            soon = dt.datetime.now(dt.UTC) + dt.timedelta(hours=23)
            cursor.execute("UPDATE pipeline.api_tokens SET expires_at = %s", (soon,))
        else:
            cursor.execute("DELETE FROM pipeline.api_tokens")
    second = restarted()
    assert second != first and known(stack, second)
    assert restarted() == second
