"""`sluice cost RUN`: what a run costs on AWS, from its own history."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from chalice.config import Config
from rich.console import Console
from rich.table import Table

from chalicelib import run_log
from chalicelib.embeddings import store
from chalicelib.errors import ConfigurationError
from chalicelib.executions import Execution
from chalicelib.lake import keys
from chalicelib.lake.store import named
from chalicelib.warehouse import connection
from cli import outcome
from cli.session import Session, connect
from deploy import container_usage, log_usage, prices, stage, usage
from deploy import cost as bills
from deploy.cost import Bill
from deploy.log_usage import RunLog
from local.home import REPOSITORY, Home
from statemachine import render

# Chalice's defaults, where the configuration gives none
_MEMORY_MB = 128
_ARCHITECTURE = "x86_64"
_WIDE = 240


@dataclass(frozen=True)
class Cost:
    run_id: str
    status: str
    rows: int | None
    region: str
    prices_of: str  # the day on which they were looked up
    once: Bill
    monthly: dict[str, Bill]  # what is kept, for every month that it is

    def to_json(self) -> dict:
        return {
            "run_id": self.run_id,
            "status": self.status,
            "rows": self.rows,
            "region": self.region,
            "prices_of": self.prices_of,
            "once": self.once.to_json(),
            "per_million_rows": self.once.per_million_rows(self.rows),
            "monthly": {kept: bill.to_json() for kept, bill in self.monthly.items()},
        }


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--region", help="Whose prices; by default those of the region where the pipeline is.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def cost(run_id, region, as_json) -> None:
    """What RUN costs on AWS, service by service. A run of the local stack is priced as if AWS had done it."""
    session = connect()
    execution = outcome.execution_of(session, run_id)
    if execution.is_running:
        raise ConfigurationError(
            f"{run_id} is still going, and what it used is not known yet",
            next_step=f"ask again when `sluice runs show {run_id}` gives a finished_at",
        )
    listed = prices.read(region or session.settings.state_machine_arn.split(":")[3])
    known = _of(session, run_id, execution, listed)
    if as_json:
        sys.stdout.write(json.dumps(known.to_json()) + "\n")
    else:
        _tell(known)


def _of(session: Session, run_id: str, execution: Execution, listed: prices.Prices) -> Cost:
    row = outcome.ledger_row(session, run_id)
    objects = list(_objects(session, run_id, row.get("source"), execution))
    containers = container_usage.started(execution) > 0
    of_containers = _container_log(session, run_id, execution) if containers else None
    used = usage.of_run(
        execution,
        _log(session, run_id, execution),
        objects,
        function_size(session.settings.stage),
        addresses=_addresses(session.settings.stage),
        characters=_characters(session, run_id) if row.get("embedded") else 0,
        of_containers=of_containers,
    )
    if containers:
        used += container_usage.quantities(execution, of_containers, _task_size(session))
    kept = usage.storage(objects)
    return Cost(
        run_id=run_id,
        status=row.get("status", "failed"),
        rows=row.get("fetched"),
        region=listed.region,
        prices_of=listed.checked,
        once=bills.bill(used, listed),
        monthly={first: bills.bill([quantity], listed) for first, quantity in kept.items()},
    )


def _objects(session: Session, run_id: str, source: str | None, execution: Execution) -> Iterator[usage.Stored]:
    """What the run left in the lake. Fetch may have gone on past midnight, so two days are looked at."""
    ended = execution.stopped or execution.read_at
    days = sorted({moment.date().isoformat() for moment in (execution.started, ended)})
    prefixes = [keys.raw(source, day, run_id, 0, 0, "").rpartition("/")[0] + "/" for day in days] if source else []
    client = session.client("s3")
    for prefix in (*prefixes, keys.report(run_id, "").rpartition("/")[0] + "/", keys.declaration(run_id)):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=session.settings.bucket, Prefix=prefix)
        with named(session.settings.bucket, prefix):
            for page in pages:
                yield from (usage.Stored(item["Key"], item["Size"]) for item in page.get("Contents", []))


def _log(session: Session, run_id: str, execution: Execution) -> RunLog | None:
    """The functions'."""
    groups = [f"/aws/lambda/{render.full_name(_machine(session), name)}" for name in render.lambda_functions()]
    return _read_log(session, run_id, execution, Home(session.folder).lambda_log, groups)


def _container_log(session: Session, run_id: str, execution: Execution) -> RunLog | None:
    groups = [container_usage.log_group(_machine(session))]
    return _read_log(session, run_id, execution, Home(session.folder).container_log, groups)


def _read_log(session: Session, run_id: str, execution: Execution, path: Path, groups: list[str]) -> RunLog | None:
    """None where nothing of the run is in the logs: they are deleted after a while, and the run is not."""
    if session.settings.is_local:
        lines = run_log.local_lines(path)
    else:
        ended = execution.stopped or execution.read_at
        lines = run_log.cloudwatch_lines(
            session.client("logs"),
            groups,
            run_id,
            int(execution.started.timestamp() * 1000) - run_log.MARGIN_MS,
            int(ended.timestamp() * 1000) + run_log.MARGIN_MS,
        )
    found = log_usage.read(lines, run_id)
    return found if found.lines else None


def _machine(session: Session) -> str:
    """The name of the stage's state machine, with which those of its parts begin."""
    return session.settings.state_machine_arn.rpartition(":")[2]


def _task_size(session: Session) -> container_usage.TaskSize:
    if session.settings.is_local:
        return container_usage.default_size()
    return container_usage.deployed_size(session.client("ecs"), _machine(session))


def function_size(stage_name: str) -> Callable[[str], usage.Size]:
    document = json.loads((REPOSITORY / stage.CONFIG).read_text(encoding="utf-8"))

    def size(function: str) -> usage.Size:
        config = Config(stage_name, function, config_from_disk=document)
        return usage.Size(config.lambda_memory_size or _MEMORY_MB, config.lambda_architecture or _ARCHITECTURE)

    return size


def _addresses(stage_name: str) -> int:
    """How many people an alert goes to; on the local stack, where nobody is configured, one."""
    try:
        return len(stage.read(REPOSITORY, stage_name).deployment.alert_emails) or 1
    except ConfigurationError:
        return 1


def _characters(session: Session, run_id: str) -> int:
    """Of the embedded texts."""
    with connection.transaction(session.database_url) as opened, opened.cursor() as cursor:
        return store.characters_of_run(cursor, run_id)


def _tell(known: Cost) -> None:
    click.echo(f"run      {known.run_id}, {known.status}" + (f", {known.rows:,} rows" if known.rows else ""))
    click.echo(f"prices   {known.region}, list prices of {known.prices_of}, free allowances not subtracted\n")
    table = Table(box=None, pad_edge=False)
    for name, justify in _COLUMNS:
        table.add_column(name, justify=justify, no_wrap=True)
    for line in known.once.lines:
        quantity = "not known" if line.quantity is None else f"{_amount(line.quantity)} {line.unit}"
        price = "no price" if line.price is None else f"${line.price:.10f}".rstrip("0").rstrip(".")
        table.add_row(line.service, line.what, quantity, price, _dollars(line.usd), line.how)
    console = Console()
    if not console.is_terminal:  # a pipe has no width to fit into
        console = Console(width=_WIDE)
    console.print(table)
    least = "" if known.once.is_complete else " at least: a quantity or a price is missing"
    click.echo(f"\ntotal            {_dollars(known.once.usd)}{least}")
    per_million = known.once.per_million_rows(known.rows)
    if per_million is not None:
        click.echo(f"a million rows   {_dollars(per_million)}, at the size of this run")
    for kept, bill in known.monthly.items():
        click.echo(
            f"kept, a month    {_dollars(bill.usd)} for {bill.lines[0].note}" if bill.lines else f"kept  {kept}: 0"
        )
    click.echo(
        "not in it        what costs the same without a run, such as database, alarms, secrets, stream of changes,"
    )
    click.echo("                 and the API's requests, KMS, X-Ray and traffic: docs/costs.md\n")
    for line in known.once.lines:
        if line.note:
            click.echo(f"{line.what} ({line.how}): {line.note}")


_COLUMNS = (
    ("service", "left"),
    ("what", "left"),
    ("quantity", "right"),
    ("unit price", "right"),
    ("amount", "right"),
    ("known", "left"),
)


def _amount(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def _dollars(usd: float | None) -> str:
    return "" if usd is None else f"${usd:,.6f}" if usd < 1 else f"${usd:,.2f}"
