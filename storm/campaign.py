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
from storm.waiting import Stopped, Waits


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    planned, waits, started, signals = chosen(given), Waits(), time.time(), []

    def stop(number: int, frame) -> None:
        signals.append(number)
        waits.stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    upstream = Upstream(given.seed)
    project.add_lanes(list(plan.LANES), upstream.url)
    stack, outcomes, rest = StormStack(given.folder / "home", waits), [], None
    try:
        _weather(given, planned, stack, upstream, outcomes)
        rest = _rest(stack)
    except Stopped:
        print("Stopped: what was under way is given up.", flush=True)
    finally:
        stack.close()
        upstream.close()
    outcomes.sort(key=lambda outcome: outcome.trial.number)
    found = report.Report(given.seed, given.calm, len(planned), outcomes, time.time() - started, rest)
    given.report.mkdir(parents=True, exist_ok=True)
    name = "storm-only" if given.only else "storm"  # what a whole campaign found stays
    (given.report / f"{name}.json").write_text(found.as_json())
    (given.report / f"{name}.md").write_text(found.as_markdown())
    print(found.as_text(), flush=True)
    if signals:
        return 128 + signals[0]  # as a shell tells of who was ended by a signal
    return 1 if found.counterexamples or rest else 0


def _rest(stack: StormStack) -> str | None:
    """What is left when all is over."""
    try:
        stack.sweep()
        checks.the_stack_is_at_rest(stack)
    except checks.Counterexample as error:
        return str(error)
    return None


def chosen(given: argparse.Namespace) -> list[plan.Trial]:
    """The trials that are asked for; one alone is what it is among the others."""
    runs = max(given.only) + 1 if given.only else given.runs
    trials = plan.trials(given.seed, runs, not given.calm)
    return [trial for trial in trials if not given.only or trial.number in given.only]


def _weather(given, planned: list[plan.Trial], stack: StormStack, upstream: Upstream, outcomes: list[Outcome]) -> None:
    """Play them; `outcomes` gets what is over. Raises Stopped where the storm is stopped before all is."""
    stack.database.install()
    holding, mail, lock = stack.database.holding(), checks.Mail(stack), threading.Lock()

    def lane_of(name: str) -> None:
        lane = Lane(name, given.seed, stack, upstream, mail)
        try:
            for trial in planned:
                if trial.lane == name:
                    stack.waits.pause(0)
                    outcome = lane.play(trial)
                    with lock:
                        outcomes.append(outcome)
                        print(report.line(outcome, len(outcomes), len(planned), given.seed, given.calm), flush=True)
        finally:
            lane.close()

    with holding, ThreadPoolExecutor(len(plan.LANES)) as pool:
        lanes = [pool.submit(lane_of, name) for name in plan.LANES]
        for done in lanes:
            done.result()


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m storm", description=__doc__)
    made.add_argument("--seed", type=int, default=1, help="the same seed makes the same trials")
    made.add_argument("--runs", type=int, default=1000, help="how many trials")
    made.add_argument("--only", type=_numbers, help="numbers of trials, such as 12,13: play these alone")
    made.add_argument("--calm", action="store_true", help="no faults that hit the runs beside a trial's")
    made.add_argument(
        "--folder", type=Path, default=Path("build/storm"), help="for the copy of the project and its stack"
    )
    made.add_argument(
        "--report", type=Path, default=Path("build"), help="the folder for storm.*; for storm-only.* with --only"
    )
    return made


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
