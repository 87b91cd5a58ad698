"""What moto 5.2.5 gets wrong: each correction a function that says what and why (what it does slowly: `shortcuts`).

moto carries the States Language interpreter that LocalStack wrote. Statements about AWS are from
https://docs.aws.amazon.com/step-functions/latest/dg/. `apply` is called once, before moto serves.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import logging
import re
import threading
import time
import uuid

from botocore.exceptions import BotoCoreError, ClientError
from moto.core.config import default_user_config
from moto.core.exceptions import AWSError
from moto.stepfunctions import responses
from moto.stepfunctions.parser import api, models
from moto.stepfunctions.parser.api import (
    ExecutionAbortedEventDetails,
    ExecutionStatus,
    HistoryEventType,
    InvalidDefinition,
    MapRunFailedEventDetails,
)
from moto.stepfunctions.parser.asl.component import eval_component
from moto.stepfunctions.parser.asl.component.common.error_name import error_equals_decl
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader import item_reader_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration import iteration_worker
from moto.stepfunctions.parser.asl.component.state.exec.state_map.result_writer import result_writer_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel import branches_decl
from moto.stepfunctions.parser.asl.component.state.fail import state_fail
from moto.stepfunctions.parser.asl.eval.event import event_manager
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.parse import asl_parser
from moto.stepfunctions.parser.backend import execution

from statemachine import check

INTERPRETER = "moto.stepfunctions.parser"


@functools.cache
def apply() -> None:
    """Make every correction, once per process."""
    default_user_config["stepfunctions"] = {"execute_state_machine": True}  # off by default
    for correct in (
        unnamed_executions,
        simultaneous_starts,
        integer_tolerated_failure_percentage,
        faulty_definitions,
        nameless_errors,
        uncatchable_errors,
        states_errors_in_inner_machines,
        result_writer_input,
        failures_of_s3_in_a_map,
        stopping,
        description_of_what_timed_out,
        early_questions,
        chatter,
    ):
        correct()


def unnamed_executions() -> None:
    """An execution without a name is called "None", and the second one collides; AWS makes up a name."""
    backend = models.StepFunctionsParserBackend
    original = backend.start_execution

    @functools.wraps(original)
    def start_execution(self, state_machine_arn, name=None, execution_input=None, trace_header=None):
        return original(self, state_machine_arn, name or str(uuid.uuid4()), execution_input, trace_header)

    backend.start_execution = start_execution


def simultaneous_starts() -> None:
    """Two requests for one name at the same moment both find it free, and two executions of that name run."""
    backend, lock = models.StepFunctionsParserBackend, threading.Lock()
    original = backend.start_execution

    @functools.wraps(original)
    def start_execution(self, *args, **kwargs):
        with lock:
            return original(self, *args, **kwargs)

    backend.start_execution = start_execution


def integer_tolerated_failure_percentage() -> None:
    """`"ToleratedFailurePercentage": 100` is a syntax error, only 100.0 is not; AWS takes both."""
    integer = re.compile(r'("ToleratedFailurePercentage"\s*:\s*\d+)(?=\s*[,}])')
    original = asl_parser.AmazonStateLanguageParser.parse

    def parse(definition: str):
        return original(integer.sub(r"\1.0", definition))

    asl_parser.AmazonStateLanguageParser.parse = staticmethod(parse)


def faulty_definitions() -> None:
    """A dangling `Next`, an unreachable state and the like are accepted, and fail in the middle of a run."""
    original = models.StepFunctionsParserBackend._validate_definition

    def validate(definition: str) -> None:
        original(definition)
        if found := check.problems(json.loads(definition)):
            raise InvalidDefinition(message="Invalid State Machine Definition: " + "; ".join(found))

    models.StepFunctionsParserBackend._validate_definition = staticmethod(validate)


def nameless_errors() -> None:
    """The interpreter's own errors (InvalidDefinition, TaskTimedOut and others) reach clients without a code."""
    for kind in vars(api).values():
        if isinstance(kind, type) and issubclass(kind, AWSError) and kind is not AWSError:
            kind.TYPE = kind.__name__


def uncatchable_errors() -> None:
    """`States.ALL` also retries and catches what it does not on AWS (concepts-error-handling.html)."""
    uncatchable = {"States.Runtime", "States.DataLimitExceeded"}
    declaration = error_equals_decl.ErrorEqualsDecl
    original = declaration._eval_body

    def evaluate(self, env) -> None:
        raised = env.stack[-1]
        if raised.error_name in uncatchable and declaration._STATE_ALL_ERROR in self.error_names:
            env.stack[-1] = False
        else:
            original(self, env)

    declaration._eval_body = evaluate


def states_errors_in_inner_machines() -> None:
    """A `States.Timeout` inside a Map or Parallel surfaces as `States.Runtime`: moto forbids itself the name."""

    def name_of(error_name: str | None):
        try:
            return StatesErrorName(StatesErrorNameType.from_name(error_name))
        except ValueError:
            return CustomErrorName(error_name)

    iteration_worker.CustomErrorName = name_of
    branches_decl.CustomErrorName = name_of
    state_fail.CustomErrorName = name_of  # a Fail state may hand one on


def result_writer_input() -> None:
    """A ResultWriter's parameters are read from the Map's result; AWS reads them from the state's input."""

    def evaluate(self, env) -> None:
        env.stack.append(env.states.get_input())
        self.parargs.eval(env=env)
        parameters = env.stack.pop()
        env.stack[-1] = parameters
        self.resource_eval.eval_resource(env=env)

    result_writer_decl.ResultWriter._eval_body = evaluate


def failures_of_s3_in_a_map() -> None:
    """Where S3 fails an ItemReader or a ResultWriter the error is `States.Runtime`, which nothing catches or retries.

    On AWS each has a name of its own (concepts-error-handling.html).
    """

    def named(original, typ: StatesErrorNameType):
        @functools.wraps(original)
        def evaluate(self, env) -> None:
            height = len(env.stack)
            try:
                original(self, env)
            except (BotoCoreError, ClientError) as error:
                del env.stack[height:]  # a retry begins with what was there before
                details = MapRunFailedEventDetails(error=typ.to_name(), cause=str(error))
                raise FailureEventException(
                    FailureEvent(
                        env=env,
                        error_name=StatesErrorName(typ),
                        event_type=HistoryEventType.MapStateFailed,
                        event_details=EventDetails(mapRunFailedEventDetails=details),
                    )
                ) from error

        return evaluate

    for kind, typ in (
        (item_reader_decl.ItemReader, StatesErrorNameType.StatesItemReaderFailed),
        (result_writer_decl.ResultWriter, StatesErrorNameType.StatesResultWriterFailed),
    ):
        kind._eval_body = named(kind._eval_body, typ)


def stopping() -> None:
    """StopExecution waits for the task that runs, and loses error and cause.

    On AWS the execution is ABORTED at once, nothing more is written to its history, and the task
    that runs is left alone.
    """

    def stop_execution(self):
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        execution.stop(dt.datetime.now(dt.UTC), self._get_param("error"), self._get_param("cause"))
        return responses.ActionResult({"stopDate": execution.stop_date})

    def stop(self, stop_date, error, cause) -> None:
        with _stopping:
            if self.exec_status != ExecutionStatus.RUNNING:
                return
            self.exec_status, self.stop_date = ExecutionStatus.ABORTED, stop_date
            self.error, self.cause = error, cause
            env = _environment(self)
            env.set_stop(stop_date=stop_date, error=error, cause=cause)
            details = {name: value for name, value in (("error", error), ("cause", cause)) if value is not None}
            env.event_manager.add_event(
                context=event_manager.EventHistoryContext.of_program_start(),
                event_type=HistoryEventType.ExecutionAborted,
                event_details=EventDetails(executionAbortedEventDetails=ExecutionAbortedEventDetails(**details)),
            )
            env.event_manager.add_event = lambda *args, **kwargs: 0

    original = execution.BaseExecutionWorkerCommunication.terminated

    def terminated(self) -> None:
        with _stopping:
            if self.execution.exec_status == ExecutionStatus.RUNNING:
                original(self)

    responses.StepFunctionResponse.stop_execution = stop_execution
    execution.Execution.stop = stop
    execution.BaseExecutionWorkerCommunication.terminated = terminated


_stopping = threading.RLock()


def description_of_what_timed_out() -> None:
    """DescribeExecution and ListExecutions leave out `stopDate` when the status is TIMED_OUT."""
    original = responses.StepFunctionResponse.describe_execution

    def describe_execution(self):
        answer = original(self)
        found = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        if found.stop_date is not None:
            answer.result["stopDate"] = found.stop_date
        return answer

    responses.StepFunctionResponse.describe_execution = describe_execution


def early_questions() -> None:
    """ListMapRuns and DescribeMapRun fail with 500 while any execution has not quite started yet."""
    backend = models.StepFunctionsParserBackend

    def patiently(original):
        @functools.wraps(original)
        def ask(self, *args, **kwargs):
            for found in self._get_executions(ExecutionStatus.RUNNING):
                _environment(found)
            return original(self, *args, **kwargs)

        return ask

    backend.list_map_runs = patiently(backend.list_map_runs)
    backend.describe_map_run = patiently(backend.describe_map_run)
    # between its entry in the list and its start, an execution has no status at all
    execution.Execution.status = property(lambda self: (self.exec_status or ExecutionStatus.RUNNING).value)


def _environment(found):
    """The interpreter's environment of an execution, which its thread makes some milliseconds after the start."""
    deadline = time.monotonic() + 5
    while found.exec_worker.env is None and time.monotonic() < deadline:
        time.sleep(0.002)
    return found.exec_worker.env


def chatter() -> None:
    """The interpreter warns of fields it ignores and prints the whole program at each level of a failure.

    What went wrong is in the execution's history.
    """
    for name in ("asl.parse.preprocessor", "asl.component.state.exec.execute_state", "asl.component.program.program"):
        logging.getLogger(f"{INTERPRETER}.{name}").setLevel(logging.CRITICAL)
    eval_component.EvalComponent._log_failure_event_exception = lambda self, failure_event_exception: None
    eval_component.EvalComponent._log_exception = lambda self, exception: None
