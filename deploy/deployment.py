"""`sluice deploy`: preflight, artefacts, plan, apply, smoke run, in this order."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chalicelib import secrets
from deploy import account, apply, artefacts, functions, plan, preflight, project, record, smoke, template
from deploy import stage as stages
from deploy.artefacts import Artefacts
from deploy.kinds import KINDS, Aws
from deploy.kinds.lambdas import LayerVersion
from deploy.plan import Plan, Resources
from deploy.preflight import Findings
from deploy.record import Record
from deploy.stage import Stage


@dataclass
class Deployment:
    """Everything that is known before anything is changed."""

    stage: Stage
    aws: Aws
    built: Artefacts
    resources: Resources
    record: Record
    plan: Plan
    notices: list[str]

    def apply(self, progress: Callable[[str], None], prepare: bool = False) -> None:
        """Carry out the plan; to `prepare`, only what must be there before `chalice deploy`."""

        def deploy_functions() -> dict:
            known = self.record.chalice
            return functions.deploy(self.stage, self.built, known, lambda line: progress(f"  {line}"))

        def delete_superfluous_layers(written: dict) -> None:
            for arn in functions.superfluous_layers(self.aws, self.stage, written):
                KINDS[LayerVersion.type].delete(self.aws, arn)

        executor = apply.Executor(self.resources, self.record, deploy_functions, progress, delete_superfluous_layers)
        executor.run(self.plan, prepare)

    @property
    def api_url(self) -> str | None:
        """Where requests to the API are sent."""
        return functions.api_url(self.aws, self.record.chalice, self.stage) if self.record.chalice else None

    @property
    def api_domain(self) -> tuple[str, str] | None:
        """The API's own domain, and what a record of it has to lead to; None without one."""
        domain = self.stage.deployment.api_domain
        target = domain and self.resources.value({"Fn::GetAtt": ["ApiDomainName", "RegionalDomainName"]})
        return (domain, str(target)) if domain else None

    def smoke(self, progress: Callable[[str], None]) -> smoke.Smoke:
        url = None if self.stage.config.subnet_ids else self._database_url()
        machine = self.resources.kind("StateMachine").predicted(self.aws, self.resources.properties("StateMachine"))
        self._smoke_is_due(True)
        went = smoke.run(self.aws, machine, url, progress)
        self._smoke_is_due(False)
        return went

    def _smoke_is_due(self, due: bool) -> None:
        """Written down: the next deployment tries again what did not pass, whether or not it changes anything."""
        if self.record.smoke_is_due != due:
            self.record.smoke_is_due = due
            record.save(self.aws, self.record)

    def unconfirmed(self) -> list[str]:
        """Addresses that get no alerts yet."""
        return preflight.unconfirmed(self.aws, self._topic, self.stage.deployment.alert_emails)

    @property
    def _topic(self) -> str:
        return self.resources.value({"Ref": "AlertsTopic"})

    def _database_url(self) -> str:
        deployment = self.stage.deployment
        client = self.aws.client("secretsmanager")
        text = client.get_secret_value(SecretId=deployment.database_secret_arn)["SecretString"]
        return secrets.as_url(text, deployment.database_secret_arn, deployment.database_host)


@contextlib.contextmanager
def opened(
    folder: Path,
    stage_name: str,
    progress: Callable[[str], None],
    *,
    dry_run: bool = False,
    unconfirmed_alerts: bool = False,
) -> Iterator[Deployment]:
    """A deployment of the project in `folder`, planned; ConfigurationError with everything that stands in its way.

    A dry run builds in a folder of its own, so that the project stays as it is; only the cache of
    built layers is shared.
    """
    stage = stages.read(folder, stage_name)
    findings = Findings()
    preflight.settings(stage, findings)
    preflight.inputs(findings)
    made = findings.note(lambda: template.template(stage, folder))
    if made is not None:
        preflight.parameters(stage, made, findings)
    aws = findings.note(lambda: account.connect(stage, made)) if made is not None else None
    known = findings.note(lambda: record.load(aws)) if aws is not None else None
    if aws is not None:
        preflight.online(stage, aws, findings, known or Record())
    with _workplace(folder, dry_run) as place:
        built = findings.note(lambda: artefacts.build(place, stage_name, progress=progress))
        if aws is None or built is None:
            findings.stop()
        aws = dataclasses.replace(aws, files=functions.layer_files(stage, built))
        resources = Resources(aws, functions.add(made, stage, built))
        planned = findings.note(lambda: plan.make(resources, known)) if known is not None else None
        if planned is not None:
            deployment = Deployment(stage, aws, built, resources, known, planned, findings.notices)
            # a first deployment that broke off goes on as a first one
            if known.is_complete and not unconfirmed_alerts:
                findings.problems += [
                    f"{address} has not confirmed its subscription to the alerts: click the link in the email of AWS, "
                    "take the address out of alert_emails, or give --unconfirmed-alerts"
                    for address in deployment.unconfirmed()
                ]
        findings.stop()
        yield deployment


@contextlib.contextmanager
def _workplace(folder: Path, dry_run: bool) -> Iterator[Path]:
    if not dry_run:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="sluice-dry-run-") as temporary:
        place = project.copy(folder, Path(temporary, "project"))
        cache = Path(folder, artefacts.FOLDER, "cache")
        if cache.is_dir():
            (place / artefacts.FOLDER).mkdir(exist_ok=True)
            (place / artefacts.FOLDER / "cache").symlink_to(cache.resolve())
        yield place
