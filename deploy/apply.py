"""Carrying out a plan, step by step; what was made is written down after each step, so that a broken one can go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import boto_errors
from chalicelib.errors import DeploymentError, SluiceError
from deploy import record as record_module
from deploy.intrinsics import has_unknown
from deploy.kinds import KINDS
from deploy.kinds.apis import RestApi
from deploy.kinds.lambdas import Function
from deploy.kinds.storage import Bucket
from deploy.plan import CREATE, DELETE, REPLACE, UNCHANGED, UPDATE, Plan, Resources, Step
from deploy.record import Made, Record


class Executor:
    """`deploy_functions` runs `chalice deploy` and returns what Chalice wrote down; it is called once at most.

    `tidy_functions` gets that once it is in the record, and deletes what it makes superfluous.
    """

    def __init__(
        self,
        resources: Resources,
        record: Record,
        deploy_functions: Callable[[], dict],
        progress: Callable[[str], None],
        tidy_functions: Callable[[dict], None] = lambda written: None,
    ):
        self._resources, self._record = resources, record
        self._deploy_functions, self._progress = deploy_functions, progress
        self._tidy_functions = tidy_functions
        self._functions_deployed = False
        self._bucket_is_there = False

    def run(self, plan: Plan, prepare: bool = False) -> None:
        """Do all steps, or, to `prepare`, those before the functions.

        Raises DeploymentError naming the step that broke.
        """
        self._resources.ids.clear()
        # a REST API that is gone is Chalice's to make
        functions_change = any(
            step.type == Function.type or (step.type == RestApi.type and step.action == CREATE) for step in plan.changes
        )
        for step in plan.before_functions.steps if prepare else plan.steps:
            self._try(step, functions_change)
        if prepare:
            return
        # what a replacement took the place of, once nothing uses it any more
        for made in list(self._record.dropped):
            if made not in self._record.resources.values() and not KINDS[made.type].keeps_data:
                self._try(Step(DELETE, made.id, made.type, made.id), functions_change)
        if not self._record.is_complete:
            self._record.is_complete = True
            self._save()

    def _try(self, step: Step, functions_change: bool) -> None:
        try:
            self._do(step, functions_change)
        except SluiceError:
            raise
        except (ClientError, BotoCoreError, OSError) as error:
            denied = isinstance(error, ClientError) and "AccessDenied" in boto_errors.code(error)
            raise DeploymentError(
                f"{step.action} {step.type} {step.logical_id}: {error}",
                next_step="get that permission, then `sluice deploy` again goes on from there"
                if denied
                else "`sluice deploy` again goes on from there",
            ) from error

    def _do(self, step: Step, functions_change: bool) -> None:
        if step.action == DELETE:
            self._progress(f"deleting {step.type} {step.physical_id}")
            step.kind.delete(self._resources.aws, step.physical_id)
            made = Made(step.type, step.physical_id)
            self._record.resources = {n: m for n, m in self._record.resources.items() if m != made}
            self._record.dropped = [m for m in self._record.dropped if m != made]
            self._save()
            return
        if step.type == Function.type:
            if functions_change and not self._functions_deployed:
                self._progress("chalice deploy")
                self._record.chalice = self._deploy_functions()
                self._functions_deployed = True
                self._save()
                self._tidy_functions(self._record.chalice)
            physical_id = step.kind.predicted(self._resources.aws, self._resources.properties(step.logical_id))
        else:
            physical_id = self._make(step)
        self._resources.ids[step.logical_id] = physical_id
        made = Made(step.type, physical_id)
        self._bucket_is_there |= step.type == Bucket.type
        if self._record.resources.get(step.logical_id) != made or step.action != UNCHANGED:
            self._record.replace(step.logical_id, made)
            self._save()

    def _make(self, step: Step) -> str:
        aws, kind = self._resources.aws, step.kind
        if step.type == RestApi.type and step.action == UNCHANGED and self._functions_deployed:
            step = replace(step, action=UPDATE)  # Chalice has called it after the app again
        if step.action == UNCHANGED:
            return step.physical_id
        wanted = self._resources.properties(step.logical_id)
        if has_unknown(wanted):
            raise DeploymentError(f"{step.logical_id} needs something that was not made")
        self._progress(f"{_DOING[step.action]} {step.type} {step.logical_id}")
        if step.action == UPDATE:
            kind.update(aws, step.physical_id, kind.read(aws, step.physical_id) or {}, wanted)
            return step.physical_id
        if step.action == REPLACE and kind.predicted(aws, wanted) == step.physical_id:
            kind.delete(aws, step.physical_id)  # its name is needed
        return kind.create(aws, wanted)

    def _save(self) -> None:
        if self._bucket_is_there:
            record_module.save(self._resources.aws, self._record)


_DOING = {CREATE: "creating", UPDATE: "updating", REPLACE: "replacing"}
