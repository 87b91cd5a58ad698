"""One trial: a run with its faults, what must hold afterwards, and the run that makes up for it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from chalicelib.triggers.starting import REDRIVE
from storm import checks, truth
from storm.arming import Arming
from storm.checks import Counterexample, expect
from storm.faults import INBOX, TEXTS, Fault
from storm.inbox import Inbox
from storm.plan import KINDS, Trial
from storm.replays import ABORTED_SECONDS, AGAIN, Replayed, Replays
from storm.stack import LOST, Ended, RedriveRefused, StormStack
from storm.upstream import Upstream
from storm.waiting import Stopped


@dataclass
class Outcome:
    """What became of a trial: whether its faults `struck`, how its runs `ended`, and what was `waited` for, in s."""

    trial: Trial
    ended: list[str] = field(default_factory=list)
    struck: list[tuple[Fault, bool]] = field(default_factory=list)
    replayed: Replayed = field(default_factory=Replayed)
    waited: list[tuple[str, float]] = field(default_factory=list)
    again: int = 0
    redriven: int = 0
    counterexample: str | None = None
    seconds: float = 0.0


class Lane:
    """A source and its table, whose trials follow each other."""

    def __init__(self, name: str, seed: int, stack: StormStack, upstream: Upstream, mail: checks.Mail):
        self.name, self._seed = name, seed
        self._stack, self._upstream, self._mail = stack, upstream, mail
        self._table: dict[str, tuple[str, ...]] = {}
        self._following: int | None = None  # the place of the trial before which the table is as it should be
        self._begun = 0
        self._kind = KINDS[name]
        self._inbox = Inbox(stack, name, seed)
        self._arming = Arming(stack, upstream, name)
        self._replays = Replays(stack, name, seed, mail, self._arming)
        self._unswept = self._replays.unswept  # runs whose end nobody could enter in the ledger: the sweep has to

    def _begin(self, place: int, windows: int = 10) -> None:
        """Have the table and the cursor as they are before the trial at `place`: its last windows are loaded."""
        self._stack.database.query(f"DROP TABLE IF EXISTS curated.{self.name}")
        self._stack.database.query("DELETE FROM pipeline.cursors WHERE source = %s", self.name)
        self._stack.database.query("DELETE FROM pipeline.embeddings WHERE table_name = %s", self.name)
        self._begun += 1
        self._replays.begin()
        if self._kind == INBOX:  # its files are not loaded before: the table begins with none
            self._table = {}
            return
        for earlier in range(max(0, place - windows), place):
            first, last = truth.window(earlier)
            given = {"from": first.isoformat(), "to": last.isoformat(), "move_cursor": True, "allow_gap": True}
            self._upstream.arm(self.name, [])
            for attempt in range(AGAIN):
                name = f"{self.name}-b{self._begun}-{earlier:05d}-{attempt}"
                ended = self._stack.wait(self._stack.start(name, {"source": self.name, **given}))
                if ended.status == "SUCCEEDED":
                    break
            expect(ended.status == "SUCCEEDED", f"{ended.run_id}, without any fault of its own, is {ended.status}")
            self._replays.loaded((first, last))
        self._table = checks.table(self._stack, self.name)

    def play(self, trial: Trial) -> Outcome:
        """Raises Stopped where the storm is stopped in the middle of it."""
        outcome, started = Outcome(trial), time.monotonic()
        self._stack.waits.begin()
        try:
            if trial.place != self._following:
                self._begin(trial.place)
            self._following = trial.place + 1
            self._play(trial, outcome)
        except Stopped:
            raise
        except (Counterexample, TimeoutError) as error:
            outcome.counterexample = str(error)
        except Exception as error:  # whatever it is, the others go on
            outcome.counterexample = f"{type(error).__name__}: {error}"
        if not self._stack.waits.stopping.is_set():
            outcome.struck += self._arming.mend()
        if outcome.counterexample:
            self._following = None  # the next trial begins with a table of which everything is known
        outcome.seconds = time.monotonic() - started
        outcome.waited = self._stack.waits.noted
        return outcome

    def close(self) -> None:
        """Wait for what is still to happen to the stack: nothing may be begun on one that is being stopped."""
        self._arming.close()

    # --- the pieces ----------------------------------------------------------------------------

    def _play(self, trial: Trial, outcome: Outcome) -> None:
        late = checks.table(self._stack, self.name)
        expect(
            late == self._table,
            f"{self.name} changed after its last run had ended: {checks.difference(self._table, late)}",
        )
        position = checks.cursor(self._stack, self.name)
        self._arming.arm(trial.faults, trial.name, trial.mark)
        engine = self._stack.generation
        self._arming.disturb(trial.mark)
        ended = self._inbox.put(trial) if self._kind == INBOX else self._run(trial)
        self._arming.settle()
        if any(one.status == "ABORTED" for one in ended):
            self._stack.waits.pause(ABORTED_SECONDS)
        outcome.struck = self._arming.mend()
        outcome.ended = [one.told for one in ended]
        published = self._check(trial, ended, trial.given, position, engine)
        while not published or not self._is_done(ended):
            outcome.again += 1
            expect(outcome.again <= AGAIN, f"{trial.name} does not succeed, {AGAIN} times without a fault of its own")
            position = checks.cursor(self._stack, self.name)
            engine = self._stack.generation
            given = self._given_again(trial, ended, published)
            ended = self._again(trial, ended, given, outcome)
            outcome.ended += [one.told for one in ended]
            now = self._check(trial, ended, given, position, engine)
            published = published or now
        self._replay(trial, outcome)
        if self._kind == TEXTS:
            checks.vectors(self._stack, self.name, complete=outcome.replayed.complete)
        checks.nothing_is_left(self._stack, self.name, self._unswept)
        self._sweep()

    def _replay(self, trial: Trial, outcome: Outcome) -> None:
        served = {version for versions in self._upstream.served(self.name).values() for version in versions}
        as_planned = served <= {truth.PLANNED}
        own = self._replays.loaded(truth.window(trial.place), as_planned)
        if as_planned:
            self._table = self._replays.play(trial, own, self._table, outcome.replayed)

    def _again(self, trial: Trial, ended: list[Ended], given: dict, outcome: Outcome) -> list[Ended]:
        """The run, or runs, that make up for those that ended."""
        if trial.redriven and ended and (found := self._redriven(ended[-1], outcome)):
            return self._inbox.saw([found])
        if self._kind == INBOX:
            return self._inbox.put(trial) if any(one.status == LOST for one in ended) else self._inbox.again(trial)
        return [self._stack.wait(self._stack.start(f"{trial.name}again{outcome.again}", given))]

    def _sweep(self) -> None:
        """What ended without a word is closed by the sweep, and its staging table goes."""
        if self._unswept:
            self._stack.sweep(tuple(self._unswept))
            for run_id in self._unswept:
                checks.swept(self._stack, run_id)
            self._unswept.clear()
            checks.nothing_is_left(self._stack, self.name, [])

    def _redriven(self, ended: Ended, outcome: Outcome) -> Ended | None:
        """What `sluice redrive` makes of the run; None where it is none to be redriven.

        A run that its engine has forgotten, lost with it or stopped before, may not have been entered yet, and its last
        objects may have gone, too: then the command says so, and to run the source again.
        """
        if ended.status == "SUCCEEDED" or "Reject" in ended.states:
            return None
        try:
            found = self._stack.redrive(ended.run_id)
        except RedriveRefused as refused:
            if "NotFound" not in str(refused) or self._stack.wait(self._stack.arn(ended.run_id)).status != LOST:
                raise
            return None
        outcome.redriven += 1
        return found

    def _is_done(self, ended: list[Ended]) -> bool:
        """Whether one of the runs succeeded: of a lost engine, or of lost answers, the ledger alone knows."""
        return any(checks.ledger(self._stack, one.run_id).get("status") == "succeeded" for one in ended)

    def _given_again(self, trial: Trial, ended: list[Ended], published: bool) -> dict:
        """What the failed run is started again with: its dead letter, where it has one and was not published."""
        letters = [letter for one in ended for letter in self._mail.letters(one.run_id)]
        # who redrove what its gate rejects has the same data rejected: the source, mended, is fetched anew
        rejected = any("Reject" in one.states and REDRIVE in one.given for one in ended)
        if letters and not published and not rejected:
            return letters[0]["input"]
        return trial.days if published else trial.given

    def _run(self, trial: Trial) -> list[Ended]:
        """Start what the trial starts, and wait until all of it ended."""
        names, times = [f"{trial.name}run"], 1
        for fault in trial.faults:
            if fault.kind == "doubled start":
                times = fault.values["count"]
            elif fault.kind == "simultaneous runs":
                names = [f"{trial.name}run{place}" for place in range(fault.values["count"])]
        with ThreadPoolExecutor(4) as pool:
            started = [pool.submit(self._stack.start, name, trial.given) for name in names for _ in range(times)]
            arns = {one.result() for one in started}
        expect(len(arns) == len(names), f"{len(names)} names made {len(arns)} executions")
        return [self._stack.wait(arn) for arn in sorted(arns)]

    # --- what must hold ------------------------------------------------------------------------

    def _check(self, trial: Trial, ended: list[Ended], given: dict, position: str | None, engine: int) -> bool:
        """Whether a run has published the trial's window. The table is the truth of it, or untouched.

        `engine` is the generation of the stack with which they began: what was sent is gone with it.
        """
        unheard = checks.unheard(trial.faults)
        rows = {}
        for one in ended:
            found = rows[one.run_id] = checks.ledger(self._stack, one.run_id)
            checks.ended_as_it_says(one, found)
            checks.somebody_was_told(self._mail, one, unheard, engine)
            if "DescribeFailure" in one.states or one.status == "ABORTED":
                self._unswept.append(one.run_id)
        published = sorted(
            (found for found in rows.values() if found.get("published_at")), key=lambda found: found["published_at"]
        )
        self._check_table(trial, published)
        self._check_cursor(trial, published, given, position)
        if self._kind == TEXTS:  # one that embeds has published before, and may fail then
            checks.vectors(self._stack, self.name, complete=False)
        return bool(published)

    def _check_table(self, trial: Trial, published: list[dict]) -> None:
        """The table is what it was, and each published run's reading of the window on top of it."""
        read = list(truth.readings(self._seed, self.name, truth.window(trial.place), self._upstream.served(self.name)))
        possible = [self._table]
        for found in published:
            after, counts = [], []
            for before in possible:
                for pages in read:
                    table, account = truth.apply(before, pages)
                    after.append(table)
                    counts.append(account)
            checks.accounts(found, counts)
            checks.quarantine(self._stack, found)
            possible = after
        table = checks.table(self._stack, self.name)
        if table not in possible:
            what = f"what {published[-1]['run_id']} should have made of it" if published else "what it was"
            raise Counterexample(f"curated.{self.name} is not {what}: {checks.difference(possible[0], table)}")
        self._table = table

    def _check_cursor(self, trial: Trial, published: list[dict], given: dict, position: str | None) -> None:
        """It is where the published window ends, and where it was if none was."""
        moves = (given.get("move_cursor") or "from" not in given) and self._kind != INBOX  # a file has no days
        wanted = truth.window(trial.place)[1].isoformat() if published and moves else position
        found = checks.cursor(self._stack, self.name)
        expect(found == wanted, f"the cursor of {self.name} is {found}, expected {wanted}")
