"""Starting the execution of a trigger, once, however often the trigger is delivered."""

from __future__ import annotations

import datetime as dt
import functools
import json
from dataclasses import dataclass

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from psycopg2.errors import UndefinedTable

from chalicelib import boto_clients, boto_errors, executions, redaction, sources, windows
from chalicelib import settings as settings_module
from chalicelib.errors import ConfigurationError, NotFound, TransientError, TriggerConflict
from chalicelib.run_input import RunInput
from chalicelib.triggers.attempts import ATTEMPTS
from chalicelib.triggers.trigger import Trigger
from chalicelib.warehouse import connection, ledger

# the error of the Fail state that a verdict leads to: the data were judged, another run of them says the same
REJECTED = "QualityFailed"
REDRIVE = "redrive"  # of a run's input: the failed run that it goes on from

# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html#API_StartExecution_Errors
_TRANSIENT_CODES = frozenset({"ExecutionLimitExceeded", "StateMachineDeleting", "ThrottlingException"})
_TAKEN, _FREE, _FAILED = "taken", "free", "failed"
_RACES = 5  # lost against another delivery of the same trigger, before it is left to the next one


@dataclass(frozen=True)
class Started:
    """The run of a trigger. `new` is false where an earlier delivery started it, which then stands for it."""

    run_id: str
    execution: str
    new: bool


@functools.cache
def _client():
    return boto3.client("stepfunctions", config=boto_clients.QUICK)


def start(trigger: Trigger, attempt: int | None = None) -> Started:
    """Start the run that `trigger` asks for, unless it was started before.

    Nothing is started where the trigger's run is under way, succeeded, or was rejected by its quality gate.
    Where it failed for another reason, the trigger is tried again under the next name. Whoever counts the
    attempts himself, as a backfill does, names the `attempt`: it is the only one that is looked at, and one
    that failed stands; one that Step Functions forgot in the middle is begun again. Raises what `check` does,
    TriggerConflict where the name stands for a run of another input, and TransientError or WarehouseUnavailable
    for what may pass.
    """
    settings_module.current().require("state_machine_arn", "database_url")
    wanted = trigger.run_input()
    check(wanted)
    number, races = attempt or 1, 0
    while number <= ATTEMPTS:
        found, run = _standing(trigger.attempt(number), wanted, counted=attempt is not None)
        if found == _TAKEN or (found == _FAILED and attempt is not None):
            return run
        if found == _FAILED:
            number += 1
        elif begin(run.run_id, wanted):
            return run
        elif (races := races + 1) > _RACES:  # DescribeExecution lags behind StartExecution on AWS
            raise TransientError(f"Step Functions knows the name {run.run_id}, and does not tell of it yet")
    raise _exhausted(trigger)


def expected(trigger: Trigger, since: dt.datetime | None = None) -> Started:
    """What `start` would return for `trigger` now, and nothing is started; raises as it does.

    Who put the trigger on its way already says `since` when: a run that began after that is the trigger's own, and
    new.
    """
    settings_module.current().require("state_machine_arn", "database_url")
    wanted = trigger.run_input()
    check(wanted)
    for number in range(1, ATTEMPTS + 1):
        found, run = _standing(trigger.attempt(number), wanted, since=since)
        if found != _FAILED:
            return run
    raise _exhausted(trigger)


def stands(trigger: Trigger) -> bool:
    """Whether a run of `trigger` is under way, succeeded or was rejected; False where each one failed, or none began.

    What it asked for is not looked at, nor whether its source is still there. Raises as `start` does for what may pass.
    """
    settings_module.current().require("state_machine_arn", "database_url")
    for number in range(1, ATTEMPTS + 1):
        found, _ = _standing(trigger.attempt(number), None)
        if found != _FAILED:
            return found == _TAKEN
    return False


def check(wanted: dict) -> None:
    """Raise UnknownSource or ContractError for the input of a run that could only fail, whatever its data are."""
    given = RunInput.from_json(wanted)
    source = sources.get(given.source)
    windows.asked_for(source, given, dt.datetime.now(dt.UTC).date())
    if not source.is_declared_by_run:
        source.embeds(given.embed)


def begin(run_id: str, wanted: dict) -> bool:
    """Start the execution `run_id` with the input `wanted`; False where the name is taken.

    The one place where executions are started. Raises TransientError or ConfigurationError.
    """
    machine = settings_module.current().state_machine_arn
    try:
        _client().start_execution(stateMachineArn=machine, name=run_id, input=json.dumps(wanted))
    except ClientError as error:
        if boto_errors.code(error) == "ExecutionAlreadyExists":
            return False
        raise _ours(error, machine) from error
    except BotoCoreError as error:
        raise _ours(error, machine) from error
    return True


def _standing(
    run_id: str, wanted: dict | None, counted: bool = False, since: dt.datetime | None = None
) -> tuple[str, Started]:
    """Whether a name is free, taken by a run that stands, or by one that failed; and the run that has it, or would.

    Raises TriggerConflict where that is a run of another input than `wanted`, if that is given.
    """
    arn = executions.arn(settings_module.current().state_machine_arn, run_id)
    free, taken = Started(run_id, arn, new=True), Started(run_id, arn, new=False)
    try:
        found = _client().describe_execution(executionArn=arn)
    except ClientError as error:
        if boto_errors.code(error) == "ExecutionDoesNotExist":
            standing = _remembered(run_id, wanted, counted)
            return standing, free if standing == _FREE else taken
        raise _ours(error, arn) from error
    except BotoCoreError as error:
        raise _ours(error, arn) from error
    _expect_same(run_id, json.loads(found["input"]), wanted)
    if since and found["startDate"] >= since:
        return _FREE, free
    failed = found["status"] in ("FAILED", "TIMED_OUT", "ABORTED") and found.get("error") != REJECTED
    return _FAILED if failed else _TAKEN, taken


def _remembered(run_id: str, wanted: dict | None, counted: bool) -> str:
    """The same by the ledger: Step Functions forgets 90 days after an end, the local one when the stack goes down."""
    try:
        with connection.transaction() as open_connection:
            run = ledger.get_run(open_connection, run_id)
    except (NotFound, UndefinedTable):  # the latter before the first run of a stage: Plan makes the tables
        return _FREE
    _expect_same(run_id, run["input"], wanted and redaction.strings(wanted))  # as the ledger has it
    # lost in the middle: it is begun again under its name, by who waits for its end also after its rows were published
    if run["status"] == "running" or (counted and run["finished_at"] is None):
        return _FREE
    return _FAILED if run["status"] == "failed" else _TAKEN


def without_redrive(given: dict) -> dict:
    """The input of a run less the run that it redrives: what all attempts at the same thing have in common."""
    return {name: value for name, value in given.items() if name != REDRIVE}


def _exhausted(trigger: Trigger) -> TriggerConflict:
    last, command = trigger.attempt(ATTEMPTS), RunInput.from_json(trigger.run_input()).command()
    return TriggerConflict(
        f"{trigger.text} failed {ATTEMPTS} times",
        source=trigger.source,
        next_step=f"mend what `sluice runs show {last}` says, then `{command}`",
    )


def _expect_same(run_id: str, found: dict, wanted: dict | None) -> None:
    if wanted is not None and without_redrive(found) != wanted:
        raise TriggerConflict(
            f"{run_id} is a run of {json.dumps(redaction.strings(found))}, not of "
            f"{json.dumps(redaction.strings(wanted))}",
            next_step="give what is to be run an id of its own",
        )


def _ours(error: ClientError | BotoCoreError, what: str) -> Exception:
    if boto_errors.may_pass(error, _TRANSIENT_CODES):
        return TransientError(f"Step Functions could not serve {what}: {error}")
    return ConfigurationError(
        f"Step Functions refused {what}: {error}",
        next_step="check SLUICE_STATE_MACHINE_ARN, and that the function's role may start and describe its executions",
    )
