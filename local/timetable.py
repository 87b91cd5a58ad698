"""When a schedule is due: `cron(…)`, `rate(…)` and `at(…)` in a time zone, as EventBridge Scheduler reads them.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html: a local time that a change of
the clocks leaves out is skipped, one that comes twice counts once, and a rate in days is one of 24 hours.
AWS does not say which of the two times it takes; here it is the first.

The cron expressions are read by aws-croniter 2.1.1, which knows only UTC, and which needs four corrections:
it gives up after ten steps, so that a 29th of February that is eight years away or the fifth Sunday of a
February is never due; it takes `L` for a day of the week (Saturday) as no day at all; it rounds to the
nearest millisecond, and so misses what is due in less than a half; and it breaks off with a ValueError
where an expression is wrong in a way that its patterns let through.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from dataclasses import dataclass

from aws_croniter.aws_croniter import AwsCroniter

from chalicelib.errors import ConfigurationError

LAST_YEAR = 2199  # of a cron expression
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

_EXPRESSION = re.compile(r"(cron|rate|at)\((.*)\)")
_RATE = re.compile(r"([1-9]\d*) (minute|hour|day)s?")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True)
class Timetable:
    """`start` and `end` limit when it is due, both included. Times given and taken are aware, in UTC."""

    expression: str
    timezone: str = "UTC"
    start: dt.datetime | None = None
    end: dt.datetime | None = None

    def __post_init__(self):
        """Raises ConfigurationError for an expression or a time zone that is none."""
        found = _EXPRESSION.fullmatch(self.expression.strip())
        if not found:
            raise _wrong(self.expression, "it is none of cron(…), rate(…) and at(…)")
        try:
            zone = zoneinfo.ZoneInfo(self.timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
            raise _wrong(self.expression, f"{self.timezone!r} is no time zone") from error
        kind = {"cron": _Cron, "rate": _Rate, "at": _At}[found[1]]
        object.__setattr__(self, "_rule", kind(self.expression, found[2], zone, self.start))

    def after(self, moment: dt.datetime) -> dt.datetime | None:
        """The first time that is later than `moment`; None where there is none."""
        if self.start and moment < self.start:
            moment = self.start - dt.timedelta(microseconds=1)
        found = self._rule.after(moment.astimezone(dt.UTC))
        return None if found and self.end and found > self.end else found

    def between(self, earlier: dt.datetime, later: dt.datetime) -> list[dt.datetime]:
        """All times after `earlier`, up to and with `later`."""
        found, moment = [], self.after(earlier)
        while moment and moment <= later:
            found.append(moment)
            moment = self.after(moment)
        return found


class _Cron:
    def __init__(self, expression: str, fields: str, zone: zoneinfo.ZoneInfo, start: dt.datetime | None):
        self._zone = zone
        parts = fields.split()
        if len(parts) == 6 and parts[4].upper() == "L":
            parts[4] = "7"
        try:
            self._cron = AwsCroniter(" ".join(parts))
        except Exception as error:  # its own kinds, and ValueError
            raise _wrong(expression, str(error) or type(error).__name__) from error

    def after(self, moment: dt.datetime) -> dt.datetime | None:
        # the expression's own time, of which aws-croniter thinks that it is UTC
        wall: dt.datetime | None = moment.astimezone(self._zone).replace(tzinfo=dt.UTC)
        while wall := self._next(wall):
            found = wall.replace(tzinfo=self._zone).astimezone(dt.UTC)
            left_out = found.astimezone(self._zone).replace(tzinfo=dt.UTC) != wall
            # one that comes twice was due at the first of them
            if not left_out and found > moment:
                return found
        return None

    def _next(self, wall: dt.datetime) -> dt.datetime | None:
        if found := self._cron.get_next(wall.replace(second=0, microsecond=0))[0]:
            return found
        for year in range(wall.year + 1, LAST_YEAR + 1):
            begin = dt.datetime(year, 1, 1, tzinfo=dt.UTC)
            if found := self._cron.get_next(begin, inclusive=True)[0]:
                return found
        return None


class _Rate:
    """Counted from the schedule's start; without one from 1970, where AWS counts from when it was made."""

    def __init__(self, expression: str, fields: str, zone: zoneinfo.ZoneInfo, start: dt.datetime | None):
        found = _RATE.fullmatch(fields.strip())
        if not found:
            raise _wrong(expression, "a rate is a number of minutes, hours or days")
        self._interval = dt.timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
        self._first = (start or EPOCH).astimezone(dt.UTC)

    def after(self, moment: dt.datetime) -> dt.datetime | None:
        count = (moment - self._first) // self._interval + 1
        return self._first + max(0, count) * self._interval


class _At:
    def __init__(self, expression: str, fields: str, zone: zoneinfo.ZoneInfo, start: dt.datetime | None):
        try:
            wall = dt.datetime.strptime(fields.strip(), "%Y-%m-%dT%H:%M:%S")
        except ValueError as error:
            raise _wrong(expression, "a time is written yyyy-mm-ddThh:mm:ss") from error
        self._due = wall.replace(tzinfo=zone).astimezone(dt.UTC)

    def after(self, moment: dt.datetime) -> dt.datetime | None:
        return self._due if self._due > moment else None


def _wrong(expression: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"the schedule expression {expression!r} is wrong: {reason}",
        next_step="see https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html",
    )
