"""Which pipeline the command line talks to: the local stack, or the stage that the environment names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3

from chalicelib import secrets
from chalicelib import settings as settings_module
from chalicelib.errors import ConfigurationError
from chalicelib.settings import LOCAL, Settings
from local.home import home
from local.stack import Stack


@dataclass(frozen=True)
class Session:
    settings: Settings
    folder: Path  # where graphs and reports of runs are put

    @property
    def database_url(self) -> str:
        return secrets.database_url(self.settings)

    @property
    def prefix(self) -> str:
        """What the names of the stage's resources begin with, such as `sluice-local`."""
        return self.settings.state_machine_arn.rsplit(":", 1)[1]

    def client(self, service: str):
        return boto3.client(service)

    def run_folder(self, run_id: str) -> Path:
        path = self.folder / "runs" / run_id
        path.mkdir(parents=True, exist_ok=True)
        return path


def connect() -> Session:
    """The running pipeline; raises ConfigurationError saying how to start one.

    `SLUICE_STAGE` other than "local" means a deployed stage, described by the `SLUICE_…` variables;
    otherwise it is the local stack, whose environment this process then takes on.
    """
    if os.environ.get("SLUICE_STAGE", LOCAL) == LOCAL:
        stack = Stack(home())
        if stack.info() is None:
            raise ConfigurationError("the local stack is not running", next_step="sluice up")
        take_on(stack.env())
    settings_module.current.cache_clear()
    settings = settings_module.current()
    settings.require("state_machine_arn", "bucket", "database_url")
    return Session(settings, home())


def take_on(variables: Mapping[str, str]) -> None:
    """Make them the environment of this process and of those that it becomes or starts."""
    os.environ.update(variables)
