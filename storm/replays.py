"""Replays of what a trial's runs set aside: asked for while they meet faults, until each row has its state."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from storm import checks, project, truth
from storm.arming import Arming
from storm.checks import expect
from storm.faults import INBOX, Fault
from storm.places import OPEN, Original, Place, Placed
from storm.plan import Replay, Trial
from storm.stack import Ended, StormStack

AGAIN = 6  # a run that makes up for one may itself be hit by what hits the runs beside it
ABORTED_SECONDS = 2.0  # whose execution is stopped ends what it is at
OLDER = 3  # of so many runs before it the trial may replay one

_PUBLISHED = """
SELECT row_to_json(r) FROM storm.published AS p JOIN pipeline.runs AS r USING (run_id)
WHERE r.source = %(lane)s AND NOT r.run_id = ANY(%(known)s) ORDER BY p.place
"""
_REPLAYS = "SELECT run_id FROM pipeline.runs WHERE source = %(lane)s AND input ->> 'replay' IS NOT NULL"
_ASIDE = """
SELECT state, settled_by, record FROM pipeline.quarantine WHERE run_id = %s AND replay_of IS NULL ORDER BY part, line
"""


@dataclass
class Replayed:
    """How the `runs` ended that are the replays of a trial, and whether their faults `struck`.

    `complete`: what was published beside them, or by them, was also embedded.
    """

    runs: list[str] = field(default_factory=list)
    struck: list[tuple[Fault, bool]] = field(default_factory=list)
    complete: bool = True


class Replays:
    """Those of a lane. It is told of each run that was `loaded`."""

    def __init__(self, stack: StormStack, lane: str, seed: int, mail: checks.Mail, arming: Arming):
        self._stack, self._lane, self._seed = stack, lane, seed
        self._mail, self._arming = mail, arming
        self._places: dict[str, Place] = {}
        self._originals: list[Original] = []
        self._known: set[str] = set()  # runs that the places are of
        self._seen: set[str] = set()  # replays that were waited for
        self.unswept: list[str] = []

    @property
    def _mark(self) -> str:
        """What the names of replays' runs contain: a letter, and what their rows are (`triggers.trigger`)."""
        return f"{self._lane}-r"

    def begin(self) -> None:
        """The table is new."""
        self._places, self._originals = {}, []
        self._known |= {run["run_id"] for run in self._published()}

    def loaded(self, window: tuple[dt.date, dt.date], as_planned: bool = True) -> list[dict]:
        """The runs of the window that were published since this was last asked: their rows have their places now."""
        runs = self._published()
        self._known |= {run["run_id"] for run in runs}
        if not runs:
            return []
        newest = max(runs, key=_entry)
        rows = self._rows(window)
        self._places |= {
            str(row["id"]): (_entry(newest), number) for number, row in rows.items() if not truth.is_bad(row)
        }
        if not as_planned:  # nobody knows which rows were set aside, nor where the others have their places
            self._originals = []
        elif newest["fetched_entry"] is None:
            self._originals.append(self._original(newest, rows))
        return runs

    def _rows(self, window: tuple[dt.date, dt.date]) -> dict[int, truth.Row]:
        return dict(enumerate(truth.planned(self._seed, self._lane, window)))

    def _original(self, run: dict, rows: dict[int, truth.Row]) -> Original:
        return Original(run["run_id"], _entry(run), {number: row for number, row in rows.items() if truth.is_bad(row)})

    def _published(self) -> list[dict]:
        found = self._stack.database.query(_PUBLISHED, lane=self._lane, known=sorted(self._known))
        return [row for (row,) in found]

    # --- a trial's --------------------------------------------------------------------------------

    def play(self, trial: Trial, own: list[dict], table: truth.Table, told: Replayed) -> truth.Table:
        """Replay what the runs `own` of the trial set aside, and perhaps one before; the table after that.

        `told` is filled in as it goes on, since a counterexample must name what it met.
        """
        given = trial.replay
        # of several, or of one that took over what another had fetched, a row may have either place
        plain = len(own) == 1 and own[0]["fetched_entry"] is None
        if given is None or not own or (trial.kind == INBOX and not plain):
            return table
        playing = _Playing(
            trial, given, Placed.of(table, self._places), self._rows(truth.window(trial.place)), told=told
        )
        position = checks.cursor(self._stack, self._lane)
        originals = [self._originals[-1]] if plain else [self._original(max(own, key=_entry), playing.rows)]
        if given.twice or not plain:
            originals.append(self._loaded_again(playing))
        if given.older:
            names = {original.run_id for original in originals}
            others = [original for original in self._originals if original.run_id not in names and original.open]
            originals += others[-OLDER:][:1]
        playing.originals = originals
        asked = [one for one in sorted(originals, key=lambda one: one.entry, reverse=given.newest_first) if one.open]
        with project.mended_suite(self._lane):
            try:
                self._arming.arm(given.faults, f"{trial.name}replay", self._mark, trial.mark)
                self._arming.disturb(self._mark)
                self._first(playing, asked)
            finally:
                playing.told.struck = self._arming.mend()
            self._until_done(playing, asked)
        for original in originals:
            self._check_states(original)
        expect(checks.cursor(self._stack, self._lane) == position, f"a replay moved the cursor of {self._lane}")
        self._places = playing.placed.places
        return playing.placed.table

    def _loaded_again(self, playing: _Playing) -> Original:
        """The run that loads the trial's days once more, by the suite that set its rows aside."""
        run = self._load(playing, "twice", truth.is_bad)
        self._originals.append(self._original(run, playing.rows))
        return self._originals[-1]

    def _load(self, playing: _Playing, name: str, is_bad: Callable[[truth.Row], bool]) -> dict:
        """What the ledger says of a run of the trial's days that was published, if not at once."""
        for attempt in range(AGAIN):
            run_id = f"{playing.trial.name}{name}{attempt}"
            self._wait(playing, [self._stack.start(run_id, playing.trial.days)])
            self._apply(playing, is_bad)
            if (found := checks.ledger(self._stack, run_id)).get("published_at"):
                return found
        raise checks.Counterexample(f"{run_id} is not published, {AGAIN} times without a fault of its own")

    def _first(self, playing: _Playing, asked: list[Original]) -> None:
        """All commands, at once or one run's after the other's, and the newer run, while the faults are there."""
        portions = [asked] if playing.given.together else [[original] for original in asked]
        beside = []
        if playing.given.beside:
            beside = [self._stack.start(f"{playing.trial.name}beside", playing.trial.days)]
        for portion in portions:
            self._ask(playing, portion * playing.given.at_once)
        self._wait(playing, beside)
        self._arming.settle()
        self._apply(playing, truth.is_unfit)

    def _until_done(self, playing: _Playing, asked: list[Original]) -> None:
        for _ in range(AGAIN):
            if not (left := [original for original in asked if not self._is_done(playing, original)]):
                break
            self._ask(playing, left)
            self._apply(playing, truth.is_unfit)
        else:
            said = "; ".join(playing.said[-len(left) :])
            raise checks.Counterexample(f"rows of {left[0].run_id} are not replayed, {AGAIN} times: {said}")
        if playing.given.beside and not checks.ledger(self._stack, f"{playing.trial.name}beside").get("published_at"):
            self._load(playing, "beside", truth.is_unfit)

    def _is_done(self, playing: _Playing, original: Original) -> bool:
        replaying = "SELECT 1 FROM pipeline.quarantine WHERE run_id = %s AND state = 'replaying'"
        return original.run_id in playing.replayed and not self._stack.database.query(replaying, original.run_id)

    def _ask(self, playing: _Playing, asked: list[Original]) -> None:
        """`sluice quarantine replay` for each of them at once, and all runs that come of it to their ends."""

        def typed(original: Original) -> str:
            return "".join(self._stack.typed("quarantine", "replay", "--run", original.run_id, "--json")).strip()[-300:]

        with ThreadPoolExecutor(8) as pool:
            playing.said += pool.map(typed, asked)
        found = {run_id for (run_id,) in self._stack.database.query(_REPLAYS, lane=self._lane)}
        found |= {arn.rsplit(":", 1)[1] for arn in self._stack.executions(self._mark)}
        ended = self._wait(playing, [self._stack.arn(run_id) for run_id in sorted(found - self._seen)])
        self._seen |= found
        playing.told.runs += [one.told for one in ended]

    def _wait(self, playing: _Playing, arns: Iterable[str]) -> list[Ended]:
        """The executions, ended as the ledger says, and told of where they failed."""
        engine = self._stack.generation
        ended = [self._stack.wait(arn) for arn in arns]
        if any(one.status == "ABORTED" for one in ended):
            self._stack.waits.pause(ABORTED_SECONDS)
        for one in ended:
            checks.ended_as_it_says(one, checks.ledger(self._stack, one.run_id))
            checks.somebody_was_told(self._mail, one, checks.unheard(playing.given.faults), engine)
            if "DescribeFailure" in one.states or one.status == "ABORTED":
                self.unswept.append(one.run_id)
        return ended

    # --- what must hold ------------------------------------------------------------------------

    def _apply(self, playing: _Playing, is_bad: Callable[[truth.Row], bool]) -> None:
        """What was published since has the account that it must have, and the table is what that makes of it."""
        for run in self._published():
            self._known.add(run["run_id"])
            original = next((one for one in playing.originals if one.run_id == run["replay_of"]), None)
            if run["replay_of"] is None:
                account, _ = playing.placed.publish(playing.rows, _entry(run), is_bad)
            else:
                expect(original, f"{run['run_id']} replays rows of {run['replay_of']}, for which nobody asked")
                account, states = playing.placed.publish(original.open, original.entry, is_bad)
                original.settle(states, run["run_id"])
                playing.replayed.add(original.run_id)
            playing.told.complete &= run["status"] == "succeeded"
            checks.accounts(run, [account])
            checks.quarantine(self._stack, run)
        found = checks.table(self._stack, self._lane)
        wanted = playing.placed.table
        expect(found == wanted, f"curated.{self._lane} after replays: {checks.difference(wanted, found)}")

    def _check_states(self, original: Original) -> None:
        """Each row that the run set aside is there, once, in the state that it must have, by whom it must have it."""
        rows = self._stack.database.query(_ASIDE, original.run_id)
        expect(len(rows) == len(original.aside), f"{original.run_id} has {len(rows)} rows aside")
        for (state, settled_by, record), (number, row) in zip(rows, sorted(original.aside.items()), strict=True):
            what = f"row {number} of {original.run_id}"
            expect(json.loads(record)["id"] == row["id"], f"{what} is {record}, expected {row}")
            wanted = original.states.get(number, OPEN), original.settled_by.get(number)
            expect((state, settled_by) == wanted, f"{what} is {state} by {settled_by}, expected {wanted}: {record}")


@dataclass
class _Playing:
    """The replays of one trial: what they have made of the table, and what the commands `said`."""

    trial: Trial
    given: Replay
    placed: Placed
    rows: dict[int, truth.Row]
    originals: list[Original] = field(default_factory=list)
    replayed: set[str] = field(default_factory=set)  # original runs whose rows a replay was published of
    said: list[str] = field(default_factory=list)
    told: Replayed = field(default_factory=Replayed)


def _entry(run: dict) -> int:
    """The place of a run; of one that was redriven, the newer one of its two."""
    return run["fetched_entry"] or run["entry"]
