"""What must be so before anything is changed: every problem at once, each with its setting, file and fix."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psycopg2
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import boto_errors, secrets, sources
from chalicelib.errors import ConfigurationError, SluiceError
from chalicelib.lake import keys
from chalicelib.warehouse import connection, migrations
from deploy import account, constraints, permissions
from deploy.intrinsics import Evaluator
from deploy.kinds import Aws, apis
from deploy.kinds.messages import PENDING, Subscription
from deploy.record import Record
from deploy.stage import CONFIG, SECTION, Stage

# Lambda's (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html) that our dependencies have wheels for
PYTHONS = ("3.11", "3.12", "3.13")

# one @, something on both sides, a dot in the domain: what SNS takes and a person may mean
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+")


@dataclass
class Findings:
    """Problems stop a deployment; notices are told."""

    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def note(self, check: Callable[[], object]) -> object:
        """`check()`, whose error becomes a problem."""
        try:
            with account.refusals_told():
                return check()
        except SluiceError as error:
            self.problems.append(str(error))
            return None

    def stop(self) -> None:
        """Raise ConfigurationError where there are problems."""
        if self.problems:
            listed = "\n  - ".join(dict.fromkeys(self.problems))
            raise ConfigurationError(f"nothing was changed, since\n  - {listed}")


def settings(stage: Stage, findings: Findings) -> None:
    """The stage's section of `.chalice/config.json`."""
    deployment = stage.deployment
    if (python := ".".join(platform.python_version_tuple()[:2])) not in PYTHONS:
        findings.problems.append(
            f"this is Python {python}, and functions get the Python that deploys them: set up again with one of "
            f"{', '.join(PYTHONS)} (make clean run PYTHON=python{PYTHONS[-1]})"
        )
    if not deployment.alert_emails:
        _missing(stage, findings, "alert_emails", 'the addresses that alerts go to, e.g. ["data-team@your.domain"]')
    for address in deployment.alert_emails:
        if not _EMAIL.fullmatch(address):
            findings.problems.append(
                f"{_where(stage, 'alert_emails')} has {address!r}, which is no email address: correct it"
            )
    if not deployment.database_secret_arn:
        _missing(
            stage,
            findings,
            "database_secret_arn",
            f"`sluice secret database --stage {stage.name}` keeps the database's URL and writes the ARN there",
        )
    elif not deployment.database_secret_arn.startswith("arn:"):
        findings.problems.append(f"{_where(stage, 'database_secret_arn')} is no ARN: take the secret's whole ARN")


def parameters(stage: Stage, made: dict, findings: Findings) -> None:
    """The settings that the template has its own rules for."""
    found = constraints.faults(made, Evaluator(made, {}, {}, lambda *_: None).value)
    findings.problems += [f"stage {stage.name} in {stage.folder / CONFIG}: {fault}" for fault in found]


def inputs(findings: Findings) -> None:
    """What the sources read by themselves must be where a Lambda can read it."""
    for name in sources.names():
        source = sources.get(name)
        given = getattr(source, "default_input", None)
        if given is None or "://" in given:
            continue
        told = f"the source {name} reads {given} by itself, a path on this computer, which no Lambda can see: "
        fix = f"give s3://BUCKET/{keys.INBOX}… as `default_input` in chalicelib/sources/{name}.py"
        if source.schedule:
            findings.problems.append(f"{told}its schedule would start runs that fail; {fix}, or take its schedule out")
        else:
            findings.notices.append(f"{told}{fix}, or run it with --input")


def online(stage: Stage, aws: Aws, findings: Findings, known: Record) -> None:
    """What AWS and the database say; `known` is what was made before."""
    if problems := findings.note(lambda: account.elsewhere(stage, aws)):
        findings.problems += problems
    elif stage.deployment.database_secret_arn.startswith("arn:"):
        url = findings.note(lambda: _database_url(stage, aws))
        if url is not None and stage.config.subnet_ids:
            findings.notices.append(
                f"stage {stage.name} reaches its database from subnets, which cannot be tried from here: "
                "the smoke run will"
            )
        elif url is not None:
            findings.note(lambda: database(url, stage))
    if stage.deployment.access_log and findings.note(lambda: apis.writes_logs(aws)) is False:
        findings.problems.append(
            f"{_where(stage, 'access_log')} is set, and API Gateway has no role to write logs with in {aws.region}: "
            "set it once for the account, as docs/deploying.md says, or take the setting out"
        )
    missing, notice = permissions.missing(aws, stage, [*known.resources.values(), *known.dropped])
    findings.notices += [notice] if notice else []
    findings.problems += [
        f"{aws.caller} may not {', '.join(actions)} on {resource}: let an administrator allow it"
        for resource, actions in missing.items()
    ]


def unconfirmed(aws: Aws, topic: str, addresses: Iterable[str]) -> list[str]:
    """Those of `addresses` that are subscribed and have not confirmed it yet."""
    kind = Subscription()
    asked = {address: kind.arn(aws, f"{topic} email {address}") for address in addresses}
    return [
        address for address, arn in asked.items() if arn is not None and arn.lower().startswith(PENDING.lower()[:7])
    ]


def database(url: str, stage: Stage) -> None:
    """Raise ConfigurationError where Postgres is out of reach, too old, or has no pgvector."""
    arn = stage.deployment.database_secret_arn
    where = f"the database of the secret {arn} ({_where(stage, 'database_secret_arn')})"
    try:
        opened = connection.connect(url)
    except SluiceError as error:
        raise ConfigurationError(
            f"{where} cannot be reached from here: {error.message}",
            next_step="start it, let this machine in, correct the secret with "
            f"`sluice secret database --stage {stage.name}`, or, where only the functions' subnets reach it, "
            "give `subnet_ids` and `security_group_ids` of the stage",
        ) from error
    try:
        with opened, opened.cursor() as cursor:
            if opened.server_version < migrations.OLDEST_SERVER:
                raise ConfigurationError(
                    f"{where} is Postgres {opened.server_version // 10000}", next_step="use PostgreSQL 17 or newer"
                )
            cursor.execute("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")
            if not cursor.fetchone()[0]:
                raise ConfigurationError(
                    f"{where} has no pgvector", next_step="install the extension, or take a database that brings it"
                )
    except psycopg2.Error as error:
        raise ConfigurationError(f"{where} does not answer: {str(error).strip()}") from error
    finally:
        opened.close()


def _database_url(stage: Stage, aws: Aws) -> str:
    arn = stage.deployment.database_secret_arn
    client = aws.client("secretsmanager")
    try:
        text = client.get_secret_value(SecretId=arn).get("SecretString")
    except (ClientError, BotoCoreError) as error:
        code = boto_errors.code(error) if isinstance(error, ClientError) else ""
        fix = (
            "ask for secretsmanager:GetSecretValue on it"
            if "AccessDenied" in code
            else f"`sluice secret database --stage {stage.name}` makes it"
        )
        raise ConfigurationError(
            f"{_where(stage, 'database_secret_arn')}: the secret {arn} cannot be read: {error}", next_step=fix
        ) from error
    if text is None:
        raise ConfigurationError(f"{_where(stage, 'database_secret_arn')}: the secret {arn} is binary, expected text")
    return secrets.as_url(text, arn, stage.deployment.database_host)


def _missing(stage: Stage, findings: Findings, name: str, fix: str) -> None:
    findings.problems.append(f"{_where(stage, name)} is not set: {fix}")


def _where(stage: Stage, name: str) -> str:
    return f"{SECTION}.{name} of stage {stage.name} in {stage.folder / CONFIG}"
