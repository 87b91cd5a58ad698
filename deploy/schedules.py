"""One schedule per source that declares one, in the time zone that it declares, and that of the sweep."""

from __future__ import annotations

import json
import zoneinfo
from collections.abc import Mapping
from types import MappingProxyType

from chalicelib import sources
from chalicelib.errors import DeclarationError
from chalicelib.sources import Source
from statemachine import render

# what the scheduler writes in: by this time a run is known, also where it is delivered twice
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
DUE = "<aws.scheduler.scheduled-time>"

# a trigger that cannot be sent for so long goes to the undelivered: AWS or the role is in the way
_RETRIES = 10
_SECONDS = 3600

# what runs left that ended without a word waits an hour at most, and costs little until then
SWEEP = "cron(17 * * * ? *)"


def of_sources() -> dict[str, dict]:
    """The schedules of all registered sources, by logical id; raises DeclarationError for an unknown time zone."""
    found = (sources.get(name) for name in sources.names())
    return {_logical_id(source.name): _schedule(source) for source in found if source.schedule}


def of_the_sweep() -> dict[str, dict]:
    """The schedule of `chalicelib.housekeeping`, by logical id; the template refuses a source of that name."""
    return {
        "HousekeepingSchedule": _made("housekeeping", "Sweeps what runs left behind", SWEEP, "UTC", {"sweep": True})
    }


def _logical_id(source: str) -> str:
    return "".join(word.capitalize() for word in source.split("_")) + "Schedule"


def _schedule(source: Source) -> dict:
    if source.timezone not in zoneinfo.available_timezones():
        raise DeclarationError(
            f"timezone is {source.timezone!r}, which is none",
            source=source.name,
            next_step="take a name such as UTC or Europe/Lisbon from the IANA time zone database",
        )
    if source.simulator:  # nobody wants made-up data where nobody asked for it
        logical_id = render.placeholder(source.simulator).removesuffix("Arn")
        return _made(
            source.name,
            f"Made-up data for {source.name}",
            source.schedule,
            source.timezone,
            {},
            target={"Fn::GetAtt": [logical_id, "Arn"]},
            condition="SensorsAreSimulated",
        )
    return _made(source.name, f"Runs of {source.name}", source.schedule, source.timezone, {"source": source.name})


def _made(
    name: str,
    about: str,
    expression: str,
    timezone: str,
    given: dict,
    target: Mapping = MappingProxyType({"Fn::GetAtt": ["Triggers", "Arn"]}),
    condition: str = "RunsAreScheduled",
) -> dict:
    """A schedule that sends `given`, and when it was due, to the target."""
    return {
        "Type": "AWS::Scheduler::Schedule",
        "Properties": {
            "Name": {"Fn::Sub": f"${{App}}-${{Stage}}-{name}"},
            "GroupName": {"Ref": "ScheduleGroup"},
            "Description": about,
            "ScheduleExpression": expression,
            "ScheduleExpressionTimezone": timezone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": {"Fn::If": [condition, "ENABLED", "DISABLED"]},
            "Target": {
                "Arn": dict(target),
                "RoleArn": {"Fn::GetAtt": ["SchedulerRole", "Arn"]},
                "Input": json.dumps({**given, "scheduled": DUE}),
                "RetryPolicy": {"MaximumEventAgeInSeconds": _SECONDS, "MaximumRetryAttempts": _RETRIES},
                "DeadLetterConfig": {"Arn": {"Fn::GetAtt": ["Undelivered", "Arn"]}},
            },
        },
    }
