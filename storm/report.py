"""What a storm found: a line per trial, and by fault what became of the runs that met it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass

from storm.trial import Outcome


def line(outcome: Outcome, done: int, planned: int, seed: int, calm: bool) -> str:
    faults = ", ".join(kind if struck else f"({kind})" for kind, struck in outcome.struck)
    told = (
        f"{done}/{planned} trial {outcome.trial.number} {outcome.seconds:.1f} s: {faults}: {', '.join(outcome.ended)}"
    )
    if outcome.redriven:
        told += ", redriven"
    if outcome.counterexample:
        told += f"\n  COUNTEREXAMPLE {outcome.counterexample}\n  {replay(seed, calm, outcome)}"
    return told


def replay(seed: int, calm: bool, outcome: Outcome) -> str:
    return f"again: make storm SEED={seed} ONLY={outcome.trial.number}" + " CALM=1" * calm


@dataclass(frozen=True)
class Report:
    """`rest`: what was left when all trials were over, None if nothing was."""

    seed: int
    calm: bool
    planned: int
    outcomes: list[Outcome]
    seconds: float
    rest: str | None

    @property
    def counterexamples(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.counterexample]

    @property
    def runs(self) -> int:
        """Executions that ended, those that make up for others included."""
        return sum(len(outcome.ended) for outcome in self.outcomes)

    @property
    def by_kind(self) -> dict[str, Counter]:
        """By fault: how often it was drawn, how often it struck, and how the first run ended where it did."""
        found: dict[str, Counter] = defaultdict(Counter)
        for outcome in self.outcomes:
            for kind, struck in outcome.struck:
                found[kind]["drawn"] += 1
                if struck and outcome.ended:
                    found[kind]["struck"] += 1
                    found[kind][outcome.ended[0].split(" ")[0]] += 1
        return dict(sorted(found.items()))

    @property
    def errors(self) -> Counter:
        return Counter(
            ended.partition(" ")[2]
            for outcome in self.outcomes
            for ended in outcome.ended
            if ended.startswith("FAILED")
        )

    def as_json(self) -> str:
        return json.dumps(
            {
                "seed": self.seed,
                "trials": self.planned,
                "runs": self.runs,
                "seconds": round(self.seconds, 1),
                "by_kind": self.by_kind,
                "errors": dict(self.errors.most_common()),
                "left": self.rest,
                "counterexamples": [
                    {
                        "trial": outcome.trial.number,
                        "faults": [vars(fault) for fault in outcome.trial.faults],
                        "ended": outcome.ended,
                        "what": outcome.counterexample,
                        "replay": replay(self.seed, self.calm, outcome),
                    }
                    for outcome in self.counterexamples
                ],
            },
            indent=2,
        )

    def as_markdown(self) -> str:
        rows = ["| fault | drawn | struck | succeeded | failed or rejected | lost |", "|---|---:|---:|---:|---:|---:|"]
        for kind, count in self.by_kind.items():
            numbers = (count[name] for name in ("drawn", "struck", "SUCCEEDED", "FAILED", "LOST"))
            rows.append(f"| {kind} | {' | '.join(map(str, numbers))} |")
        errors = [f"| `{error}` | {count} |" for error, count in self.errors.most_common()]
        return "\n".join([self.as_text(), "", *rows, "", "| error of a failed run | runs |", "|---|---:|", *errors, ""])

    def as_text(self) -> str:
        first = Counter(outcome.ended[0].split(" ")[0] for outcome in self.outcomes if outcome.ended)
        told = [
            f"Seed {self.seed}: {len(self.outcomes)} trials, {self.runs} runs, {self.seconds:.0f} s.",
            f"Of their first runs {first['SUCCEEDED']} succeeded in spite of their faults, {first['FAILED']} failed or"
            f" were rejected, {first['LOST']} were lost with the engine.",
            f"{sum(outcome.redriven for outcome in self.outcomes)} were redriven by `sluice redrive`.",
            f"{len(self.counterexamples)} counterexamples.",
        ]
        if self.rest:
            told.append(f"Left when all was over: {self.rest}")
        told += [
            f"trial {one.trial.number}: {one.counterexample}; {replay(self.seed, self.calm, one)}"
            for one in self.counterexamples
        ]
        return "\n".join(filter(None, told))
