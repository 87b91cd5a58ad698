"""Lines that are made alike become the very COPY text that parsing and encoding them gives."""

import json

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chalicelib.columns import Column
from chalicelib.conversion import encode, indexed, uniform

COLUMNS = (
    Column("id", "bigint", nullable=False),
    Column("small", "smallint"),
    Column("price", "double precision"),
    Column("paid", "boolean"),
    Column("name", "text"),
    Column("day", "date"),
    Column("seen", "timestamp"),
    Column("sent", "timestamptz"),
)
ONE = {
    "id": 7,
    "small": -3,
    "price": 12.5,
    "paid": True,
    "name": "Ada",
    "day": "2024-02-29",
    "seen": "2024-02-29T23:59:59",
    "sent": "2024-02-29T00:00:00Z",
}
TEXT = b"7\t-3\t12.5\tt\tAda\t2024-02-29\t2024-02-29 23:59:59\t2024-02-29 00:00:00+00"


def line(record, separators=(",", ":")):
    return json.dumps(record, separators=separators, ensure_ascii=False)


def data_of(*lines):
    return "".join(f"{one}\n" for one in lines).encode()


def parsed(text):
    """The row that parsing and encoding gives, None where a value does not fit."""
    record = orjson.loads(text)
    cells = []
    for column in COLUMNS:
        texts, problems = encode([record.get(column.name)], column)
        if problems:
            return None
        cells.append(texts[0])
    return "\t".join(cells).encode()


@pytest.mark.parametrize(
    "separators", [(",", ":"), (", ", ": "), (",", ": ")], ids=["dense", "as json.dumps", "blanks after colons"]
)
def test_lines_of_one_kind_are_all_taken(separators):
    records = [ONE, {**ONE, "id": 8, "name": "", "price": -0.5}, {**ONE, "id": -1, "name": "é, {:} 𝛑"}]
    lines, rows = uniform.convert(data_of(*(line(record, separators) for record in records)), COLUMNS)
    assert lines.tolist() == [0, 1, 2]
    assert rows == [parsed(line(record)) for record in records]
    assert rows[0] == TEXT


@pytest.mark.parametrize("end", ["", "\n"], ids=["no newline at the end", "a newline"])
def test_the_last_line_may_end_as_it_likes(end):
    text = f"{line(ONE)}\n{line(ONE)}{end}".encode()
    lines, rows = uniform.convert(text, COLUMNS)
    assert (lines.tolist(), rows) == ([0, 1], [TEXT, TEXT])


def test_lines_of_several_kinds_come_in_their_order():
    without = {name: value for name, value in ONE.items() if name != "name"}
    turned = dict(reversed(ONE.items()))
    records = [ONE, {**ONE, "name": None}, without, turned, ONE, {**ONE, "small": None, "paid": None}] * 3
    lines, rows = uniform.convert(data_of(*map(line, records)), COLUMNS)
    assert lines.tolist() == list(range(18))
    assert rows == [parsed(line(record)) for record in records]


def test_blocks_are_counted_through(monkeypatch):
    monkeypatch.setattr(uniform, "_BLOCK_BYTES", 200)
    records = [{**ONE, "id": number, "name": "n" * number} for number in range(100)]
    text = data_of(*(line(record) if record["id"] % 10 else "{" for record in records))
    lines, rows = uniform.convert(text, COLUMNS)
    assert lines.tolist() == [number for number in range(100) if number % 10]
    assert rows == [parsed(line(record)) for record in records if record["id"] % 10]


def test_fields_may_be_called_otherwise():
    text = line({("Identity" if name == "id" else name): value for name, value in ONE.items()})
    assert uniform.convert(data_of(text), COLUMNS, {"Identity": "id"})[1] == [TEXT]
    assert uniform.convert(data_of(text), COLUMNS, {"Identity": "id", "name": "id"})[1] == []


LEFT_TO_THE_PARSER = {
    "an unknown field": {**ONE, "colour": "red"},
    "an escape": {**ONE, "name": 'a "quoted" word'},
    "a tab": {**ONE, "name": "a\tb"},
    "a key that is null": {**ONE, "id": None},
    "a key that is missing": {name: value for name, value in ONE.items() if name != "id"},
    "a number as text": {**ONE, "id": "7"},
    "a text as number": {**ONE, "name": 7},
    "beyond smallint": {**ONE, "small": 32768},
    "beyond bigint": {**ONE, "id": 2**63},
    "a float as integer": {**ONE, "small": 3.0},
    "an integer as float": {**ONE, "price": 3},
    "no such day": {**ONE, "day": "2023-02-29"},
    "no such hour": {**ONE, "seen": "2024-02-29T24:00:00"},
    "another zone": {**ONE, "sent": "2024-02-29T00:00:00+02:00"},
    "fractions of a second": {**ONE, "sent": "2024-02-29T00:00:00.5Z"},
    "an object": {**ONE, "name": {"first": "Ada"}},
    "a list": {**ONE, "price": [1.5]},
}
NOT_EVEN_JSON = {
    "not JSON": "{nonsense}",
    "a blank line": "",
    "a list of fields": '["id",7]',
    "a plus sign": line(ONE).replace("12.5", "+12.5"),
    "a leading zero": line(ONE).replace(":7,", ":07,"),
    "a trailing comma": line(ONE).replace("}", ",}"),
    "a name in no quotes": line(ONE).replace('"small"', "small"),
    "two in a line": line(ONE) + line(ONE),
    "a carriage return": line(ONE) + "\r",
    "the same field twice": line(ONE).replace('"small":-3', '"id":-3'),
    "another word": line(ONE).replace("true", "True"),
}


@pytest.mark.parametrize(
    "odd", {**LEFT_TO_THE_PARSER, **NOT_EVEN_JSON}.values(), ids=list({**LEFT_TO_THE_PARSER, **NOT_EVEN_JSON})
)
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "in the middle", "last"])
def test_what_is_not_certain_is_left_to_the_parser(odd, place):
    text = [line(ONE)] * 3
    text[place] = odd if isinstance(odd, str) else line(odd)
    lines, rows = uniform.convert(data_of(*text), COLUMNS)
    assert lines.tolist() == [number for number in range(3) if number != place]
    assert rows == [TEXT] * 2


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\n\n", b"\xff" + data_of(line(ONE))], ids=["empty", "blank", "blanks", "no UTF-8"]
)
def test_nothing_is_taken_where_nothing_is(data):
    lines, rows = uniform.convert(data, COLUMNS)
    assert (lines.tolist(), rows) == ([], [])


@pytest.mark.parametrize("kind", ["numeric", "numeric(10,2)", "jsonb"])
def test_nothing_is_taken_for_a_column_of_another_type(kind):
    assert uniform.convert(b'{"id":1}\n', (Column("id", "bigint"), Column("other", kind)))[1] == []


def test_texts_that_an_index_may_not_take_are_left_to_the_parser():
    text = data_of(line(ONE), line({**ONE, "name": "n" * 1300}), line({**ONE, "name": "é" * 651}))
    assert uniform.convert(text, COLUMNS)[0].tolist() == [0, 1, 2]
    longest = indexed.shares(COLUMNS, [("day", "name"), ("name", "note", "id")])
    assert longest == {"name": 2600}
    with_note = (*COLUMNS, Column("note", "text"))
    longest = indexed.shares(with_note, [("day", "name"), ("name", "note", "id")])
    assert longest == {"name": 1300, "note": 1300}
    assert uniform.convert(text, with_note, longest=longest)[0].tolist() == [0, 1]


TIMES = st.datetimes().map(lambda moment: moment.isoformat(timespec="seconds"))
FLOAT_TEXTS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(min_value=-(10**9), max_value=10**9, places=6, allow_nan=False).map(lambda d: f"{d:f}"),
    st.decimals(min_value=-1, max_value=1, places=8, allow_nan=False).map(lambda d: f"{d:f}"),
    st.from_regex(r"\A-?[0-9]{1,17}\.[0-9]{1,8}\Z"),
)
VALUES = {
    "id": st.one_of(st.integers(-(2**64), 2**64), st.none(), st.integers(-20, 20)).map(json.dumps),
    "small": st.one_of(st.integers(-40000, 40000), st.none(), st.booleans()).map(json.dumps),
    "price": st.one_of(FLOAT_TEXTS, st.just("null"), st.integers().map(str)),
    "paid": st.one_of(st.booleans(), st.none(), st.integers(0, 1)).map(json.dumps),
    "name": st.one_of(st.text(max_size=20), st.none(), st.integers(), st.sampled_from(["\\N", "Z", "null"])).map(
        json.dumps
    ),
    "day": st.one_of(st.dates().map(str), st.from_regex(r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]\Z"), st.none()).map(
        json.dumps
    ),
    "seen": st.one_of(TIMES, TIMES.map(lambda text: text + "Z"), st.none()).map(json.dumps),
    "sent": st.one_of(TIMES, TIMES.map(lambda text: text + "Z"), st.none()).map(json.dumps),
}
RECORDS = st.fixed_dictionaries(VALUES).map(
    lambda record: "{" + ",".join(f'"{n}":{v}' for n, v in record.items()) + "}"
)


@settings(max_examples=400, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=6))
@example([line({**ONE, "price": 0.0001}), line({**ONE, "price": -0.0}), line({**ONE, "id": -0})])
@example(
    [line(ONE).replace("12.5", text) for text in ("0.00001", "0.00010", "1.0e5", "-0", "123456789012345.6", "5.", ".5")]
)
@example([line({**ONE, "day": "0000-01-01"}), line({**ONE, "day": "1900-02-29"}), line({**ONE, "day": "2000-02-29"})])
def test_what_is_taken_is_what_parsing_gives(texts):
    lines, rows = uniform.convert(data_of(*texts), COLUMNS)
    assert rows == [parsed(texts[number]) for number in lines.tolist()]
