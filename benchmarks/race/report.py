"""The report: RESULTS.md and its picture, from the figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.race import chart, wanted
from benchmarks.race.contestants import BY_NAME, CONTESTANTS
from benchmarks.race.figures import Figures
from benchmarks.race.track import AGAIN, FIRST, Result

PICTURE = "race.svg"
# from what share of a core that others used figures are said to be taken under load
LOADED_CORES = 0.2

STAGES = {
    "plan": "Plan",
    "fetch_partition": "Fetch",
    "write_manifest": "WriteManifest",
    "transform": "Transform",
    "validate": "Validate",
    "load": "Load",
    "quality_gate": "QualityGate",
    "publish": "Publish",
    "complete": "Complete",
}


def write(figures: Figures, folder: Path) -> None:
    """RESULTS.md and its picture, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PICTURE).write_text(chart.draw(figures))
    (folder / "RESULTS.md").write_text("\n".join(lines(figures)) + "\n")


def lines(figures: Figures) -> Iterator[str]:
    yield "# The race"
    yield ""
    yield f"Written by `make bench` (`python -m benchmarks.race`) on {figures.taken}. Do not edit."
    yield ""
    counts = figures.inputs[figures.rows]
    rounds = len(figures.order)
    yield (
        f"{counts.records:,} NDJSON records of {counts.bytes / counts.records:.0f} bytes on average:"
        f" {counts.all:,} keys, {counts.failing:,} failing records. Each load ends with one row per key in a table with"
        " its primary key, in the same Postgres; that is checked, to the last value, after each load. First into an"
        " empty table, then the same data again. Figures are medians of"
        f" {rounds} round{'s' if rounds != 1 else ''}, with the least and the most in parentheses. Each contestant has"
        " a process of its own, its imports done and a small load behind it; before each load comes a CHECKPOINT and a"
        " pause."
    )
    cores = figures.others_cores()
    if cores > LOADED_CORES:
        yield ""
        yield (
            f"**Taken under load**: others used {cores:.1f} of the machine's cores during the median load. Seconds are"
            " too high by that, and ratios are off where others used more during one load than during the other."
        )
    yield ""
    yield f"![Seconds of each contestant, first load and the same data again]({PICTURE})"
    yield ""
    yield from _race(figures)
    yield from _problems(figures)
    yield from _wanted(figures)
    yield from _where(figures)
    yield from _larger(figures)
    yield from _embeddings(figures)
    yield from _with_what(figures)


def _race(figures: Figures) -> Iterator[str]:
    yield "## Seconds"
    yield ""
    yield "| | first load | of the floor | again | of its first | what it does not do |"
    yield "|---|---:|---:|---:|---:|---|"
    floor = figures.median("floor")
    for contestant in _ran(figures):
        first, again = (figures.median(contestant.name, load) for load in (FIRST, AGAIN))
        cells = [
            _spread(figures, contestant.name, FIRST),
            f"{first / floor:.2f}" if first and floor else "",
            _spread(figures, contestant.name, AGAIN),
            f"{again / first:.2f}" if first and again else "",
        ]
        yield f"| {contestant.title} | {' | '.join(cells)} | {contestant.lacks} |"
    yield ""
    if figures.of("sluice") or figures.of("sluice_stages"):
        yield (
            "Sluice again takes over the chunks whose bytes are unchanged: it fetches them anew, and neither parses nor"
            " judges row by row what the first load did. Its first loads are run from scratch."
        )
        yield ""
    yield "## CPU and memory of the first load"
    yield ""
    yield (
        "Seconds of CPU of its own processes and of Postgres'; MB of its largest process, and of all together, what"
        " they share counted once. Sluice's are those of the whole local stack, S3 and Step Functions among them."
    )
    yield ""
    yield "| | CPU | Postgres' CPU | largest process | together | cores that others used |"
    yield "|---|---:|---:|---:|---:|---:|"
    for contestant in _ran(figures):
        if figures.of(contestant.name):
            values = [
                figures.median(contestant.name, value=lambda result, name=name: getattr(result.used, name))
                for name in ("cpu", "postgres_cpu", "largest_mb", "together_mb")
            ]
            values.append(figures.median(contestant.name, value=lambda result: result.used.others_cpu / result.seconds))
            yield "| {} | {:.1f} | {:.1f} | {:,.0f} | {:,.0f} | {:.1f} |".format(contestant.title, *values)
    yield ""


def _problems(figures: Figures) -> Iterator[str]:
    found = [result for result in figures.results if result.problem]
    if not found:
        yield "Every load of every contestant left what it had to."
        yield ""
        return
    yield "## What did not count"
    yield ""
    for result in found:
        title = BY_NAME[result.contestant].title
        which = "first load" if result.load == FIRST else "second load"
        yield f"- {title}, round {result.round}, {which} of {result.rows:,}: {_one_line(result.problem)}"
    yield ""


def _wanted(figures: Figures) -> Iterator[str]:
    yield "## What is wanted"
    yield ""
    yield "| | wanted | reached | |"
    yield "|---|---:|---:|---|"
    for one in wanted.all_of(figures):
        yield f"| {' | '.join(one.cells)} |"
    yield ""


def _where(figures: Figures) -> Iterator[str]:
    """Microseconds per row by stage: in the state machine by the clock, and alone by clock and CPU."""
    rows = figures.rows
    machine, alone = figures.median("sluice"), figures.median("sluice_stages")
    if machine is None and alone is None:
        return
    yield "## Where the time goes"
    yield ""
    yield (
        "Microseconds per row, first load and the same data again. Calls of a stage are added up, so that two workers"
        " side by side count twice: by the clock in the state machine, by the clock and in CPU where the stages are"
        " called alone. What a stage waits for is Postgres, S3, or a core."
    )
    yield ""
    yield "| | state machine | again | alone | again | alone, CPU | again |"
    yield "|---|---:|---:|---:|---:|---:|---:|"

    def cell(contestant: str, load: str, value) -> str:
        median = figures.median(contestant, load, value=value)
        return "" if median is None else f"{median / rows * 1e6:.2f}"

    for name, title in STAGES.items():
        values = [
            ("sluice", lambda r, name=name: r.details["functions"].get(name, {}).get("seconds", 0.0)),
            ("sluice_stages", lambda r, name=name: r.details["stages"][name]["seconds"]),
            ("sluice_stages", lambda r, name=name: r.details["stages"][name]["cpu"]),
        ]
        cells = [cell(contestant, load, value) for contestant, value in values for load in (FIRST, AGAIN)]
        yield f"| {title} | {' | '.join(cells)} |"
    totals = [
        cell(contestant, load, value)
        for contestant, value in (
            ("sluice", _seconds),
            ("sluice_stages", _seconds),
            ("sluice_stages", lambda r: sum(used["cpu"] for used in r.details["stages"].values())),
        )
        for load in (FIRST, AGAIN)
    ]
    yield f"| **the load**, by the clock; CPU in all | {' | '.join(totals)} |"
    yield ""
    if machine and alone:
        share = f"{machine - alone:.1f} s of {machine:.1f} s: {1 - alone / machine:.0%} of the first load"
        yield (
            "The state machine, its engine and the Lambda runtime take "
            + (share if machine > alone else "less than loads of the same data differ by")
            + "."
        )
        yield ""
    if machine is not None:
        states = figures.of("sluice")[0].details["states"]
        yield "By the clock, first load in the state machine, seconds: " + ", ".join(
            f"{name} {figures.median('sluice', value=lambda r, name=name: r.details['states'][name]):.2f}"
            for name in states
        )
        yield ""


def _larger(figures: Figures) -> Iterator[str]:
    larger = max(figures.inputs)
    if larger == figures.rows:
        return
    yield f"## {larger:,} records"
    yield ""
    yield "| | first load, s | again, s | per row, us | highest memory of a worker, MB |"
    yield "|---|---:|---:|---:|---:|"
    for rows in figures.inputs:
        first, again = (figures.median("sluice", load, rows) for load in (FIRST, AGAIN))
        memory = figures.median("sluice", FIRST, rows, wanted.worker_mb)
        cells = (
            _number(first, ".1f"),
            _number(again, ".1f"),
            _number(first and first / rows * 1e6, ".2f"),
            _number(memory, ",.0f"),
        )
        yield f"| {rows:,} records | {' | '.join(cells)} |"
    yield ""


def _embeddings(figures: Figures) -> Iterator[str]:
    if not figures.embeddings:
        return
    found = figures.embeddings
    first, again = found["embedded"]
    yield "## Embeddings"
    yield ""
    written, bare = found["written_per_second"], found["bare_per_second"]
    # figures that were kept from before have none
    keyed = found.get("keyed_per_second")
    yield (
        f"{found['vectors']:,} vectors of 384 dimensions: {written:,.0f} a second as EmbedShard writes them where the"
        f" model is fast (key and index kept, other writers minded, a transaction per 4,096). By binary COPY alone, in"
        f" one transaction: {bare:,.0f} into a table without a key, so that they are written at"
        f" {written / bare:.2f} of that;"
        + (f" {keyed:,.0f} into one with the same key and index, {written / keyed:.2f} of that." if keyed else "")
        + f" Two runs of the same posts embedded {first:,} and {again:,} texts."
    )
    yield ""


def _with_what(figures: Figures) -> Iterator[str]:
    yield "## With what"
    yield ""
    for name, value in figures.machine.items():
        yield f"- {name}: {value}"
    yield f"- Postgres: {', '.join(f'{name} {value}' for name, value in figures.postgres.items())}"
    for contestant in _ran(figures):
        versions = ", ".join(f"{name} {version}" for name, version in figures.versions[contestant.name].items())
        yield f"- {contestant.title}: {contestant.settings}; {versions}"
    yield f"- order, shuffled with seed {figures.seed}:"
    for number, order in enumerate(figures.order, 1):
        yield f"  {number}. {', '.join(BY_NAME[name].title for name in order)}"


def _ran(figures: Figures):
    """The contestants that took part, those too of whom nothing counts."""
    names = {result.contestant for result in figures.results}
    return [contestant for contestant in CONTESTANTS if contestant.name in names]


def _seconds(result: Result) -> float:
    return result.seconds


def _spread(figures: Figures, contestant: str, load: str) -> str:
    seconds = [result.seconds for result in figures.of(contestant, load)]
    if not seconds:
        return "failed"
    median = figures.median(contestant, load)
    return f"{median:.1f} ({min(seconds):.1f} to {max(seconds):.1f})" if len(seconds) > 1 else f"{median:.1f}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
