"""A trigger: what is to be run, who says so, and the name of the execution that follows from it.

The same trigger has the same name, however often it is delivered: Step Functions takes a name once.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from chalicelib.errors import ContractError
from chalicelib.run_input import RunInput
from chalicelib.triggers import attempts

SCHEDULE, INBOX, QUEUE, API, BACKFILL, REPLAY = "schedule", "inbox", "queue", "api", "backfill", "replay"
# the letter after the source's name, by which a name tells where the run came from
_LETTERS = {SCHEDULE: "s", INBOX: "i", QUEUE: "q", API: "a", BACKFILL: "b", REPLAY: "r"}

# what CloudWatch and file systems take too: Step Functions takes more
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Trigger:
    """Something that asks for a run of `source`.

    `identity` tells it from all others of its kind and source: the scheduled time, an object and its
    version, a message's id. `about` is what people read in its place. The other fields are those of the
    run's input; None leaves them out of it. They are not a RunInput, which has more: no trigger may ask for what only a
    person does (`live`), or what a redrive does, and its words are its own `text`.
    """

    kind: str
    source: str
    identity: str
    start: str | None = None
    end: str | None = None
    input: str | None = None
    embed: bool | None = None
    move_cursor: bool | None = None
    allow_gap: bool | None = None
    from_scratch: bool | None = None
    runs_at_once: int | None = None
    gather_warnings: bool | None = None
    replay: str | None = None
    about: str | None = None

    def __post_init__(self):
        if self.kind not in _LETTERS:
            raise ContractError(f"{self.kind!r} is no kind of trigger; there are {', '.join(_LETTERS)}")
        if not self.identity:
            raise ContractError(f"a trigger of kind {self.kind} needs something to be known by", source=self.source)

    @property
    def name(self) -> str:
        """The name of its execution: `<source>-<letter><identity>`, readable where it can be.

        At most 77 characters of A-Z, a-z, 0-9, - and _, so that a number of the attempt fits behind it. What is
        longer, has other characters or ends like an attempt is cut and told apart by a hash.
        """
        whole = f"{self.source}-{_LETTERS[self.kind]}{self.identity}"
        if len(whole) <= attempts.ROOM and _PLAIN.fullmatch(whole) and attempts.numbered(whole) is None:
            return whole
        return attempts.cut(slug(whole), whole)

    def attempt(self, number: int) -> str:
        """The name of the first, second … execution: a name is taken also by one that failed."""
        return attempts.name(self.name, number)

    @property
    def text(self) -> str:
        """For people, e.g. `schedule 2026-11-21T13:00:00Z`."""
        return f"{self.kind} {self.about or self.identity}"

    def run_input(self) -> dict:
        """The input of its execution, as `contracts.RunInput` reads it."""
        given = {
            "source": self.source,
            "from": self.start,
            "to": self.end,
            "input": self.input,
            "embed": self.embed,
            "move_cursor": self.move_cursor,
            "allow_gap": self.allow_gap,
            "from_scratch": self.from_scratch,
            "runs_at_once": self.runs_at_once,
            "gather_warnings": self.gather_warnings,
            "replay": self.replay,
            "trigger": self.text,
        }
        return {name: value for name, value in given.items() if value is not None}


def scheduled(source: str, time: str) -> Trigger:
    """The trigger of a schedule that was due at `time`, ISO 8601 with an offset or Z.

    EventBridge Scheduler writes it for `<aws.scheduler.scheduled-time>`
    (https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html).
    """
    try:
        due = dt.datetime.fromisoformat(time)
    except ValueError:
        due = None
    if due is None or due.tzinfo is None:
        raise ContractError(
            f"scheduled is {time!r}", source=source, next_step="give a time with its offset, 2026-11-21T13:00:00Z"
        )
    due = due.astimezone(dt.UTC)
    return Trigger(SCHEDULE, source, f"{due:%Y%m%dT%H%M%SZ}", about=f"{due:%Y-%m-%dT%H:%M:%SZ}")


def backfill(
    source: str,
    number: int,
    first: dt.date,
    last: dt.date,
    given: str | None,
    embed: bool | None,
    runs_at_once: int | None,
) -> Trigger:
    """The trigger of a window of the backfill `number`, both days included.

    The number is in the name: two backfills that overlap, or one that does days again, have runs of their own.
    `given` is the part of the source that is wanted, if not all of it. So many `runs_at_once` share what a host
    takes. Their warnings are told together, by who started them.
    """
    start, end = first.isoformat(), last.isoformat()
    return Trigger(
        BACKFILL,
        source,
        f"{number}-{first:%Y%m%d}-{last:%Y%m%d}",
        start=start,
        end=end,
        input=given or None,
        embed=embed,
        runs_at_once=runs_at_once,
        gather_warnings=True,
        about=f"{number}, {start} to {end}",
    )


def asked(kind: str, identity: str, wanted: RunInput) -> Trigger:
    """The trigger of a run that somebody asks for in the form of a run's input.

    Named one by one: what replays and backfills tell their runs is nobody's to ask for.
    """
    return Trigger(
        kind,
        wanted.source,
        identity,
        start=wanted.start,
        end=wanted.end,
        input=wanted.input,
        embed=wanted.embed,
        move_cursor=wanted.move_cursor,
        allow_gap=wanted.allow_gap,
        from_scratch=wanted.from_scratch,
    )


def slug(text: str) -> str:
    """`text` in characters that a name may have."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")
