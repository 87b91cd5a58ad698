"""What a run makes of what its chunks saw: the next revision of its columns, or a refusal that says why."""

import pytest

from chalicelib.columns import Column
from chalicelib.errors import SchemaRefused
from chalicelib.schema import names, observing, review
from chalicelib.schema.model import ADD, WIDEN, Change, Observation, Schema, Seen
from chalicelib.sources.base import Source

SCHEMA = Schema(0, (Column("id", "bigint", nullable=False), Column("amount", "integer"), Column("note", "text")))


def always(columns):
    return True


def evolved(*seen, judges=always, more=0, misfits=()):
    return review.evolved(SCHEMA, Observation(tuple(seen), tuple(misfits), (), more), judges, "run", "orders")


def test_nothing_new_is_the_same_schema():
    assert evolved() is SCHEMA
    assert evolved(Seen("empty", None, 0)) is SCHEMA  # null all along: it has no type yet


def test_new_columns_come_after_the_declared_ones_with_their_fields():
    schema = evolved(Seen("Tip", "integer", 3, "raw", 7), misfits=[Seen("amount", "numeric", 2, "raw", 9)])
    assert schema.revision == 1
    assert [(c.name, c.type, c.nullable) for c in schema.columns] == [
        ("id", "bigint", False),
        ("amount", "numeric", True),
        ("note", "text", True),
        ("tip", "bigint", True),
    ]
    assert schema.late == {"tip": "Tip"}
    assert [(c.change, c.column, c.from_type, c.to_type, c.records, c.line) for c in schema.changes] == [
        (WIDEN, "amount", "integer", "numeric", 2, 9),
        (ADD, "tip", None, "bigint", 3, 7),
    ]


def test_what_the_suite_could_not_judge_is_not_widened():
    def judges(columns):
        return all(column.type != "text" or column.name != "amount" for column in columns)

    assert evolved(misfits=[Seen("amount", "text", 1, "raw", 1)], judges=judges) is SCHEMA


def test_a_hundred_new_fields_are_added_and_one_more_is_refused():
    fields = [Seen(f"f{i}", "text", 1, "raw", 1) for i in range(review.MOST_NEW_COLUMNS)]
    assert len(evolved(*fields).columns) == 3 + len(fields)
    for seen, more in (([*fields, Seen("one", "text", 1)], 0), (fields, 1)):
        with pytest.raises(SchemaRefused, match="101 new fields came in one run"):
            evolved(*seen, more=more)


def test_a_frozen_schema_is_refused_with_every_change_up_to_ten():
    review.refuse(Observation(), SCHEMA.columns, "run", "orders")
    fields = tuple(Seen(f"f{i:02d}", "text", i, "raw/a", 5) for i in range(12))
    seen = Observation(fields, (Seen("amount", "text", 1, "raw/b", 6),), ("note",), more=4)
    with pytest.raises(SchemaRefused) as refused:
        review.refuse(seen, SCHEMA.columns, "run", "orders")
    assert "field 'f01' is new (text, 1 record), first in raw/a line 5" in str(refused.value)
    assert "and 8 more" in str(refused.value)
    few = Observation((), seen.misfits, seen.missing)
    with pytest.raises(SchemaRefused, match="column amount is integer, 1 record of type text, first in raw/b line 6"):
        review.refuse(few, SCHEMA.columns, "run", "orders")
    with pytest.raises(SchemaRefused, match=r"column note \(text\) is in no record"):
        review.refuse(few, SCHEMA.columns, "run", "orders")


def test_a_field_whose_name_may_be_a_value_is_counted_and_not_told():
    seen = Observation((Seen("tip", "text", 1, "raw/a", 5),), nameless=2)
    with pytest.raises(SchemaRefused, match="2 fields are new whose names may be values") as refused:
        review.refuse(seen, SCHEMA.columns, "run", "orders")
    assert "field 'tip' is new" in str(refused.value)
    with pytest.raises(SchemaRefused, match="1 field is new whose name may be a value"):
        review.refuse(Observation(nameless=1), SCHEMA.columns, "run", "orders")
    many = [Seen(f"ada{i}@example.com", "text", 1) for i in range(60)] + [Seen(f"f{i}", "text", 1) for i in range(60)]
    with pytest.raises(SchemaRefused, match=r"field 'f0' is new.*; 110 more") as refused:
        evolved(*many)
    assert "@" not in str(refused.value)


@pytest.mark.parametrize("name", ["id", "Order ID", "unit-price (EUR)", "größe", "_x", "user.email", "a/b", "$ref"])
def test_names_of_fields_are_told(name):
    assert names.is_like_a_field(name) == (name != "$ref")


@pytest.mark.parametrize(
    "name",
    ["ada@example.com", "1815-12-10", "12.5", "+49 30 1234", "", "x" * 64, "DE89370400440532013000", "a\nb", "Hi!"],
)
def test_what_may_be_a_value_is_no_name(name):
    assert not names.is_like_a_field(name)
    assert names.listed(["id", name]) == "id and 1 that looks like no name"


def test_a_change_of_a_run_that_is_rejected_would_have_been_made():
    widened = Change(WIDEN, "amount", "numeric", "amount", "integer", 1)
    assert widened.text() == "column amount is widened from integer to numeric, which 1 record needs"
    assert widened.text(published=False).startswith("column amount would have been widened from integer")
    added = Change(ADD, "tip", "text", "tip", records=2)
    assert added.text(published=False) == "new field 'tip': column tip (text) would have been added, 2 records have it"
    declared = Change(ADD, "tip", "text", "tip")
    assert declared.text() == "the declaration adds column tip (text)"
    assert declared.text(published=False) == "the declaration would add column tip (text)"


def test_chunks_are_summed_the_first_place_kept_and_missing_is_what_no_chunk_has():
    total = observing.total(
        [
            Observation((Seen("tip", None, 0, "a", 1),), (), ("note", "amount")),
            Observation((Seen("tip", "integer", 2, "b", 5),), (Seen("amount", "bigint", 1, "b", 3),), ("note",), 2),
            Observation(
                (Seen("tip", "double precision", 1, "c", 9),), (Seen("amount", "text", 1, "c", 1),), ("note",), 1
            ),
        ]
    )
    assert total.unknown == (Seen("tip", "double precision", 3, "b", 5),)
    assert total.misfits == (Seen("amount", "text", 2, "b", 3),)
    assert (total.missing, total.more) == (("note",), 2)
    assert observing.total([]) == Observation()


def test_an_unknown_contract_is_refused_by_name():
    class Wrong(Source):
        name = "wrong"
        key = ("id",)
        columns = (Column("id", "bigint"),)
        schema_contract = "evolving"

    with pytest.raises(Exception, match="schema_contract is 'evolving'"):
        Wrong().check()
