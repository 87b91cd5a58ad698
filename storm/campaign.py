"""All trials of a storm, in lanes that are under way at once: `python -m storm` runs this in a copy of the project."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from storm import checks, plan, project, report
from storm.stack import StormStack
from storm.trial import Lane, Outcome
from storm.upstream import Upstream


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    planned = chosen(given)
    stopping, started = threading.Event(), time.time()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    upstream = Upstream(given.seed)
    project.add_lanes(list(plan.LANES), upstream.url)
    stack = StormStack(given.folder / "home")
    try:
        outcomes = _weather(given, planned, stack, upstream, stopping)
        rest = None
        try:
            checks.the_stack_is_at_rest(stack)
        except checks.Counterexample as error:
            rest = str(error)
    finally:
        stack.close()
        upstream.close()
    found = report.Report(given.seed, given.calm, len(planned), outcomes, time.time() - started, rest)
    given.report.mkdir(parents=True, exist_ok=True)
    (given.report / "storm.json").write_text(found.as_json())
    (given.report / "storm.md").write_text(found.as_markdown())
    print(found.as_text(), flush=True)
    return 1 if found.counterexamples or rest else 0


def chosen(given: argparse.Namespace) -> list[plan.Trial]:
    """The trials that are asked for; one alone is what it is among the others."""
    runs = max(given.only) + 1 if given.only else given.runs
    trials = plan.trials(given.seed, runs, not given.calm)
    return [trial for trial in trials if not given.only or trial.number in given.only]


def _weather(
    given, planned: list[plan.Trial], stack: StormStack, upstream: Upstream, stopping: threading.Event
) -> list[Outcome]:
    stack.database.install()
    holding = stack.database.holding()
    mail, outcomes, lock = checks.Mail(stack), [], threading.Lock()

    def lane_of(name: str) -> None:
        trials = [trial for trial in planned if trial.lane == name]
        lane = Lane(name, given.seed, stack, upstream, mail)
        for trial in trials:
            if stopping.is_set():
                break
            outcome = lane.play(trial)
            with lock:
                outcomes.append(outcome)
                print(report.line(outcome, len(outcomes), len(planned), given.seed, given.calm), flush=True)

    with holding, ThreadPoolExecutor(len(plan.LANES)) as pool:
        for done in [pool.submit(lane_of, name) for name in plan.LANES]:
            done.result()
    return sorted(outcomes, key=lambda outcome: outcome.trial.number)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m storm", description=__doc__)
    made.add_argument("--seed", type=int, default=1, help="the same seed makes the same trials")
    made.add_argument("--runs", type=int, default=1000, help="how many trials")
    made.add_argument("--only", type=_numbers, help="numbers of trials, such as 12,13: play these alone")
    made.add_argument("--calm", action="store_true", help="no faults that hit the runs beside a trial's")
    made.add_argument(
        "--folder", type=Path, default=Path("build/storm"), help="for the copy of the project and its stack"
    )
    made.add_argument("--report", type=Path, default=Path("build"), help="the folder for storm.json and storm.md")
    return made


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
