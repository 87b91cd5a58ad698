"""What Sluice costs: a million rows, and a month of a small, a middling and a large user, as docs/costs.md has it.

    python -m benchmarks.cost_table

The quantities of a run are put together from what was measured here and then counted and priced by the code of
`sluice cost`, so that table and command cannot differ. Seconds are those of a laptop's core; a Lambda has a share of
one by its memory, a whole one at 1,769 MB (https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html).
All measured time is taken for work of the processor, which makes it longer there by that share: too long where a
function waits for S3 or Postgres, so the figures are rather too high.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib import asl, settings
from chalicelib.executions import Children, Execution, State
from chalicelib.lake import keys
from cli.cost import function_size
from deploy import cost, prices, usage
from deploy.cost import DERIVED, Quantity
from deploy.log_usage import RunLog
from deploy.prices import GB, HOURS_PER_MONTH
from statemachine import render

REGION = "us-east-1"
STAGE = "prod"
DAYS_PER_MONTH = HOURS_PER_MONTH / 24

# `python -m benchmarks.pipeline`, 1,000,000 rows in 20 files, first load: seconds per million rows by function
SECONDS = {
    "fetch_partition": 1.43,
    "write_manifest": 0.06,
    "transform": 5.44,
    "validate": 4.47,
    "load": 1.74,
    "quality_gate": 0.14,
    "publish": 4.46,
}
# what an invocation takes besides its rows; the same benchmark and runs of a hundred rows
SECONDS_OF_AN_INVOCATION = 0.05
# cold starts, on a core: the budgets of `make bench`; Great Expectations takes 2.3 s of the gate's
COLD_SECONDS = {"transform": 1.5, "validate": 3.0, "quality_gate": 3.0}
COLD_SECONDS_OTHERS = 0.5
WHOLE_CORE_MB = 1769
# of the generated orders: raw, and between the stages, for a row
RAW_BYTES = 166.2
RUNS_BYTES = 122.8
# what the functions log for an invocation, and the state machine, inputs and outputs left out, for a transition
LOG_BYTES = 630
STATE_LOG_BYTES = 910
METRICS = 14  # that a run reports which embeds nothing
# until the run with these choices is over
CHOSEN = {
    "FetchRunsOn": "Fetch",
    "ProcessRunsOn": "Process",
    "ReviewNeeded": "QualityGate",
    "Verdict": "Publish",
    "EmbedNeeded": "Complete",
}

ALARMS = 49  # 9 of the pipeline, errors and throttles of 20 functions
SECRETS = 2
KEYS = 1
RAW_DAYS_KEPT = 365  # at the end of the first year; `raw/` is kept for good
RUNS_DAYS_KEPT = 90


@dataclass(frozen=True)
class User:
    """`rows` and `runs` are of a day; rows of all sources, runs of each."""

    name: str
    sources: int
    runs: int
    rows: int
    database: str
    database_gb: int

    @property
    def runs_per_month(self) -> float:
        return self.sources * self.runs * DAYS_PER_MONTH

    @property
    def rows_per_month(self) -> float:
        return self.rows * DAYS_PER_MONTH


USERS = (
    User("small", 3, 1, 10_000, "db.t4g.micro", 20),
    User("middling", 10, 4, 1_000_000, "db.t4g.medium", 100),
    User("large", 30, 24, 50_000_000, "db.m7g.xlarge", 1_000),
)


# --- a run ---------------------------------------------------------------------------------------


def entered(definition: dict, partitions: int, chunks: int) -> dict[str, int]:
    """How often each state of a run is entered that passes and embeds nothing."""
    found: dict[str, int] = {}

    def walk(machine: dict, times: int) -> None:
        at = machine["StartAt"]
        while at is not None:
            state = machine["States"][at]
            found[at] = times
            for inner in asl.inner(state):
                walk(inner, chunks if asl.is_distributed(state) else partitions)
            at = CHOSEN.get(at) or state.get("Next")

    walk(definition, 1)
    return found


def execution_of(partitions: int, chunks: int) -> Execution:
    definition = render.definition()
    times = entered(definition, partitions, chunks)
    states = {}
    for name, state, _ in asl.placed(definition):
        children = Children(total=chunks, succeeded=chunks) if asl.is_distributed(state) else None
        states[name] = State(name, state["Type"], entered=times.get(name, 0), children=children)
    now = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
    return Execution("", "", "SUCCEEDED", now, now, now, None, None, None, None, definition, states, frozenset())


def chunks_of(rows: int, partitions: int) -> int:
    """Of equal partitions."""
    default = settings.Settings()
    rows_each = rows / partitions
    return partitions * max(
        math.ceil(rows_each / default.chunk_rows), math.ceil(rows_each * RAW_BYTES / default.chunk_bytes), 1
    )


def quantities(rows: int, partitions: int) -> list[Quantity]:
    """All that a run of so many new rows uses, from cold."""
    chunks = chunks_of(rows, partitions)
    execution = execution_of(partitions, chunks)
    default, size = settings.Settings(), function_size(STAGE)
    tried = {render.snake_case(each.state): each.times for each in usage.attempts(execution, None)}
    milliseconds = {}
    for function in render.lambda_functions():
        if not (times := tried.get(function, 0)):
            continue
        at_once = default.process_concurrency if function in ("transform", "validate", "load") else 1
        at_once = default.fetch_concurrency if function == "fetch_partition" else at_once
        taken = SECONDS.get(function, 0.0) * rows / 1e6 + SECONDS_OF_AN_INVOCATION * times
        taken += COLD_SECONDS.get(function, COLD_SECONDS_OTHERS) * min(times, at_once)
        taken *= WHOLE_CORE_MB / size(function).memory_mb
        milliseconds[function] = [math.ceil(taken * 1000 / times)] * times
    invocations = sum(map(len, milliseconds.values()))
    transitions = sum(quantity.amount for quantity in usage.transitions(execution, None))
    size_of_log = round(invocations * LOG_BYTES + transitions * STATE_LOG_BYTES)
    log = RunLog(size_of_log, 2 * invocations, milliseconds, METRICS)
    return [
        *usage.of_run(execution, log, objects(rows, partitions, chunks), size),
        Quantity("scheduler.invocation", 1, DERIVED),
    ]


def objects(rows: int, partitions: int, chunks: int) -> Iterable[usage.Stored]:
    raw = math.ceil(rows * RAW_BYTES / partitions)
    for partition in range(partitions):
        yield usage.Stored(keys.raw("orders", "2026-11-21", "run", partition, 0, "ndjson"), raw)
        yield usage.Stored(keys.listing("run", partition), 1000)
    for chunk in range(chunks):
        for name in (keys.ROWS, keys.RESULTS, keys.MALFORMED, keys.FAILING):
            yield usage.Stored(keys.chunk("run", chunk, name), 0)
    for name in ("manifest.json", "SUCCEEDED_0.json"):  # the Map's ResultWriter
        yield usage.Stored(f"runs/run/map/run/{name}", 1000)
    for key in (keys.declaration("run"), keys.manifest("run"), keys.report("run", "html"), keys.report("run", "json")):
        yield usage.Stored(key, 1000)


# --- a month ------------------------------------------------------------------------------------


def of_month(user: User) -> cost.Bill:
    """Runs, what is kept at the end of the first year, what stands there all month, and the database."""
    rows = round(user.rows / user.sources / user.runs)
    runs = [Quantity(each.item, each.amount * user.runs_per_month, each.how, each.note) for each in quantities(rows, 1)]
    kept = user.rows * (RAW_BYTES * RAW_DAYS_KEPT + RUNS_BYTES * RUNS_DAYS_KEPT) / GB
    standing = [
        Quantity("s3.gb_month", kept, DERIVED),
        Quantity("cloudwatch.alarm_month", ALARMS, DERIVED),
        Quantity("cloudwatch.dashboard_month", 1, DERIVED),
        Quantity("secrets.secret_month", SECRETS, DERIVED),
        Quantity("kms.key_month", KEYS, DERIVED),
        Quantity(f"rds.hour.{user.database}", HOURS_PER_MONTH, DERIVED),
        Quantity("rds.gb_month", user.database_gb, DERIVED),
    ]
    return cost.bill([*runs, *standing], prices.read(REGION))


# --- others -------------------------------------------------------------------------------------


def of_others(user: User) -> dict[str, float]:
    """The same rows elsewhere, in dollars a month, without the database."""
    listed = prices.read(REGION).items
    minutes = user.runs_per_month  # each run takes the least that is billed, a minute
    fargate = 2 * listed["fargate.vcpu_hour"].usd + 4 * listed["fargate.gb_hour"].usd
    return {
        "Airbyte Cloud": user.rows_per_month * listed["airbyte.row"].usd,
        "Glue": 2 * listed["glue.dpu_hour"].usd * minutes / 60,
        "Fargate": fargate * minutes / 60,
    }


# --- the document ---------------------------------------------------------------------------------


def tables() -> str:
    return "\n\n".join((_a_million(), _months(), _others())) + "\n"


def _a_million() -> str:
    bills = [cost.bill(quantities(1_000_000, files), prices.read(REGION)) for files in (1, 20)]
    lines = ["| | in 1 file | in 20 files |", "|---|---:|---:|"]
    for item, about in prices.read(REGION).items.items():
        found = [[line for line in bill.lines if line.item == item] for bill in bills]
        if any(found):
            sums = [(sum(line.quantity for line in of_it), sum(line.usd for line in of_it)) for of_it in found]
            cells = " | ".join(f"{_quantity(quantity)} · {_dollars(usd)}" for quantity, usd in sums)
            lines.append(f"| {about.service}: {about.what} | {cells} |")
    lines.append("| **in all** | " + " | ".join(f"**{_dollars(bill.usd)}**" for bill in bills) + " |")
    return "\n".join(lines)


def _months() -> str:
    bills = [of_month(user) for user in USERS]
    services = list(dict.fromkeys(service for bill in bills for service in bill.services()))
    services.sort(key=lambda service: service.startswith("RDS"))
    lines = ["| | " + " | ".join(user.name for user in USERS) + " |", "|---|" + "---:|" * len(USERS)]
    for title, form in (
        ("sources, runs of each a day", lambda user: f"{user.sources}, {user.runs}"),
        ("rows a day", lambda user: f"{user.rows:,}"),
        ("database, storage", lambda user: f"{user.database}, {user.database_gb:,} GB"),
    ):
        lines.append(f"| {title} | " + " | ".join(map(form, USERS)) + " |")
    for service in services:
        lines.append(f"| {service} | " + " | ".join(_dollars(bill.services().get(service, 0)) for bill in bills) + " |")
    lines.append("| **a month** | " + " | ".join(f"**{_dollars(bill.usd)}**" for bill in bills) + " |")
    without = [bill.usd - sum(line.usd for line in bill.lines if line.item.startswith("rds.")) for bill in bills]
    lines.append("| without the database | " + " | ".join(map(_dollars, without)) + " |")
    each = [usd / user.rows_per_month * 1e6 for usd, user in zip(without, USERS, strict=True)]
    lines.append("| a million rows, without the database | " + " | ".join(map(_dollars, each)) + " |")
    return "\n".join(lines)


def _others() -> str:
    others = [of_others(user) for user in USERS]
    lines = ["| a month, without a database | " + " | ".join(user.name for user in USERS) + " |"]
    lines.append("|---|" + "---:|" * len(USERS))
    for name in others[0]:
        lines.append(f"| {name} | " + " | ".join(_dollars(each[name]) for each in others) + " |")
    return "\n".join(lines)


def _quantity(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _dollars(usd: float) -> str:
    return f"${usd:,.0f}" if usd >= 100 else f"${usd:,.2f}" if usd >= 0.095 else f"${usd:.2g}" if usd else "$0"


if __name__ == "__main__":
    print(tables(), end="")
