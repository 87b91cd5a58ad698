"""A table's changes, one after the other, over the rows that they meet: what becomes of each change and of each key.

Nothing here talks to a database: `apply` reads the rows of a batch's keys before, and writes what differs after.

The shards of a stream are read side by side: changes of one key come in order, those of two keys do not, and a change
of a key is on the shard of the new one. What is older than what a key has is skipped, but for one thing: an update does
not name large texts that it leaves as they were, so their value may be in an older change that comes later, of a key
that the row had before. Hence a key remembers which of its row's columns are older than the row (`stale`), and its
earlier rows: where they went, or, where the change that took them away has not come yet, what they were (`past`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass, field

from chalicelib.changes.mapping import KEEP, Changes
from chalicelib.changes.record import DELETE, INSERT, LOAD, Data
from chalicelib.conversion import NULL

Key = tuple[str, ...]

INSERTED, UPDATED, DELETED, UNCHANGED, SKIPPED, QUARANTINED = OUTCOMES = (
    "inserted",
    "updated",
    "deleted",
    "unchanged",
    "skipped",
    "quarantined",
)
_PAST = 20  # earlier rows of a key that are remembered


@dataclass
class Past:
    """A row that a key had, as it was after the last of the key's own changes, `order`."""

    since: str  # of the change by which it came, "" where that is not known
    order: str
    values: dict[str, str]
    stale: dict[str, str | None] = field(default_factory=dict)


@dataclass
class State:
    """What is known of a key. `values` is its row as COPY text by column, None where there is none.

    Orders are those of `record.Data.order`.
    """

    values: dict[str, str] | None = None
    order: str = ""  # of the last change that counted
    committed: dt.datetime | None = None
    since: str = ""  # of the change by which the row came to this key, "" where that is not known
    stale: dict[str, str | None] = field(default_factory=dict)  # by column, of its value; None: not known yet
    past: list[Past] = field(default_factory=list)
    departed: list[tuple[str, Key]] = field(default_factory=list)  # changes by which rows left, and to which key
    seq: int = 0  # the lake's file and row that made it what it is, see `lake.position`
    before: dict[str, str] | None = None  # as the table has it
    fingerprint: int | None = None  # of `before`
    removed: bool = False  # by a delete, not by a change of its key
    changed: bool = False  # other than what the table of keys has


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


def take(step: Step, states: dict[Key, State], changes: Changes, required: Collection[str] = ()) -> str:
    """Take one change; returns its outcome. `required` are the columns that cannot be NULL.

    `states` has the keys of all steps, and those that their rows went to. A step with problems changes nothing.
    """
    if step.problems:
        return QUARANTINED
    change, state = step.change, states[step.key]
    old = states[step.old_key] if step.old_key else None
    late = _is_late(change, state)
    if change.operation == DELETE:
        return SKIPPED if late else _delete(step, state, changes)
    base = _base(step, state, old)
    if not late and step.unknown and (base is None or base.values is None) and not _may_come(step, required):
        names = ", ".join(step.unknown)
        step.problems.append((step.unknown[0], f"the update leaves {names} as it was, of a row that is not there"))
        return QUARANTINED
    values, stale = _values(step, base)
    left = old is not None and _leave(step, old)
    if late:
        # the row went on, or is another one by now
        offered = {name: (text, stale.get(name, change.order)) for name, text in values.items()}
        filled = _fill(states, step.key, change.order, step.seq, offered)
        _keep(step, state, values, stale)
        return UPDATED if left or filled else SKIPPED
    was = state.values
    if was is not None and change.order and (change.operation == INSERT or old is not None):
        # it left by a change that has not come yet
        _remember(state, Past(state.since, state.order, was, state.stale))
        was = None
    if was is None:
        state.since = change.order if change.operation == INSERT or old is not None else state.order
    _count(step, state)
    state.stale = stale
    if was == values:
        return UNCHANGED
    known = state.values is not None
    state.values, state.seq, state.removed = values, step.seq, False
    return UPDATED if known or old is not None else INSERTED


def targets(state: State) -> list[Key]:
    """The keys that rows went to from this one."""
    return [key for _, key in state.departed]


def _delete(step: Step, state: State, changes: Changes) -> str:
    _count(step, state)
    if state.values is None or changes.deletes == KEEP:
        return UNCHANGED
    state.values, state.removed, state.stale = None, True, {}
    return DELETED


def _base(step: Step, state: State, old: State | None) -> State | Past | None:
    """The row that the change was made to; None where it is not known."""
    if old is None:
        return state
    if not _is_late(step.change, old):
        return old
    return _tenure(old, step.change.order)


def _values(step: Step, base: State | Past | None) -> tuple[dict[str, str], dict[str, str | None]]:
    """The row after the change, and the order of those values that the change does not name."""
    values, stale = dict(step.values), {}
    for name in step.unknown:
        known = base is not None and base.values is not None
        values[name] = base.values[name] if known else NULL
        stale[name] = base.stale.get(name, base.order) if known else None
    return values, stale


def _leave(step: Step, old: State) -> bool:
    """The row goes from its old key; whether it was still there. Another may have taken the key before this came."""
    order, late = step.change.order, _is_late(step.change, old)
    if order and all(order != other for other, _ in old.departed):
        old.departed = sorted([*old.departed, (order, step.key)])[-_PAST:]
        old.changed = True
    if late:
        return False
    if order and old.values is not None:
        # it may be a row whose own departure comes later
        _remember(old, Past(old.since, old.order, old.values, old.stale))
    _count(step, old)
    old.values, old.stale = None, {}
    return True


def _keep(step: Step, state: State, values: dict[str, str], stale: dict[str, str | None]) -> None:
    """Remember the row that a late change made: another late one may take it to its next key."""
    order, known = step.change.order, _tenure(state, step.change.order)
    if not order:
        return
    if step.change.operation == INSERT or step.old_key is not None:
        if all(order != past.since for past in state.past):
            _remember(state, Past(order, order, values, stale))
    elif known is None:
        _remember(state, Past("", order, dict.fromkeys(step.unknown, NULL) | step.values, dict.fromkeys(step.unknown)))
    elif known.order < order:
        known.stale = {name: known.stale.get(name, known.order) for name in step.unknown}
        known.values, known.order, state.changed = known.values | step.values, order, True


def _tenure(state: State, at: str) -> Past | None:
    """The earlier row that the key had `at` that time, as far as it is known."""
    return max((past for past in state.past if past.since <= at), key=lambda past: past.since, default=None)


def _remember(state: State, past: Past) -> None:
    state.past = [*state.past, past][-_PAST:]
    state.changed = True


def _may_come(step: Step, required: Collection[str]) -> bool:
    """Whether what an update does not name may be in an older change that comes later."""
    return bool(step.change.order) and not set(step.unknown) & set(required)


def _fill(states: dict[Key, State], key: Key, at: str, seq: int, offered: dict[str, tuple[str, str | None]]) -> bool:
    """Give the row that had the key `at` that time what newer changes left unknown; whether it took anything.

    `offered` are values by column, with their orders. The row may be anywhere by now.
    """
    owner, row = _row_of(states, key, at)
    if row is None or row.values is None:
        return False
    taken = {
        name: offered[name]
        for name, order in row.stale.items()
        if name in offered and offered[name][1] is not None and (order is None or order < offered[name][1])
    }
    if not taken:
        return False
    row.values = row.values | {name: text for name, (text, _) in taken.items()}
    row.stale = row.stale | {name: order for name, (_, order) in taken.items()}
    owner.changed = True
    if row is owner:
        owner.seq = seq
    return row is owner


def _row_of(states: dict[Key, State], key: Key, at: str) -> tuple[State, State | Past | None]:
    """Where the row is now that had the key `at` that time: the state of its key, and what is known of the row."""
    came = False  # to this key by the change `at`, and not before
    while True:
        state = states[key]
        begun = [past.since for past in state.past] + ([] if state.values is None else [state.since])
        departure = next((departure for departure in state.departed if departure[0] > at), None)
        if departure and not any(at < since < departure[0] for since in begun):
            (at, key), came = departure, True
            continue
        if state.values is not None and (state.since == at or (not came and state.since <= at)):
            return state, state
        past = _tenure(state, at)
        return state, None if past is None or (came and past.since != at) else past


def _is_late(change: Data, state: State) -> bool:
    """Whether a newer change of the key was taken already, or this one itself.

    A loaded row has no position in the log. It counts where no change was taken since it was read.
    """
    if not state.order:
        return False
    if change.operation == LOAD:
        return state.committed is not None and change.timestamp <= state.committed
    return bool(change.order) and change.order <= state.order


def _count(step: Step, state: State) -> None:
    if step.change.order:
        state.order, state.committed, state.changed = step.change.order, step.change.timestamp, True
