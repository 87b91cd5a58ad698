"""What Transform writes is what Validate reads and what Postgres stores."""

import pandas as pd

from chalicelib.columns import Column
from chalicelib.conversion import encode
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


def test_a_row_is_one_line_whatever_its_text_holds():
    rows = rows_of((1, 1.5, "tab\tline\nreturn\rback\\slash", True, "2024-02-29"), (2, None, "", False, None))
    assert rows.count(b"\n") == 2


def test_a_frame_gives_back_the_values():
    odd = "tab\tline\nreturn\rback\\slash \\N \\t"
    frame = copy_text.read_frame(
        rows_of((2**62 + 1, 1.5, odd, True, "2024-02-29"), (2, None, "", False, None)),
        COLUMNS,
        {"id", "amount", "name", "paid", "day"},
    )
    assert frame["id"].tolist() == [2**62 + 1, 2]
    assert frame["name"].tolist() == [odd, ""]
    assert frame["paid"].tolist() == [True, False]
    assert frame["day"].tolist() == ["2024-02-29", None]
    assert frame["amount"][0] == 1.5 and pd.isna(frame["amount"][1])


def test_the_text_of_null_is_not_null():
    frame = copy_text.read_frame(
        rows_of((1, 1.0, "\\N", True, None), (2, 1.0, None, None, None)), COLUMNS, {"name", "paid"}
    )
    assert frame["name"].tolist() == ["\\N", None]
    assert frame["paid"].tolist() == [True, None]


def test_only_the_wanted_columns_are_read():
    assert list(copy_text.read_frame(rows_of((1, 1.0, "a", True, None)), COLUMNS, {"name"}).columns) == ["name"]


def test_rows_are_dropped_by_position_and_the_rest_stays_as_it_was():
    rows = rows_of(*[(i, 1.0, "a", True, None) for i in range(5)], seqs=[10, 11, 12, 13, 14])
    kept = copy_text.without(rows, [4, 0, 2])
    assert [line.rsplit(b"\t", 1)[1] for line in kept.splitlines()] == [b"11", b"13"]
    assert kept.endswith(b"\n")
    assert copy_text.seqs_at(rows, [4, 0]) == [14, 10]


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
