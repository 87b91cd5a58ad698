"""A mapped table that was emptied at its source: nothing is applied to it until somebody decides.

A control record of DMS has no position in the log and no time of commit, only the time at which DMS wrote it, and it
comes by the shard of its task: whether a row was committed before the table was emptied, or after, cannot be told from
it. TRUNCATE and the new rows are often one transaction, so a guess by that time would delete what is there. Hence the
table's changes are held, whole and in the order of their batches, and the lake goes on. Somebody who knows when the
table was emptied says so; that a row is older than that moment depends on its own commit alone, whatever came first.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2.extras import execute_values

from chalicelib.changes import apply, merge, quarantine, record
from chalicelib.changes.arrival import Arrival
from chalicelib.changes.mapping import KEEP
from chalicelib.changes.record import Control
from chalicelib.errors import NotFound
from chalicelib.sources.base import Source
from chalicelib.warehouse import publishing, tables
from chalicelib.warehouse.queries import rows, statement

HELD = "held"  # the outcome of a change


@dataclass(frozen=True)
class Resumed:
    """What became of a held table: rows that went with the truncation, changes by their outcomes."""

    removed: int
    counts: dict[str, int]


def hold(cursor, source: str, control: Control) -> None:
    """Hold a source's table from here on."""
    values = {"source": source, "operation": control.operation, "happened_at": control.timestamp}
    cursor.execute(statement("changes", "hold"), values)


def held(cursor, sources: Sequence[str]) -> set[str]:
    """Which of the sources are held; none of them is resumed before the transaction ends."""
    cursor.execute(statement("changes", "held_sources"), {"sources": list(sources)})
    return {source for (source,) in cursor.fetchall()}


def listed(cursor) -> list[dict]:
    """By held source: what happened to its table and when, since when it is held, and how many records wait."""
    return rows(cursor, "changes", "holds")


def keep(cursor, source: str, batch_id: int, changes: Sequence[tuple[Arrival, int]]) -> None:
    """Put changes by until the source is resumed, each with its row's `seq` (see `lake.position`)."""
    found = [
        (source, batch_id, each.sequence, seq, each.stream, each.shard, each.payload.decode(), each.arrived)
        for each, seq in changes
    ]
    if found:
        execute_values(cursor, statement("changes", "hold_change").as_string(cursor), found)


def happened_at(cursor, source: str) -> dt.datetime:
    """The time in the control record; keeps the source held until the transaction ends. NotFound where it is not."""
    cursor.execute(statement("changes", "lock_hold"), {"source": source})
    found = cursor.fetchone()
    if found is None:
        raise NotFound("the table is not held", source=source, next_step="see `sluice changes status`")
    return found[0]


def older(cursor, source: Source, truncated_at: dt.datetime) -> dict[str, int]:
    """How many of the held changes, by operation, `resume` takes for older than the truncation with that time."""
    past = apply.truncated_at(cursor, source)
    at = max(truncated_at, past) if past else truncated_at
    cursor.execute(statement("changes", "held_records"), {"source": source.name})
    found = (record.read(text.encode()) for (text,) in cursor)
    return dict(sorted(Counter(change.operation for change in found if change.timestamp < at).items()))


def resume(cursor, source: Source, truncated_at: dt.datetime | None) -> Resumed:
    """Apply what was held, in the caller's transaction. Raises NotFound where the source is not held.

    With `truncated_at` the rows go whose last change was committed before, and what was committed before and comes
    later is skipped; rows that were loaded have no commit, and go. Without it the table keeps its rows.
    """
    happened_at(cursor, source.name)
    publishing.lock(cursor, source)
    tables.ensure_curated(cursor, source)
    cursor.execute(statement("changes", "held_batches"), {"source": source.name})
    batches = [number for (number,) in cursor.fetchall()]
    removed = 0 if truncated_at is None else _truncate(cursor, source, truncated_at, batches[0] if batches else 0)
    counts = dict.fromkeys(merge.OUTCOMES, 0)
    for number in batches:
        for name, count in _apply_held(cursor, source, number).items():
            counts[name] += count
    cursor.execute(statement("changes", "end_hold"), {"source": source.name})
    return Resumed(removed, counts)


def _truncate(cursor, source: Source, truncated_at: dt.datetime, batch_id: int) -> int:
    when = {"source": source.name, "table": source.table, "truncated_at": truncated_at}
    cursor.execute(statement("changes", "set_truncated_at"), when)
    if source.changes.deletes == KEEP:
        return 0
    cursor.execute(statement("changes", "keys_changed_since"), when)
    newer = [tuple(json.loads(key)) for (key,) in cursor.fetchall()]
    kept, arrays = apply.over_keys("keep_other_rows", source, newer)
    cursor.execute(kept, {**arrays, **when, "batch_id": batch_id})
    cursor.execute(*apply.over_keys("delete_other_rows", source, newer))
    removed = cursor.rowcount
    cursor.execute(statement("changes", "forget_rows_before"), when)
    return removed


def _apply_held(cursor, source: Source, batch_id: int) -> dict[str, int]:
    of = {"source": source.name, "batch_id": batch_id}
    cursor.execute(statement("changes", "take_held"), of)
    arrivals, changes = [], []
    for stream, shard, sequence, seq, text, arrived in cursor.fetchall():
        arrivals.append(Arrival(stream, shard, int(sequence), arrived, text.encode()))
        changes.append((seq, record.read(arrivals[-1].payload)))
    applied = apply.apply(cursor, source, changes, batch_id)
    set_aside = [(arrivals[at], source.name, reasons) for at, reasons in applied.quarantined.items()]
    quarantine.add(cursor, batch_id, set_aside)
    cursor.execute(statement("changes", "account_for_held"), {**of, **applied.counts, "taken": len(changes)})
    return applied.counts
