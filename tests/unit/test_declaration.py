import pytest

from chalicelib.columns import Column
from chalicelib.errors import DeclarationError
from chalicelib.sources import declaration

GOOD = """
location = "orders/*.csv"
table = "orders"
key = ["order_id"]
nulls = ["NA"]
delimiter = ";"
format = "csv"

[columns]
order_id = "bigint NOT NULL"
total = "numeric(12,2)"

[rename]
"Order ID" = "order_id"
"""


def test_a_declaration_says_everything_a_source_needs():
    parsed = declaration.parse(declaration.load(GOOD, "orders.toml"), "orders.toml")
    assert parsed.columns == (Column("order_id", "bigint", nullable=False), Column("total", "numeric(12,2)"))
    assert (parsed.table, parsed.key, parsed.nulls, parsed.delimiter) == ("orders", ("order_id",), ("NA",), ";")
    assert (parsed.location, parsed.format, parsed.rename) == ("orders/*.csv", "csv", {"Order ID": "order_id"})
    assert parsed.suite is None


def test_all_that_is_wrong_is_told_at_once():
    text = """
table = "My Orders"
key = ["id", "day"]
nulls = [0]
personal = ["nobody"]
delimiter = "x"
format = "parquet"
loaction = "typo"

[columns]
id = "int"
"Total Sum" = "numeric"
day = 7

[rename]
"Order ID" = "order_id"
"""
    with pytest.raises(DeclarationError) as caught:
        declaration.parse(declaration.load(text, "orders.toml"), "orders.toml")
    message = str(caught.value)
    for part in (
        "unknown key 'loaction'; known are location, table",
        "'location' is missing",
        "table 'My Orders' is not a lower-case SQL name",
        "'nulls' holds something that is not text",
        "personal column 'nobody' is not among the columns",
        "delimiter 'x'",
        "format 'parquet' is none of auto, csv, ndjson, json",
        "column id has type 'int'",
        "column name 'Total Sum' is not",
        "the type of column 'day' is a number, expected text",
        "[rename] maps 'Order ID' to 'order_id', which is not among the columns",
    ):
        assert part in message
    assert caught.value.where == {"file": "orders.toml"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": ["order"]}, "key column 'order' is not among the columns order_id, total"),
        ({"key": []}, "'key' is empty"),
        ({"key": "order_id"}, "'key' is text, expected an array"),
        ({"columns": ["order_id"]}, "'columns' is an array, expected a table"),
        ({"suite": 1}, "'suite' is a number, expected text or a table"),
    ],
)
def test_one_mistake_is_one_problem(change, message):
    with pytest.raises(DeclarationError) as caught:
        declaration.parse(declaration.load(GOOD, "f") | change, "f")
    assert message in str(caught.value)
    assert str(caught.value).count("\n  - ") == 1


def test_what_is_no_toml_says_where():
    with pytest.raises(DeclarationError, match=r"not valid TOML.*line 2"):
        declaration.load("a = 1\nb = x\n", "orders.toml")


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_suite_that_is_no_json_object_is_refused(text):
    with pytest.raises(DeclarationError, match=r"the suite s\.json is not .* Next: "):
        declaration.load_suite(text, "s.json")


def test_a_suite_that_is_no_json_says_where():
    with pytest.raises(
        DeclarationError, match=r"suite s\.json is not JSON: .* line 2 column 6 .* Next: correct s\.json"
    ):
        declaration.load_suite('{"a": 1,\n "b" 2}', "s.json")
