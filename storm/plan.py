"""A seed makes a list of trials: which lane, which days, which faults. The same seed makes the same list."""

from __future__ import annotations

import random
from dataclasses import dataclass

from storm import faults, truth
from storm.faults import CONTAINERS, DOCUMENTS, INBOX, LINES, TEXTS, Fault

# by lane: what its source is like. Trials of the same lane follow each other, all lanes are under way at once
KINDS = {
    "storm_0": DOCUMENTS,
    "storm_1_lines": LINES,
    "storm_2": DOCUMENTS,
    "storm_3_lines": LINES,
    "storm_4": DOCUMENTS,
    "storm_5_lines": LINES,
    "storm_6_texts": TEXTS,
    "storm_7_containers": CONTAINERS,
    "storm_8_inbox": INBOX,
}
LANES = tuple(KINDS)
_WEB = LANES[:6]
# the lanes of consecutive trials: a task in a container takes a second of processor time before it does anything
ROUND = (*_WEB, *LANES[6:], *_WEB, LANES[6], LANES[8])


_REPLAYS = 0.25  # of the trials: a suite that is edited has all workers begin anew, twice for each


@dataclass(frozen=True)
class Replay:
    """What a trial's runs set aside is judged again, by a suite that was mended.

    `twice`: its days are loaded once more before. `older`: so is what a run before it has set aside. `beside`: a newer
    run of the same days starts at the same time. `together`: all of these runs' rows are asked for at once, else the
    newest run's first where `newest_first`. `at_once`: so many commands ask for the same rows.
    """

    twice: bool
    older: bool
    beside: bool
    together: bool
    newest_first: bool
    at_once: int
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Trial:
    """One run and its faults. `place` is its place in its lane, which says which days it asks for.

    `by_cursor`: no days are given, the cursor says which. `redriven`: `sluice redrive` makes up for it, else its dead
    letter or a new run.
    """

    number: int
    lane: str
    place: int
    by_cursor: bool
    redriven: bool
    faults: tuple[Fault, ...]
    replay: Replay | None = None

    @property
    def kind(self) -> str:
        return KINDS[self.lane]

    @property
    def mark(self) -> str:
        """What the names of its runs contain, of its objects and of all that is about them, and nobody else's."""
        return f"-t{self.number:05d}-"

    @property
    def name(self) -> str:
        """What its runs' names begin with; the lane is in it before the first hyphen."""
        return f"{self.lane}{self.mark}"

    @property
    def days(self) -> dict:
        """The input of a run that asks for its days once more, and leaves the cursor where it is."""
        first, last = truth.window(self.place)
        return {"source": self.lane, "from": first.isoformat(), "to": last.isoformat()}

    @property
    def given(self) -> dict:
        """The input of its run; a file in an inbox is given by its trigger."""
        if self.by_cursor:
            return {"source": self.lane}
        return {**self.days, "move_cursor": True}


def trials(seed: int, runs: int, disturbing: bool = True) -> list[Trial]:
    """`disturbing`: with faults that also hit the runs beside it, such as a Postgres that is started again."""
    made, places = [], dict.fromkeys(LANES, 0)
    for number in range(runs):
        rng = random.Random(f"{seed} {number}")
        lane = ROUND[number % len(ROUND)]
        drawn = tuple(faults.draw(rng, disturbing, KINDS[lane]))
        # of simultaneous runs the second might find the cursor moved, and ask for other days
        by_cursor = rng.random() < 0.5 and not any(fault.seam == "starts" for fault in drawn)
        redriven = rng.random() < 0.5
        by_cursor = by_cursor and KINDS[lane] != INBOX
        replay = _replay(random.Random(f"{seed} {number} replay"), lane, drawn)
        made.append(Trial(number, lane, places[lane], by_cursor, redriven, drawn, replay))
        places[lane] += 1
    return made


def _replay(rng: random.Random, lane: str, drawn: tuple[Fault, ...]) -> Replay | None:
    """None where it is not known which rows the runs set aside, or where each chunk takes a second to begin."""
    is_known = not {"source changed", "source spoiled"} & {fault.kind for fault in drawn}
    if rng.random() > _REPLAYS or KINDS[lane] == CONTAINERS or not is_known:
        return None
    again = KINDS[lane] != INBOX  # who puts a file into the inbox again starts nothing
    return Replay(
        twice=rng.random() < 0.5 and again,
        older=rng.random() < 0.3,
        beside=rng.random() < 0.3 and again,
        together=rng.random() < 0.5,
        newest_first=rng.random() < 0.5,
        at_once=rng.choice((1, 1, 2)),
        faults=tuple(faults.draw_for_replay(rng)),
    )
