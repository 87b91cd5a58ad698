"""EventBridge Scheduler: moto keeps schedules, and here those of the stage `local` fire.

A schedule fires when its time comes while the stack is up: what was due while it was down, or while the
laptop slept, is not made up for. On AWS nothing is down; there a schedule's retries are for targets that
do not answer, and so they are here. A target is called through the emulated AWS, as anybody would call it:
a queue, a function or a state machine.

Time is the `Clock`'s, which `POST /_sluice/clock` moves. A moved clock jumps: what is due at the very
moment that it is moved to fires, what lies between does not. Where schedules do not tick (a stack of a
test), moving the clock still fires them: nothing else does.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError
from moto.scheduler.models import Schedule, scheduler_backends

from chalicelib.errors import ConfigurationError, NotFound
from local.declared import Declared
from local.functions import ACCOUNT, REGION
from local.provision import Resources, client
from local.timetable import Timetable

LOG = logging.getLogger("local.server")

# the longest sleep: schedules that were changed through the API are looked at again
LOOK_SECONDS = 15
# AWS fires within the minute; what is later was slept through
LATE = dt.timedelta(seconds=60)
_LONGEST_PAUSE = 60.0  # between two tries at a target

_KIND, _GROUP = "AWS::Scheduler::Schedule", "AWS::Scheduler::ScheduleGroup"
_NOT_OF_THE_API = {"Tags"}


def provision(resources: Resources, declared: Declared) -> str:
    """Create the template's schedules and their group; the group's name."""
    scheduler = client("scheduler", resources.endpoint)
    [group] = declared.of(_GROUP).values()
    scheduler.create_schedule_group(Name=group["Name"])
    for properties in declared.of(_KIND).values():
        scheduler.create_schedule(**{key: value for key, value in properties.items() if key not in _NOT_OF_THE_API})
    return group["Name"]


class Clock:
    """The time, in UTC; moved on demand."""

    def __init__(self, real: Callable[[], float] = time.time):
        self._real, self._ahead = real, 0.0

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._real() + self._ahead, dt.UTC)

    def move(self, to: dt.datetime | None) -> None:
        """From now on it is `to`, and goes on from there; None for the real time."""
        self._ahead = to.timestamp() - self._real() if to else 0.0

    @property
    def ahead(self) -> float:
        """By how many seconds it was moved."""
        return self._ahead


@dataclass(frozen=True)
class Firing:
    """A schedule that fired: `schedule` is its name, `scheduled` the time at which it was due."""

    schedule: str
    scheduled: dt.datetime


class Schedules:
    """Fires the enabled schedules of `group`."""

    def __init__(self, endpoint: str, group: str, clock: Clock | None = None, ticking: bool = True):
        self.clock, self.ticking = clock or Clock(), ticking
        self._endpoint, self._group = endpoint, group
        self._lock = threading.RLock()
        self._seen = self.clock.now()
        self._wake, self._closed = threading.Event(), threading.Event()
        if ticking:
            threading.Thread(target=self._tick, daemon=True, name="schedules").start()

    def close(self) -> None:
        self._closed.set()
        self._wake.set()

    def move(self, to: dt.datetime | None, only: Iterable[str] | None = None) -> list[Firing]:
        """Move the clock, fire what is due at that moment, of all schedules or of those named; what fired.

        Names are schedules' or sources'. Raises NotFound for a schedule that there is not.
        """
        with self._lock:
            wanted = None if only is None else {self.find(name).name for name in only}
            self.clock.move(to)
            if to is None:
                self._seen = self.clock.now()
                fired = []
            else:
                fired = self._fire_between(to - dt.timedelta(microseconds=1), to, wanted)
                self._seen = to
        self._wake.set()
        return fired

    def find(self, name: str) -> Schedule:
        """A schedule by its name or by its source's."""
        schedules = {schedule.name: schedule for schedule in self._all()}
        found = schedules.get(name) or schedules.get(f"{self._group}-{name}")
        if found is None:
            raise NotFound(f"no schedule is called {name!r}", next_step=f"use one of {', '.join(sorted(schedules))}")
        return found

    def upcoming(self) -> dict[str, dt.datetime | None]:
        """When each enabled schedule is due next, by name."""
        now = self.clock.now()
        return {schedule.name: table.after(now) for schedule, table in self._enabled()}

    # --- ticking ---------------------------------------------------------------------------

    def _tick(self) -> None:
        while not self._closed.is_set():
            self._wake.clear()
            with self._lock:
                now = self.clock.now()
                earliest = max(self._seen, now - LATE)
                if earliest > self._seen and (missed := self._due(self._seen, earliest, None)):
                    names = sorted({schedule.name for schedule, _ in missed})
                    LOG.warning("schedules that were slept through are not made up for: %s", ", ".join(names))
                self._fire_between(earliest, now, None)
                self._seen = now
            self._wake.wait(self._pause())

    def _pause(self) -> float:
        coming = [due for due in self.upcoming().values() if due]
        if not coming:
            return LOOK_SECONDS
        return min(LOOK_SECONDS, max(0.0, (min(coming) - self.clock.now()).total_seconds()) + 0.005)

    def _fire_between(self, earlier: dt.datetime, later: dt.datetime, wanted: set[str] | None) -> list[Firing]:
        fired = []
        for schedule, moment in self._due(earlier, later, wanted):
            LOG.info("schedule %s fires for %s", schedule.name, _text(moment))
            self._deliver(schedule, moment)
            fired.append(Firing(schedule.name, moment))
        return fired

    def _due(
        self, earlier: dt.datetime, later: dt.datetime, wanted: set[str] | None
    ) -> list[tuple[Schedule, dt.datetime]]:
        found = [
            (schedule, moment)
            for schedule, table in self._enabled()
            if wanted is None or schedule.name in wanted
            for moment in table.between(earlier, later)
        ]
        return sorted(found, key=lambda due: due[1])

    def _all(self) -> list[Schedule]:
        groups = scheduler_backends[ACCOUNT][REGION].schedule_groups
        return list(groups[self._group].schedules.values()) if self._group in groups else []

    def _enabled(self) -> Iterable[tuple[Schedule, Timetable]]:
        for schedule in self._all():
            if schedule.state == "ENABLED" and (table := _timetable(schedule)):
                yield schedule, table

    # --- delivering ------------------------------------------------------------------------

    def _deliver(self, schedule: Schedule, moment: dt.datetime) -> None:
        """Call the target; where it cannot be called, go on trying in the background, as the retry policy says."""
        execution = uuid.uuid4().hex
        error = self._try(schedule, moment, execution, 1)
        if error:
            threading.Thread(target=self._try_again, args=(schedule, moment, execution, error), daemon=True).start()

    def _try_again(self, schedule: Schedule, moment: dt.datetime, execution: str, error: Exception) -> None:
        policy, begun, retries = schedule.target.get("RetryPolicy", {}), time.monotonic(), 0
        while True:
            exhausted = None
            if retries >= int(policy.get("MaximumRetryAttempts", 185)):
                exhausted = "MaximumRetryAttempts"
            elif time.monotonic() - begun > float(policy.get("MaximumEventAgeInSeconds", 86400)):
                exhausted = "MaximumEventAgeInSeconds"
            if exhausted:
                self._bury(schedule, moment, execution, error, retries, exhausted)
                return
            if self._closed.wait(min(0.5 * 2**retries, _LONGEST_PAUSE)):
                return
            retries += 1
            error = self._try(schedule, moment, execution, retries + 1)
            if error is None:
                return

    def _try(self, schedule: Schedule, moment: dt.datetime, execution: str, attempt: int) -> Exception | None:
        target = schedule.target
        try:
            text = filled(target.get("Input") or "{}", schedule.arn, moment, execution, attempt)
            _call(self._endpoint, target, text, f"{schedule.name}-{moment:%Y%m%dT%H%M%SZ}")
        except (ClientError, BotoCoreError, ConfigurationError) as error:
            LOG.warning("schedule %s could not reach %s: %s", schedule.name, target["Arn"], error)
            return error
        return None

    def _bury(
        self, schedule: Schedule, moment: dt.datetime, execution: str, error: Exception, retries: int, exhausted: str
    ) -> None:
        """https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html#dlq-receive-message"""
        queue = schedule.target.get("DeadLetterConfig", {}).get("Arn")
        if not queue:
            LOG.error("schedule %s: the event of %s is lost", schedule.name, _text(moment))
            return
        about = {
            "ERROR_CODE": error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__,
            "ERROR_MESSAGE": str(error),
            "EXECUTION_ID": execution,
            "EXHAUSTED_RETRY_CONDITION": exhausted,
            "IS_PAYLOAD_TRUNCATED": "false",
            "RETRY_ATTEMPTS": str(retries),
            "SCHEDULED_TIME": _text(moment),
            "SCHEDULE_ARN": schedule.arn,
            "TARGET_ARN": schedule.target["Arn"],
        }
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in about.items()}
        body = filled(schedule.target.get("Input") or "{}", schedule.arn, moment, execution, retries + 1)
        sqs = _client("sqs", self._endpoint)
        try:
            sqs.send_message(QueueUrl=_url(sqs, queue), MessageBody=body, MessageAttributes=attributes)
        except ClientError as refused:
            LOG.error("schedule %s: the event of %s is lost: %s", schedule.name, _text(moment), refused)


def filled(text: str, arn: str, moment: dt.datetime, execution: str, attempt: int) -> str:
    """A target's input with the context attributes filled in.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """
    values = {
        "schedule-arn": arn,
        "scheduled-time": _text(moment),
        "execution-id": execution,
        "attempt-number": str(attempt),
    }
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


@functools.lru_cache(maxsize=64)
def _read(expression: str, timezone: str, start: float | None, end: float | None) -> Timetable | None:
    try:
        return Timetable(expression, timezone, _moment(start), _moment(end))
    except ConfigurationError as error:
        LOG.error("a schedule never fires: %s", error)
        return None


def _timetable(schedule: Schedule) -> Timetable | None:
    return _read(
        schedule.schedule_expression, schedule.schedule_expression_timezone, schedule.start_date, schedule.end_date
    )


def _moment(value: float | str | None) -> dt.datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        return dt.datetime.fromisoformat(value).astimezone(dt.UTC)
    return dt.datetime.fromtimestamp(value, dt.UTC)


def _text(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _call(endpoint: str, target: dict, text: str, name: str) -> None:
    service = target["Arn"].split(":")[2]
    if service == "sqs":
        sqs, more = _client("sqs", endpoint), target.get("SqsParameters", {})
        sqs.send_message(QueueUrl=_url(sqs, target["Arn"]), MessageBody=text, **more)
    elif service == "lambda":
        _client("lambda", endpoint).invoke(FunctionName=target["Arn"], InvocationType="Event", Payload=text.encode())
    elif service == "states":
        machine = _client("stepfunctions", endpoint)
        machine.start_execution(stateMachineArn=target["Arn"], name=name, input=json.dumps(json.loads(text)))
    else:
        raise ConfigurationError(f"a schedule's target is {target['Arn']}; the local stack calls queues and functions")


def _url(sqs, arn: str) -> str:
    return sqs.get_queue_url(QueueName=arn.rsplit(":", 1)[1])["QueueUrl"]


@functools.cache
def _client(service: str, endpoint: str):
    return client(service, endpoint)
