"""What was measured, as one JSON file: the results, and with what. Medians are taken here, of what counts."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.race.measure import Used
from benchmarks.race.track import FIRST, Result
from benchmarks.race.truth import Counts


@dataclass(frozen=True)
class Figures:
    """`inputs` by their number of rows; the first of them is the race's, another one is for Sluice alone.

    `order` is by round. `machine`, `versions` and `postgres` are printed as they are.
    """

    taken: str
    seed: int
    machine: dict[str, str]
    versions: dict[str, dict[str, str]]
    postgres: dict[str, str]
    inputs: dict[int, Counts]
    order: list[list[str]] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    embeddings: dict | None = None

    @property
    def rows(self) -> int:
        return next(iter(self.inputs))

    def of(self, contestant: str, load: str = FIRST, rows: int | None = None) -> list[Result]:
        """The loads that count."""
        wanted = (contestant, load, rows or self.rows)
        return [r for r in self.results if (r.contestant, r.load, r.rows) == wanted and r.problem is None]

    def median(
        self,
        contestant: str,
        load: str = FIRST,
        rows: int | None = None,
        value: Callable[[Result], float] = lambda result: result.seconds,
    ) -> float | None:
        """None where no load counts."""
        values = [value(result) for result in self.of(contestant, load, rows)]
        return statistics.median(values) if values else None

    def others_cores(self) -> float:
        """How much of the machine others used in the median load, in cores."""
        shares = [r.used.others_cpu / r.seconds for r in self.results if r.used and r.seconds]
        return statistics.median(shares) if shares else 0.0

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1))


def read(path: Path) -> Figures:
    values = json.loads(path.read_text())
    values["inputs"] = {int(rows): Counts(**counts) for rows, counts in values["inputs"].items()}
    values["results"] = [
        Result(**{**result, "used": result["used"] and Used(**result["used"])}) for result in values["results"]
    ]
    return Figures(**values)
