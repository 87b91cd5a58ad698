"""A backfill at work: windows as runs of their own, so many at once, until none is left or somebody stops it."""

from __future__ import annotations

import datetime as dt
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError

from chalicelib import executions
from chalicelib.errors import NotFound, TransientError, TriggerConflict
from chalicelib.failure import plain_cause
from chalicelib.triggers import Trigger, start
from chalicelib.triggers import trigger as triggers
from chalicelib.triggers.alerts import warnings_alert
from chalicelib.warehouse import backfills, connection, ledger
from chalicelib.warehouse.backfills import DONE, FAILED, REJECTED, RUNNING, SKIPPED, WAITING, Asked, Backfill
from cli.session import Session

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between two looks at the runs
PATIENCE = 20  # looks in a row at which AWS or Postgres may be out of reach, 40 s


@dataclass
class Progress:
    """How far it is. Counts are of windows; `ended` are those whose run ended while this command watched.

    `rows` are those of the windows that are done, `loaded` those that the runs under way have loaded so far.
    """

    windows: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0
    rejected: int = 0
    running: int = 0
    left: int = 0
    rows: int = 0
    loaded: int = 0
    seconds: float = 0.0
    ended: int = 0
    under_way: list[backfills.BackfillWindow] = field(default_factory=list)

    @property
    def remaining_seconds(self) -> float | None:
        """From the pace so far; None before the first window has ended."""
        return self.seconds / self.ended * (self.left + self.running) if self.ended else None


class Stop:
    """What Ctrl-C does: the first lets the runs under way end, the second leaves at once."""

    def __init__(self):
        self.wanted = False

    def __call__(self, signal_number, frame) -> None:
        # nothing is printed in here: what it interrupts may be printing, and a stream takes no second writer
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True

    @contextmanager
    def installed(self) -> Iterator[Stop]:
        before = signal.signal(signal.SIGINT, self)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)


class Driver:
    """Starts and watches the runs of one backfill; `tell` hears of each window that ends."""

    def __init__(
        self, session: Session, asked: Asked, backfill: Backfill, embed: bool | None, concurrency: int, stop: Stop
    ):
        self._session, self._asked, self._backfill = session, asked, backfill
        self._embed, self._concurrency, self._stop = embed, concurrency, stop
        self._began = time.monotonic()
        self._ended = 0
        self._untold: list[int] = []  # numbers of windows that ended
        self._client = session.client("stepfunctions")

    def work(
        self,
        show: Callable[[Progress], None],
        tell: Callable[[backfills.BackfillWindow, Progress], None],
        tell_of_stop: Callable[[], None],
    ) -> None:
        """Until nothing is left, or until it is to stop and nothing runs; `tell_of_stop` is called once."""
        pause, out_of_reach, is_told = SHORTEST_PAUSE, 0, False
        while True:
            if self._stop.wanted and not is_told:
                tell_of_stop()
                is_told = True
            try:
                self._look()
                started = self._start()
                ended = self._news()
                progress = self.progress()
                out_of_reach = 0
            except (TransientError, BotoCoreError):
                out_of_reach += 1  # a backfill lasts for hours; its runs go on without it
                if out_of_reach > PATIENCE:
                    raise
                self._rest(LONGEST_PAUSE)
                continue
            self._untold.clear()
            for window in ended:
                tell(window, progress)
            show(progress)
            if not progress.running and (self._stop.wanted or not progress.left):
                return
            pause = SHORTEST_PAUSE if ended or started else min(pause * 1.3, LONGEST_PAUSE)
            self._rest(pause)

    def _rest(self, seconds: float) -> None:
        """Not longer than until somebody wants it to stop: that is told at once."""
        until, wanted = time.monotonic() + seconds, self._stop.wanted
        while (left := until - time.monotonic()) > 0 and self._stop.wanted == wanted:
            time.sleep(min(left, SHORTEST_PAUSE))

    def progress(self) -> Progress:
        with self._cursor() as cursor:
            counted = backfills.count(cursor, self._backfill)
            under_way = backfills.windows(cursor, self._backfill, RUNNING)
        number = {status: windows for status, (windows, _) in counted.items()}
        return Progress(
            windows=sum(number.values()),
            **{status: number.get(status, 0) for status in (DONE, SKIPPED, FAILED, REJECTED, RUNNING)},
            left=number.get(WAITING, 0),
            rows=counted.get(DONE, (0, 0))[1],
            loaded=counted.get(RUNNING, (0, 0))[1],
            seconds=time.monotonic() - self._began,
            ended=self._ended,
            under_way=under_way,
        )

    def troubled(self) -> list[backfills.BackfillWindow]:
        """The windows that failed or were rejected."""
        with self._cursor() as cursor:
            return backfills.windows(cursor, self._backfill, FAILED, REJECTED)

    def warnings(self) -> list[dict]:
        """The windows that passed with warnings, as `backfills.untold_warnings`, of which one email tells now.

        Raises ClientError or BotoCoreError where it could not be sent: then nobody was told, and the next command
        for this backfill tries again.
        """
        with self._cursor() as cursor:
            untold = backfills.untold_warnings(cursor, self._backfill)
            if untold:
                self._session.settings.require("topic_arn")
                alert = warnings_alert(self._asked.source, self._backfill.id, untold)
                topic = self._session.settings.topic_arn
                self._session.client("sns").publish(TopicArn=topic, Subject=alert.subject, Message=alert.message)
                # afterwards: rather two emails than none
                backfills.told_warnings(cursor, self._backfill, [window["number"] for window in untold])
        return untold

    def _start(self) -> int:
        """Start runs until so many are under way, or until it is to stop; returns how many."""
        started = 0
        while not self._stop.wanted:
            with self._cursor() as cursor:
                window = backfills.take(cursor, self._backfill, self._concurrency, self._name)
            if window is None:
                break
            # taken first, and for good: a machine that dies in between leaves a window that the next look starts
            if (conflict := self._begin(window, self._embed, self._concurrency)) is not None:
                self._finish(window, FAILED, None, conflict)
            started += 1
        return started

    def _name(self, first: dt.date, last: dt.date, attempt: int) -> str:
        """The same whatever the options of the command that goes on with the backfill, and on every machine."""
        return self._trigger(first, last).attempt(attempt)

    def _trigger(self, first: dt.date, last: dt.date, embed: bool | None = None, at_once: int | None = None) -> Trigger:
        return triggers.backfill(self._asked.source, self._backfill.id, first, last, self._asked.input, embed, at_once)

    def _begin(self, window: backfills.BackfillWindow, embed: bool | None, at_once: int | None) -> str | None:
        """Start the window's run; where its name stands for another run, what to say of that."""
        trigger = self._trigger(window.first, window.last, embed, at_once)
        try:
            start(trigger, window.attempt)
        except TriggerConflict as error:
            # another command for this backfill may have begun it in the meantime, with other options
            if self._input(window.run_id).get("trigger") != trigger.text:
                return f"TriggerConflict: {error}"
        return None

    def _input(self, run_id: str) -> dict:
        """What the run of this name was started with; {} where there is none."""
        if (found := self._execution(run_id)) is not None:
            return json.loads(found["input"])
        return self._ledger_row(run_id).get("input", {})

    def _execution(self, run_id: str) -> dict | None:
        return executions.described(self._client, executions.arn(self._session.settings.state_machine_arn, run_id))

    def _look(self) -> None:
        """Note how runs ended that have since the last look."""
        with self._cursor() as cursor:
            under_way = backfills.windows(cursor, self._backfill, RUNNING)
        for window in under_way:
            if (outcome := self._outcome(window)) is not None:
                self._finish(window, *outcome)

    def _finish(self, window: backfills.BackfillWindow, *outcome) -> None:
        with self._cursor() as cursor:
            first_to_see = backfills.finish(cursor, self._backfill, window, *outcome)
        if first_to_see:
            self._untold.append(window.number)
            self._ended += 1

    def _news(self) -> list[backfills.BackfillWindow]:
        """The windows that ended and were not told of yet."""
        if not self._untold:
            return []
        with self._cursor() as cursor:
            return [window for window in backfills.windows(cursor, self._backfill) if window.number in self._untold]

    def _outcome(self, window: backfills.BackfillWindow) -> tuple[str, int | None, str | None] | None:
        """(status, rows, error) of the window's run; None while it runs."""
        found = self._execution(window.run_id)
        if found and found["status"] == "RUNNING":
            return None
        row = self._ledger_row(window.run_id)
        if found is None and row.get("finished_at") is None:
            return self._started_again(window, row)
        if row.get("status") == "succeeded":
            return DONE, row["fetched"], None
        if row.get("status") == "rejected":
            why = (row["error"] or {}).get("reason") or "the data did not pass the quality gate"
            return REJECTED, row["fetched"], f"QualityFailed: {why}"
        details = row.get("error") or {}
        error = details.get("error") or (found or {}).get("error") or (found or {}).get("status", "unknown")
        reason = details.get("reason") or plain_cause((found or {}).get("cause"))
        return FAILED, row.get("fetched"), f"{error}: {reason}" if reason else error

    def _started_again(self, window: backfills.BackfillWindow, row: dict) -> tuple[str, None, str] | None:
        """Begin the run that is not there, as it was begun, if it was; its outcome where the name is another run's."""
        given = row["input"] if row else {"embed": self._embed, "runs_at_once": self._concurrency}
        conflict = self._begin(window, given.get("embed"), given.get("runs_at_once"))
        return None if conflict is None else (FAILED, None, conflict)

    def _ledger_row(self, run_id: str) -> dict:
        try:
            with connection.transaction(self._session.database_url) as open_connection:
                return ledger.get_run(open_connection, run_id)
        except NotFound:
            return {}

    @contextmanager
    def _cursor(self):
        with connection.transaction(self._session.database_url) as opened, opened.cursor() as cursor:
            yield cursor


def as_json(
    asked: Asked,
    progress: Progress,
    troubled: list[backfills.BackfillWindow],
    warned: list[dict],
    next_step: str | None,
) -> str:
    """What `sluice backfill --json` prints."""
    found = {
        "source": asked.source,
        "from": asked.first.isoformat(),
        "to": asked.last.isoformat(),
        "every": asked.every,
        **{
            name: getattr(progress, name)
            for name in ("windows", "done", "skipped", "failed", "rejected", "running", "left", "rows")
        },
        "seconds": round(progress.seconds, 3),
        "troubled": [
            {
                "from": window.first.isoformat(),
                "to": window.last.isoformat(),
                "status": window.status,
                "run_id": window.run_id,
                "error": window.error,
            }
            for window in troubled
        ],
        "warned": [
            {"from": window["first"].isoformat(), "to": window["last"].isoformat(), "run_id": window["run_id"]}
            for window in warned
        ],
        "next": next_step,
    }
    return json.dumps(found)
