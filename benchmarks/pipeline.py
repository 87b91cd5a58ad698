"""`make bench`: generated orders through the real state machine on the warm local stack, with every gate on.

    python -m benchmarks.pipeline [--rows 1000000] [--files 20] [--times 3]

Each time starts from an empty curated table: a first load, then the same data again. Printed are
the medians, where the time went, and the highest memory of any worker.
"""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import boto3
import click
import psycopg2

from benchmarks import orders
from chalicelib import executions
from chalicelib.warehouse.publishing import COUNTS
from local.stack import Stack

VERSIONS = ("pandas", "numpy", "orjson", "great-expectations", "moto", "psycopg2-binary")
# enough for every worker to import what it needs and to judge a chunk
WARM_UP_ROWS = 20_000
STATES = ("Plan", "Fetch", "WriteManifest", "Process", "QualityGate", "Publish")


class Bench:
    """A stack of its own, so that nothing else of the user's is measured or touched."""

    def __init__(self, stack: Stack):
        self.stack = stack
        self.env = stack.env()
        self.client = boto3.client(
            "stepfunctions",
            endpoint_url=self.env["AWS_ENDPOINT_URL"],
            region_name=self.env["AWS_REGION"],
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
        )

    def execute(self, statement: str) -> list[tuple]:
        connection = psycopg2.connect(self.env["DATABASE_URL"])
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def load(self, declaration: Path, name: str) -> dict:
        """One run: seconds in all, by state and by function, the account, the highest memory in MB."""
        self.stack.usage(reset=True)
        arn = self.client.start_execution(
            stateMachineArn=self.env["SLUICE_STATE_MACHINE_ARN"],
            name=name,
            input=json.dumps({"source": "files", "input": str(declaration)}),
        )["executionArn"]
        while self.client.describe_execution(executionArn=arn)["status"] == "RUNNING":
            time.sleep(0.1)
        execution = executions.read(self.client, arn)
        [(status, *account)] = self.execute(
            f"SELECT status, {', '.join(COUNTS)} FROM pipeline.runs WHERE run_id = '{name}'"
        )
        if status != "succeeded":
            raise SystemExit(f"{name} {status}: {execution.error} {execution.cause}")
        usage = self.stack.usage()
        return {
            "seconds": execution.seconds,
            "states": {name: execution.states[name].seconds for name in STATES},
            "functions": {name: used["seconds"] for name, used in usage.items()},
            "account": dict(zip(COUNTS, account, strict=True)),
            "memory": max(used["peak_rss_mb"] for used in usage.values()),
        }


@click.command()
@click.option("--rows", default=1_000_000, show_default=True)
@click.option("--files", default=20, show_default=True)
@click.option("--times", default=3, show_default=True)
def main(rows: int, files: int, times: int) -> None:
    """Measure loads of generated orders."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        declaration = orders.write(Path(folder, "data"), rows, files)
        warm_up = orders.write(Path(folder, "warm-up"), WARM_UP_ROWS, 4)
        stack = Stack(Path(folder, "home"))
        stack.up()
        try:
            bench = Bench(stack)
            bench.load(warm_up, "warm-up")
            first, again = [], []
            for number in range(times):
                bench.execute("DROP TABLE curated.orders")
                first.append(bench.load(declaration, f"first-{number}"))
                again.append(bench.load(declaration, f"again-{number}"))
        finally:
            stack.down()
    click.echo(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in VERSIONS))
    size = "s" if times != 1 else ""
    click.echo(f"{rows:,} records in {files} files, median of {times} time{size}\n")
    _table(rows, {"first load": first, "same data again": again})


def _table(rows: int, loads: dict[str, list[dict]]) -> None:
    click.echo(f"{'':28}" + "".join(f"{title:>20}" for title in loads))

    def line(title: str, value, form: str) -> None:
        click.echo(
            f"{title:28}" + "".join(f"{statistics.median(map(value, runs)):>20{form}}" for runs in loads.values())
        )

    line("seconds", lambda run: run["seconds"], ".2f")
    line("rows per second", lambda run: rows / run["seconds"], ",.0f")
    for state in STATES:
        line(f"  {state}, seconds", lambda run, state=state: run["states"][state], ".2f")
    functions = sorted({name for runs in loads.values() for run in runs for name in run["functions"]})
    for name in functions:
        line(f"  {name}, us per row", lambda run, name=name: run["functions"].get(name, 0) / rows * 1e6, ".2f")
    line("highest worker memory, MB", lambda run: run["memory"], ",.0f")
    for name in COUNTS:
        line(name, lambda run, name=name: run["account"][name], ",.0f")


if __name__ == "__main__":
    main()
