"""QualityGate: every chunk's outcome, the dataset-wide expectations, the quarantine: one verdict, one report.

The audit of write-audit-publish: rows are in staging, nobody has seen them yet.
"""

from __future__ import annotations

import datetime as dt
import functools

from chalicelib import personal, secrets, sources
from chalicelib import settings as settings_module
from chalicelib.anomalies import drift, outliers, statistics
from chalicelib.contract_reading import read_contract
from chalicelib.contracts import QualityGateRequest, QualityGateResult, Window
from chalicelib.errors import STAGE_ANEW, AccountError, ChunksFailed, NotFound
from chalicelib.failure import read_cause
from chalicelib.lake import Lake, keys
from chalicelib.links import Links
from chalicelib.quality import columns_report, dataset, verdict
from chalicelib.quality import suite as suites
from chalicelib.quality.alert import quality_alert
from chalicelib.quality.report import Report, RowAccount
from chalicelib.quality.rows import Example, ItemCount
from chalicelib.quality.verdict import Observation, RejectionCount
from chalicelib.rejection import EXPECTATION
from chalicelib.run_input import RunInput
from chalicelib.sources import Source
from chalicelib.triggers import inbox
from chalicelib.triggers.starting import REJECTED
from chalicelib.warehouse import connection, ledger, tables
from chalicelib.warehouse.ledger import ChunkCounts

# of the chunks that failed, how many are quoted with their error
_FAILURES_QUOTED = 3


def quality_gate(request: QualityGateRequest) -> QualityGateResult:
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    lake = Lake(settings.bucket)
    source = sources.for_run(request.source, request.run_id, lake)
    suite = suites.load(source)
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        run = ledger.get_run(open_connection, request.run_id)
        given = RunInput.from_json(run["input"])
        if given.replay is not None:
            suite = suite.of_replays()
        elif inbox.is_collected(given, lake.bucket):
            suite = suite.of_events()
        chunks = ledger.chunks(cursor, request.run_id)
        _check_complete(request, lake, chunks)
        staged = tables.count_staged(cursor, source.table, request.run_id)
        quarantined = ledger.count_quarantined(cursor, request.run_id)
        _check_account(request.run_id, chunks, staged, quarantined)
        rejections = _rejections(cursor, source, request.run_id)
        observations = outliers.mark(cursor, source, request.run_id) + _drift(cursor, source, suite, run, lake.bucket)
    fetched = sum(chunk.records for chunk in chunks)
    schema = columns_report.made(source, [chunk.results for chunk in chunks])
    judge = functools.partial(
        verdict.judge,
        suite,
        [[read_contract(ItemCount, count) for count in chunk.results["expectations"]] for chunk in chunks],
        dataset.check(suite, secrets.database_url(), tables.STAGING, tables.staging_name(source.table, request.run_id)),
        fetched,
        quarantined,
        rejections,
        observations,
    )
    judged = judge(columns_report.findings(schema))
    if judged.verdict == verdict.FAIL:
        judged = judge(columns_report.findings(schema, published=False))
    whole = inbox.address(given, lake.bucket) if judged.verdict == verdict.FAIL else None
    report = Report(
        run_id=request.run_id,
        source=source.name,
        table=f"{tables.CURATED}.{source.table}",
        verdict=judged.verdict,
        started=run["started_at"].isoformat(timespec="seconds"),
        finished=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        account=RowAccount(fetched, staged, quarantined),
        findings=judged.findings,
        results=judged.results,
        tolerance=suite.quarantine,
        window=Window(*(day and day.isoformat() for day in (run["window_start"], run["window_end"])), run["by_cursor"]),
        execution=request.execution,
        suite=suite.file,
        references=_references(lake.bucket, request),
        command=given.command(),
        schema=schema,
    )
    lake.put(keys.report(request.run_id, "json"), report.to_json(), "application/json")
    lake.put(report.key, report.to_html(), "text/html; charset=utf-8")
    why = report.why_rejected
    error = {"state": "QualityGate", "error": REJECTED, "reason": why} if why is not None else None
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        ledger.judge(cursor, request.run_id, judged.verdict, report.key, fetched, quarantined, error)
        ledger.add_quality_results(cursor, request.run_id, judged.results)
        ledger.add_examples(cursor, request.run_id, [one.result for one in observations if one.result.examples])
    return QualityGateResult(
        verdict=judged.verdict,
        fetched=fetched,
        staged=staged,
        quarantined=quarantined,
        report_key=report.key,
        alert=quality_alert(report, Links(settings), quarantined=whole),
        gathered=bool(given.gather_warnings),
    )


def _drift(cursor, source: Source, suite: suites.Suite, run: dict, bucket: str) -> list[Observation]:
    """The run against earlier ones, its own numbers recorded; nothing where the suite does not ask for it."""
    if suite.drift is None:
        return []
    found = statistics.measure(cursor, source, run["run_id"], run, bucket)
    statistics.record(cursor, source, run["run_id"], found)
    earlier = statistics.earlier(cursor, source, run["run_id"], found, suite.drift.runs)
    return drift.judge(suite.drift, found, earlier, statistics.reference(run))


def _check_complete(request: QualityGateRequest, lake: Lake, chunks: list[ChunkCounts]) -> None:
    """Raise ChunksFailed unless every chunk of the manifest is in the ledger."""
    planned = {chunk["chunk"] for chunk in lake.get_json(request.manifest_key)}
    missing = sorted(planned - {chunk.chunk for chunk in chunks})
    if not missing:
        return
    quoted = [f"chunk {number}: {_failure(lake, request.run_id, number)}" for number in missing[:_FAILURES_QUOTED]]
    more = f" and {len(missing) - _FAILURES_QUOTED} more" if len(missing) > _FAILURES_QUOTED else ""
    raise ChunksFailed(
        f"{len(missing)} of {len(planned)} chunks failed. {'; '.join(quoted)}{more}", run_id=request.run_id
    )


def _failure(lake: Lake, run_id: str, chunk: int) -> str:
    try:
        cause = lake.get_json(keys.chunk(run_id, chunk, keys.FAILURE))
    except NotFound:
        return "no outcome was recorded; its worker ended before it could be"
    name, reason = read_cause(cause)
    return f"{name}: {reason}"


def _check_account(run_id: str, chunks: list[ChunkCounts], staged: int, quarantined: int) -> None:
    """Raise AccountError unless what the chunks counted is what the tables hold."""
    for what, found, counted in (
        ("staged", staged, sum(chunk.staged for chunk in chunks)),
        ("quarantined", quarantined, sum(chunk.quarantined for chunk in chunks)),
    ):
        if found != counted:
            raise AccountError(
                f"the run's chunks counted {counted} {what} rows, its table holds {found}",
                run_id=run_id,
                next_step=STAGE_ANEW,
            )


def _rejections(cursor, source: Source, run_id: str) -> list[RejectionCount]:
    """Rows that no expectation saw, by reason."""
    return [
        RejectionCount(
            reason=row["message"],
            count=row["rows"],
            examples=(Example(value=personal.record(source, row["record"]), raw=row["key"], line=row["line"]),),
        )
        for row in ledger.rows(cursor, "quarantine_reasons", run_id=run_id)
        if row["kind"] != EXPECTATION
    ]


def _references(bucket: str, request: QualityGateRequest) -> dict[str, str]:
    """Where to look further."""
    return {
        "raw objects and lines": f"SELECT * FROM pipeline.raw_objects WHERE run_id = '{request.run_id}'",
        "quarantined rows": f"SELECT * FROM pipeline.quarantine WHERE run_id = '{request.run_id}'",
        "manifest": f"s3://{bucket}/{request.manifest_key}",
    }
