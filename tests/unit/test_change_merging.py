"""Whatever the order in which two shards' records come, the table ends as the source is."""

import json

from change_events import change
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.changes.mapping import Changes
from chalicelib.changes.merge import take
from chalicelib.changes.record import read
from chalicelib.changes.tenures import State, Step

MAPPING = Changes("public", "orders")


@st.composite
def histories(draw):
    """(changes in the order of the log, the rows at the end); a change is (operation, key, old key, value, note, fits).

    What does not fit is its value, of a load, an insert or an update of its key; rows at the end fit, or are None.
    """
    fits = st.sampled_from([True, True, False])
    rows = {key: (0, f"loaded {key}") for key in draw(st.sets(st.sampled_from("abc")))}
    unfit = {key for key in rows if not draw(fits)}
    log = [("load", key, None, 0, note, key not in unfit) for key, (_, note) in rows.items()]
    for number in range(1, draw(st.integers(2, 24))):
        key = draw(st.sampled_from("abc" if not rows else sorted({*"abc", *rows})))
        if key not in rows:
            rows[key] = (number, f"note {number}")
            unfit = unfit - {key} if draw(fits) else unfit | {key}
            log.append(("insert", key, None, number, f"note {number}", key not in unfit))
            continue
        what = draw(st.sampled_from(["delete", "update", "update", "note", "move", "move"]))
        free = sorted(set("abcde") - set(rows))  # those too that another row had
        if what == "delete":
            del rows[key]
            log.append(("delete", key, None, None, None, True))
        elif what == "move" and free:
            target = draw(st.sampled_from(free))
            rows[target] = (number, rows.pop(key)[1])
            unfit -= {key, target}
            log.append(("update", target, key, number, None, True))
        else:
            note = f"note {number}" if what == "note" else None
            rows[key] = (number, note or rows[key][1])
            unfit = unfit - {key} if draw(fits) else unfit | {key}
            log.append(("update", key, None, number, note, key not in unfit))
    return log, {key: None if key in unfit else row for key, row in rows.items()}


@settings(max_examples=500)
@given(histories(), st.randoms(use_true_random=False))
def test_the_changes_of_a_key_in_order_and_the_keys_in_any(history, random):
    log, rows = history
    queues = {}
    loads = sum(operation == "load" for operation, *_ in log)
    for at, (operation, key, old, value, note, fits) in enumerate(log, 1 - loads):
        data = {"id": key, "value": value} | ({"note": note} if note else {})
        found = read(json.dumps(change(operation, data, at=max(at, 0))).encode())
        values = {"id": key, "value": str(value)} | ({"note": note} if note else {})
        unknown = ("note",) if operation == "update" and not note else ()
        problems = [] if fits else [("value", "it does not fit")]
        step = Step(found, at, (key,), (old,) if old else None, values, unknown, problems)
        queues.setdefault(key, []).append(step)  # the stream's key is the record's own
    states = {(key,): State() for key in "abcde"}
    while queues:
        key = random.choice(sorted(queues))
        take(queues[key].pop(0), states, MAPPING)
        if not queues[key]:
            del queues[key]
    ended = {key: state.values for (key,), state in states.items() if state.values is not None}
    assert ended.keys() <= rows.keys()
    fit = {key for key, row in rows.items() if row}
    assert {key: (int(ended[key]["value"]), ended[key]["note"]) for key in fit} == {key: rows[key] for key in fit}
