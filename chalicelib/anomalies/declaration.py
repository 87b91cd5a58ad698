"""What a source says about values that ought to resemble their own history."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from chalicelib.columns import Column
from chalicelib.quality.catalogue import DATE, JSON, NUMBER, TEMPORAL, family
from chalicelib.quality.suite import INFO, WARNING

HOUR, WEEKDAY, YEARLY = "hour", "weekday", "yearly"
SEASONS = (HOUR, WEEKDAY, YEARLY)
VALUE, CHANGE = "value", "change"
OF = (VALUE, CHANGE)
BOTH, ABOVE, BELOW = "both", "above", "below"
DIRECTIONS = (BOTH, ABOVE, BELOW)
# a row is published whatever its mark, so nothing here can fail a run
SEVERITIES = (WARNING, INFO)

_LONGEST = 36_600  # days: a hundred years


@dataclass(frozen=True)
class Anomaly:
    """Values of `column` that are far from the trailing history of their series.

    A series are the rows with equal values in the columns `by`, in the order of `time` (a date, timestamp or
    timestamptz). A value is compared with the median of the `history_days` before its own day (days are UTC's), in
    units of the spread: 1.4826 times the median absolute deviation, which is a normal distribution's standard
    deviation. Values more than `threshold` spreads away are marked, on both sides or only `above` or `below`.

    `of`: "value" judges the values themselves, "change" the difference to the median of the three readings before, by
    the earlier differences: it sees a spike that is small beside the weather of a month, and no slow drift. A column
    may be judged both ways.

    `season`: None compares with all of these days, "hour" with the same hour of the day, "weekday" with the same day
    of the week, "yearly" with the 15 days before and after the same day of earlier years, and the 15 days before.
    `minimum`: with fewer earlier values a value is not judged. `floor`, in the units of the column, is the least
    spread: what varies less is taken to vary as much. `stuck`: from that many equal values in a row on, each is marked
    too; None for never. `severity`: "warning" warns and mails, "info" only marks.
    """

    column: str
    by: tuple[str, ...] = ()
    time: str = ""
    of: str = VALUE
    history_days: int = 30
    season: str | None = None
    threshold: float = 6.0
    minimum: int = 30
    direction: str = BOTH
    floor: float = 0.0
    stuck: int | None = None
    severity: str = WARNING

    def problems(self, columns: Sequence[Column]) -> list[str]:
        """Everything that is wrong with it, for a table of `columns`."""
        families = {column.name: family(column.base) for column in columns}
        found = [
            f"{role} names {name!r}, which is not among the columns"
            for role, name in (("column", self.column), ("time", self.time), *(("by", name) for name in self.by))
            if name not in families
        ]
        if families.get(self.column, NUMBER) != NUMBER:
            found.append(f"column {self.column} holds {families[self.column]} values, only numbers are judged")
        if families.get(self.time, TEMPORAL[0]) not in TEMPORAL:
            found.append(f"time {self.time} holds {families[self.time]} values, expected a date or a time")
        found += [f"by names {name}, which is jsonb" for name in self.by if families.get(name) == JSON]
        for name, known in (
            ("of", OF),
            ("season", (None, *SEASONS)),
            ("direction", DIRECTIONS),
            ("severity", SEVERITIES),
        ):
            if getattr(self, name) not in known:
                choice = ", ".join(value for value in known if value)
                found.append(f"{name} is {getattr(self, name)!r}, use one of {choice}")
        for name, least in (("history_days", 1), ("minimum", 3), ("stuck", 2)):
            value = getattr(self, name)
            if value is None and name == "stuck":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _LONGEST:
                found.append(f"{name} is {value!r}, expected a whole number from {least} to {_LONGEST}")
        if not _number(self.threshold) or not 0 < self.threshold < 1e9:
            found.append(f"threshold is {self.threshold!r}, expected a number above 0")
        if not _number(self.floor) or not 0 <= self.floor < 1e150:
            found.append(f"floor is {self.floor!r}, expected 0 or a number above it")
        if self.season == HOUR and families.get(self.time) == DATE:
            found.append(f"season is hour and time {self.time} is a date, which has none")
        if self.season == YEARLY and isinstance(self.history_days, int) and self.history_days < 380:
            found.append(f"season is yearly and history_days {self.history_days}: there is no earlier year in it")
        return found


def problems(anomalies: Sequence[Anomaly], columns: Sequence[Column]) -> list[str]:
    """Everything that is wrong with a source's anomalies."""
    found = [
        f"anomalies[{number}] ({anomaly.column}): {problem}"
        for number, anomaly in enumerate(anomalies)
        for problem in anomaly.problems(columns)
    ]
    named = [(anomaly.of, anomaly.column) for anomaly in anomalies]
    twice = sorted({one for one in named if named.count(one) > 1})
    return found + [f"anomalies judge the {of} of {column} twice" for of, column in twice]


def read(given: Collection, columns: Sequence[Column], found: list[str]) -> tuple[Anomaly, ...]:
    """The anomalies that a declaration lists as plain objects; what is wrong with them is added to `found`."""
    known = {field.name for field in dataclasses.fields(Anomaly)}
    read_: list[Anomaly] = []
    for number, values in enumerate(given):
        where = f"anomalies[{number}]"
        if not isinstance(values, dict):
            found.append(f"{where} is not a table")
            continue
        wrong = [
            f"{where} has no {name!r}; known are {', '.join(sorted(known))}" for name in values if name not in known
        ]
        wrong += [f"{where}: {name!r} is missing" for name in ("column", "time") if name not in values]
        by = values.get("by", [])
        if not isinstance(by, list) or not all(isinstance(name, str) for name in by):
            wrong.append(f"{where}: by is {by!r}, expected an array of columns")
        wrong += [
            f"{where}: {name} is {values[name]!r}, expected text"
            for name in ("column", "time", "of", "season", "direction", "severity")
            if not isinstance(values.get(name, ""), str)
        ]
        found += wrong
        if not wrong:
            read_.append(Anomaly(**{**values, "by": tuple(by)}))
    found += problems(read_, columns)
    return tuple(read_)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
