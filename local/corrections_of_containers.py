"""`ecs:runTask.sync` of moto's interpreter: tasks that moto only pretends to run are processes here.

moto's own tasks end by themselves without having run anything, and the interpreter takes one that ended
badly for done. On AWS the state fails with `States.TaskFailed`, and the cause is the task's description
(https://docs.aws.amazon.com/step-functions/latest/dg/connect-ecs.html).
"""

from __future__ import annotations

import functools
import json
import time

from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_ecs import (
    StateTaskServiceEcs,
)
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

from local import roles
from local.containers import Containers
from local.faults import Faults
from local.iam import PolicyError

LOOK_SECONDS = 0.2


@functools.cache
def apply(containers: Containers, faults: Faults) -> None:
    """Let the interpreter's tasks be run by `containers`, once per process; `faults` says what strikes them."""

    def start(self, env, resource_runtime_part, normalised_parameters, state_credentials) -> None:
        role = state_credentials.role_arn if state_credentials else ""
        if roles.policies(role) is not None:
            raise PolicyError("containers of a deployed stage do not run here: there is no image of theirs")
        given = {name.lower(): value for name, value in normalised_parameters.items()}
        fault = faults.met("ecs", json.dumps(given["overrides"]))
        if fault and fault.action == "error":
            raise _refusal(self, env)
        task = containers.run(given["cluster"], given["taskdefinition"], given["overrides"], fault)
        env.stack.append({"Tasks": [task.described()], "Failures": []})

    def resolver(self, env, resource_runtime_part, normalised_parameters, state_credentials):
        task = containers.task(env.stack.pop()["Tasks"][0]["TaskArn"])

        def look() -> dict | None:
            if not task.done.is_set():
                return None
            if task.exit_code:
                raise _failure(self, env, json.dumps(task.described()))
            return task.described()

        look.stop = lambda: containers.stop(task.arn)
        return look

    def wait(self, env, sync_resolver, **other):
        # moto's own also waits for a task token, whose endpoint the first attempt leaves interrupted: a second
        # attempt would time out at once
        while env.is_running():
            if found := sync_resolver():
                return found
            time.sleep(LOOK_SECONDS)
        sync_resolver.stop()  # timed out, or the execution was stopped
        return None

    StateTaskServiceEcs._eval_service_task = start
    StateTaskServiceEcs._build_sync_resolver = resolver
    StateTaskServiceEcs._eval_sync = wait


def _failure(state, env, cause: str) -> FailureEventException:
    failed = StatesErrorNameType.StatesTaskFailed
    return _failed(state, env, StatesErrorName(typ=failed), failed.to_name(), cause)


def _refusal(state, env) -> FailureEventException:
    error = "ECS.ServerException"
    return _failed(state, env, CustomErrorName(error), error, "a fault")


def _failed(state, env, name: ErrorName, error: str, cause: str) -> FailureEventException:
    details = TaskFailedEventDetails(
        resourceType=state._get_sfn_resource_type(),
        resource=state._get_sfn_resource(),
        error=error,
        cause=cause,
    )
    return FailureEventException(
        FailureEvent(
            env=env,
            error_name=name,
            event_type=HistoryEventType.TaskFailed,
            event_details=EventDetails(taskFailedEventDetails=details),
        )
    )
