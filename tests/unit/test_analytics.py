"""The numbers of what was published are those of the tables and of the ledger, by source and by day."""

import datetime as dt

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.errors import ContractError, UnknownSource
from chalicelib.quality.results import ItemResult
from chalicelib.reading import analytics
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, ledger, tables
from chalicelib.warehouse.publishing import Account

TODAY = dt.datetime.now(dt.UTC).date()


class Weather(Source):
    name = "weather"
    table = "numbers_of_weather"
    key = ("id",)
    columns = (Column("id", "integer"), Column("day", "date"))
    day = "day"


class Posts(Source):
    name = "posts"
    table = "numbers_of_posts"
    key = ("id",)
    columns = (Column("id", "integer"),)


@pytest.fixture
def store(database_url):
    class Store:
        def read(self, *given):
            with connection.transaction(database_url) as conn:
                return analytics.read(conn, *given)

        def execute(self, text):
            with connection.transaction(database_url) as conn, conn.cursor() as cursor:
                cursor.execute(text)

        def run(self, source, run_id, started_at, account, verdict="pass", results=()):
            with connection.transaction(database_url) as conn, conn.cursor() as cursor:
                ledger.open_run(cursor, source, run_id, "arn", {}, Window(), started_at)
                ledger.judge(cursor, run_id, verdict, "report", account.fetched, account.quarantined)
                ledger.add_quality_results(cursor, run_id, results)
                if verdict == "fail":
                    ledger.reject(cursor, run_id, "code")
                else:
                    ledger.publish(cursor, run_id, verdict, account)

    made = Store()
    made.execute("DROP TABLE IF EXISTS curated.numbers_of_weather, curated.numbers_of_posts")
    made.execute("TRUNCATE pipeline.runs, pipeline.cursors CASCADE")
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        for source in (Weather(), Posts()):
            tables.ensure_curated(cursor, source)
    yield made
    made.execute("DROP TABLE IF EXISTS curated.numbers_of_weather, curated.numbers_of_posts")


def insert(days):
    lineage = "'r', '0:1', 1, now()"
    texts = [f"'{day}'" if day else "NULL" for day in days]
    values = ", ".join(f"({n}, {text}, {lineage})" for n, text in enumerate(texts))
    return f"INSERT INTO curated.numbers_of_weather VALUES {values}"


def ours(found):
    return [{k: v for k, v in row.items() if k != "source"} for row in found if row["table"].startswith("numbers_of_")]


def test_rows_in_all_by_source_and_by_day(store):
    store.execute(insert(["2026-01-01", "2026-01-01", "2026-01-03", None]))
    store.execute("INSERT INTO curated.numbers_of_posts VALUES (1, 'r', '0:1', 1, now())")
    found = store.read()
    assert ours(found["sources"]) == [
        {"table": "numbers_of_posts", "rows": 1, "day": None, "first_day": None, "last_day": None},
        {"table": "numbers_of_weather", "rows": 4, "day": "day", "first_day": "2026-01-01", "last_day": "2026-01-03"},
    ]
    assert found["rows"] == sum(table["rows"] for table in found["sources"])
    assert ours(found["rows_by_day"]) == [
        {"table": "numbers_of_weather", "day": "2026-01-01", "rows": 2},
        {"table": "numbers_of_weather", "day": "2026-01-03", "rows": 1},
    ]
    some = store.read("weather", dt.date(2026, 1, 2), dt.date(2026, 1, 3))
    assert [table["table"] for table in ours(some["sources"])] == ["numbers_of_weather"]
    assert [row["day"] for row in ours(some["rows_by_day"])] == ["2026-01-03"]


def test_while_a_table_is_counted_it_has_no_number_and_no_days_rather_than_wrong_ones(store):
    store.execute(insert(["2026-01-01", None]))
    store.execute("DELETE FROM pipeline.totals; SELECT pipeline.start_totals('curated.numbers_of_weather', 'w', 'day')")
    store.execute("DELETE FROM curated.numbers_of_weather WHERE day IS NULL")
    found = store.read()
    nothing = {"rows": None, "day": None, "first_day": None, "last_day": None}
    assert ours(found["sources"]) == [{"table": "numbers_of_weather", **nothing}]
    assert found["rows"] is None and ours(found["rows_by_day"]) == []


def test_from_a_day_on_is_up_to_today_for_rows_as_for_runs(store):
    days = [TODAY + dt.timedelta(days=n) for n in (-2, 0, 1)]
    store.execute(insert(days))
    found = store.read("weather", days[0])
    assert (found["from"], found["to"]) == (str(days[0]), str(TODAY))
    assert [row["day"] for row in ours(found["rows_by_day"])] == [str(days[0]), str(TODAY)]
    assert len(ours(store.read("weather")["rows_by_day"])) == 3, "without any day they are the newest there are"


def test_a_table_that_was_dropped_is_counted_no_more(store):
    store.execute(insert(["2026-01-01"]))
    store.execute("DROP TABLE curated.numbers_of_weather")
    assert [table["table"] for table in ours(store.read()["sources"])] == ["numbers_of_posts"]


def result(id, type="expect", success=True, evaluated=10, unexpected=0):
    return ItemResult(
        id=id,
        type=type,
        severity="warning",
        scope="row",
        title=id,
        success=success,
        text="",
        evaluated=evaluated,
        unexpected=unexpected,
    )


def test_runs_quality_and_anomalies_by_the_day_of_the_runs(store):
    judged = [result("a"), result("b", success=False), result("anomaly t", "anomaly", False, 9, 2)]
    store.run(Weather(), "w1", "2026-02-01T23:59:59Z", Account(10, 6, 1, 1, 1, 1), results=judged)
    store.run(Weather(), "w2", "2026-02-01T00:00:00Z", Account(20, 0, 0, 20, 0, 0), "warn", judged)
    store.run(Weather(), "w3", "2026-02-02T00:00:00Z", Account(4, 0, 0, 0, 0, 4), "fail", judged[:1])
    store.run(Posts(), "p1", "2026-02-03T00:00:00Z", Account(1, 1, 0, 0, 0, 0))
    found = store.read("weather", dt.date(2026, 2, 1), dt.date(2026, 2, 2))
    runs = {row["day"]: row for row in found["runs_by_day"]}
    assert set(runs) == {"2026-02-01", "2026-02-02"}
    first = {"runs": 2, "published": 2, "rejected": 0, "failed": 0, "fetched": 30, "inserted": 6, "updated": 1}
    first |= {"unchanged": 21, "duplicates": 1, "quarantined": 1}
    assert first.items() <= runs["2026-02-01"].items()
    assert {"runs": 1, "published": 0, "rejected": 1, "quarantined": 4}.items() <= runs["2026-02-02"].items()
    quality = {row["day"]: row for row in found["quality_by_day"]}
    first = {"judged": 2, "passed": 1, "warned": 1, "failed": 0, "expectations": 4, "unmet": 2}
    assert ({**first, "quarantined_share": 0.033333}).items() <= quality["2026-02-01"].items()
    assert {"failed": 1, "expectations": 1, "unmet": 0, "quarantined_share": 1.0}.items() <= quality[
        "2026-02-02"
    ].items()
    assert found["anomalies_by_day"] == [
        {"source": "weather", "day": "2026-02-01", "anomaly": "anomaly t", "judged": 18, "marked": 4}
    ]
    assert {row["source"] for row in store.read(None, dt.date(2026, 2, 1), dt.date(2026, 2, 3))["runs_by_day"]} == {
        "weather",
        "posts",
    }


def test_expectations_that_are_missed_come_the_most_often_missed_first(store):
    account = Account(10, 10, 0, 0, 0, 0)
    rare, often, kept = result("rare", success=False, unexpected=9), result("often", success=False), result("kept")
    # which rows that are unlike their history are not: nobody expected anything of them
    unlike = result("anomaly t", "anomaly", False, 9, 2)
    store.run(Weather(), "w1", "2026-02-01T00:00:00Z", account, results=[rare, often, kept, unlike])
    store.run(Weather(), "w2", "2026-02-02T00:00:00Z", account, results=[result("rare"), often, kept])
    store.run(Posts(), "p1", "2026-02-02T00:00:00Z", account, results=[often])
    found = store.read("weather", dt.date(2026, 2, 1), dt.date(2026, 2, 2))["unmet_expectations"]
    about = {"source": "weather", "severity": "warning", "judged": 2}
    assert found == [
        {**about, "title": "often", "unmet": 2, "unexpected": 0, "last_run": "w2"},
        {**about, "title": "rare", "unmet": 1, "unexpected": 9, "last_run": "w1"},
    ]


def test_a_run_that_is_judged_again_counts_its_last_judgement(store):
    account = Account(10, 10, 0, 0, 0, 0)
    store.run(Weather(), "w1", "2026-02-01T00:00:00Z", account, "fail", [result("a", success=False), result("b")])
    store.execute("DELETE FROM pipeline.quality_results")
    store.run(Weather(), "w1", "2026-02-01T01:00:00Z", account, "pass", [result("a")])
    [found] = store.read("weather", dt.date(2026, 2, 1), dt.date(2026, 2, 1))["quality_by_day"]
    assert (found["expectations"], found["unmet"], found["passed"], found["failed"]) == (1, 0, 1, 0)


def test_without_days_it_is_the_last_thirty_of_runs_and_all_of_rows(store):
    store.execute(insert(["1999-01-01"]))
    for run_id, ago in (("new", 0), ("old", 29), ("older", 30)):
        store.run(Posts(), run_id, f"{TODAY - dt.timedelta(days=ago)}T00:00:00Z", Account(1, 1, 0, 0, 0, 0))
    found = store.read()
    assert (found["from"], found["to"]) == (str(TODAY - dt.timedelta(days=29)), str(TODAY))
    assert len(found["runs_by_day"]) == 2
    assert len(ours(found["rows_by_day"])) == 1


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (dt.date(2026, 2, 2), dt.date(2026, 2, 1), "from is 2026-02-02, after to"),
        (dt.date(2024, 1, 1), dt.date(2025, 1, 1), "are 367 days"),
    ],
    ids=["turned", "long"],
)
def test_days_the_wrong_way_round_or_too_many_are_refused(store, first, last, told):
    with pytest.raises(ContractError, match=told):
        store.read(None, first, last)


def test_a_source_that_is_none_is_refused_and_one_that_never_ran_is_nothing(store):
    with pytest.raises(UnknownSource):
        store.read("'; DROP TABLE pipeline.totals; --")
    assert store.read("market")["rows"] == 0


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.none() | st.dates(), st.none() | st.dates())
def test_any_days_are_answered_or_refused(store, first, last):
    try:
        found = store.read(None, first, last)
    except ContractError:
        return
    assert found["from"] <= found["to"]
