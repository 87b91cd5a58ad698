"""The Lambda functions' names, and their limits as `.chalice/config.json` sets them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from chalice.config import Config
from chalice.constants import DEFAULT_STAGE_NAME

from chalicelib.errors import ConfigurationError
from chalicelib.settings import LOCAL

ACCOUNT = "123456789012"  # moto's
REGION = "us-east-1"
# any will do, but all clients of the stack have to sign with some
ACCESS_KEY = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
APP = "sluice"
API_HANDLER = "api_handler"  # Chalice's name for the function behind all routes; on AWS it is called as the stage is

# https://aws.github.io/chalice/topics/configfile.html: the values used where none is given
DEFAULT_TIMEOUT = 60
DEFAULT_MEMORY_SIZE = 128


@dataclass(frozen=True)
class Function:
    """A Lambda function: its Chalice name, its limits in seconds and MB, its environment."""

    name: str
    timeout: float = DEFAULT_TIMEOUT
    memory_size: int = DEFAULT_MEMORY_SIZE
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """As Chalice names it on AWS."""
        return f"{APP}-{LOCAL}" if self.name == API_HANDLER else f"{APP}-{LOCAL}-{self.name}"

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.full_name}"


def read(folder: Path, name: str) -> Function:
    """The function `name` of the Chalice project in `folder`; Chalice's own look-up order and defaults.

    The stage is `local`, which takes the limits of all stages from the top level, where the project
    configures one; else Chalice's default stage, `dev`.
    """
    path = folder / ".chalice" / "config.json"
    try:
        from_disk = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    stage = LOCAL if LOCAL in from_disk.get("stages", {}) else DEFAULT_STAGE_NAME
    config = Config(chalice_stage=stage, function_name=name, config_from_disk=from_disk)
    return Function(
        name=name,
        timeout=config.lambda_timeout or DEFAULT_TIMEOUT,
        memory_size=config.lambda_memory_size or DEFAULT_MEMORY_SIZE,
        environment={key: str(value) for key, value in config.environment_variables.items()},
    )


def name_of(reference: str) -> str:
    """The Chalice name in an ARN (with or without a qualifier), a full name or a plain name."""
    part = reference.split(":")[6 if reference.startswith("arn:") else 0]
    return API_HANDLER if part == f"{APP}-{LOCAL}" else part.removeprefix(f"{APP}-{LOCAL}-")
