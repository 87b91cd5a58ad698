"""What the pipeline knows of its runs: `pipeline.runs` and the tables around it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from psycopg2.extras import RealDictCursor, execute_values

from chalicelib.contracts import Window
from chalicelib.errors import ContractError, NotFound
from chalicelib.sources.base import Source
from chalicelib.telemetry import logger
from chalicelib.warehouse import cursors, queries
from chalicelib.warehouse.publishing import Account
from chalicelib.warehouse.queries import statement

_RAW_OBJECT = 7  # what is known of one, beside its run


@dataclass(frozen=True)
class ChunkCounts:
    """What one chunk counted; `results` is what Validate wrote: `expectations` (see `quality.rows`) and `schema`."""

    chunk: int
    records: int
    staged: int
    quarantined: int
    results: dict


@dataclass(frozen=True)
class EarlierRun:
    """A run of the same code. `objects` are its raw objects, (bytes, SHA-256) by part.

    One that is `redriven` is an earlier attempt at the same thing.
    """

    run_id: str
    redriven: bool
    objects: Mapping[int, tuple[int, str]]


def open_run(
    cursor,
    source: Source,
    run_id: str,
    execution: str,
    given: dict,
    window: Window,
    started_at: str,
    code: str | None = None,
) -> Window:
    """Enter the run; its window, which is that of an earlier attempt of the same execution where there was one.

    `code` is what `code_fingerprint` says of the source. Raises ContractError where the name is that of another run, or
    of one that has ended.
    """
    values = {
        "run_id": run_id,
        "source": source.name,
        "table": source.table,
        "execution": execution,
        "input": json.dumps(given),
        "window_start": window.start,
        "window_end": window.end,
        "by_cursor": window.by_cursor,
        "started_at": started_at,
        "code": code,
    }
    for name in ("open_run", "opened_run"):
        cursor.execute(statement("ledger", name), values)
        if (found := cursor.fetchone()) is not None:
            return Window(*found)
    raise ContractError(
        "a run of this name was published already, has failed, or had another source or input",
        run_id=run_id,
        next_step="start it under another name",
    )


def hold(cursor, run_id: str) -> None:
    """Keep the run under way until the transaction ends; raises ContractError where it is not.

    Lambda may lose an answer: then the state machine invokes the function once more, and goes on, while the first
    invocation still waits for a lock. What that does after the end of the run would undo what was published.
    """
    cursor.execute(statement("ledger", "hold_run"), {"run_id": run_id})
    if not cursor.rowcount:
        raise _ended(run_id)


def _ended(run_id: str) -> ContractError:
    return ContractError(
        "the run has ended",
        run_id=run_id,
        next_step=f"nothing: what ended it did this work, or says why not in `sluice runs show {run_id}`",
    )


def forget_attempt(cursor, run_id: str) -> None:
    """Take out what an earlier attempt at the run loaded; its staging table is made anew."""
    cursor.execute(statement("ledger", "forget_chunks"), {"run_id": run_id})
    cursor.execute(statement("ledger", "forget_quarantine"), {"run_id": run_id})
    cursor.execute(statement("ledger", "forget_quality_results"), {"run_id": run_id})


def get_run(connection, run_id: str) -> dict:
    """The run's row; raises NotFound."""
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(statement("ledger", "get_run"), {"run_id": run_id})
        row = cursor.fetchone()
    if row is None:
        raise no_run(run_id)
    return dict(row)


def no_run(run_id: str) -> NotFound:
    return NotFound(f"no run is called {run_id!r}", next_step="`sluice runs list` shows those there are")


def find_run(connection, run_id: str | None) -> dict | None:
    """The run's row; None where the ledger has none, as of a run that failed while it was out of reach."""
    try:
        return None if run_id is None else get_run(connection, run_id)
    except NotFound:
        return None


def settled_by(connection, run_id: str) -> str | None:
    """The run that settled one that failed or was rejected: the first that asked for the same since, and succeeded.

    None for any other run, for a replay, and where there was none.
    """
    with connection.cursor() as cursor:
        [found] = rows(cursor, "settled_by", run_id=run_id)
    return found["run_id"]


def redriven(connection, run_id: str) -> list[dict]:
    """The rows of a run, of the one that it redrives, and so on, as far as the ledger has them."""
    with connection.cursor() as cursor:
        return rows(cursor, "redriven", run_id=run_id)


def earlier_runs(connection, run_id: str) -> list[EarlierRun]:
    """The runs that the run may take chunks over from, see `kept_chunks.marked`: of its code, best first.

    Those that it redrives, in their order; then the newest of its source and table that succeeded, unless the run's
    input says `from_scratch`. A replay has none, and is none.
    """
    with connection.cursor() as cursor:
        found = rows(cursor, "earlier_runs", run_id=run_id)
    return [
        EarlierRun(
            row["run_id"], row["redriven"], {part: (size, digest) for part, size, digest in row["objects"] or ()}
        )
        for row in found
    ]


def count_kept(cursor, run_id: str, kept_of: str | None, chunks: int, partitions: int | None) -> None:
    """What the run does not do again: its chunks are of `kept_of`, its partitions of the run that it redrives."""
    values = {"run_id": run_id, "kept_of": kept_of, "partitions": partitions, "chunks": chunks}
    cursor.execute(statement("ledger", "count_kept"), values)


# what a run is while it is under way, and how it may end
STATUSES = ("running", "published", "succeeded", "rejected", "failed")


@dataclass(frozen=True)
class Wanted:
    """Which runs: all that are not told apart by None; `start` and `end` are days on which they were started."""

    source: str | None = None
    status: str | None = None
    verdict: str | None = None
    start: dt.date | None = None
    end: dt.date | None = None


_EVERY_RUN = Wanted()


def list_runs(
    connection, limit: int, wanted: Wanted = _EVERY_RUN, before: tuple[dt.datetime, str] | None = None
) -> list[dict]:
    """The newest runs with their `settled_by`, or those before the one that started at that time under that name."""
    place, run_id = before or (None, None)
    with connection.cursor() as cursor:
        values = {**vars(wanted), "limit": limit, "before": place, "before_run": run_id}
        return rows(cursor, "list_runs", **values)


def add_raw_objects(cursor, run_id: str, objects: Iterable[tuple]) -> None:
    """`objects`: (part, key, bytes, sha256), and of those with records format, delimiter and request as JSON text."""
    execute_values(
        cursor,
        statement("ledger", "add_raw_object").as_string(cursor),
        [(run_id, *stored, *[None] * (_RAW_OBJECT - len(stored))) for stored in objects],
        page_size=1000,
    )


def add_chunk(cursor, run_id: str, counts: ChunkCounts) -> bool:
    """True when the chunk is new; False when it was loaded before. Waits for a simultaneous load of the same chunk."""
    values = {**vars(counts), "run_id": run_id, "results": json.dumps(counts.results)}
    cursor.execute(statement("ledger", "add_chunk"), values)
    return cursor.rowcount == 1


def chunks(cursor, run_id: str) -> list[ChunkCounts]:
    cursor.execute(statement("ledger", "chunks"), {"run_id": run_id})
    return [ChunkCounts(*row) for row in cursor.fetchall()]


def rows_so_far(connection, run_id: str) -> int:
    """Records of the chunks that are loaded."""
    with connection.cursor() as cursor:
        cursor.execute(statement("ledger", "rows_so_far"), {"run_id": run_id})
        return cursor.fetchone()[0]


def count_quarantined(cursor, run_id: str) -> int:
    cursor.execute(statement("ledger", "count_quarantined"), {"run_id": run_id})
    return cursor.fetchone()[0]


def rows(cursor, name: str, **values) -> list[dict]:
    """The result of a statement of ledger.sql, a dict per row."""
    return queries.rows(cursor, "ledger", name, **values)


def judge(
    cursor, run_id: str, verdict: str, report_key: str, fetched: int, quarantined: int, error: Mapping | None = None
) -> None:
    """Keep what the gate found; `error`, as of `fail`, where the run will be rejected."""
    cursor.execute(
        statement("ledger", "judge_run"),
        {
            "run_id": run_id,
            "verdict": verdict,
            "report_key": report_key,
            "fetched": fetched,
            "quarantined": quarantined,
            "error": json.dumps(error) if error is not None else None,
        },
    )


def add_quality_results(cursor, run_id: str, results: Iterable) -> None:
    """`results` are `quality.results.ItemResult`s."""
    execute_values(
        cursor,
        statement("ledger", "add_quality_result").as_string(cursor),
        [
            (run_id, r.id, r.type, r.title, r.severity, r.success, r.evaluated, r.unexpected, r.observed or r.text)
            for r in results
        ],
    )
    cursor.execute(statement("ledger", "count_quality_results"), {"run_id": run_id})


def add_examples(cursor, run_id: str, results: Iterable) -> None:
    """Keep the examples of these `ItemResult`s too; those of expectations are in quarantine and in the report."""
    for result in results:
        examples = json.dumps([asdict(example) for example in result.examples])
        values = {"run_id": run_id, "expectation": result.id, "examples": examples}
        cursor.execute(statement("ledger", "add_examples"), values)


def publish(cursor, run_id: str, verdict: str, account: Account) -> None:
    """Close the run's account and move the source's cursor, in the caller's transaction.

    Raises ContractError where the run has ended: one that is failed may be redriven already.
    """
    cursor.execute(statement("ledger", "publish_run"), {"run_id": run_id, "verdict": verdict, **asdict(account)})
    if not cursor.rowcount:
        raise _ended(run_id)
    source, first, last, by_cursor, allow_gap = cursor.fetchone()
    if by_cursor and last is not None and not cursors.advance(cursor, source, (first, last), run_id, allow_gap):
        position = cursors.position(cursor, source)
        if position < last.isoformat():
            logger.warning("the cursor stays: it was set back", position=position, window=f"{first} to {last}")


def reject(cursor, run_id: str, code: str) -> None:
    """Close the run; done twice, the first time stays. Raises ContractError where it has ended in another way.

    `code` is that of who rejects it: redriving it is no use where it began under that, and the code stays.
    """
    _close(cursor, run_id, "reject_run", "rejected", code=code)


def complete(cursor, run_id: str, embedded: int) -> None:
    """Close the run that is published; as `reject` in the rest.

    A run that was found lost, or whose Complete took too long, has failed, and people were told so.
    """
    _close(cursor, run_id, "complete_run", "succeeded", embedded=embedded)


def _close(cursor, run_id: str, name: str, as_status: str, **values) -> None:
    cursor.execute(statement("ledger", name), {"run_id": run_id, **values})
    if not cursor.rowcount and get_run(cursor.connection, run_id)["status"] != as_status:
        raise _ended(run_id)


def fail(
    cursor,
    run_id: str,
    source: str,
    execution: str,
    given: Mapping,
    error: Mapping,
    started_at: dt.datetime | None = None,
) -> bool:
    """Close the run as failed; False where it has ended already, and nothing is to be done for it any more.

    `started_at` counts where the run was never entered; None: nobody knows it.
    """
    cursor.execute(
        statement("ledger", "fail_run"),
        {
            "run_id": run_id,
            "source": source,
            "execution": execution,
            "input": json.dumps(given),
            "error": json.dumps(error),
            "started_at": started_at,
        },
    )
    return cursor.rowcount == 1
