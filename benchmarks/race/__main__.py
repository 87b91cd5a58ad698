"""The race: a million records into a keyed table, by all contestants in turn, on one machine and one Postgres.

    python -m benchmarks.race [--rows 1000000] [--larger 5000000] [--repeats 3] [--only sluice] [--seed 7]

Writes RESULTS.md and its picture, and what they were made of, as JSON, to `build/race/figures.json`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import platform
import random
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

import click
import psutil

from benchmarks.race import figures as figures_module
from benchmarks.race import report
from benchmarks.race.contestants import BY_NAME, CONTESTANTS, ROOT, Contestant
from benchmarks.race.figures import Figures
from benchmarks.race.track import FIRST, Input, Track
from local.postgres import SETTINGS

# written after each load, so that what breaks off late can still be reported
KEPT = ROOT / "build" / "race" / "figures.json"

_VERSIONS = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Records of the race.")
@click.option("--files", default=20, show_default=True, help="Into which they are divided.")
@click.option("--larger", default=5_000_000, show_default=True, help="Records that Sluice loads besides; 0 for none.")
@click.option("--repeats", default=3, show_default=True, help="Rounds, of which the medians are taken.")
@click.option("--vectors", default=100_000, show_default=True, help="Vectors that are written; 0 for none.")
@click.option("--only", multiple=True, type=click.Choice(list(BY_NAME)), help="A contestant; may be given repeatedly.")
@click.option("--seed", type=int, help="Of the order. [default: of the clock]")
@click.option(
    "--results",
    default=ROOT / "benchmarks",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of RESULTS.md. [default: benchmarks]",
)
@click.option("--figures", "measured", type=click.Path(path_type=Path, exists=True), help="Report these; run nothing.")
def main(
    rows: int,
    files: int,
    larger: int,
    repeats: int,
    vectors: int,
    only: tuple[str, ...],
    seed: int | None,
    results: Path,
    measured: Path | None,
) -> None:
    """Run the race and write its report."""
    if measured is not None:
        report.write(figures_module.read(measured), results)
        return
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    wanted = [contestant for contestant in CONTESTANTS if not only or contestant.name in only]
    with tempfile.TemporaryDirectory(prefix="sluice-race-") as folder, Track(Path(folder)) as track:
        figures = run(track, wanted, rows, files, larger, repeats, vectors, seed)
    report.write(figures, results)
    click.echo("\n" + "\n".join(report.lines(figures)))


def run(
    track: Track, wanted: list[Contestant], rows: int, files: int, larger: int, repeats: int, vectors: int, seed: int
) -> Figures:
    """The race, a line of output for each load."""
    shuffled = random.Random(seed)
    given = track.input(rows, files)
    figures = Figures(
        taken=f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        seed=seed,
        machine=_machine(),
        versions={contestant.name: _versions(contestant) for contestant in wanted},
        postgres=_postgres(track),
        inputs={rows: given.counts},
    )
    click.echo(f"{rows:,} records in {files} files, seed {seed}")
    for number in range(1, repeats + 1):
        order = shuffled.sample(wanted, len(wanted))
        figures.order.append([contestant.name for contestant in order])
        for contestant in order:
            _heat(figures, track, contestant, number, given)
    if larger > rows and BY_NAME["sluice"] in wanted:
        given = track.input(larger, files * larger // rows)
        figures.inputs[larger] = given.counts
        for number in range(1, repeats + 1):
            _heat(figures, track, BY_NAME["sluice"], number, given)
    if vectors:
        figures = dataclasses.replace(figures, embeddings=track.embeddings(vectors, repeats))
    figures.write(KEPT)
    return figures


def _heat(figures: Figures, track: Track, contestant: Contestant, number: int, given: Input) -> None:
    for result in track.heat(contestant, number, given):
        figures.results.append(result)
        figures.write(KEPT)
        which = "first load" if result.load == FIRST else "again"
        told = f"  {result.problem}" if result.problem else ""
        click.echo(f"{number}  {contestant.title:40}{which:12}{result.seconds:>8.2f} s{told}")


def _machine() -> dict[str, str]:
    memory = psutil.virtual_memory().total / 2**30
    load, *_ = os.getloadavg()
    return {
        "machine": f"{os.cpu_count()} cores{_processor()}, {memory:.0f} GB, {platform.system()} {platform.machine()}",
        "load average at the start": f"{load:.1f}",
        "Python": platform.python_version(),
    }


def _processor() -> str:
    """What kind of cores, where Linux says so."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(f" of {line.partition(':')[2].strip()}" for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return ""


def _versions(contestant: Contestant) -> dict[str, str]:
    if not contestant.installed_apart:
        return {name: version(name) for name in contestant.versions}
    said = subprocess.run(
        [contestant.python, "-c", _VERSIONS, *contestant.versions], capture_output=True, text=True, check=True
    )
    return dict(zip(contestant.versions, said.stdout.split(), strict=True))


def _postgres(track: Track) -> dict[str, str]:
    with track.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version')")
        (server,) = cursor.fetchone()
    shown = ("shared_buffers", "work_mem", "maintenance_work_mem", "max_wal_size", "synchronous_commit", "wal_level")
    return {"version": server, **{name: SETTINGS[name] for name in shown}, "fsync": "on"}


if __name__ == "__main__":
    main()
