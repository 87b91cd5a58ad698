import csv
import gzip
import importlib
import io
import json
import sys
from decimal import Decimal

import pytest
from memory_s3 import MemoryS3

from chalicelib import sources
from chalicelib.columns import Column
from chalicelib.contracts import Partition, Window
from chalicelib.conversion import encode
from chalicelib.errors import DeclarationError, RawError, SourceError, UnknownSource
from chalicelib.lake import cutting, records
from chalicelib.lake.store import Lake
from chalicelib.settings import Settings
from cli.new_source import create

HEADER = ["Order ID", "placedOn", "shippedAt", "Total (€)", "qty", "zip", "state", "vip", "note"]


def orders(count: int = 200) -> list[list[str]]:
    return [
        [
            str(i + 1),
            f"2026-01-{i % 28 + 1:02d}",
            "NA" if i % 50 == 0 else f"2026-02-{i % 28 + 1:02d}T10:00:00Z",
            f"{i * 1.5}" if i % 2 else str(i),
            "" if i % 10 == 0 else str(i % 7 + 1),
            f"{i:05d}",
            ["new", "paid", "sent"][i % 3],
            ["true", "False"][i % 2],
            f"note {i}, said “x”",
        ]
        for i in range(count)
    ]


def write_csv(path, rows, header=HEADER):
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def write_ndjson(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A root of its own whose sources are registered beside the real ones."""
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path / "chalicelib" / "sources")])
    sources.get.cache_clear()
    known = set(sys.modules)
    yield tmp_path
    sources.get.cache_clear()
    for name in set(sys.modules) - known:
        if name.startswith("chalicelib.sources."):
            del sys.modules[name]
    importlib.invalidate_caches()


def types(created) -> dict[str, str]:
    return {column.name: column.type for column in created.columns}


def expectations(created) -> list[tuple]:
    items = json.loads(created.suite_path.read_text())["expectations"]
    return [(item["type"].removeprefix("expect_"), item["severity"], item["kwargs"]) for item in items]


def typed(name: str) -> dict[str, list[str]]:
    """The default input of a source as its columns' texts; fails on a value that does not fit."""
    source, settings, lake = sources.get(name), Settings(), Lake("lake", MemoryS3())
    columns: dict[str, list] = {column.name: [] for column in source.columns}
    for i, request in enumerate(source.partitions(Window(), None, settings)):
        pages = source.pages(request, None, settings)
        listing = cutting.store(name, "r", "2026-01-02", Partition(i, request), pages, lake, settings)
        for chunk in listing.chunks:
            batch = records.read(chunk, source, lake, settings)
            assert not batch.malformed
            assert set(batch.fields) == set(columns)
            for column in source.columns:
                texts, problems = encode(batch.fields[column.name], column)
                assert not problems
                columns[column.name] += texts
    return columns


def test_a_csv_becomes_a_source_that_runs_at_once(folder):
    sample = write_csv(folder / "orders.csv", orders())
    created = create("orders", sample, ["Order ID"], folder)
    source = sources.get("orders")
    assert source.columns == (
        Column("order_id", "integer", nullable=False),
        Column("placed_on", "date"),
        Column("shipped_at", "timestamptz"),
        Column("total", "double precision"),
        Column("qty", "integer"),
        Column("zip", "text"),
        Column("state", "text"),
        Column("vip", "boolean"),
        Column("note", "text"),
    )
    assert (source.table, source.key, source.nulls) == ("orders", ("order_id",), ("NA",))
    assert source.default_input == str(sample)
    assert len(created.module_path.read_text().splitlines()) < 60
    texts = typed("orders")
    assert texts["order_id"] == [str(i + 1) for i in range(200)]
    assert texts["shipped_at"][:2] == ["\\N", "2026-02-02 10:00:00+00"]
    assert texts["zip"][7] == "00007"


def test_the_suite_expects_what_the_sample_shows_with_room(folder):
    created = create("orders", write_csv(folder / "orders.csv", orders()), ["order_id"], folder)
    found = expectations(created)
    between, in_set, not_null = (
        "column_values_to_be_between",
        "column_values_to_be_in_set",
        "column_values_to_not_be_null",
    )
    for expected in (
        ("table_row_count_to_be_between", "critical", {"min_value": 1}),
        ("column_values_to_be_unique", "warning", {"column": "order_id"}),
        (not_null, "critical", {"column": "order_id"}),
        (not_null, "warning", {"column": "note"}),
        (not_null, "warning", {"column": "qty", "mostly": 0.8}),
        (between, "warning", {"column": "qty", "min_value": 0, "max_value": 8}),
        (between, "warning", {"column": "total", "min_value": 0, "max_value": 330.0}),
        (between, "warning", {"column": "placed_on", "min_value": "2026-01-01", "max_value": "2036-12-31"}),
        (in_set, "warning", {"column": "state", "value_set": ["new", "paid", "sent"]}),
    ):
        assert expected in found
    assert not any(kwargs.get("column") == "zip" and type == in_set for type, _, kwargs in found)
    assert not any(kwargs.get("column") == "order_id" and type == between for type, _, kwargs in found)


def test_the_sample_passes_its_own_suite(folder):
    """Great Expectations itself checks the suite and judges the rows."""
    pd = pytest.importorskip("pandas")
    from chalicelib.quality import rows, suite

    created = create("orders", write_csv(folder / "orders.csv", orders()), ["order_id"], folder)
    source = sources.get("orders")
    checked = suite.parse(created.suite_path.read_text(), "orders.json", source.columns, source.key)
    texts = typed("orders")
    convert = {"integer": float, "double precision": float}
    frame = pd.DataFrame(
        {
            name: [None if v == "\\N" else convert.get(types(created)[name], str)(v) for v in texts[name]]
            for name in checked.row_columns
        }
    )
    result = rows.check(frame, checked)
    assert not result.failing
    nulls_allowed = {item.id for item in checked.row_items if item.mostly}
    assert [count for count in result.counts if count.unexpected and count.id not in nulls_allowed] == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("as_array", [False, True])
def test_json_values_keep_the_types_they_have(folder, as_array, pack):
    rows = [
        {
            "id": 2**40 + i,
            "code": str(i),
            "price": i if i % 2 else i + 0.5,
            "tags": ["a"],
            "ok": True,
            "day": "2026-01-02",
        }
        for i in range(30)
    ]
    rows[3]["extra"] = {"a": 1}
    text = json.dumps(rows, indent=1) if as_array else "\n".join(map(json.dumps, rows))
    sample = folder / "sample.data"
    sample.write_bytes(pack(text.encode()))
    created = create("things", sample, ["id"], folder)
    assert types(created) == {
        "id": "bigint",
        "code": "text",
        "price": "double precision",
        "tags": "jsonb",
        "ok": "boolean",
        "day": "date",
        "extra": "jsonb",
    }
    assert created.records == 30
    assert typed("things")["id"][0] == str(2**40)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-2", "0"], "integer"),
        (["1", "3000000000"], "bigint"),
        (["1", "99999999999999999999"], "numeric"),
        (["1", "2.5", "1e3"], "double precision"),
        (["9007199254740993", "1.5"], "numeric"),
        (["3000000000", "1.5"], "numeric"),
        (["12345678901234567.89", "1.5"], "numeric"),
        (["0.30000000000000004", "1e22", "-0.0", "1.50"], "double precision"),
        (["1e400"], "numeric"),
        (["1", "1e-400"], "numeric"),
        (["1.5e99999999999999999999"], "text"),
        (["1.5e-5000"], "text"),
        (["123456789.1234567", "-0.123456789012345"], "double precision"),
        (["1.5", "NaN", "12345678901234567.89"], "numeric"),
        (["01", "2"], "text"),
        (["007.5", "2"], "text"),
        (["1", "x"], "text"),
        (["2026-01-31", "2026-02-30"], "text"),
        (["2026-01-31", "2026-01-31 10:00"], "timestamp"),
        (["2026-01-31T10:00:00+01:00", "2026-01-31T10:00:00Z"], "timestamptz"),
        (["2026-01-31T10:00:00", "2026-01-31T10:00:00Z"], "text"),
        (["20260131", "20260201"], "integer"),
        (["true", "FALSE"], "boolean"),
        (["true", "1"], "text"),
        (["5", "N/A"], "integer"),
        (["5", "-"], "integer"),
        (["", ""], "text"),
        (["DE", "NA"], "text"),
    ],
)
def test_the_type_is_the_narrowest_that_holds_all_values(folder, values, expected):
    sample = write_csv(folder / "s.csv", [[str(i), value] for i, value in enumerate(values)], ["id", "v"])
    created = create("s", sample, ["id"], folder)
    assert types(created)["v"] == expected
    assert [v is not None for v in typed("s")["v"]] == [True] * len(values)


def test_na_is_namibia_unless_a_column_of_numbers_says_otherwise(folder):
    text = create("a", write_csv(folder / "a.csv", [["1", "NA"], ["2", "DE"]], ["id", "country"]), ["id"], folder)
    number = create("b", write_csv(folder / "b.csv", [["1", "NA"], ["2", "5"]], ["id", "n"]), ["id"], folder)
    assert (text.nulls, number.nulls) == ((), ("NA",))


def test_column_names_become_sql_names_of_their_own(folder):
    header = ["Order ID", "order-id", "2nd", "Größe", "日本", "_x", "orderURL", "a" * 80]
    created = create("s", write_csv(folder / "s.csv", [[str(i) for i in range(8)]], header), ["Order ID"], folder)
    assert [c.name for c in created.columns] == [
        "order_id",
        "order_id_2",
        "column_2nd",
        "grosse",
        "column_5",
        "x",
        "order_url",
        "a" * 60,
    ]
    assert sources.get("s").rename["2nd"] == "column_2nd"
    assert typed("s")["grosse"] == ["3"]


def test_a_compound_key_is_unique_together(folder):
    rows = [[str(i // 5), str(i % 5), "x"] for i in range(25)]
    created = create("s", write_csv(folder / "s.csv", rows, ["a", "b", "c"]), ["a", "b"], folder)
    assert sources.get("s").key == ("a", "b")
    assert ("compound_columns_to_be_unique", "warning", {"column_list": ["a", "b"]}) in expectations(created)


def test_more_than_the_limit_is_not_looked_at_and_that_is_said(folder):
    created = create("orders", write_csv(folder / "orders.csv", orders()), ["order_id"], folder, limit=50)
    assert (created.records, created.complete) == (50, False)
    assert "the first 50 records" in created.summary()
    assert "all 200 records" in create("o2", folder / "orders.csv", ["order_id"], folder).summary()


def test_malformed_records_are_counted_and_told(folder):
    sample = folder / "s.ndjson"
    sample.write_text('{"id":1}\n{"id":\n{"id":2}\n')
    created = create("s", sample, ["id"], folder)
    assert created.malformed[0][0] == 2
    assert "Malformed  1 records, the first at line 2: not valid JSON" in created.summary()


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("1,Ada,12.5", "2 of 3 names in the first line, such as '1', look like values"),
        ("a,2026-01-02,b", "1 of 3 names in the first line, such as '2026-01-02', looks like a value"),
        ("a,b,2026-01-02T10:00:00Z", "1 of 3"),
        ("a,b,007", "1 of 3"),
        ("a,b,ada@example.com", "1 of 3"),
        ("a,b,NULL", "1 of 3"),
        ("a,b,true", "1 of 3"),
        ("id,größe (cm),unit-price (EUR)", None),
        ("id,2nd,_x", None),
    ],
)
def test_a_first_line_that_looks_like_a_record_is_told(folder, first, told):
    sample = folder / "s.csv"
    sample.write_text(f"{first}\n2,Bo,7.5\n3,Cy,8\n")
    summary = create("s", sample, [first.partition(",")[0]], folder).summary()
    assert ("Header " in summary) == bool(told)
    if told:
        assert told in summary
        assert "If it is a record, it is never loaded: put the names of the columns above it" in summary


def test_names_of_json_are_names_whatever_they_look_like(folder):
    created = create("s", write_ndjson(folder / "s.ndjson", [{"1": 1, "2026-01-02": 2}]), ["1"], folder)
    assert "Header" not in created.summary()


def test_a_key_that_a_missing_header_row_hides_is_told_with_it(folder):
    sample = folder / "s.csv"
    sample.write_text("1,Ada,12.5\n2,Bo,7.5\n")
    message = refused(folder, sample, ["id"])
    assert "names what the sample has not: id" in message
    assert "If it is a record, it is never loaded: put the names of the columns above it" in message
    sample.write_text("1,Ada,\n2,Bo,7.5\n")
    message = refused(folder, sample, ["1"], kind=RawError)
    assert "the header has no name for column 3" in message
    assert "where the first line is a record, put the names above it" in message


@pytest.mark.parametrize(
    ("fields", "hint"), [(("on",), True), ((), False), (("on", "until"), False)], ids=["one", "none", "several"]
)
def test_the_one_date_of_a_sample_is_offered_as_the_day(folder, fields, hint):
    sample = folder / "sample.ndjson"
    rows = [{"id": n, **dict.fromkeys(fields, "2026-01-02")} for n in range(9)]
    sample.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = create("things", sample, ["id"], folder).module_path.read_text()
    assert ('    # day = "on"\n' in text) == hint == ("# day =" in text)
    compile(text.replace("    # day =", "    day ="), "things.py", "exec")


def test_the_module_is_formatted_as_the_rest(folder):
    created = create("orders", write_csv(folder / "orders.csv", orders()), ["order_id"], folder)
    text = created.module_path.read_text()
    assert max(len(line) for line in text.splitlines() if "default_input" not in line) <= 120
    assert "#     frame[" in text
    compile(text, "orders.py", "exec")


def test_a_number_of_json_that_no_double_holds_becomes_numeric(folder):
    sample = folder / "s.ndjson"
    sample.write_text(
        '{"id":1,"a":12345678901234567.89,"b":1.5,"c":9007199254740993,"d":9007199254740993.0}\n{"id":2,"c":0.5}\n'
    )
    created = create("s", sample, ["id"], folder)
    assert list(types(created).values()) == ["integer", "numeric", "double precision", "numeric", "numeric"]
    assert typed("s")["a"] == ["12345678901234567.89", "\\N"]
    assert typed("s")["c"] == ["9007199254740993", "0.5"]


EXTREMES = {
    "beyond 64 bits": ["123456789012345678901234567890", "-9223372036854775808"],
    "64 bits": ["9223372036854775807", "-9223372036854775808"],
    "53 bits": ["9007199254740993", "9007199254740995"],
    "decimals": ["12345678901234567.89", "-0.5"],
    "large doubles": ["1.7e308", "-1.7e308"],
    "small doubles": ["5e-324", "2e-310"],
    "beyond doubles": ["1e400", "1"],
    "mixed": ["123456789012345678901234567890", "0.1"],
    "one": ["7", "7"],
    "zero": ["0", "0.0"],
}


@pytest.mark.parametrize("values", EXTREMES.values(), ids=EXTREMES)
def test_a_suite_of_extreme_numbers_is_accepted_and_met_by_its_sample(folder, values):
    from chalicelib.quality import suite, trial

    created = create("s", write_csv(folder / "s.csv", enumerate(values), ["id", "v"]), ["id"], folder)
    source = sources.get("s")
    checked = suite.parse(created.suite_path.read_text(), "s.json", source.columns, source.key)
    assert trial.problems(checked) == []
    [bounds] = [kwargs for type, _, kwargs in expectations(created) if type == "column_values_to_be_between"] or [{}]
    for value in map(Decimal, typed("s")["v"]):
        assert bounds.get("min_value", value) <= value <= bounds.get("max_value", value)
    assert bool(bounds) == (values[0] != "1.7e308")  # whose range is beyond a double


# --- refusals ------------------------------------------------------------------------------------


def refused(folder, sample, key, name="s", kind=DeclarationError, **options) -> str:
    with pytest.raises(kind) as caught:
        create(name, sample, key, folder, **options)
    assert not (folder / "chalicelib").exists()
    assert not (folder / "expectations").exists()
    return str(caught.value)


def test_a_key_that_comes_again_is_told_and_its_rows_are_loaded(folder):
    sample = write_csv(folder / "s.csv", [["1", "x"], ["1", "y"], ["2", "z"], ["1", "y"]], list("ab"))
    created = create("s", sample, ["a"], folder)
    told = (
        "Repeated   2 of 4 records repeat the key of an earlier one, such as line 3 that of line 2: a=1. The last one"
    )
    assert told in created.summary() and "add columns to --key with --force" in created.summary()
    assert not [kind for kind, _, _ in expectations(created) if "unique" in kind]
    both = create("s", sample, ["a", "b"], folder, force=True)
    assert "Repeated   1 of 4 records" in both.summary()
    once = create("s", write_csv(folder / "o.csv", [["1", "x"], ["2", "y"]], list("ab")), ["a"], folder, force=True)
    assert "Repeated" not in once.summary() and [kind for kind, _, _ in expectations(once) if "unique" in kind]


def test_a_key_must_be_there_and_filled(folder):
    sample = write_csv(
        folder / "s.csv", [["1", "x", ""], ["1", "y", "2"], ["2", "NA", "3"], ["3", "z", "NA"]], list("abc")
    )
    assert "names what the sample has not: d" in refused(folder, sample, ["a", "d"])
    assert "it has a, b, c" in refused(folder, sample, ["d"])
    assert "has no value in 2 of 4 records, such as line 2: c=None" in refused(folder, sample, ["c"])
    assert "names a column twice" in refused(folder, sample, ["a", "a"])
    assert "is empty" in refused(folder, sample, [])
    nested = write_ndjson(folder / "n.ndjson", [{"id": [1]}])
    assert "holds an object or an array" in refused(folder, nested, ["id"])


@pytest.mark.parametrize(
    "name", ["Orders", "1st", "my-orders", "class", "", "base", "files", "../x", "import", "select", "pandas"]
)
def test_a_name_must_be_a_module_of_its_own(folder, name):
    refused(folder, write_csv(folder / "s.csv", orders(3)), ["order_id"], name, force=True)


def test_a_name_that_stands_for_a_module_already_is_told_so(folder):
    sample = write_csv(folder / "s.csv", orders(3))
    assert "in the way of the Python module pandas" in refused(folder, sample, ["order_id"], "pandas")


@pytest.mark.parametrize("name", ["shop';drop table x--", "import", "pandas", "../x", "a" * 64])
def test_a_command_is_proposed_only_for_a_name_that_a_source_may_have(name):
    with pytest.raises(UnknownSource) as raised:
        sources.get(name)
    assert "use one of" in str(raised.value) and "sluice new source" not in str(raised.value)
    with pytest.raises(UnknownSource, match="or create it with `sluice new source wether`"):
        sources.get("wether")


def test_an_existing_source_is_only_overwritten_by_force(folder):
    sample = write_csv(folder / "s.csv", orders(3))
    created = create("s", sample, ["order_id"], folder)
    created.module_path.write_text("mine")
    with pytest.raises(DeclarationError, match="there is a source 's' already"):
        create("s", sample, ["order_id"], folder)
    assert created.module_path.read_text() == "mine"
    create("s", sample, ["order_id"], folder, force=True)
    assert "class S(FileSource)" in created.module_path.read_text()


def test_a_sample_must_hold_records(folder):
    empty, header, broken = folder / "empty", folder / "header.csv", folder / "broken.ndjson"
    empty.write_bytes(b"")
    header.write_text("a,b\n")
    broken.write_text("{nonsense\n{more")
    assert "empty (0 bytes)" in refused(folder, empty, ["a"], kind=RawError)
    assert "no usable record" in refused(folder, header, ["a"], kind=SourceError)
    assert "no usable record: line 1, not valid JSON" in refused(folder, broken, ["a"], kind=SourceError)
    assert "there is no file" in refused(folder, folder / "none.csv", ["a"], kind=SourceError)
