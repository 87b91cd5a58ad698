"""A batch's changes of one table into its curated table, in the caller's transaction.

The rows of all keys that the batch names are read at once, the changes are taken in their order in memory, and what
differs is written at once: one DELETE, one MERGE. The counts of both must be those that were expected.
"""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from psycopg2 import sql
from psycopg2.extras import execute_values

from chalicelib.changes import merge
from chalicelib.changes.mapping import UNCHANGED, Changes
from chalicelib.changes.record import DELETE, UPDATE, Data
from chalicelib.changes.tenures import Aside, Departure, Key, State, Step, Tenure
from chalicelib.changes.values import copy_texts, plain
from chalicelib.columns import ANOMALIES, FINGERPRINT, SEQ, Column
from chalicelib.conversion import NULL, indexed, quoted
from chalicelib.conversion.values import ESCAPED
from chalicelib.errors import AccountError
from chalicelib.sources.base import Source
from chalicelib.warehouse import copy_text, indexes, publishing, tables
from chalicelib.warehouse.queries import statement


@dataclass(frozen=True)
class Applied:
    """How many changes had which outcome (see `merge.OUTCOMES`), and those that did not fit, by their place."""

    counts: dict[str, int]
    quarantined: dict[int, list[tuple[str | None, str]]]


def apply(cursor, source: Source, changes: Sequence[tuple[int, Data]], batch: int) -> Applied:
    """Apply `changes`, each with its row's `seq` (see `lake.position`), to the source's curated table.

    Waits for whoever else writes to the table, a run that publishes too; a batch takes its tables in the order of
    their names, and a run has one, so that nobody waits in a circle. Raises SchemaMismatch where the table does
    not fit the declaration, AccountError where fewer rows were written than expected.
    """
    mapping: Changes = source.changes
    steps = _steps(source, mapping, changes)
    publishing.lock(cursor, source)
    if tables.ensure_curated(cursor, source):
        indexes.ensure(cursor, source)
    states = _states(cursor, source, steps)
    counts = dict.fromkeys(merge.OUTCOMES, 0)
    required = {column.name for column in source.columns if not column.nullable}
    truncated = truncated_at(cursor, source)
    for step in steps:
        gone = truncated is not None and step.change.timestamp < truncated and not step.problems
        counts[merge.SKIPPED if gone else merge.take(step, states, mapping, required)] += 1
    _write(cursor, source, states, batch)
    return Applied(counts, {place: step.problems for place, step in enumerate(steps) if step.problems})


def truncated_at(cursor, source: Source) -> dt.datetime | None:
    """Since when the table has no older rows, see `held`."""
    cursor.execute(statement("changes", "truncated_at"), {"source": source.name})
    found = cursor.fetchone()
    return found and found[0]


def over_keys(name: str, source: Source, keys: Iterable[Key]) -> tuple[sql.Composable, dict]:
    """A statement over the rows with certain keys, and its values: one array per key column."""
    return _over_keys(name, source), _arrays(source, keys)


# --- from records to steps -------------------------------------------------------------------


def _steps(source: Source, mapping: Changes, changes: Sequence[tuple[int, Data]]) -> list[Step]:
    steps = [Step(change, seq) for seq, change in changes]
    rows = [_renamed(change.data, source) for _, change in changes]
    befores = [_renamed(change.before, source) for _, change in changes]
    unknown: dict[int, list[str]] = {}
    for column in source.columns:
        places, values = [], []
        for place, (step, row) in enumerate(zip(steps, rows, strict=True)):
            operation = step.change.operation
            if operation == DELETE:
                if column.name not in source.key:
                    continue
                value = row.get(column.name)
                value = befores[place].get(column.name) if value is None else value
            elif operation == UPDATE and mapping.absent == UNCHANGED and column.name not in row:
                if column.name not in befores[place]:
                    unknown.setdefault(place, []).append(column.name)
                    continue
                value = befores[place][column.name]  # an unchanged value is the old one
            else:
                value = row.get(column.name)
            places.append(place)
            values.append(value)
        texts, problems = copy_texts(values, column)
        for at, (place, text) in enumerate(zip(places, texts, strict=True)):
            steps[place].values[column.name] = text
            if at in problems:
                steps[place].problems.append((column.name, problems[at]))
    texts = {name: [step.values.get(name, NULL) for step in steps] for name in source.column_names}
    of_source = {column.name: column for column in source.columns}
    for place, name in indexed.too_long(of_source, texts, source.sorted_by).items():
        value = quoted(plain(texts[name][place]), of_source[name])
        steps[place].problems.append((name, f"{name} is {value}, {indexed.UNFIT}"))
    for place, step in enumerate(steps):
        step.unknown = tuple(unknown.get(place, ()))
        _set_keys(step, source, befores[place])
    return steps


def _renamed(row: dict, source: Source) -> dict:
    return {source.rename.get(name, name): value for name, value in row.items()} if source.rename else row


def _set_keys(step: Step, source: Source, before: dict) -> None:
    columns = {column.name: column for column in source.columns}
    if missing := [name for name in source.key if name in step.unknown]:
        step.problems.append((missing[0], f"the record lacks {', '.join(missing)} of the key"))
    if any(name in source.key for name, _ in step.problems):
        return
    step.key = tuple(plain(step.values[name]) for name in source.key)
    if step.change.operation != UPDATE or not any(name in before for name in source.key):
        return
    old = []
    for name, now in zip(source.key, step.key, strict=True):
        if name not in before:
            old.append(now)
            continue
        [text], problems = copy_texts([before[name]], columns[name])
        if problems:
            step.problems.append((name, f"before-image: {problems[0]}"))
            step.key = None
            return
        old.append(plain(text))
    if tuple(old) != step.key:
        step.old_key = tuple(old)


# --- what the table has ----------------------------------------------------------------------


def _states(cursor, source: Source, steps: Iterable[Step]) -> dict[Key, State]:
    """The states of all keys that the steps name, and of those that their rows went to later, and on from there.

    Later alone: where all keys of a table are moved up by one, each of them leads to the next.
    """
    states: dict[Key, State] = {}
    left: dict[Key, str] = {}  # since when rows that left the key matter
    for step in steps:
        for key in (step.key, step.old_key):
            if key is not None:
                left[key] = min(left.get(key, step.change.order), step.change.order)
    followed: dict[Key, str] = {}
    while left:
        if new := sorted(left.keys() - states.keys()):
            found = {key: State() for key in new}
            _read_rows(cursor, source, found)
            _read_keys(cursor, source, found)
            states |= found
        followed |= left
        following: dict[Key, str] = {}
        for key, since in left.items():
            for target, order in merge.targets(states[key], since).items():
                following[target] = min(following.get(target, order), order)
        left = {key: order for key, order in following.items() if key not in followed or order < followed[key]}
    return states


def _read_rows(cursor, source: Source, states: dict[Key, State]) -> None:
    values = [sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in source.column_names]
    values.append(sql.SQL(f"t.{FINGERPRINT}"))
    cursor.execute(_over_keys("current_rows", source, values=sql.SQL(", ").join(values)), _arrays(source, states))
    found = cursor.fetchall()
    rows: list[dict[str, str]] = [{} for _ in found]
    for column, texts in zip(source.columns, zip(*found, strict=True), strict=False):
        for row, text in zip(rows, _canonical(texts, column), strict=True):
            row[column.name] = text
    for row, (*_, fingerprint) in zip(rows, found, strict=True):
        state = states[tuple(plain(row[name]) for name in source.key)]
        state.row, state.before, state.fingerprint = Tenure("", "", row), row, fingerprint


def _read_keys(cursor, source: Source, states: dict[Key, State]) -> None:
    by_text = {_text(key): state for key, state in states.items()}
    cursor.execute(statement("changes", "key_positions"), {"table": source.table, "keys": list(by_text)})
    for key, position, committed, since, stale, past, departed in cursor.fetchall():
        state = by_text[key]
        state.order = position
        state.committed = committed and committed.astimezone(dt.UTC)
        if state.row:
            state.row = Tenure(since, position, state.row.values, stale)
        state.past = [Tenure(**tenure) for tenure in past if "unfit" not in tenure]
        state.aside = next((Aside(**aside) for aside in past if "unfit" in aside), None)
        state.departed = [Departure(**{**departure, "to": tuple(departure["to"])}) for departure in departed]


def _canonical(texts: Sequence[str | None], column: Column) -> list[str]:
    """What Postgres prints of a column as the COPY text that a record with these values would give."""
    made, problems = copy_texts(texts, column)
    for place in problems:  # such as an infinite time, which no record brings but somebody's own statement may
        made[place] = NULL if texts[place] is None else texts[place].translate(ESCAPED)
    return made


def _over_keys(name: str, source: Source, **more: sql.Composable) -> sql.Composable:
    """A statement over the rows with certain keys, which come as one array per key column."""
    kinds = {column.name: column.type for column in source.columns}
    names = [sql.Identifier(f"k{place}") for place in range(len(source.key))]
    pairs = [
        sql.SQL("t.{} = k.{}::{}").format(sql.Identifier(column), name, sql.SQL(kinds[column]))
        for column, name in zip(source.key, names, strict=True)
    ]
    arrays = [sql.SQL("{}::text[]").format(sql.Placeholder(f"k{place}")) for place in range(len(source.key))]
    return statement(
        "changes",
        name,
        curated=tables.curated(source),
        arrays=sql.SQL(", ").join(arrays),
        names=sql.SQL(", ").join(names),
        same_key=sql.SQL(" AND ").join(pairs),
        **more,
    )


def _arrays(source: Source, keys: Iterable[Key]) -> dict:
    columns = list(zip(*keys, strict=True)) or [()] * len(source.key)
    return {f"k{place}": list(columns[place]) for place in range(len(source.key))}


def _text(key: Key) -> str:
    return json.dumps(key, ensure_ascii=False)


# --- what becomes of it ----------------------------------------------------------------------


def _write(cursor, source: Source, states: dict[Key, State], batch: int) -> None:
    gone = [key for key, state in states.items() if state.before is not None and state.values is None]
    changed = [state for state in states.values() if state.values is not None and state.values != state.before]
    if removed := [key for key in gone if states[key].removed]:
        values = {"batch_id": batch, "source": source.name, "table": source.table}
        cursor.execute(_over_keys("keep_deleted_rows", source), {**_arrays(source, removed), **values})
    if gone:
        cursor.execute(_over_keys("delete_rows", source), _arrays(source, gone))
        _expect(cursor.rowcount, len(gone), "deleted", source, batch)
    if changed:
        _merge(cursor, source, changed, batch)
    now = dt.datetime.now(dt.UTC).isoformat()
    positions = [
        (
            source.table,
            _text(key),
            state.order,
            state.committed,
            state.values is None,
            state.row.since if state.row else "",
            json.dumps(state.row.stale if state.row else {}),
            _kept([*state.past, *([state.aside] if state.aside else [])], now),
            _kept(state.departed, now),
            min((entry.kept_at or now for entry in (*state.past, *state.departed)), default=None),
        )
        for key, state in sorted(states.items())
        if state.changed
    ]
    if positions:
        execute_values(cursor, statement("changes", "set_key_positions").as_string(cursor), positions, page_size=1000)


def _kept(entries: Sequence[Tenure | Departure | Aside], now: str) -> str:
    return json.dumps([{**asdict(entry), "kept_at": entry.kept_at or now} for entry in entries])


def _merge(cursor, source: Source, changed: Sequence[State], batch: int) -> None:
    incoming = sql.Identifier(f"incoming_{source.table[:50]}")
    columns = [sql.SQL("{} {}").format(sql.Identifier(c.name), sql.SQL(c.type)) for c in source.columns]
    if source.anomalies:  # a mark is about the values that were there; changes are not judged
        columns.append(sql.SQL(f"{ANOMALIES} jsonb"))
    columns.append(sql.SQL(f"{FINGERPRINT} bigint, {SEQ} bigint"))
    cursor.execute(statement("changes", "make_incoming", incoming=incoming, columns=sql.SQL(", ").join(columns)))
    texts = [[state.values[name] for state in changed] for name in source.column_names]
    body = copy_text.write(texts, [state.seq for state in changed])
    copy = sql.SQL("COPY {} ({}) FROM STDIN").format(incoming, tables.copy_columns(source))
    cursor.copy_expert(copy, io.BytesIO(body))
    actions = publishing.merge_rows(cursor, source, incoming, run_id(batch))
    cursor.execute(statement("changes", "drop_incoming", incoming=incoming))
    _expect(actions.get("INSERT", 0), sum(state.before is None for state in changed), "inserted", source, batch)
    # MERGE leaves a row alone whose fingerprint is the same, and so do we
    fingerprints = [int(line.rsplit(b"\t", 2)[1]) for line in body.removesuffix(b"\n").split(b"\n")]
    differ = sum(
        state.before is not None and state.fingerprint != new for state, new in zip(changed, fingerprints, strict=True)
    )
    _expect(actions.get("UPDATE", 0), differ, "updated", source, batch)


def run_id(batch: int) -> str:
    """What stands in a row's `_run_id`; `pipeline.raw_line` finds the lake's file by it."""
    return f"changes-{batch}"


def _expect(found: int, expected: int, what: str, source: Source, batch: int) -> None:
    if found != expected:
        raise AccountError(
            f"{found} rows were {what}, expected {expected}; the batch is rolled back",
            source=source.name,
            run_id=run_id(batch),
            next_step=f"see whether anything else writes to curated.{source.table}",
        )
