"""A row whose indexed texts are too long is found before Postgres refuses it; what is not found Postgres takes."""

import random

import psycopg2
import pytest

from chalicelib.columns import Column
from chalicelib.conversion import encode, indexed
from chalicelib.warehouse import connection

COLUMNS = {c.name: c for c in (Column("a", "text"), Column("b", "text"), Column("n", "bigint"), Column("j", "jsonb"))}


def noise(length, alphabet=None):
    """Text that Postgres cannot make shorter."""
    return "".join(random.Random(length).choices(alphabet or [chr(n) for n in range(33, 127)], k=length))


def found(rows, *indexes):
    values = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    texts = {name: encode(list(values[name]), column)[0] for name, column in COLUMNS.items()}
    return indexed.too_long(COLUMNS, texts, indexes)


@pytest.mark.parametrize(
    ("row", "index", "told"),
    [
        (("x" * 2600, "", 1, None), ("a",), None),
        (("x" * 2601, "", 1, None), ("a",), "a"),
        (("x" * 2601, "", 1, None), ("b", "n"), None),
        (("ü" * 1301, "", 1, None), ("a",), "a"),
        (("ü" * 1300, "", 1, None), ("a",), None),
        (("x" * 1000, "y" * 1601, 1, None), ("a", "b"), "b"),
        (("x" * 1000, "y" * 1600, 1, None), ("a", "b"), None),
        (("\n" * 2600, "", 1, None), ("a",), None),
        (("\n" * 2601, "", 1, None), ("a",), "a"),
        ((None, "y" * 2600, 1, None), ("b", "n", "not_there"), None),
        (("", "", 1, {"x": "y" * 2600}), ("j",), "j"),
    ],
    ids=[
        "fits", "too-long", "not-indexed", "bytes", "bytes-that-fit", "together", "together-that-fit", "escaped-fits",
        "escaped", "null", "json",
    ],
)  # fmt: skip
def test_the_texts_of_an_index_are_measured_together_in_bytes(row, index, told):
    other = ("short", "short", 2, None)
    assert found([other, row, other], index) == ({1: told} if told else {})


@pytest.fixture
def cursor(database_url):
    opened = connection.connect(database_url)
    with opened.cursor() as cursor:
        yield cursor
    opened.close()


@pytest.mark.parametrize("lengths", [(2600, 0), (1300, 1300), (2599, 1), (0, 2600)], ids=str)
@pytest.mark.parametrize("alphabet", [None, ["ü", "ж", "é", "ß", "ø", "д"]], ids=["ascii", "two-bytes"])
def test_the_longest_that_is_not_found_is_taken_with_all_else_that_an_index_has(cursor, lengths, alphabet):
    numbers = [f"n{place} bigint" for place in range(8)]
    cursor.execute(f"CREATE TEMPORARY TABLE long (a text, b text, {', '.join(numbers)})")
    cursor.execute("CREATE INDEX ON long (a, b, n0, n1, n2, n3, n4, n5, n6, n7)")
    texts = [noise(length // (2 if alphabet else 1), alphabet) for length in lengths]
    cursor.execute("INSERT INTO long VALUES (%s, %s, 1, 2, 3, 4, 5, 6, 7, 8)", texts)
    assert found([(*texts, 1, None)], ("a", "b", "n")) == {}


def test_postgres_refuses_what_is_found(cursor):
    cursor.execute("CREATE TEMPORARY TABLE long (a text PRIMARY KEY)")
    with pytest.raises(psycopg2.errors.ProgramLimitExceeded):
        cursor.execute("INSERT INTO long VALUES (%s)", (noise(2750),))
    assert found([(noise(2750), "", 1, None)], ("a",)) == {0: "a"}
