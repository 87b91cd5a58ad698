"""Sizes of what is deployed, against Lambda's limits, and what a cold start imports, against our budgets.

    python -m benchmarks.package [--stage dev] [--times 3]

A cold start is a new process that has the unpacked artefacts, boto3 and nothing else; each function
is called once in it with the event that a real run gives it, against the local stack. `imports` is
all time spent importing, by `-X importtime`: while it is initialized, and by its first event.
"""

from __future__ import annotations

import platform
import statistics
import tempfile
from pathlib import Path

import click

from benchmarks import unpacked
from deploy import artefacts
from local.stack import Stack

ROOT = Path(__file__).resolve().parents[1]

# seconds of imports: 0.5 where no frame is needed, 1.5 with pandas, none for Great Expectations: as little as it goes
BUDGETS = {
    **dict.fromkeys(("plan", "fetch_partition", "write_manifest", "load", "publish", "embed_shard", "complete"), 0.5),
    **dict.fromkeys(("record_chunk_failure", "reject", "record_failure"), 0.5),
    **dict.fromkeys(("start_run", "collect_events", "simulate_sensors", "authorize", "api_handler"), 0.5),
    "apply_changes": 1.5,
    "transform": 1.5,
    "transform without a frame": 0.5,
}


@click.command()
@click.option("--stage", default="dev", show_default=True)
@click.option("--times", default=3, show_default=True)
def main(stage: str, times: int) -> None:
    """Print package sizes with their limits, and import times with their budgets."""
    made = artefacts.build(ROOT, stage, progress=lambda line: click.echo(line, err=True))
    _sizes(made)
    with tempfile.TemporaryDirectory(prefix="sluice-package-") as folder:
        functions = unpacked.Unpacked(made, Path(folder, "lambda"))
        stack = Stack(Path(folder, "home"))
        stack.up()
        try:
            environment = {**unpacked.environment(stack.env()), **unpacked.BEDROCK}
            runs = [unpacked.run(functions, environment, f"cold-{number}") for number in range(times)]
        finally:
            stack.down()
    _times(runs)


def _sizes(made: artefacts.Artefacts) -> None:
    limit = artefacts.UNZIPPED_LIMIT
    click.echo(f"Artefacts, {made.python}, {made.architecture}")
    click.echo(f"{'':28}{'zipped':>16}{'unzipped':>16}{'of the limit':>16}")
    for artefact in made.all:
        click.echo(f"{artefact.name:28}{artefact.zipped:>16,}{artefact.unzipped:>16,}")
    for title, function in (
        ("functions", "plan"),
        ("functions with the gate", artefacts.ABOVE["gate"][0]),
        ("functions of the API", artefacts.ABOVE["api"][0]),
    ):
        size = made.function_size(function)
        click.echo(f"{title:44}{size:>16,}{size / limit:>16.0%}")


def _times(runs: list[dict[str, unpacked.Call]]) -> None:
    size = "s" if len(runs) != 1 else ""
    click.echo(f"\nCold starts, Python {platform.python_version()}, seconds, median of {len(runs)} time{size}")
    click.echo(f"{'':28}{'initialize':>12}{'first event':>12}{'imports':>12}{'budget':>12}")
    for function in runs[0]:
        calls = [run[function] for run in runs]

        def median(attribute: str, calls=calls) -> float:
            return statistics.median(getattr(call, attribute) for call in calls)

        # what initializing imported is in SnapStart's snapshot
        imports = median("event_import_seconds" if function.endswith(unpacked.SNAP_START) else "import_seconds")
        budget = BUDGETS.get(function)
        told = "none" if budget is None else f"{budget}" + (" OVER" if imports > budget else "")
        click.echo(
            f"{function:28}{median('init_seconds'):>12.2f}{median('event_seconds'):>12.2f}{imports:>12.2f}{told:>12}"
        )
    click.echo()


if __name__ == "__main__":
    main()
