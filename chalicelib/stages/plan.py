"""Plan: source and window become partitions to fetch; the run is entered in the ledger."""

from __future__ import annotations

import datetime as dt

from chalicelib import code_fingerprint, limits, redaction, sources, windows
from chalicelib import settings as settings_module
from chalicelib.contract_reading import write_contract
from chalicelib.contracts import Partition, PlanRequest, PlanResult, Window
from chalicelib.errors import ConfigurationError
from chalicelib.lake import Lake, keys
from chalicelib.quarantine import planning
from chalicelib.redriving import planning as redriving
from chalicelib.run_input import RunInput
from chalicelib.schema import DISCARD
from chalicelib.settings import Settings
from chalicelib.sources.base import CONTAINER, Source
from chalicelib.telemetry import logger
from chalicelib.warehouse import connection, cursors, evolution, indexes, ledger, migrations, tables


def plan(request: PlanRequest) -> PlanResult:
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    given = RunInput.from_json(request.input)
    if given.live:
        settings = settings.live
    source = sources.get(given.source)
    lake = Lake(settings.bucket)
    wanted = given.input
    if (declaration := source.declare(given.input, settings)) is not None:
        wanted = None  # the declaration says what to read
        lake.put_json(keys.declaration(request.run_id), declaration)
        source = sources.as_declared(given.source, request.run_id, lake)
    _check_containers(source, settings)
    embed = source.embeds(given.embed)
    today = dt.date.fromisoformat(request.started_at[:10])
    code = code_fingerprint.of(source, settings)
    failed = None if given.redrive is None else redriving.read(lake, given.redrive)
    migrations.apply()  # every run begins here, so a deployment needs no step of its own that reaches the database
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        # first: it makes runs of one table wait for each other, so that they are entered in the order of their clocks
        if tables.ensure_curated(cursor, source):
            indexes.ensure(cursor, source)
        schema = evolution.planned(cursor, source) if source.schema_contract != DISCARD else None
        window = Window()
        if given.replay is None:
            window = None if failed is None else redriving.window(source, failed, code)
            window = window or windows.derive(source, given, cursors.position(cursor, source.name), today)
        shown = redaction.strings(request.input)
        window = ledger.open_run(
            cursor, source, request.run_id, request.execution, shown, window, request.started_at, code
        )
        if failed is not None:
            redriving.enter(cursor, request.run_id, failed)
        replayed = None if given.replay is None else planning.enter(cursor, source, request.run_id, given.replay)
    if schema is not None:
        lake.put_json(keys.schema(request.run_id), write_contract(schema))
    if replayed is not None:
        partitions = (planning.partition(lake, request.run_id, replayed),)
    elif source.first_day is not None and window.start is None:
        logger.warning("nothing to fetch: the source's first day is not over yet", first_day=str(source.first_day))
        partitions = ()
    else:
        requests = source.partitions(window, wanted, settings)
        partitions = tuple(Partition(index, wanted, bool(given.live)) for index, wanted in enumerate(requests))
        if failed is not None:
            partitions = redriving.kept(partitions, failed)
    runs_at_once = max(1, given.runs_at_once or 1)
    result = PlanResult(
        run_id=request.run_id,
        source=given.source,
        window=window,
        partitions=partitions,
        fetch_concurrency=source.concurrency(settings, runs_at_once),
        process_concurrency=settings.process_concurrency,
        embed=embed,
        schema_contract=source.schema_contract,
        fetches_on=source.fetches_on,
        runs_on=source.runs_on,
        started_at=request.started_at,
        runs_at_once=runs_at_once,
    )
    limits.check(result, request.input)
    if source.fetches_on == CONTAINER:
        partitions = [write_contract(partition) for partition in result.partitions]
        lake.put_json(keys.partitions(request.run_id), partitions)
    return result


def _check_containers(source: Source, settings: Settings) -> None:
    """Raise ConfigurationError for a source that wants containers where the stage has none."""
    wants = [role for role in ("fetches_on", "runs_on") if getattr(source, role) == CONTAINER]
    if wants and settings.containers != "on":
        raise ConfigurationError(
            f"{' and '.join(wants)} of {source.name} ask for containers, and stage {settings.stage} has none",
            next_step="deploy it with containers (docs/heavy-partitions.md), or let the source run on Lambda",
        )
