"""What a replay must come to, of each key, follows from which row is the newest."""

import pytest

from storm import truth
from storm.places import Original, Placed

OPEN, PUBLISHED, DUPLICATE = "open", "published", "duplicate"


def row(key, amount, note="x"):
    return {"id": key, "day": "2001-02-03", "amount": amount, "note": note}


def amounts(placed):
    return {int(key): found[2] for key, found in placed.table.items()}


BAD_THEN_GOOD = [row(1, "10.00"), row(2, "-500.00"), row(2, "20.00")]
GOOD_THEN_BAD = [row(1, "10.00"), row(2, "20.00"), row(2, "-500.00")]
ALL_BAD = [row(1, "10.00"), row(2, "-500.00"), row(2, "-600.00")]
UNFIT = [row(1, "10.00"), row(2, "twelve")]


@pytest.mark.parametrize(
    ("sent", "loads", "replayed", "states", "left", "counts"),
    [
        pytest.param(BAD_THEN_GOOD, 1, 1, [DUPLICATE], "20.00", (1, 0, 0, 0, 1, 0), id="a later line"),
        pytest.param(BAD_THEN_GOOD, 2, 2, [DUPLICATE], "20.00", (1, 0, 0, 0, 1, 0), id="a later one, found twice"),
        pytest.param(BAD_THEN_GOOD, 2, 1, [DUPLICATE], "20.00", (1, 0, 0, 0, 1, 0), id="of the first of two loads"),
        pytest.param(GOOD_THEN_BAD, 1, 1, [PUBLISHED], "-500.00", (1, 0, 1, 0, 0, 0), id="an earlier line"),
        pytest.param(GOOD_THEN_BAD, 2, 2, [PUBLISHED], "-500.00", (1, 0, 1, 0, 0, 0), id="an earlier one, found twice"),
        pytest.param(GOOD_THEN_BAD, 2, 1, [DUPLICATE], "20.00", (1, 0, 0, 0, 1, 0), id="a later run has found it"),
        pytest.param(ALL_BAD, 1, 1, [DUPLICATE, PUBLISHED], "-600.00", (2, 1, 0, 0, 1, 0), id="no good line"),
        pytest.param(UNFIT, 1, 1, [OPEN], None, (1, 0, 0, 0, 0, 1), id="bad again"),
    ],
)
def test_of_a_key_the_newest_row_stays(sent, loads, replayed, states, left, counts):
    rows, placed = dict(enumerate(sent)), Placed({}, {})
    for entry in range(1, loads + 1):
        placed.publish(rows, entry, truth.is_bad)
    original = Original("r", replayed, {number: one for number, one in rows.items() if truth.is_bad(one)})
    account, found = placed.publish(original.open, original.entry, truth.is_unfit)
    assert (list(found.values()), tuple(vars(account).values())) == (states, counts)
    assert amounts(placed) == {1: "10.00"} | ({2: left} if left else {})
    original.settle(found, "a replay")
    assert list(original.open) == [number for number, state in found.items() if state == OPEN]
    assert set(original.settled_by.values()) <= {"a replay"}


def test_in_whatever_order_two_runs_are_replayed_the_same_rows_are_left():
    for sent in (BAD_THEN_GOOD, GOOD_THEN_BAD, ALL_BAD):
        rows, left = dict(enumerate(sent)), []
        for order in ((1, 2), (2, 1)):
            placed = Placed({}, {})
            for entry in (1, 2):
                placed.publish(rows, entry, truth.is_bad)
            for entry in order:
                bad = {number: one for number, one in rows.items() if truth.is_bad(one)}
                placed.publish(bad, entry, truth.is_unfit)
            left.append((placed.table, placed.places))
        assert left[0] == left[1]


def test_a_load_comes_to_what_the_truth_of_a_run_says():
    rows = truth.planned(1, "storm_0", truth.window(0))
    table, account = truth.apply({}, [tuple(rows)])
    placed = Placed({}, {})
    found, _ = placed.publish(dict(enumerate(rows)), 1, truth.is_bad)
    assert (placed.table, found) == (table, account)
