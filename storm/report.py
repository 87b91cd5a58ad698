"""What a storm found: a line per trial, and by fault what became of the runs that met it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass

from storm.faults import Fault
from storm.trial import Outcome

SLOW_SECONDS = 30  # a trial that takes longer says what it waited for
TOLD_WAITS = 3

# what a storm is to bring, as it was asked for, and the kinds of faults that are it
WANTED = {
    "source: 429": ("source 429",),
    "source: 500": ("source 500",),
    "source: no answer": ("source hang",),
    "source: truncated body": ("source truncated",),
    "source: data that change between pages": ("source changed",),
    "worker killed": ("worker killed", "worker killed before it answered", "S3 kill", "all workers killed"),
    "handler timeout": ("handler timeout",),
    "out of memory": ("out of memory",),
    "S3: 500": ("S3 error", "S3 unheard"),
    "S3: SlowDown": ("S3 slow-down",),
    "S3: stale object": ("S3 stale",),
    "S3: missing object": ("S3 missing",),
    "Postgres restarted": ("Postgres restarted", "Postgres killed"),
    "connection cut in COPY": ("connection cut in COPY",),
    "connection cut in the publishing transaction": ("connection cut in the merge", "connection cut in the commit"),
    "lock timeout": ("lock timeout", "lock timeout in COPY", "lock timeout in the merge", "lock timeout in the commit"),
    "disk full": ("disk full", "disk full in COPY", "disk full in the merge", "disk full in the commit"),
    "read-only": (
        "read-only",
        "read-only in COPY",
        "read-only in the merge",
        "read-only in the commit",
        "all read-only",
    ),
    "duplicate starts": ("doubled start", "event delivered twice"),
    "simultaneous starts": ("simultaneous runs",),
    "SNS unavailable": ("SNS unavailable", "SNS unheard"),
    "SQS unavailable": ("SQS unavailable", "SQS unheard"),
    "clock steps": ("clock of Postgres", "clock of the state machine"),
    "engine stopped and started again": ("engine stopped", "engine killed"),
}


def line(outcome: Outcome, done: int, planned: int, seed: int, calm: bool) -> str:
    faults = ", ".join(fault.kind if struck else f"({fault.kind})" for fault, struck in outcome.struck)
    ended = ", ".join(outcome.ended) or "no run was started"
    told = f"{done}/{planned} trial {outcome.trial.number} {outcome.seconds:.1f} s: {faults}: {ended}"
    if outcome.redriven:
        told += ", redriven"
    if outcome.replayed.runs:
        met = ", ".join(fault.kind if struck else f"({fault.kind})" for fault, struck in outcome.replayed.struck)
        told += f", replays{' with ' * bool(met)}{met}: {', '.join(outcome.replayed.runs)}"
    if outcome.seconds > SLOW_SECONDS:
        told += f"\n  {slowness(outcome)}"
    if outcome.counterexample:
        told += f"\n  COUNTEREXAMPLE {outcome.counterexample}\n  {replay(seed, calm, outcome)}"
    return told


def slowness(outcome: Outcome) -> str:
    waits = "; ".join(f"{seconds:.0f} s for {what}" for what, seconds in outcome.waited[:TOLD_WAITS])
    return (
        f"trial {outcome.trial.number} took {outcome.seconds:.0f} s, and waited {waits or 'for nothing in particular'}"
    )


def replay(seed: int, calm: bool, outcome: Outcome) -> str:
    return f"again: make storm SEED={seed} ONLY={outcome.trial.number}" + " CALM=1" * calm


def _told(fault: Fault, struck: bool) -> dict:
    return {"kind": fault.kind, "seam": fault.seam, "lasting": fault.lasting, "values": fault.values, "struck": struck}


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
    def slow(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.seconds > SLOW_SECONDS]

    @property
    def runs(self) -> int:
        """Executions that ended, those that make up for others included."""
        return sum(len(outcome.ended) for outcome in self.outcomes)

    @property
    def replays(self) -> dict:
        """How many runs judged rows again, after how many trials, how they ended, how many of their faults struck."""
        replayed = [outcome.replayed for outcome in self.outcomes if outcome.replayed.runs]
        faults = [struck for each in replayed for _, struck in each.struck]
        ended = Counter(run.split(" ")[0] for each in replayed for run in each.runs)
        return {
            "trials": len(replayed),
            "runs": ended.total(),
            "ended": ended,
            "drawn": len(faults),
            "struck": sum(faults),
        }

    @property
    def by_kind(self) -> dict[str, Counter]:
        """By fault: how often it was drawn, how often it struck, and how the first run ended where it did."""
        found: dict[str, Counter] = defaultdict(Counter)
        for outcome in self.outcomes:
            for fault, struck in outcome.struck:
                found[fault.kind]["drawn"] += 1
                if struck:
                    found[fault.kind]["struck"] += 1
                    if outcome.ended:
                        found[fault.kind][outcome.ended[0].split(" ")[0]] += 1
        return dict(sorted(found.items()))

    @property
    def never(self) -> list[str]:
        """Those of WANTED of which no kind has struck."""
        struck = {kind for kind, count in self.by_kind.items() if count["struck"]}
        return [name for name, kinds in WANTED.items() if not struck & set(kinds)]

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
                "never": self.never,
                "by_kind": self.by_kind,
                "errors": dict(self.errors.most_common()),
                "replays": self.replays,
                "left": self.rest,
                "played": [
                    {
                        "trial": outcome.trial.number,
                        "lane": outcome.trial.lane,
                        "seconds": round(outcome.seconds, 1),
                        "faults": [_told(fault, struck) for fault, struck in outcome.struck],
                        "ended": outcome.ended,
                        "replays": outcome.replayed.runs,
                        "faults_of_replays": [_told(fault, struck) for fault, struck in outcome.replayed.struck],
                        "waited": outcome.waited,
                    }
                    for outcome in self.outcomes
                ],
                "counterexamples": [
                    {
                        "trial": outcome.trial.number,
                        "what": outcome.counterexample,
                        "replay": replay(self.seed, self.calm, outcome),
                    }
                    for outcome in self.counterexamples
                ],
            },
            indent=2,
        )

    def as_markdown(self) -> str:
        columns = ("drawn", "struck", "SUCCEEDED", "FAILED", "LOST", "ABORTED")
        rows = ["| fault | drawn | struck | succeeded | failed or rejected | lost | stopped |", f"|---|{'---:|' * 6}"]
        for kind, count in self.by_kind.items():
            rows.append(f"| {kind} | {' | '.join(str(count[name]) for name in columns)} |")
        errors = [f"| `{error}` | {count} |" for error, count in self.errors.most_common()]
        return "\n".join([self.as_text(), "", *rows, "", "| error of a failed run | runs |", "|---|---:|", *errors, ""])

    def as_text(self) -> str:
        replays = self.replays
        first = Counter(outcome.ended[0].split(" ")[0] for outcome in self.outcomes if outcome.ended)
        played, per_minute = len(self.outcomes), 60 * len(self.outcomes) / max(self.seconds, 1)
        told = [
            f"Seed {self.seed}: {played} of {self.planned} trials, {self.runs} runs, {self.seconds:.0f} s,"
            f" {per_minute:.0f} trials a minute.",
            f"Of their first runs {first['SUCCEEDED']} succeeded in spite of their faults, {first['FAILED']} failed or"
            f" were rejected, {first['LOST']} were lost with the engine, {first['ABORTED']} were stopped.",
            f"{sum(outcome.redriven for outcome in self.outcomes)} were redriven by `sluice redrive`.",
            f"{replays['runs']} replays of what {replays['trials']} of the trials had set aside,"
            f" {replays['ended']['SUCCEEDED']} of which succeeded, {replays['ended']['FAILED']} failed,"
            f" {replays['ended']['LOST']} were lost, {replays['ended']['ABORTED']} were stopped;"
            f" {replays['struck']} of {replays['drawn']} faults struck these.",
            f"Of the {len(WANTED)} faults that were asked for, {len(WANTED) - len(self.never)} struck at least once"
            + (f"; never: {', '.join(self.never)}." if self.never else "."),
            f"{len(self.counterexamples)} counterexample{'' if len(self.counterexamples) == 1 else 's'}.",
        ]
        if self.rest:
            told.append(f"Left when all was over: {self.rest}")
        told += map(slowness, self.slow)
        told += [
            f"trial {one.trial.number}: {one.counterexample}; {replay(self.seed, self.calm, one)}"
            for one in self.counterexamples
        ]
        return "\n".join(told)
