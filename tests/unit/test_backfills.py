"""What a backfill remembers: its windows under names of its own, and the warnings that nobody was told of yet."""

import contextlib
import datetime as dt
import uuid

import psycopg2
import pytest
from psycopg2.extras import Json

from chalicelib.triggers import trigger as triggers
from chalicelib.triggers.alerts import warnings_alert
from chalicelib.warehouse import backfills, connection
from chalicelib.warehouse.backfills import DONE, FAILED, Asked

FIRST, LAST = dt.date(2024, 1, 1), dt.date(2024, 1, 3)
DAYS = [(FIRST + dt.timedelta(days=n), FIRST + dt.timedelta(days=n)) for n in range(3)]


@pytest.fixture
def cursor(database_url):
    with connection.transaction(database_url) as open_connection, open_connection.cursor() as cursor:
        yield cursor


@pytest.fixture
def source():
    return f"s{uuid.uuid4().hex[:8]}"


def named(asked, backfill):
    def name(first, last, attempt):
        return triggers.backfill(asked.source, backfill.id, first, last, asked.input, None, None).attempt(attempt)

    return name


def taken(cursor, asked, backfill):
    """Its windows, each running now."""
    return [backfills.take(cursor, backfill, 99, named(asked, backfill)) for _ in DAYS]


def ran(cursor, source, window, verdict="pass", gathered=True, status="succeeded"):
    given = {"source": source, **({"gather_warnings": True} if gathered else {})}
    cursor.execute(
        "INSERT INTO pipeline.runs (run_id, source, execution, input, status, verdict, fetched, quarantined,"
        " window_start, window_end, started_at, published_at)"
        " VALUES (%s, %s, 'arn', %s, %s, %s, 7, 2, %s, %s, now(), now())",
        (window.run_id, source, Json(given), status, verdict, window.first, window.last),
    )


def test_overlapping_backfills_and_later_generations_share_no_name(cursor, source):
    wide, narrow = Asked(source, FIRST, LAST, "1d"), Asked(source, FIRST, LAST, "1d", "Oslo")
    made = [backfills.create(cursor, asked, number, DAYS, "ada") for asked in (wide, narrow) for number in (1, 2)]
    names = [
        window.run_id
        for backfill, asked in zip(made, (wide, wide, narrow, narrow), strict=True)
        for window in taken(cursor, asked, backfill)
    ]
    assert len(set(names)) == len(names) == 12


def test_a_window_keeps_its_name_for_whoever_goes_on_and_gets_the_next_one_with_each_attempt(cursor, source):
    asked = Asked(source, FIRST, LAST, "1d")
    backfill = backfills.create(cursor, asked, 1, DAYS, "ada")
    window = taken(cursor, asked, backfill)[0]
    assert backfills.latest(cursor, asked) == backfill
    assert window.run_id == f"{source}-b{backfill.id}-20240101-20240101"
    backfills.finish(cursor, backfill, window, FAILED, None, "SourceError: no")
    backfills.wait_again(cursor, backfill)
    assert backfills.take(cursor, backfill, 99, named(asked, backfill)).run_id == f"{window.run_id}-2"


def test_warnings_are_told_once_and_only_those_that_no_run_has_told_by_itself(cursor, source):
    asked = Asked(source, FIRST, LAST, "1d")
    backfill = backfills.create(cursor, asked, 1, DAYS, "ada")
    windows = taken(cursor, asked, backfill)
    for window, verdict, gathered in zip(windows, ("warn", "pass", "warn"), (True, True, False), strict=True):
        ran(cursor, source, window, verdict, gathered)
        backfills.finish(cursor, backfill, window, DONE, 7, None)
    cursor.execute(
        "INSERT INTO pipeline.quality_results (run_id, expectation, type, title, severity, success, evaluated,"
        " unexpected, observed) VALUES (%s, 'a', 'a', 'reading is at most 10', 'warning', false, 7, 2, '2 of 7')",
        (windows[0].run_id,),
    )
    [untold] = backfills.untold_warnings(cursor, backfill)
    assert (untold["run_id"], untold["first"], untold["quarantined"]) == (windows[0].run_id, FIRST, 2)
    alert = warnings_alert(source, backfill.id, [untold])
    assert alert.subject == f"[sluice] {source}: 1 window of a backfill passed with warnings"
    for words in (windows[0].run_id, "2 of 7 rows quarantined", "reading is at most 10"):
        assert words in alert.message
    [listed] = backfills.list_backfills(cursor, source, 9)
    assert (listed["done"], listed["warned"], listed["rows"]) == (3, 2, 21)
    backfills.told_warnings(cursor, backfill, [untold["number"]])
    assert backfills.untold_warnings(cursor, backfill) == []


def test_windows_of_which_one_command_tells_just_now_are_told_of_by_no_other(database_url, source):
    with connection.transaction(database_url) as open_connection, open_connection.cursor() as cursor:
        asked = Asked(source, FIRST, LAST, "1d")
        backfill = backfills.create(cursor, asked, 1, DAYS, "ada")
        windows = taken(cursor, asked, backfill)
        for window in windows[:2]:
            ran(cursor, source, window, "warn")
            backfills.finish(cursor, backfill, window, DONE, 7, None)
    with contextlib.closing(psycopg2.connect(database_url)) as one, one.cursor() as first:
        assert len(backfills.untold_warnings(first, backfill)) == 2
        with connection.transaction(database_url) as open_connection, open_connection.cursor() as cursor:
            assert backfills.untold_warnings(cursor, backfill) == []
            cursor.execute("SET LOCAL lock_timeout = '1s'")
            backfills.finish(cursor, backfill, windows[2], DONE, 7, None)  # nor does the other's work wait
        one.rollback()  # the email could not be sent
    with connection.transaction(database_url) as open_connection, open_connection.cursor() as cursor:
        assert len(backfills.untold_warnings(cursor, backfill)) == 2


def test_an_email_about_thousands_of_windows_is_one_that_sns_takes():
    window = {"first": FIRST, "last": LAST, "fetched": 7, "quarantined": 2, "found": ["x" * 300] * 9}
    windows = [{**window, "number": number, "run_id": f"run-{number}"} for number in range(10_000)]
    alert = warnings_alert("weather", 12, windows)
    assert alert.subject == "[sluice] weather: 10,000 windows of a backfill passed with warnings"
    assert len(alert.message.encode()) <= 8_000
    assert "sluice runs show run-0" in alert.message
