"""What is wanted of Sluice beside what was reached, each one line of the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.race.figures import Figures
from benchmarks.race.track import AGAIN, FIRST

GATE = ("validate", "quality_gate")


@dataclass(frozen=True)
class Wanted:
    """`reached` is None where it was not measured; `limit` and `reached` have one unit."""

    what: str
    at_most: bool
    limit: float
    reached: float | None
    form: str = "{:.2f}"

    @property
    def met(self) -> bool | None:
        if self.reached is None:
            return None
        return self.reached <= self.limit if self.at_most else self.reached >= self.limit

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What, wanted, reached, and whether."""
        bound = ("at most " if self.at_most else "at least ") + self.form.format(self.limit)
        if self.reached is None:
            return self.what, bound, "", "not measured"
        return self.what, bound, self.form.format(self.reached), "met" if self.met else "**missed**"


def all_of(figures: Figures) -> list[Wanted]:
    return list(_all(figures))


def _all(figures: Figures) -> Iterator[Wanted]:
    first = figures.median("sluice")
    yield Wanted("first load, against dlt with Arrow tables", True, 1.0, _ratio(first, figures.median("dlt_arrow")))
    yield Wanted("dlt with Python records, against Sluice", False, 3.0, _ratio(figures.median("dlt_records"), first))
    yield Wanted("first load, against the floor", True, 2.2, _ratio(first, figures.median("floor")))
    yield Wanted(
        "second, unchanged load, chunks kept, against the first",
        True,
        0.7,
        _ratio(figures.median("sluice", AGAIN), first),
    )
    larger = max(figures.inputs)
    grown, memory = None, None
    if larger > figures.rows:
        grown = _ratio(figures.median("sluice", FIRST, larger), first)
        grown = grown and grown * figures.rows / larger
        memory = _ratio(*(figures.median("sluice", FIRST, rows, worker_mb) for rows in (larger, figures.rows)))
    name = f"{larger:,} rows against {figures.rows:,}" if larger > figures.rows else "a larger input against this one"
    yield Wanted(f"time per row, {name}", True, 1.1, grown)
    # 'equal': what a garbage collector leaves differs by a few percent from run to run
    yield Wanted(f"highest memory of a worker, {name}", True, 1.05, memory)
    yield Wanted("the gate's share of the CPU of all stages", True, 0.35, gate_share(figures), "{:.1%}")
    measured = figures.embeddings
    speed = measured and measured["written_per_second"] / measured["bare_per_second"]
    yield Wanted("vectors written, against a bare binary COPY", False, 0.8, speed)
    yield Wanted("texts embedded again by an unchanged run", True, 0, measured and measured["embedded"][1], "{:,.0f}")


def worker_mb(result) -> float:
    return result.details["worker_mb"]


def gate_share(figures: Figures) -> float | None:
    """Of the CPU that the stages take when they are called alone, that of Validate and QualityGate."""
    return figures.median("sluice_stages", value=_gate_share)


def _gate_share(result) -> float:
    stages = result.details["stages"]
    return sum(stages[name]["cpu"] for name in GATE) / sum(used["cpu"] for used in stages.values())


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None
