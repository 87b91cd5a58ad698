"""`sluice dashboard`: the pages in the browser."""

from __future__ import annotations

import datetime as dt
import importlib.util
import os
import sys
import uuid
from pathlib import Path

import click

from chalicelib import settings
from chalicelib.api import table, tokens
from chalicelib.errors import ConfigurationError
from chalicelib.settings import LOCAL
from chalicelib.warehouse import connection, migrations
from cli.session import connect, take_on
from cli.stack import variables_of_stage
from local.home import REPOSITORY, Home

SCOPES = (table.READ, table.RUN)
_VALID = dt.timedelta(days=7)
_LEFT = dt.timedelta(days=1)  # a dashboard that is started now should last as long
_NEXT = f"sluice token create NAME {' '.join(f'--scope {scope}' for scope in SCOPES)}; then SLUICE_API_TOKEN=… in front"


@click.command()
@click.option("--stage", help="A deployed stage of .chalice/config.json, instead of the local stack.")
@click.option("--port", default=8501, show_default=True, type=click.IntRange(1024, 65535))
@click.option("--open/--no-open", "opens", default=True, help="Whether to open the browser.")
def dashboard(stage, port, opens) -> None:
    """Show runs, quality, quarantine, data and search in the browser, until Ctrl-C."""
    if importlib.util.find_spec("streamlit") is None:
        raise ConfigurationError(
            "Streamlit is not installed", next_step="pip install -r requirements-dashboard.txt, or `make dashboard`"
        )
    take_on(_access(stage))
    os.chdir(REPOSITORY)  # where .streamlit/config.toml is
    options = {
        "server.port": port,
        "server.headless": str(not opens).lower(),
        "server.showEmailPrompt": "false",
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    # in the place of this process: what ends it, ends the dashboard
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", "dashboard/app.py", *arguments])


def _access(stage: str | None) -> dict[str, str]:
    """The settings with which the dashboard reaches the API."""
    current = settings.load()
    if stage is None and not current.is_local:  # the shell has a stage's, by `sluice env --stage`
        current.require("api_url")
        return {"SLUICE_API_TOKEN": _required(current.api_token, current.stage)}
    if stage in (None, LOCAL):
        return {"SLUICE_API_TOKEN": _own()}
    variables = {"SLUICE_API_TOKEN": _required(current.api_token, stage), "SLUICE_STAGE": stage}
    url = variables_of_stage(stage).get("SLUICE_API_URL")
    if not url:
        raise ConfigurationError(f"stage {stage} has no API", next_step=f"sluice deploy --stage {stage}")
    return {**variables, "SLUICE_API_URL": url}


def _required(token: str, stage: str) -> str:
    if not token:
        raise ConfigurationError(f"SLUICE_API_TOKEN is not set, for the API of {stage}", next_step=_NEXT)
    return token


def _own() -> str:
    """A token of the local stack, whose environment this process has taken on then.

    One for all starts, as long as it is good for another day: none is left behind for each, and a dashboard that is
    killed need not clean up. The folder that it is kept in holds the stack's database already.
    """
    session = connect()
    migrations.apply(session.database_url)
    kept = Home(session.folder).dashboard_token
    with connection.transaction(session.database_url) as opened:
        token = kept.read_text().strip() if kept.exists() else ""
        if _lasts(opened, token):
            return token
        made = tokens.create(opened, f"dashboard-{uuid.uuid4().hex[:12]}", SCOPES, _VALID)
    _keep(kept, made)
    return made


def _lasts(opened, token: str) -> bool:
    known = tokens.caller(opened, token)
    if known is None or not set(SCOPES) <= set(known.scopes):
        return False
    [ends] = [row["expires_at"] for row in tokens.existing(opened) if row["name"] == known.name]
    return ends is None or ends > dt.datetime.now(dt.UTC) + _LEFT


def _keep(path: Path, token: str) -> None:
    """For this account alone, and never half of it."""
    written = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(token)
    written.replace(path)
