"""A suite with any fault in it is refused, with the file, the item and the remedy."""

import json

import pytest

from chalicelib import sources
from chalicelib.columns import Column
from chalicelib.errors import SuiteError
from chalicelib.quality import catalogue
from chalicelib.quality import suite as suites

COLUMNS = (
    Column("id", "integer", nullable=False),
    Column("price", "double precision"),
    Column("name", "text"),
    Column("day", "date"),
    Column("seen", "timestamp"),
    Column("extra", "jsonb"),
    Column("valid", "boolean"),
)
NOT_NULL = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "id"}}


def parse(*expectations, **document):
    text = json.dumps({"name": "things", "expectations": list(expectations), **document})
    return suites.parse(text, "expectations/things.json", COLUMNS, ("id",))


def expect(kind, severity="critical", **kwargs):
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity}


def between(column, **bounds):
    return expect("column_values_to_be_between", column=column, **bounds)


def test_a_suite_is_split_into_what_rows_and_what_the_table_tell():
    suite = parse(
        NOT_NULL,
        expect("column_values_to_be_unique", column="id"),
        expect("table_row_count_to_be_between", min_value=1),
        expect("column_pair_values_to_be_equal", column_A="name", column_B="name", severity="warning"),
    )
    assert [item.index for item in suite.row_items] == [0, 3]
    assert [item.index for item in suite.dataset_items] == [1, 2]
    assert suite.row_columns == ("id", "name")
    assert suite.items[3].severity == "warning"


def test_columns_of_a_row_condition_are_read_too():
    condition = {"type": "nullity", "column": {"name": "day"}, "is_null": False}
    suite = parse(expect("column_values_to_not_be_null", column="price", row_condition=condition))
    assert suite.row_columns == ("price", "day")
    assert suite.items[0].title == "price: not null where day is not null"


def test_ids_stay_the_same_as_long_as_the_expectation_does():
    first, second = parse(NOT_NULL).items[0].id, parse(between("price", min_value=1), NOT_NULL).items[1].id
    assert first == second
    assert parse({**NOT_NULL, "id": "mine"}).items[0].id == "mine"


@pytest.mark.parametrize(
    ("meta", "warn", "fail"),
    [
        ({}, 0.0, 0.05),
        ({"sluice": {"quarantine": {"fail": 0.2}}}, 0.0, 0.2),
        ({"sluice": {"quarantine": {"warn": 0.01, "fail": 1}}, "great_expectations_version": "1.24.1"}, 0.01, 1.0),
    ],
)
def test_the_tolerance_comes_from_meta(meta, warn, fail):
    assert parse(NOT_NULL, meta=meta).quarantine == suites.Tolerance(warn, fail)


@pytest.mark.parametrize(
    ("meta", "told"),
    [
        ({"sluice": {"quarantine": {"warm": 0.1}}}, "did you mean warn"),
        ({"sluice": {"tolerance": {}}}, "meta.sluice has no 'tolerance'"),
        ({"sluice": {"quarantine": {"fail": 5}}}, "expected a share between 0 and 1"),
        ({"sluice": {"quarantine": {"fail": True}}}, "expected a share between 0 and 1"),
        ({"sluice": {"quarantine": {"warn": 0.5, "fail": 0.1}}}, "warn 0.5 is above fail 0.1"),
        ({"sluice": 1}, "meta.sluice: expected"),
    ],
)
def test_a_tolerance_that_makes_no_sense_is_refused(meta, told):
    with pytest.raises(SuiteError, match=told):
        parse(NOT_NULL, meta=meta)


FAULTS = [
    (expect("column_values_to_not_be_nul", column="id"), "did you mean expect_column_values_to_not_be_null"),
    (expect("column_values_to_not_be_null", column="prise"), "the table has no column 'prise'; did you mean price"),
    (expect("column_values_to_not_be_null"), "argument 'column' is missing"),
    (expect("column_values_to_not_be_null", column="id", mustly=1), "takes no argument 'mustly'; did you mean mostly"),
    (expect("column_values_to_not_be_null", column="id", mostly=2), "mostly: ensure this value is less than"),
    (expect("column_values_to_not_be_null", column="id", severity="fatal"), "severity is 'fatal'"),
    (expect("column_values_to_not_be_null", column="id", result_format="BASIC"), "the pipeline sets it"),
    (expect("column_values_to_match_regex", column="name", regex="[a"), "unterminated character set"),
    (expect("column_values_to_match_regex", column="name", regex=5), "would be taken for '5'"),
    (expect("column_values_to_match_regex_list", column="name", regex_list=["a", "("]), "missing \\)"),
    (expect("column_values_to_match_regex", column="price", regex="1"), "price holds number values"),
    (expect("column_values_to_match_like_pattern", column="name", like_pattern="a%"), "use expect_column_values_to_m"),
    (expect("column_values_to_be_increasing", column="id"), "rows in a table have no order"),
    (expect("column_values_to_match_strftime_format", column="name", strftime_format="%Q"), "bad directive"),
    (expect("column_values_to_match_json_schema", column="extra", json_schema={"type": "no"}), "is not valid under"),
    (expect("column_values_to_match_json_schema", column="name", json_schema={}), "this expectation is for json"),
    (expect("column_values_to_be_in_set", column="id"), "argument 'value_set' is missing"),
    (expect("column_values_to_be_in_set", column="id", value_set=[]), "is empty, so every value fails"),
    (expect("column_values_to_be_in_set", column="id", value_set=["1"]), "but column id holds number values"),
    (expect("column_values_to_be_in_set", column="name", value_set=[1]), "but column name holds text values"),
    (expect("column_values_to_be_in_set", column="seen", value_set=["2024-01-01"]), "seen holds timestamp values"),
    (expect("column_values_to_be_in_set", column="id", value_set={"$PARAMETER": "x"}), "give the value itself"),
    (between("price"), "without them it accepts everything"),
    (between("price", min_value="1"), "min_value is '1', expected a number"),
    (between("price", min_value=True), "min_value is True, expected a number"),
    (between("price", min_value=5, max_value=1), "min_value 5 is above max_value 1"),
    (between("name", min_value=5), "name holds text values"),
    (between("day", min_value="2024-02-30"), "expected a date such as"),
    (between("day", min_value=5), "expected a date such as"),
    (between("seen", min_value="2024-01-01T00:00:00+02:00"), "a time without offset"),
    (expect("table_row_count_to_be_between"), "without them it accepts everything"),
    (expect("table_row_count_to_be_between", min_value=1.5), "would be taken for 1"),
    (expect("column_mean_to_be_between", column="name", min_value=1), "name holds text values"),
    (expect("column_pair_values_a_to_be_greater_than_b", column_A="day", column_B="id"), "columns of different types"),
    (expect("unexpected_rows_expectation", unexpected_rows_query="select 1"), "no such expectation"),
    ({"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "select 1"}}, "from {batch}"),
    (expect("column_values_to_not_be_null", column="id", row_condition="name=='a'"), "row_condition must be an object"),
    ({"type": "expect_column_values_to_not_be_null", "kwargs": []}, "kwargs is list"),
    ({**NOT_NULL, "sevrity": "info"}, "did you mean severity"),
    ("expect_column_values_to_not_be_null", "an object with type and kwargs"),
]


@pytest.mark.parametrize(("fault", "told"), FAULTS, ids=[told for _, told in FAULTS])
def test_a_fault_is_found_before_any_row_is_judged(fault, told):
    with pytest.raises(SuiteError) as error:
        parse(NOT_NULL, fault)
    assert told.replace("\\", "") in str(error.value)
    assert "expectations/things.json has" in str(error.value)
    assert "expectations[1]" in str(error.value)


def test_all_faults_are_reported_at_once():
    with pytest.raises(SuiteError) as error:
        parse(*[fault for fault, _ in FAULTS], NOT_NULL, NOT_NULL, nmae="x", meta={"sluice": {"quarantine": {"a": 1}}})
    told = str(error.value)
    for index in range(len(FAULTS)):
        assert f"expectations[{index}]" in told
    assert f"expectations[{len(FAULTS) + 1}]" in told, "the same expectation twice"
    assert "did you mean name" in told
    assert "meta.sluice.quarantine" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1,\n "b" 2}', r"things\.json is not JSON: .* line 2 column 6 .* Next: correct things\.json there"),
        ("[]", "expected an object"),
        ('{"name": "x"}', "every row would pass"),
        ('{"name": "x", "expectations": []}', "every row would pass"),
        (json.dumps({"name": "", "expectations": [NOT_NULL]}), "give the suite a name"),
    ],
)
def test_a_suite_that_checks_nothing_is_refused(text, told):
    with pytest.raises(SuiteError, match=told):
        suites.parse(text, "things.json", COLUMNS, ("id",))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SuiteError, match=r"expectations/weather\.json does not exist"):
        suites.load(sources.get("weather"), tmp_path)


@pytest.mark.parametrize("source", ["weather", "posts"])
def test_the_suites_that_come_with_the_project_are_sound(source):
    suite = suites.load(sources.get(source))
    assert suite.row_items and suite.dataset_items
    assert {item.severity for item in suite.items} == {"critical", "warning"}


def test_the_suite_for_any_file_needs_no_column():
    text = (suites.FOLDER / "files.json").read_text()
    suite = suites.parse(text, "files.json", (Column("whatever", "text"),), ("whatever",))
    assert not suite.row_items and len(suite.dataset_items) == 1


def test_every_expectation_of_great_expectations_has_its_place():
    import great_expectations.expectations.core  # noqa: F401
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    known = set(catalogue.ENTRIES) | set(catalogue.REFUSED)
    assert known == set(list_registered_expectation_implementations())
    assert not set(catalogue.ENTRIES) & set(catalogue.REFUSED)
