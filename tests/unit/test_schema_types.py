"""Which type holds a new field, which one is wider, and what a column is called."""

from decimal import Decimal

import pandas as pd
import pytest

from chalicelib.columns import SYSTEM_COLUMNS, TYPES, Column
from chalicelib.conversion import encode, fits
from chalicelib.errors import DeclarationError
from chalicelib.schema import kinds, ladder, names

VALUES = {
    "smallint": [0, -(2**15), 2**15 - 1],
    "integer": [2**31 - 1, "12"],
    "bigint": [-(2**63)],
    "numeric": [2**70, "0.1", 1.5],
    "numeric(10,2)": ["12345678.25"],
    "double precision": [0.1, 12],
    "boolean": [True, "no"],
    "text": ["a\tb", "x"],
    "date": ["2026-01-31"],
    "timestamp": ["2026-01-31T10:00:00"],
    "timestamptz": ["2026-01-31T10:00:00+02:00"],
    "jsonb": [{"a": 1}, [1], "x"],
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_wider_type_takes_every_value_of_a_narrower_one(kind):
    for wider in ladder.above(kind):
        for value in VALUES[kind]:
            assert fits(value, Column("c", wider)), f"{value!r} fits {kind}, but not {wider}"


def test_every_type_has_its_place_and_all_but_jsonb_lead_to_text():
    for kind in TYPES:
        above = ladder.above(kind)
        assert kind not in above
        assert above[-1:] == (() if kind == "jsonb" else ("jsonb",))
        for at, step in enumerate(above):
            assert set(above[at + 1 :]) <= set(ladder.above(step)), f"{kind} goes past {step}"


@pytest.mark.parametrize("one", TYPES)
@pytest.mark.parametrize("other", TYPES)
def test_what_two_types_have_in_common_takes_both_and_does_not_depend_on_their_order(one, other):
    kind = ladder.common(one, other)
    assert kind == ladder.common(other, one)
    for of in (one, other):
        assert kind == of or ladder.is_wider(kind, of)


@pytest.mark.parametrize(
    ("wide", "narrow", "is_wider"),
    [
        ("numeric(12,2)", "numeric(10,2)", True),
        ("numeric(12,4)", "numeric(10,2)", True),
        ("numeric(11,4)", "numeric(10,2)", False),  # fewer digits before the point
        ("numeric(10,2)", "numeric(10,2)", False),
        ("numeric", "numeric(10,2)", True),
        ("numeric(10,2)", "numeric", False),
        ("bigint", "double precision", False),
    ],
)
def test_a_numeric_with_more_digits_on_both_sides_is_wider(wide, narrow, is_wider):
    assert ladder.is_wider(wide, narrow) is is_wider


def test_a_key_is_widened_among_integers_and_an_embedded_column_not_at_all():
    assert ladder.allowed(Column("id", "smallint"), ("id",), ()) == ("integer", "bigint")
    assert ladder.allowed(Column("day", "date"), ("day",), ()) == ()
    assert ladder.allowed(Column("title", "text"), ("id",), ("title",)) == ()


NEW = [
    ([None, None], None),
    ([float("nan"), None, pd.NaT], None),
    ([True, None], "boolean"),
    ([1, 2**31 - 1], "integer"),
    ([1, 2**31], "bigint"),
    ([1, 2**63], "numeric"),
    ([1, 2.5], "double precision"),
    ([2**40, 2.5], "numeric"),
    ([1, True], "text"),
    (["2026-01-31", None], "date"),
    (["2026-01-31", "2026-01-31T10:00:00"], "timestamp"),
    (["2026-01-31", "2026-01-31T10:00:00Z"], "timestamptz"),
    (["2026-02-31"], "text"),
    (["12"], "text"),
    ([1, "x"], "text"),
    (["x", {"a": 1}], "jsonb"),
    ([[1], None], "jsonb"),
    ([Decimal("0.1")], "numeric"),
    ([pd.Timestamp("2026-01-01", tz="UTC")], "timestamptz"),
]


@pytest.mark.parametrize(("values", "expected"), NEW)
def test_a_new_field_gets_the_type_that_holds_all_of_its_values(values, expected):
    found = kinds.inferred(values, is_csv=False)
    assert found == expected
    assert kinds.inferred(values[::-1], is_csv=False) == expected
    if found:
        _, problems = encode(values, Column("c", kinds.column_type(found)))
        assert problems == {}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-20", None], "integer"),
        (["1", "2.5"], "double precision"),
        (["007", "12"], "text"),
        (["true", "FALSE"], "boolean"),
        (["1", "N/A"], "text"),
        (["9" * 30], "numeric"),
        (["1e400"], "numeric"),
        (["12345678901234567.89", "1.5"], "numeric"),
        (["9007199254740993", "1.5"], "numeric"),
        (["0.30000000000000004", "1"], "double precision"),
    ],
)
def test_in_a_csv_what_looks_like_a_number_is_one(values, expected):
    found = kinds.inferred(values, is_csv=True)
    assert found == expected
    assert encode(values, Column("c", kinds.column_type(found)))[1] == {}


def test_the_type_of_a_run_does_not_depend_on_the_order_of_its_chunks():
    chunks = [
        "integer",
        "double precision",
        "bigint",
        None,
        "boolean",
        "date",
        "timestamptz",
        "jsonb",
        "text",
        "numeric",
    ]
    for one in chunks:
        for other in chunks:
            for third in chunks:
                left = kinds.together(kinds.together(one, other), third)
                right = kinds.together(one, kinds.together(other, third))
                assert left == right == kinds.together(kinds.together(third, other), one), (one, other, third)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("tip", "tip"),
        ("Order ID", "order_id"),
        ("orderId", "order_id"),
        ("_run_id", "run_id"),
        ("xmin", "column_xmin"),
        ("2nd", "column_2nd"),
        ("Größe", "grosse"),
        ("a" * 200, "a" * 60),
    ],
)
def test_a_field_becomes_a_safe_column_name(field, name):
    assert names.column_name(field, ()) == name


@pytest.mark.parametrize(
    "field", ["", "€", "😀", '"; DROP TABLE runs; --', "\ud800", "b" * 300, *sorted(SYSTEM_COLUMNS)]
)
def test_whatever_a_field_is_called_its_column_can_be_made_and_is_the_same_again(field):
    name = names.column_name(field, ())
    taken = names.column_name(field, {name})
    assert taken != name
    assert (names.column_name(field, ()), names.column_name(field, {name})) == (name, taken)
    for made in (name, taken, names.column_name(field, {name, taken})):
        Column(made, "text")
        assert len(made) <= 63


def test_two_fields_with_one_name_are_told_apart():
    assert names.column_name("Order ID", {"order_id"}) != names.column_name("order-id", {"order_id"})


@pytest.mark.parametrize("name", sorted(SYSTEM_COLUMNS))
def test_the_columns_that_every_table_has_cannot_be_declared(name):
    with pytest.raises(DeclarationError, match="Postgres gives every table"):
        Column(name, "text")
