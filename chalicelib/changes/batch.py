"""One shard's records, taken in: into the lake, into the curated tables, each exactly once.

Two transactions with the writing to S3 between them. The first looks up to where the shard was read, takes what is
newer, and says which files will be written. The second applies the changes, moves the position and declares the files
written, all or nothing. What is killed in between leaves files that are announced and not written: whoever reads the
shard next deletes them before writing anything, so that no record is in the lake twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg2.extras import execute_values

from chalicelib.changes import holds, merge, quarantine, record, stored
from chalicelib.changes.apply import apply
from chalicelib.changes.arrival import Arrival
from chalicelib.changes.mapping import by_table
from chalicelib.changes.record import Control, Data
from chalicelib.changes.stored import ControlFile, File
from chalicelib.errors import ChangeError, WarehouseUnavailable
from chalicelib.lake import Lake
from chalicelib.lake.position import seq
from chalicelib.settings import Settings
from chalicelib.sources.base import Source
from chalicelib.telemetry import logger
from chalicelib.warehouse import connection
from chalicelib.warehouse.queries import statement


@dataclass
class Batch:
    """What one invocation takes of a shard."""

    id: int
    stream: str
    shard: str
    after: int  # the position before
    arrivals: list[Arrival]
    data: list[tuple[Arrival, Data]] = field(default_factory=list)
    controls: list[tuple[Arrival, Control]] = field(default_factory=list)
    malformed: list[tuple[Arrival, str]] = field(default_factory=list)
    duplicates: list[tuple[Arrival, Data]] = field(default_factory=list)
    files: list[tuple[File | ControlFile, str]] = field(default_factory=list)  # with their keys
    columns: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)  # of each table, with their types
    abandoned: list[str] = field(default_factory=list)  # keys to delete

    @property
    def data_files(self) -> dict[int, File]:
        """The files of rows, by their places among all files."""
        return {part: file for part, (file, _) in enumerate(self.files) if isinstance(file, File)}

    @property
    def of_shard(self) -> dict[str, str]:
        return {"stream": self.stream, "shard": self.shard}


def take(arrivals: Sequence[Arrival], settings: Settings, refused: str | None = None) -> dict[str, int]:
    """Take in what is new of one shard's records; returns what was counted, {} where nothing was new.

    With `refused`, a reason, the records are quarantined without a look into them.

    Raises WarehouseUnavailable or LakeUnavailable where trying again helps: nothing was taken then.
    """
    lake, mapped = Lake(settings.bucket), by_table()
    batch = _begin(arrivals, mapped, settings, refused)
    if batch is None:
        return {}
    for key in batch.abandoned:
        lake.delete(key)
    for file, key in batch.files:
        lake.put(key, _body(file, batch, settings.changes_format))
    counts = _finish(batch, mapped)
    for _, control in batch.controls:
        logger.info("table changed", operation=control.operation, table=f"{control.schema}.{control.table}")
    return counts


def _body(file: File | ControlFile, batch: Batch, format: str) -> bytes:
    if isinstance(file, ControlFile):
        return stored.control_body(file, format)
    return stored.body(file, batch.columns[file.schema, file.table], format)


# --- the first transaction -------------------------------------------------------------------


def _begin(arrivals: Sequence[Arrival], mapped: dict, settings: Settings, refused: str | None) -> Batch | None:
    stream, shard = arrivals[0].stream, arrivals[0].shard
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        cursor.execute(statement("changes", "begin_shard"), {"stream": stream, "shard": shard})
        after = _position(cursor, stream, shard)
        new = [arrival for arrival in arrivals if arrival.sequence > after]
        if not new:
            return None
        cursor.execute(statement("changes", "next_batch"))
        batch = Batch(cursor.fetchone()[0], stream, shard, after, list(new))
        if refused:
            batch.malformed = [(arrival, refused) for arrival in new]
        else:
            _read(batch)
        _set_duplicates_aside(cursor, batch)
        # rows first: `_raw` of a curated row names their file by its place
        files = [*stored.files(batch.data), *stored.control_files(batch.controls)]
        batch.files = [(file, stored.key(file, shard, batch.id, settings.changes_format)) for file in files]
        cursor.execute(statement("changes", "abandon_files"), batch.of_shard)
        cursor.execute(statement("changes", "abandoned_files"), batch.of_shard)
        batch.abandoned = [key for (key,) in cursor.fetchall()]
        if batch.files:
            rows = [
                (batch.id, part, stream, shard, key, len(file.rows), "writing")
                for part, (file, key) in enumerate(batch.files)
            ]
            execute_values(cursor, statement("changes", "begin_file").as_string(cursor), rows)
            _fix_types(cursor, batch, mapped)
    return batch


def _position(cursor, stream: str, shard: str) -> int:
    cursor.execute(statement("changes", "shard_position"), {"stream": stream, "shard": shard})
    return int(cursor.fetchone()[0])


def _read(batch: Batch) -> None:
    for arrival in batch.arrivals:
        try:
            found = record.read(arrival.payload)
        except ChangeError as error:
            # it is logged and sent, and nobody knows what is personal in it; the record is kept whole beside it
            batch.malformed.append((arrival, str(error.without_quote())))
        else:
            (batch.data if isinstance(found, Data) else batch.controls).append((arrival, found))


def _set_duplicates_aside(cursor, batch: Batch) -> None:
    """DMS delivers at least once: after a restart it sends again what it was not sure of."""
    identities = [identity for _, change in batch.data if (identity := change.identity)]
    seen = set()
    if identities:
        transactions, ids = zip(*identities, strict=True)
        values = {"stream": batch.stream, "transactions": list(transactions), "ids": list(ids)}
        cursor.execute(statement("changes", "seen_records"), values)
        seen = set(cursor.fetchall())
    arrived, batch.data = batch.data, []
    for arrival, change in arrived:
        if change.identity in seen:
            batch.duplicates.append((arrival, change))
        else:
            batch.data.append((arrival, change))
            if change.identity:
                seen.add(change.identity)


def _fix_types(cursor, batch: Batch, mapped: dict[tuple[str, str], Source]) -> None:
    """Look up the type of each column in the lake, and decide it for those that were never seen."""
    named: dict[tuple[str, str], dict[str, None]] = {}
    for file in batch.data_files.values():
        named.setdefault((file.schema, file.table), {}).update(dict.fromkeys(stored.names(file)))
    for (schema, table), names in sorted(named.items()):
        known = _columns(cursor, schema, table)
        if new := [name for name in names if name not in known]:
            source = mapped.get((schema, table))
            # a declaration speaks of columns by the names that it gives them
            rename = source.rename if source else {}
            kinds = stored.types([rename.get(name, name) for name in new], source.columns if source else ())
            rows = [(schema, table, name, kinds[rename.get(name, name)]) for name in new]
            execute_values(cursor, statement("changes", "add_columns").as_string(cursor), rows)
            known = _columns(cursor, schema, table)
        batch.columns[schema, table] = known


def _columns(cursor, schema: str, table: str) -> dict[str, str]:
    cursor.execute(statement("changes", "columns"), {"schema": schema, "table": table})
    return dict(cursor.fetchall())


# --- the second transaction ------------------------------------------------------------------


def _finish(batch: Batch, mapped: dict[tuple[str, str], Source]) -> dict[str, int]:
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        last = batch.arrivals[-1].sequence
        if batch.files:
            cursor.execute(statement("changes", "finish_files"), {"batch_id": batch.id})
            finished = cursor.rowcount
        else:
            finished = 0
        cursor.execute(statement("changes", "move_shard"), {**batch.of_shard, "sequence": last, "from": batch.after})
        if finished != len(batch.files) or cursor.rowcount != 1:
            raise WarehouseUnavailable("another invocation has read the shard meanwhile", shard=batch.shard)
        counts = {
            "records": len(batch.arrivals),
            "stored": len(batch.data),
            "duplicates": len(batch.duplicates),
            "controls": len(batch.controls),
            "malformed": len(batch.malformed),
        }
        positions = {"first_sequence": batch.arrivals[0].sequence, "last_sequence": last}
        cursor.execute(
            statement("changes", "add_change_batch"), {"id": batch.id, **batch.of_shard, **positions, **counts}
        )
        _remember(cursor, batch)
        quarantined = [(arrival, None, [(None, reason)]) for arrival, reason in batch.malformed]
        outcomes = dict.fromkeys((*merge.OUTCOMES, holds.HELD), 0)
        held = _hold(cursor, batch, mapped)
        for (schema, table), source in sorted(mapped.items(), key=lambda item: item[1].table):
            for name, count in _apply(cursor, batch, (schema, table), source, quarantined, source.name in held).items():
                outcomes[name] += count
        quarantine.add(cursor, batch.id, quarantined)
        _record_controls(cursor, batch, mapped)
        cursor.execute(statement("changes", "forget_abandoned_files"), batch.of_shard)
        cursor.execute(statement("changes", "forget_seen_records"))
        cursor.execute(statement("changes", "forget_left_rows"))
    return {**counts, **outcomes}


def _remember(cursor, batch: Batch) -> None:
    ids: dict[str, list[int]] = {}
    for _, change in batch.data:
        if change.identity:
            ids.setdefault(change.identity[0], []).append(change.identity[1])
    if ids:
        rows = [
            (batch.stream, transaction, batch.shard, "{" + ",".join(f"[{i},{i}]" for i in sorted(found)) + "}")
            for transaction, found in sorted(ids.items())
        ]
        execute_values(cursor, statement("changes", "add_seen_records").as_string(cursor), rows, page_size=1000)


def _hold(cursor, batch: Batch, mapped: dict[tuple[str, str], Source]) -> set[str]:
    """The sources that nothing is applied to, those among them whose table was emptied just now."""
    for _, control in batch.controls:
        source = mapped.get((control.schema, control.table))
        if source is not None and control.operation == record.TRUNCATE:
            holds.hold(cursor, source.name, control)
    return holds.held(cursor, [source.name for source in mapped.values()])


def _apply(
    cursor, batch: Batch, table: tuple[str, str], source: Source, quarantined: list, is_held: bool
) -> dict[str, int]:
    changes: list[tuple[Arrival, int, Data]] = []
    for part, file in batch.data_files.items():
        if (file.schema, file.table) == table:
            changes += [(arrival, seq(part, line), change) for line, (arrival, change) in enumerate(file.rows, 1)]
    duplicates = sum((change.schema, change.table) == table for _, change in batch.duplicates)
    if not changes and not duplicates:
        return {}
    # files are by hour: back into the shard's order
    changes.sort(key=lambda item: item[0].sequence)
    counts = dict.fromkeys((*merge.OUTCOMES, holds.HELD), 0)
    if is_held:
        holds.keep(cursor, source.name, batch.id, [(arrival, place) for arrival, place, _ in changes])
        counts[holds.HELD] = len(changes)
    else:
        applied = apply(cursor, source, [(place, change) for _, place, change in changes], batch.id)
        counts |= applied.counts
        quarantined += [(changes[at][0], source.name, reasons) for at, reasons in applied.quarantined.items()]
    counts[merge.SKIPPED] += duplicates
    account = {"batch_id": batch.id, "source": source.name, "read": len(changes) + duplicates, **counts}
    cursor.execute(statement("changes", "add_change_account"), account)
    return counts


def _record_controls(cursor, batch: Batch, mapped: dict[tuple[str, str], Source]) -> None:
    for arrival, control in batch.controls:
        source = mapped.get((control.schema, control.table))
        values = {
            **batch.of_shard,
            "sequence": arrival.sequence,
            "batch_id": batch.id,
            "operation": control.operation,
            "schema": control.schema,
            "table": control.table,
            "control": json.dumps(control.control, default=str),
            "source": source.name if source else None,
            "happened_at": control.timestamp,
        }
        cursor.execute(statement("changes", "add_control"), values)
