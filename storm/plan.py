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
    def given(self) -> dict:
        """The input of its run; a file in an inbox is given by its trigger."""
        if self.by_cursor:
            return {"source": self.lane}
        first, last = truth.window(self.place)
        return {"source": self.lane, "from": first.isoformat(), "to": last.isoformat(), "move_cursor": True}


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
        made.append(Trial(number, lane, places[lane], by_cursor and KINDS[lane] != INBOX, redriven, drawn))
        places[lane] += 1
    return made
