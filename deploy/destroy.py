"""`sluice destroy`: what the deployments of a stage made, in reverse, and what of it stays."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import ConfigurationError, DeploymentError
from deploy import account, functions, record, roles, template
from deploy import stage as stages
from deploy.artefacts import ABOVE
from deploy.intrinsics import has_unknown
from deploy.kinds import KINDS, Aws
from deploy.kinds.lambdas import MANAGED, Configuration, Function
from deploy.kinds.logs import LogGroup
from deploy.kinds.machines import StateMachine
from deploy.kinds.mappings import EventSourceMapping
from deploy.kinds.schedules import Schedule
from deploy.kinds.storage import Bucket, BucketPolicy
from deploy.plan import DELETE, Resources, Step
from deploy.record import Made, Record
from deploy.stage import Stage
from statemachine import render

_FIRST = (EventSourceMapping.type, StateMachine.type, Schedule.type)  # so that no run starts any more
_DATA = (BucketPolicy.type, Bucket.type)  # last, and only where the bucket is named


@dataclass
class Destruction:
    """What would be deleted, and what stays."""

    stage: Stage
    aws: Aws
    record: Record
    steps: list[Step]
    kept: list[Made]

    def run(self, progress: Callable[[str], None]) -> None:
        """Delete; broken half way it can be run again."""
        functions_done = False
        for made in self.kept:
            self._guarded(made, lambda made=made: KINDS[made.type].retire(self.aws, made.id))
        for step in self.steps:
            if step.type == Function.type and not functions_done:
                functions_done = True
                progress("chalice delete")
                self._guarded(Made(step.type, step.physical_id), lambda: self._chalice(progress))
            progress(f"deleting {step.type} {step.physical_id}")
            self._guarded(
                Made(step.type, step.physical_id), lambda step=step: step.kind.delete(self.aws, step.physical_id)
            )
        if not functions_done:
            functions.deployed_path(self.stage.folder, self.stage.name).unlink(missing_ok=True)
        if any(made.type == Bucket.type for made in self.kept):
            kept = {name: made for name, made in self.record.resources.items() if made in self.kept}
            record.save(self.aws, Record(kept, etag=self.record.etag))

    def _guarded(self, made: Made, call: Callable[[], None]) -> None:
        try:
            call()
        except (ClientError, BotoCoreError, OSError) as error:
            raise DeploymentError(
                f"{made.type} {made.id} cannot be deleted: {error}",
                next_step=f"mend that; `sluice destroy --stage {self.stage.name}` goes on from there",
            ) from error

    def _chalice(self, progress: Callable[[str], None]) -> None:
        if self.record.chalice is None:
            return  # the functions that are there are deleted one by one
        with tempfile.TemporaryDirectory(prefix="sluice-destroy-") as temporary:
            folder = Path(temporary, "project")
            functions.delete(self.stage, folder, self.record.chalice, lambda line: progress(f"  {line}"))


def plan(folder: Path, stage_name: str, delete_data: str | None = None) -> Destruction:
    """What there is to destroy of the stage. `delete_data` must be the very name of its bucket.

    The secrets and the key stay all the same: a copy of the data may be encrypted with it.
    """
    stage = stages.read(folder, stage_name)
    made = template.template(stage, folder)
    aws = account.connect(stage, made)
    if problems := account.elsewhere(stage, aws):
        raise ConfigurationError("nothing was deleted, since\n  - " + "\n  - ".join(problems))
    if delete_data is not None and delete_data != aws.bucket:
        raise ConfigurationError(
            f"the bucket of stage {stage_name} is not called {delete_data!r}",
            next_step=f"to delete all its data give --delete-data {aws.bucket}",
        )
    known = record.load(aws)
    steps, kept = [], []
    for logical_id, resource in _all(stage, aws, made, known).items():
        kind = KINDS[resource.type]
        present = kind.read(aws, resource.id)
        if present is None:
            continue
        ours = resource in {*known.resources.values(), *known.dropped, *_logs(known).values()}
        if not ours and kind.owner(aws, resource.id, present) != stage.prefix:
            continue
        if kind.keeps_data and (delete_data is None or resource.type not in _DATA):
            kept.append(resource)
        else:
            steps.append(Step(DELETE, logical_id, resource.type, resource.id))
    return Destruction(stage, aws, known, sorted(steps, key=_rank), kept)


def _rank(step: Step) -> tuple:
    first = _FIRST.index(step.type) if step.type in _FIRST else len(_FIRST)
    last = _DATA.index(step.type) + 1 if step.type in _DATA else 0
    return first, last, -step.kind.phase, step.physical_id


def _all(stage: Stage, aws: Aws, made: dict, known: Record) -> dict[str, Made]:
    """By logical id: what the record has, and what the template would make, found by its name."""
    found = dict(known.resources)
    found |= {f"{made.type} {made.id}": made for made in known.dropped}
    resources = Resources(aws, _with_functions(made, stage))
    for logical_id in resources.order():
        kind = resources.kind(logical_id)
        if logical_id in found:
            resources.ids[logical_id] = found[logical_id].id
            continue
        identity = {
            name: value
            for name, value in resources.resources[logical_id].get("Properties", {}).items()
            if name in kind.identity()
        }
        identity = resources.value(identity)
        # what is named after something that was never made was not made either
        physical_id = None if has_unknown(identity) else kind.find(aws, identity)
        if physical_id is not None and kind.read(aws, physical_id) is not None:
            resources.ids[logical_id] = physical_id
            found[logical_id] = Made(kind.type, physical_id)
    for layer in (*ABOVE, MANAGED):
        for version in _layer_versions(aws, f"{stage.prefix}-{layer}"):
            if version not in {made.id for made in found.values()}:
                found[version] = Made("AWS::Lambda::LayerVersion", version)
    return found | _logs(known)


def _logs(known: Record) -> dict[str, Made]:
    """The functions' log groups: Chalice makes them and leaves them behind, never to expire."""
    resources = (known.chalice or {}).get("resources", ())
    groups = [about["log_group_name"] for about in resources if about["resource_type"] == "log_group"]
    return {f"log of {group}": Made(LogGroup.type, group) for group in groups}


def _with_functions(made: dict, stage: Stage) -> dict:
    names = render.lambda_functions()
    resources = {
        roles.logical_id(name): {"Type": Function.type, "Properties": {"FunctionName": stage.function_name(name)}}
        for name in names
    }
    path = {"Path": stages.CONFIG.as_posix()}
    resources[functions.CONFIGURATION] = {"Type": Configuration.type, "Properties": path}
    return {**made, "Resources": {**made["Resources"], **resources, **functions.api(stage)}}


def _layer_versions(aws: Aws, name: str) -> list[str]:
    pages = aws.client("lambda").get_paginator("list_layer_versions").paginate(LayerName=name)
    try:
        return [version["LayerVersionArn"] for page in pages for version in page["LayerVersions"]]
    except ClientError:
        return []
