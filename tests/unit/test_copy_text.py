"""What Transform writes is what Validate reads and what Postgres stores."""

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.columns import Column
from chalicelib.conversion import encode
from chalicelib.quality import rows as quality
from chalicelib.quality import suite as suites
from chalicelib.warehouse import copy_text

COLUMNS = (
    Column("id", "bigint"),
    Column("amount", "double precision"),
    Column("name", "text"),
    Column("paid", "boolean"),
    Column("day", "date"),
)


def rows_of(*records, seqs=None):
    columns = [
        encode(list(values), column)[0] for column, values in zip(COLUMNS, zip(*records, strict=True), strict=True)
    ]
    return copy_text.write(columns, seqs or list(range(1, len(records) + 1)))


def frame_of(rows, wanted):
    return copy_text.read_frame(copy_text.cells(rows, COLUMNS), COLUMNS, wanted)


def test_a_row_is_one_line_whatever_its_text_holds():
    rows = rows_of((1, 1.5, "tab\tline\nreturn\rback\\slash", True, "2024-02-29"), (2, None, "", False, None))
    assert rows.count(b"\n") == 2


def test_a_frame_gives_back_the_values():
    odd = "tab\tline\nreturn\rback\\slash \\N \\t"
    frame = frame_of(
        rows_of((2**62 + 1, 1.5, odd, True, "2024-02-29"), (2, None, "", False, None)),
        {"id", "amount", "name", "paid", "day"},
    )
    assert frame["id"].tolist() == [2**62 + 1, 2]
    assert frame["name"].tolist() == [odd, ""]
    assert frame["paid"].tolist() == [True, False]
    assert frame["day"].tolist() == ["2024-02-29", None]
    assert frame["amount"][0] == 1.5 and pd.isna(frame["amount"][1])


def test_the_text_of_null_is_not_null():
    frame = frame_of(rows_of((1, 1.0, "\\N", True, None), (2, 1.0, None, None, None)), {"name", "paid"})
    assert frame["name"].tolist() == ["\\N", None]
    assert frame["paid"].tolist() == [True, None]


def test_only_the_wanted_columns_are_read():
    assert list(frame_of(rows_of((1, 1.0, "a", True, None)), {"name"}).columns) == ["name"]


def test_rows_are_dropped_by_position_and_the_rest_stays_as_it_was():
    rows = rows_of(*[(i, 1.0, "a", True, None) for i in range(5)], seqs=[10, 11, 12, 13, 14])
    kept = copy_text.without(rows, [4, 0, 2])
    assert [line.rsplit(b"\t", 1)[1] for line in kept.splitlines()] == [b"11", b"13"]
    assert kept.endswith(b"\n")
    assert copy_text.cells(rows, COLUMNS).seqs_at([4, 0]) == [14, 10]


def test_the_fingerprint_depends_on_the_values_alone():
    first, again, other = (
        rows_of(record, seqs=[seq]).split(b"\t")[-2]
        for record, seq in (
            ((1, 1.5, "a", True, None), 1),
            ((1, 1.5, "a", True, None), 99),
            ((1, 1.5, "b", True, None), 1),
        )
    )
    assert first == again != other


def test_no_rows_are_no_bytes():
    assert copy_text.write([[], []], []) == b""


@pytest.mark.parametrize("nulls", [0, 1])
def test_integers_beyond_what_a_float_holds_are_judged_exactly(nulls):
    big = 2**53
    between = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "id", "max_value": big}}
    one_of = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "id", "value_set": [1, big, -big - 2]}}
    expectations = [{**item, "severity": "critical"} for item in (between, one_of)]
    suite = suites.parse(json.dumps({"name": "s", "expectations": expectations}), "s.json", COLUMNS, ("id",))
    ids = [1, big, big + 1, -big - 1, *[None] * nulls]
    frame = frame_of(rows_of(*[(i, 1.5, "a\x0b\x85", True, None) for i in ids]), {"id"})
    assert frame["id"].dropna().tolist() == ids[:4]
    failing = quality.check(frame, suite).failing
    assert {position: [reason.value for reason in reasons] for position, reasons in failing.items()} == {
        2: [str(big + 1)] * 2,
        3: [str(-big - 1)],
    }


def test_small_integers_beside_nulls_stay_numbers():
    frame = frame_of(rows_of((1, 1.5, "a", True, None), (None, 1.5, "a", True, None)), {"id"})
    assert frame["id"].dtype == "float64"


_ROWS = st.tuples(
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=6),
    st.none() | st.booleans(),
    st.none() | st.dates().map(str),
)


def fingerprints(rows: bytes) -> list[bytes]:
    return [line.split(b"\t")[-2] for line in rows.split(b"\n")[:-1]]


@given(st.lists(_ROWS, min_size=1, max_size=6), st.integers(1, 2**40))
def test_a_fingerprint_is_that_of_the_values_alone(rows, first):
    """The same for the same values, in whatever company and place, another for others, -0.0 and 0.0 among them."""
    together = fingerprints(rows_of(*rows, seqs=range(first, first + len(rows))))
    assert together == [fingerprints(rows_of(row))[0] for row in rows]
    written = [rows_of(row).rsplit(b"\t", 2)[0] for row in rows]
    assert len(set(together)) == len(set(written))


@given(_ROWS, _ROWS)
def test_rows_of_other_values_have_other_fingerprints(one, other):
    same = all(type(a) is type(b) and repr(a) == repr(b) for a, b in zip(one, other, strict=True))
    assert (fingerprints(rows_of(one)) == fingerprints(rows_of(other))) == same


@given(st.lists(_ROWS, min_size=1, max_size=6))
def test_what_is_written_is_read_back(rows):
    written = rows_of(*rows)
    assert written.count(b"\n") == len(rows)
    frame = frame_of(written, {"id", "name"})
    assert frame["id"].tolist() == [row[0] for row in rows]
    assert [None if pd.isna(name) else name for name in frame["name"]] == [row[2] for row in rows]
