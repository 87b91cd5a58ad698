"""What became of a run: its row account, its verdict, where report and graph lie."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from chalicelib import executions, redaction
from chalicelib.errors import ConfigurationError, NotFound
from chalicelib.executions import Execution, chunks
from chalicelib.failure import plain_cause
from chalicelib.graph import svg
from chalicelib.lake import Lake, keys
from chalicelib.redriving import advice
from chalicelib.warehouse import connection, ledger
from chalicelib.warehouse.publishing import COUNTS
from cli.session import Session

# the exit status of `sluice run`
EXIT = {"succeeded": 0, "rejected": 3}
EXIT_RUN_FAILED = 4


@dataclass(frozen=True)
class Outcome:
    """What `sluice run --json` prints. Counts are None for a run that failed before they were known."""

    run_id: str
    status: str  # succeeded | rejected | failed
    verdict: str | None
    fetched: int | None
    inserted: int | None
    updated: int | None
    unchanged: int | None
    duplicates: int | None
    quarantined: int | None
    embedded: int | None
    seconds: float
    report: str | None
    graph: str | None
    error: str | None
    reason: str | None
    kept_of: str | None = None  # the run whose chunks it took over
    kept_chunks: int | None = None
    redrive_of: str | None = None
    kept_partitions: int | None = None  # of the run that it redrives
    left: tuple[str, ...] = ()  # what the table lacks still, see `warehouse.upkeep`
    next: str | None = None  # the command that starts one that failed again

    @property
    def exit_status(self) -> int:
        return EXIT.get(self.status, EXIT_RUN_FAILED)

    def kept(self) -> list[tuple[str, str]]:
        """(run, what it did that was not done again); a run that redrives another says so also where it is nothing."""
        found: dict[str, list[str]] = {}
        if self.kept_partitions is not None:
            found[self.redrive_of] = [f"{counted(self.kept_partitions, 'partition')} not fetched again"]
        if self.kept_chunks or found:
            told = f"{counted(self.kept_chunks or 0, 'chunk')} not transformed again"
            found.setdefault(self.kept_of or self.redrive_of, []).append(told)
        return [(run_id, ", ".join(told)) for run_id, told in found.items()]

    def to_json(self) -> dict:
        return asdict(self)


def read(session: Session, run_id: str, execution: Execution) -> Outcome:
    """The outcome of a finished execution; its graph and report are written to the run's folder."""
    row = ledger_row(session, run_id)
    status = row.get("status", "failed")
    if execution.status != "SUCCEEDED" and status not in ("rejected", "failed"):
        status = "failed"
    details = row.get("error") or {}
    error = details.get("error") or execution.error
    reason = details.get("reason") or plain_cause(execution.cause) or None
    following = None
    if status == "failed":
        if error is None:  # who stops an execution need not say why
            error, reason = execution.status, reason or "the execution ended without a word"
        wanted = row.get("input") or json.loads(execution.input or "null")
        following = advice.command(run_id, wanted, error, reason, Lake(session.settings.bucket))
    return _outcome(
        session,
        row,
        run_id=run_id,
        status=status,
        seconds=round(execution.seconds, 3),
        graph=str(save_graph(session, run_id, execution)),
        error=error,
        reason=reason,
        left=_left(execution),
        next=following,
    )


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _left(execution: Execution) -> tuple[str, ...]:
    """As Complete said it, of an execution that came so far."""
    if execution.output is None:
        return ()
    return tuple(json.loads(execution.output).get("complete", {}).get("result", {}).get("left", ()))


def of_earlier(session: Session, run_id: str, wanted: dict | None = None) -> Outcome | None:
    """The outcome of the run that had this name before and came to its end; None if there was none.

    Asked before a run is started: a name stands for one run, also where Step Functions has
    forgotten it (after 90 days on AWS, when the local stack went down). Raises ConfigurationError
    where the name stands for a run of another source or input than `wanted`, if that is given.
    """
    row = ledger_row(session, run_id)
    if row and wanted is not None and row["input"] != redaction.strings(wanted):  # as the ledger has it
        raise ConfigurationError(
            f"{run_id} is the name of another run: {json.dumps(row['input'])}", next_step="give this one another --name"
        )
    if row.get("status") not in EXIT:
        return None
    if (saved := saved_execution(session, run_id)) is not None:
        return read(session, run_id, saved)
    return _outcome(
        session,
        row,
        run_id=run_id,
        status=row["status"],
        seconds=round((row["finished_at"] - row["started_at"]).total_seconds(), 3),
        graph=None,
        error=None,
        reason=None,
    )


def ledger_row(session: Session, run_id: str) -> dict:
    """{} for a run that failed before it could be entered."""
    try:
        with connection.transaction(session.database_url) as open_connection:
            return ledger.get_run(open_connection, run_id)
    except NotFound:
        return {}


def _outcome(session: Session, row: dict, run_id: str, **known) -> Outcome:
    return Outcome(
        run_id=run_id,
        verdict=row.get("verdict"),
        **{name: row.get(name) for name in COUNTS},
        embedded=row.get("embedded"),
        **{name: row.get(name) for name in ("kept_of", "kept_chunks", "redrive_of", "kept_partitions")},
        report=_save_report(session, run_id, row.get("report_key")),
        **known,
    )


def save_graph(session: Session, run_id: str, execution: Execution) -> Path:
    """Draw the execution into the run's folder; its history is kept beside it, since it outlives the stack."""
    with connection.transaction(session.database_url) as open_connection, open_connection.cursor() as cursor:
        execution = chunks.with_failed(execution, len(ledger.chunks(cursor, run_id)))
    folder = session.run_folder(run_id)
    (folder / "execution.json").write_text(executions.to_json(execution))
    path = folder / "graph.svg"
    path.write_text(svg(execution.definition, execution))
    return path


def execution_of(session: Session, run_id: str) -> Execution:
    """The execution of a run as Step Functions tells it, or as it was kept; raises NotFound where there is neither."""
    arn = executions.arn(session.settings.state_machine_arn, run_id)
    try:
        return executions.read(session.client("stepfunctions"), arn)
    except NotFound:
        # the emulated Step Functions forgets when the stack goes down; `sluice run` kept a copy
        if (saved := saved_execution(session, run_id)) is not None:
            return saved
        raise NotFound(
            f"no execution is called {run_id!r}", next_step="`sluice runs list` shows those there are"
        ) from None


def saved_execution(session: Session, run_id: str) -> Execution | None:
    """The history that `save_graph` kept of a run; None where it kept none."""
    path = session.folder / "runs" / run_id / "execution.json"
    return executions.from_json(path.read_text()) if path.exists() else None


def _save_report(session: Session, run_id: str, report_key: str | None) -> str | None:
    if report_key is None:
        return None
    path = session.run_folder(run_id) / "report.html"
    try:
        path.write_bytes(Lake(session.settings.bucket).get(keys.report(run_id, "html")))
    except NotFound:
        return None
    return str(path)
