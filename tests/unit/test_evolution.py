"""A curated table becomes as wide as a run needs, in the transaction that publishes, whatever others did meanwhile."""

import copy
import dataclasses
import io

import psycopg2
import pytest

from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.conversion import encode
from chalicelib.errors import SchemaMismatch
from chalicelib.schema import DISCARD, EVOLVE, ladder
from chalicelib.schema.model import ADD, Change, Schema
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, copy_text, evolution, ledger, table_columns, tables


class Grown(Source):
    name = "grown"
    key = ("id",)
    columns = (Column("id", "integer"), Column("v", "integer"))
    schema_contract = EVOLVE


@pytest.fixture
def cursor(database_url):
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS curated.grown")
        tables.ensure_curated(cursor, Grown())
        for run_id in ("g1", "g2"):
            cursor.execute("DELETE FROM pipeline.runs WHERE run_id = %s", (run_id,))
            ledger.open_run(cursor, Grown(), run_id, "arn", {}, Window(), "2026-01-01")
        yield cursor


def with_schema(cursor, late=(), **types):
    """The source with the columns that Plan found, these added or widened."""
    source = copy.copy(Grown())
    planned = evolution.planned(cursor, source)
    columns = {c.name: c for c in planned.columns}
    fields, changes = dict(planned.late), list(planned.changes)
    for name, kind in types.items():
        if name not in columns:
            fields[name] = dict(late).get(name, name)
            changes.append(Change(ADD, name, kind, fields[name], records=1, raw="raw", line=1))
        columns[name] = dataclasses.replace(columns.get(name, Column(name, kind)), type=kind)
    source.columns = tuple(columns.values())
    source.schema = Schema(1, source.columns, fields, tuple(changes))
    return source


def staged(cursor, source, run_id):
    tables.create_staging(cursor, source, run_id)
    return source


def types(cursor):
    return {n: t for n, t in table_columns.types(cursor, "curated", "grown").items() if not n.startswith("_")}


def test_columns_are_added_and_widened_and_entered(cursor):
    source = staged(cursor, with_schema(cursor, v="numeric", tip="text"), "g1")
    assert evolution.apply(cursor, source, "g1") is source
    assert types(cursor) == {"id": "integer", "v": "numeric", "tip": "text"}
    entered = table_columns.changes(cursor, run_id="g1")
    assert [(c["change"], c["column_name"], c["from_type"], c["to_type"]) for c in entered] == [
        ("widen type", "v", "integer", "numeric"),
        ("add column", "tip", None, "text"),
    ]
    tables.ensure_curated(cursor, Grown())  # what evolved is no mismatch
    discards = copy.copy(Grown())
    discards.schema_contract = DISCARD
    tables.ensure_curated(cursor, discards)
    assert [(c.name, c.type) for c in evolution.planned(cursor, Grown()).columns] == [
        ("id", "integer"),
        ("v", "numeric"),
        ("tip", "text"),
    ]


def test_of_two_runs_the_later_finds_what_the_first_added_and_widened(cursor):
    first = staged(cursor, with_schema(cursor, a="bigint", both="boolean", v="bigint"), "g1")
    second = staged(cursor, with_schema(cursor, b="text", both="bigint", v="numeric"), "g2")
    evolution.apply(cursor, first, "g1")
    merged = evolution.apply(cursor, second, "g2")
    assert types(cursor) == {"id": "integer", "v": "numeric", "a": "bigint", "both": "text", "b": "text"}
    assert {c.name: c.type for c in merged.columns} == types(cursor)
    staging = table_columns.types(cursor, "staging", tables.staging_name("grown", "g2"))
    assert {name: staging[name] for name in types(cursor)} == types(cursor)
    assert sorted(c["column_name"] for c in table_columns.changes(cursor, run_id="g2")) == ["b", "both", "v"]


def test_two_fields_of_two_runs_do_not_share_a_column(cursor):
    first = staged(cursor, with_schema(cursor, late={"order_id": "Order ID"}.items(), order_id="text"), "g1")
    second = staged(cursor, with_schema(cursor, late={"order_id": "orderId"}.items(), order_id="text"), "g2")
    evolution.apply(cursor, first, "g1")
    with pytest.raises(SchemaMismatch, match="run the source again"):
        evolution.apply(cursor, second, "g2")


VALUES = {
    "smallint": 7,
    "integer": 7,
    "bigint": 2**60,
    "numeric": 2**70,
    "double precision": 0.30000000000000004,
    "boolean": True,
    "text": "a",
    "date": "2026-01-31",
    "timestamp": "2026-01-31T10:00:00",
    "timestamptz": "2026-01-31T10:00:00Z",
}


@pytest.mark.parametrize(
    ("kind", "wider"), [(kind, wider) for kind in VALUES for wider in ladder.above(kind)], ids=lambda kind: kind
)
def test_a_widened_value_is_what_the_wider_type_would_have_made_of_it(cursor, kind, wider):
    cursor.execute(f"CREATE TEMPORARY TABLE widened (c {kind}, w {wider}) ON COMMIT DROP")
    cursor.execute("SET LOCAL timezone = 'UTC'")
    value = VALUES[kind]
    for column, type_ in (("c", kind), ("w", wider)):
        [text], problems = encode([value], Column(column, type_))
        assert problems == {}
        cursor.execute(f"CREATE TEMPORARY TABLE one (x {type_}) ON COMMIT DROP")
        cursor.copy_expert("COPY one FROM STDIN", io.BytesIO(text.encode() + b"\n"))
        cursor.execute(
            "INSERT INTO widened (c) SELECT x FROM one"
            if column == "c"
            else "UPDATE widened SET w = (SELECT x FROM one)"
        )
        cursor.execute("DROP TABLE one")
    cast = evolution._cast(psycopg2.sql.Identifier("c"), kind, wider)
    cursor.execute(
        psycopg2.sql.SQL("SELECT {} IS NOT DISTINCT FROM w, {}::text, w::text FROM widened").format(cast, cast)
    )
    same, made, wanted = cursor.fetchone()
    spelled_otherwise = wider in ("text", "jsonb") and kind in ("timestamp", "timestamptz")
    assert same or spelled_otherwise, (made, wanted)


def test_a_view_that_keeps_a_column_from_being_widened_is_named_with_the_way_out(cursor):
    cursor.execute("CREATE VIEW curated.reads_grown AS SELECT v FROM curated.grown")
    source = staged(cursor, with_schema(cursor, v="text"), "g1")
    cursor.execute("SAVEPOINT before")
    with pytest.raises(SchemaMismatch, match=r"ALTER TABLE curated\.grown ALTER COLUMN v TYPE text"):
        evolution.apply(cursor, source, "g1")
    cursor.execute("ROLLBACK TO before; DROP VIEW curated.reads_grown")


def test_a_table_that_is_made_anew_knows_nothing_of_its_predecessor(cursor):
    evolution.apply(cursor, staged(cursor, with_schema(cursor, tip="text"), "g1"), "g1")
    cursor.execute("DROP TABLE curated.grown")
    tables.ensure_curated(cursor, Grown())
    assert evolution.planned(cursor, Grown()).late == {}


def test_a_row_without_late_columns_keeps_its_fingerprint_and_one_with_them_is_another():
    def fingerprints(columns, late):
        return [line.split(b"\t")[-2] for line in copy_text.write(columns, [1, 2], late).splitlines()]

    before = fingerprints([["1", "2"], ["x", "y"]], {})
    after = fingerprints([["1", "2"], ["x", "y"], ["\\N", "5"], ["\\N", "\\N"]], {2: "b", 3: "a"})
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    # by name, not by place; and the same value of another column is another row
    assert after == fingerprints([["1", "2"], ["\\N", "\\N"], ["x", "y"], ["\\N", "5"]], {1: "a", 3: "b"})
    assert after[1] != fingerprints([["1", "2"], ["x", "y"], ["\\N", "\\N"], ["\\N", "5"]], {2: "b", 3: "a"})[1]
