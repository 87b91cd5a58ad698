"""A table's changes, one after the other, over the rows that they meet: what becomes of each change and of each key.

Nothing here talks to a database: `apply` reads the rows of a batch's keys before, and writes what differs after.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from chalicelib.changes.mapping import KEEP, Changes
from chalicelib.changes.record import DELETE, LOAD, Data

Key = tuple[str, ...]

INSERTED, UPDATED, DELETED, UNCHANGED, SKIPPED, QUARANTINED = OUTCOMES = (
    "inserted",
    "updated",
    "deleted",
    "unchanged",
    "skipped",
    "quarantined",
)


@dataclass
class State:
    """What is known of a key. `values` is its row as COPY text by column, None where there is none."""

    values: dict[str, str] | None = None
    order: str = ""  # of the last change that counted, see `record.Data.order`
    committed: dt.datetime | None = None
    seq: int = 0  # the lake's file and row that made it what it is, see `lake.position`
    before: dict[str, str] | None = None  # as the table has it
    fingerprint: int | None = None  # of `before`
    removed: bool = False  # by a delete, not by a change of its key
    moved: bool = False  # `order` is newer than what the table of positions has


@dataclass
class Step:
    """One change of a mapped table, its values as COPY text by column.

    `unknown` are the columns that an update leaves as they are. `old_key` is the key that the row had before,
    where it differs. `problems` says why the change does not fit the table.
    """

    change: Data
    seq: int
    key: Key | None = None
    old_key: Key | None = None
    values: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    problems: list[tuple[str | None, str]] = field(default_factory=list)  # (column, what is wrong)


def take(step: Step, states: dict[Key, State], changes: Changes) -> str:
    """Take one change; returns its outcome. Only a step without problems changes a state."""
    if step.problems:
        return QUARANTINED
    change, state = step.change, states[step.key]
    old = states[step.old_key] if step.old_key else None
    late, old_late = _is_late(change, state), old is None or _is_late(change, old)
    if late and old_late:
        return SKIPPED
    if change.operation == DELETE:
        return _delete(step, state, changes)
    # the row that the update was made to
    base = state.values if old is None or old_late else old.values
    values = dict(step.values)
    if step.unknown and not late:
        if base is None:
            names = ", ".join(step.unknown)
            step.problems.append((step.unknown[0], f"the update leaves {names} as it was, of a row that is not there"))
            return QUARANTINED
        values |= {name: base[name] for name in step.unknown}
    if old is not None and not old_late:
        _move(old, step)
        old.values = None
    if late:
        return UPDATED  # the row left its old key; what has its new key is newer
    was = state.values
    _move(state, step)
    if was == values and old is None:
        return UNCHANGED
    state.values, state.seq, state.removed = values, step.seq, False
    return INSERTED if was is None and old is None else UPDATED


def _delete(step: Step, state: State, changes: Changes) -> str:
    _move(state, step)
    if state.values is None or changes.deletes == KEEP:
        return UNCHANGED
    state.values, state.removed = None, True
    return DELETED


def _is_late(change: Data, state: State) -> bool:
    """Whether a newer change of the key was taken already, or this one itself.

    A loaded row has no position in the log. It counts where no change was taken since it was read.
    """
    if not state.order:
        return False
    if change.operation == LOAD:
        return state.committed is not None and change.timestamp <= state.committed
    return bool(change.order) and change.order <= state.order


def _move(state: State, step: Step) -> None:
    if step.change.order:
        state.order, state.committed, state.moved = step.change.order, step.change.timestamp, True
