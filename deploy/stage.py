"""A stage of `.chalice/config.json`: what Chalice takes from it, and our own section `deployment`.

Precedence, the first that has a value wins: the function's entry in the stage, the stage, the
function's entry at the top level, the top level, the default. For `deployment`: the stage, the top
level, the default below. Chalice ignores the section; here an unknown key in it is an error. What
the Lambdas themselves read are `environment_variables` (see `chalicelib.settings`).
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path

from chalice.config import Config
from chalice.constants import DEFAULT_APIGATEWAY_STAGE_NAME

from chalicelib.errors import ConfigurationError
from chalicelib.settings import LOCAL, SECRET
from deploy import chalice_settings
from statemachine import render

CONFIG = Path(".chalice", "config.json")
SECTION = "deployment"

# what every name begins with, `sluice-staging-record_chunk_failure` being one of at most 64 characters
_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")


def read_config(path: Path) -> dict:
    """The document of `.chalice/config.json`; raises ConfigurationError where it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}", next_step="correct it there") from None


def write_config(path: Path, document: dict) -> None:
    """At once, so that nobody reads half of it."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


@dataclass(frozen=True)
class Deployment:
    """The section `deployment`."""

    alert_emails: tuple[str, ...] = ()  # who gets the alerts
    database_secret_arn: str = ""  # the secret that holds the database's URL
    database_host: str = ""  # instead of the host in the secret, for RDS Proxy
    bucket: str = ""  # default: <app>-<stage>-<account>-<region>
    runs_days: int = 90  # how long `runs/` is kept
    raw_days: int = 0  # how long `raw/` is kept; 0: for good
    schedules: bool = True  # whether the sources' schedules start runs
    simulate_sensors: bool = False  # whether made-up readings of sensors arrive every five minutes
    changes: bool = False  # whether there is a stream for the changes of databases
    access_log: bool = False  # whether API Gateway logs each request; the account has to have a role for that
    api_domain: str = ""  # a domain name of one's own for the API
    api_certificate_arn: str = ""  # its certificate, in ACM of the region
    api_rate: int = 50  # requests a second of all callers of the API together
    api_burst: int = 100  # requests at once, beyond that
    api_quota: int = 0  # requests a day for each API key; 0: no keys
    read_buckets: tuple[str, ...] = ()  # buckets besides our own that the source `files` may read


@dataclass(frozen=True)
class Stage:
    """A stage on AWS; `folder` is the project's root."""

    folder: Path
    name: str
    config: Config
    deployment: Deployment

    @property
    def app(self) -> str:
        return self.config.app_name

    @property
    def prefix(self) -> str:
        """What the names of all its resources begin with, e.g. `sluice-dev`."""
        return f"{self.app}-{self.name}"

    @property
    def path(self) -> Path:
        """The file that describes it."""
        return self.folder / CONFIG

    @property
    def api_stage(self) -> str:
        """The name of the stage that Chalice gives the API."""
        return self.config.api_gateway_stage or DEFAULT_APIGATEWAY_STAGE_NAME

    def function(self, name: str) -> Config:
        """The configuration of one function."""
        return self.config.scope(self.name, name)

    def function_name(self, name: str) -> str:
        """A function's name on AWS, as Chalice makes it."""
        return render.full_name(self.prefix, name)


def read(folder: Path, name: str) -> Stage:
    """The stage `name` of the project in `folder`; ConfigurationError where there is none or it is faulty."""
    path = folder / CONFIG
    try:
        document = read_config(path)
    except FileNotFoundError:
        raise ConfigurationError(f"{path} does not exist", next_step="run this from the project's root") from None
    stages = [stage for stage in document.get("stages", {}) if stage != LOCAL]
    if name not in stages:
        raise ConfigurationError(
            f"{path} has no stage {name!r}",
            next_step=f"take one of {', '.join(stages)}, or add it under `stages`",
        )
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no name for a stage", next_step="use at most 16 small letters and digits, a letter first"
        )
    _refuse_secrets(path, document, document["stages"][name])
    chalice_settings.check(path, document, name, render.lambda_functions(), SECTION)
    section = {**_section(path, "", document), **_section(path, name, document["stages"][name])}
    return Stage(folder, name, Config(name, config_from_disk=document), _deployment(path, name, section))


def _refuse_secrets(path: Path, *holders: dict) -> None:
    for holder in holders:
        functions = holder.get("lambda_functions", {}).values()
        variables = {variable for part in (holder, *functions) for variable in part.get("environment_variables", {})}
        if found := sorted(variables & SECRET):
            raise ConfigurationError(
                f"{path} has {', '.join(found)} among the environment variables, where secrets must not be",
                next_step="take it out, change the password or token, and keep it with `sluice secret`",
            )


def _section(path: Path, stage: str, holder: dict) -> dict:
    section = holder.get(SECTION, {})
    where = f"stages.{stage}.{SECTION}" if stage else SECTION
    if not isinstance(section, dict):
        raise ConfigurationError(f"{where} of {path} is no object")
    known = [field.name for field in dataclasses.fields(Deployment)]
    if unknown := sorted(set(section) - set(known)):
        raise ConfigurationError(
            f"{where} of {path} has unknown settings: {', '.join(unknown)}",
            next_step="known ones are " + ", ".join(known),
        )
    return section


def _deployment(path: Path, stage: str, section: dict) -> Deployment:
    values = {}
    for field in dataclasses.fields(Deployment):
        if field.name not in section:
            continue
        value, kind = section[field.name], type(field.default)
        if kind is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
            values[field.name] = tuple(value)
        elif type(value) is kind and kind is not tuple and not (kind is int and value < 0):
            values[field.name] = value
        else:
            wanted = {
                tuple: "a list of strings",
                str: "a string",
                int: "a whole number, 0 or more",
                bool: "true or false",
            }
            raise ConfigurationError(
                f"{SECTION}.{field.name} of stage {stage} in {path} is {value!r}, expected {wanted[kind]}"
            )
    return Deployment(**values)
