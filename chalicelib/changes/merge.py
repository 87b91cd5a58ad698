"""A table's changes, one after the other, over the rows that they meet: what becomes of each change and of each key.

Nothing here talks to a database: `apply` reads the rows of a batch's keys before, and writes what differs after.

The shards of a stream are read side by side: changes of one key come in order, those of two keys do not, and a change
of a key is on the shard of the new one. What is older than what a key has is skipped, but for one thing: an update does
not name large texts that it leaves as they were, so their value may be in an older change that comes later, of a key
that the row had before.

Hence a key has tenures, one for each row that had it: since when, what that row was like at the end of it, and of which
change each of its values is. Rows left a key by the changes in `departed`, each of which began the tenure of the same
position at another key. What a tenure did not name itself it has from the one that its row left, and from no other:
whatever comes late and changes which one that was, or what it held, is handed on along the departures. So where a row's
values come from does not depend on the order in which the shards are read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from chalicelib.changes import mapping
from chalicelib.changes.mapping import KEEP, Changes
from chalicelib.changes.record import DELETE, INSERT, LOAD, Data
from chalicelib.changes.tenures import Aside, Departure, Key, State, Step, Tenure
from chalicelib.conversion import NULL

INSERTED, UPDATED, DELETED, UNCHANGED, SKIPPED, QUARANTINED = OUTCOMES = (
    "inserted",
    "updated",
    "deleted",
    "unchanged",
    "skipped",
    "quarantined",
)
_PAST = 20  # earlier rows of a key that are remembered, and departures


def take(step: Step, states: dict[Key, State], changes: Changes, required: Collection[str] = ()) -> str:
    """Take one change; returns its outcome. `required` are the columns that cannot be NULL.

    `states` has the keys of all steps, and those that their rows went to. A step with problems is not applied; what
    fits of it is remembered for updates that do not name it, see `tenures.Aside`.
    """
    if step.key is None:
        return QUARANTINED
    change, state = step.change, states[step.key]
    old = states[step.old_key] if step.old_key else None
    late = _is_late(change, state)
    if step.problems:
        return _quarantine(step, states, changes, required)
    if change.operation == DELETE:
        outcome = _delete(step, state, changes, late)
        return UPDATED if _hand_on(states, step, required) and late else outcome
    base = _base(step, state, old)
    if not late:
        _judge(step, old or state, base, required)
        if step.problems:
            return _quarantine(step, states, changes, required)
    left = old is not None and _leave(step, old)
    if late:
        filled = _take_late(step, state, base)
        handed = _hand_on(states, step, required)
        return UPDATED if left or filled or handed else SKIPPED
    outcome = _take(step, state, base, moved=old is not None)
    _hand_on(states, step, required)
    return outcome


def targets(state: State, since: str) -> dict[Key, str]:
    """The keys that rows went to from this one after `since`, and the first order of each at which."""
    found: dict[Key, str] = {}
    for departure in state.departed:
        if departure.order > since:
            found.setdefault(departure.to, departure.order)
    return found


def _judge(step: Step, held: State, base: Tenure | None, required: Collection[str]) -> None:
    """Whether the columns that the update leaves as they are can be told; `held` is the key that the row had."""
    order = step.change.order
    if unfit := [name for name in step.unknown if name in held.unfit(order)]:
        names = ", ".join(unfit)
        problem = f"the update leaves {names} as it was, in a change of the row that is quarantined as it did not fit"
        step.problems.append((unfit[0], problem))
        return
    unsure = [name for name in step.unknown if base is None or base.value(name)[1] is None]
    # what is not known may be in an older change that comes later
    if unsure and (not order or set(unsure) & set(required)):
        names = ", ".join(unsure)
        step.problems.append((unsure[0], f"the update leaves {names} as it was, of a row that is not there"))


def _quarantine(step: Step, states: dict[Key, State], changes: Changes, required: Collection[str]) -> str:
    """Remember what fits of a change that does not, for updates that leave it as it is; the row keeps what it has."""
    change, state = step.change, states[step.key]
    if change.operation == DELETE or changes.absent != mapping.UNCHANGED:
        return QUARANTINED
    unfit = tuple(dict.fromkeys(name for name, _ in step.problems if name is not None))
    values = {name: text for name, text in step.values.items() if name not in unfit and name not in step.unknown}
    old = states[step.old_key] if step.old_key else None
    if _is_late(change, state):
        # a row that has not its own value yet of a column that cannot be NULL would lose the one that it has
        lacks = state.row and any((state.row.value(name)[1] or "") <= change.order for name in {*unfit} & {*required})
        if old is None and not lacks:
            unknown = tuple(dict.fromkeys((*step.unknown, *unfit)))
            _take_late(replace(step, values=values, unknown=unknown), state, None)
            _hand_on(states, step, required)
        return QUARANTINED
    order, found = change.order, {}
    if old is not None and (base := _base(step, state, old)) is not None:
        # not what its own order says, the row at the old key may be older
        kept = {name: base.value(name) for name in step.unknown if name not in unfit}
        found = {name: (text, at) for name, (text, at) in kept.items() if at is not None}
    begins = step.begins or change.operation in (INSERT, LOAD)
    aside = state.aside
    if begins and order and (known := state.known(order)) is not None:
        _remember(state, known)  # its departure may come later
    if begins or aside is None:
        aside = Aside(order if begins else None, order)
    found |= {name: (text, order) for name, text in values.items()}
    unfit = tuple(dict.fromkeys((*unfit, *(name for name in aside.unfit if name not in found))))
    left = {name: value for name, value in aside.values.items() if name not in unfit}
    state.aside, state.changed = replace(aside, order=order, values=left | found, unfit=unfit), True
    return QUARANTINED


def _end_aside(state: State, order: str) -> None:
    """A change was taken: what was put aside before it is in the row now, or gone with it."""
    if state.aside is not None and not (order and state.aside.order > order):
        state.aside, state.changed = None, True


def _take(step: Step, state: State, base: Tenure | None, moved: bool) -> str:
    """The key's row is from now on what the change says."""
    order, was, known = step.change.order, state.row, state.known(step.change.order)
    if known is not None and step.begins:
        _remember(state, known)  # it left by a change that has not come yet
    same_row = known is not None and not step.begins
    since = known.since if same_row else order if step.begins else state.order
    _count(step, state)
    state.row = _tenure(step, base, since, state.order)
    _end_aside(state, order)
    if same_row and was is not None and was.values == state.row.values:
        return UNCHANGED
    state.seq, state.removed = step.seq, False
    return UPDATED if was is not None or moved else INSERTED


def _take_late(step: Step, state: State, base: Tenure | None) -> bool:
    """Remember what a late change says of the row that the key had; whether that is the row that it has now."""
    order = step.change.order
    if step.begins:
        return _begin_late(state, _tenure(step, base, order, order), step.seq)
    known = _latest(state, order, including=True)
    if known is None:
        # of a late load nothing is older
        _remember(state, _tenure(step, None, "", order))
        return False
    ended = _end(state, known)
    if known.values is None or (ended and ended < order):
        # the change that brought this row has not come, and never may: a load has no position
        begun = _tenure(step, None, ended or known.since, order)
        if known.values is None:
            state.past.remove(known)
        _remember(state, begun)
        return False
    return _merge(state, known, order, step.values, step.seq)


def _begin_late(state: State, begun: Tenure, seq: int) -> bool:
    """Another row had the key from `begun.since` on; whether it is the one that has it now."""
    if any(tenure.since == begun.since for tenure in state.tenures):
        return False
    before = _latest(state, begun.since)
    if before is None or before.values is None or before.order <= begun.since or _end(state, before) is not None:
        _remember(state, begun)
        return False
    # what came of this row was taken for the one before
    newer = {
        name: (text, order)
        for name in before.values
        for text, order in [before.value(name)]
        if order is not None and order > begun.since
    }
    is_row = before is state.row
    was = dict(before.values)
    before.values = begun.values | {name: text for name, (text, _) in newer.items()}
    orders = {name: begun.stale.get(name, begun.order) for name in begun.values}
    orders |= {name: order for name, (_, order) in newer.items()}
    before.stale = {name: order for name, order in orders.items() if order != before.order}
    before.since, state.changed = begun.since, True
    if is_row and was != before.values:
        state.seq = seq
        return True
    return False


def _merge(state: State, tenure: Tenure, order: str, values: dict[str, str], seq: int) -> bool:
    """Put those of `values` into a tenure that are newer than what it has; whether its key's row is another for it."""
    orders = {name: tenure.value(name)[1] for name in tenure.values}
    newer = {name: text for name, text in values.items() if orders.get(name) is None or orders[name] < order}
    was, tenure.values = tenure.values, tenure.values | newer
    tenure.order = max(tenure.order, order)
    orders |= dict.fromkeys(newer, order)
    tenure.stale = {name: at for name, at in orders.items() if at != tenure.order}
    state.changed = state.changed or bool(newer)
    if tenure is state.row and was != tenure.values:
        state.seq = seq
        return True
    return False


def _delete(step: Step, state: State, changes: Changes, late: bool) -> str:
    order = step.change.order
    if late:
        before = _latest(state, order, including=True)
        if changes.deletes != KEEP and before is not None and before.since < order and before.order < order:
            _remember(state, Tenure(order, order, None))
        return SKIPPED
    _count(step, state)
    _end_aside(state, order)
    if state.row is None or changes.deletes == KEEP:
        return UNCHANGED
    state.row, state.removed = None, True
    if order and (state.past or state.departed):
        _remember(state, Tenure(order, order, None))
    return DELETED


def _base(step: Step, state: State, old: State | None) -> Tenure | None:
    """The row that the change was made to; None where it is not known."""
    order = step.change.order
    if old is None:
        return state.known(order)
    return _before(old, order) if order else old.known(order)


def _tenure(step: Step, base: Tenure | None, since: str, order: str) -> Tenure:
    """The row after the change; what the change does not name is as in `base`."""
    values, stale = dict(step.values), {}
    for name in step.unknown:
        values[name], stale[name] = base.value(name) if base else (NULL, None)
    return Tenure(since, order, values, stale)


def _leave(step: Step, old: State) -> bool:
    """The row goes from its old key; whether it was still there. Another may have taken the key before this came."""
    order, late = step.change.order, _is_late(step.change, old)
    if order and all(order != departure.order for departure in old.departed):
        departed = [*old.departed, Departure(order, step.key)]
        old.departed = sorted(departed, key=lambda departure: departure.order)[-_PAST:]
        old.changed = True
    if late:
        return False
    if order and (known := old.known(order)) is not None:
        # it may be a row whose own departure comes later
        _remember(old, known)
    _count(step, old)
    old.row = None
    _end_aside(old, order)
    return True


def _latest(state: State, at: str, including: bool = False) -> Tenure | None:
    """The last tenure that began before `at`, as far as it is known."""
    return _last_begun(state.tenures, at, including)


def _last_begun(tenures: Collection[Tenure], at: str, including: bool = False) -> Tenure | None:
    begun = [tenure for tenure in tenures if tenure.since < at or (including and tenure.since == at)]
    return max(begun, key=lambda tenure: tenure.since, default=None)


def _end(state: State, tenure: Tenure) -> str | None:
    """The departure that ended a tenure, None where none is known."""
    return next((departure.order for departure in state.departed if departure.order > tenure.since), None)


def _before(state: State, departure: str) -> Tenure | None:
    """The row that left by this departure. It has no values where another was there last: it came, and is not known."""
    known = state.known(departure)
    found = _last_begun([*state.past, known] if known else state.past, departure)
    if found is None:
        return None
    ended = _end(state, found)
    return found if ended is None or ended >= departure else Tenure(ended, ended, None)


def _remember(state: State, tenure: Tenure) -> None:
    state.past = sorted([*state.past, tenure], key=lambda past: past.since)[-_PAST:]
    state.changed = True


def _hand_on(states: dict[Key, State], step: Step, required: Collection[str]) -> bool:
    """Hand on what the change brought to the rows that left its keys later; whether a row is another for it."""
    if not step.change.order and step.change.operation != LOAD:
        return False
    keys = [key for key in (step.key, step.old_key) if key is not None]
    return any([_hand_on_from(states, key, step.change.order, step.seq, required) for key in keys])


def _hand_on_from(states: dict[Key, State], key: Key, since: str, seq: int, required: Collection[str]) -> bool:
    changed, left = False, [(key, since)]
    while left:
        key, since = left.pop()
        for departure in states[key].departed:
            target, base = states.get(departure.to), _before(states[key], departure.order)
            if departure.order <= since or target is None or base is None:
                continue
            for tenure in target.tenures:
                if tenure.since == departure.order and _inherit(tenure, base, required):
                    left.append((departure.to, departure.order))
                    target.changed = True
                    if tenure is target.row:
                        target.seq, changed = seq, True
    return changed


def _inherit(tenure: Tenure, base: Tenure, required: Collection[str]) -> bool:
    """Take from the row before what the tenure has from there; whether anything is another."""
    found = {name: base.value(name) for name in tenure.stale if tenure.inherits(name)}
    taken = {
        name: (text, order)
        for name, (text, order) in found.items()
        if tenure.value(name) != (text, order) and not (order is None and name in required)
    }
    tenure.values = tenure.values | {name: text for name, (text, _) in taken.items()}
    tenure.stale = tenure.stale | {name: order for name, (_, order) in taken.items()}
    return bool(taken)


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
