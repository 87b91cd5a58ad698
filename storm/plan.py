"""A seed makes a list of trials: which lane, which days, which faults. The same seed makes the same list."""

from __future__ import annotations

import random
from dataclasses import dataclass

from storm import faults, truth
from storm.faults import Fault

# trials of the same lane follow each other; those of several are under way at once
LANES = ("storm_0", "storm_1_lines", "storm_2", "storm_3_lines")


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
    def name(self) -> str:
        """What its runs' names begin with; the lane is in it before the first hyphen."""
        return f"{self.lane}-t{self.number:05d}-"

    @property
    def given(self) -> dict:
        """The input of its run."""
        if self.by_cursor:
            return {"source": self.lane}
        first, last = truth.window(self.place)
        return {"source": self.lane, "from": first.isoformat(), "to": last.isoformat(), "move_cursor": True}


def trials(seed: int, runs: int, disturbing: bool = True) -> list[Trial]:
    """`disturbing`: with faults that also hit the runs beside it, such as a Postgres that is started again."""
    made = []
    for number in range(runs):
        rng = random.Random(f"{seed} {number}")
        drawn = tuple(faults.draw(rng, disturbing))
        # of simultaneous runs the second might find the cursor moved, and ask for other days
        by_cursor = rng.random() < 0.5 and not any(fault.seam == "starts" for fault in drawn)
        redriven = rng.random() < 0.5
        lane, place = LANES[number % len(LANES)], number // len(LANES)
        made.append(Trial(number, lane, place, by_cursor, redriven, drawn))
    return made
