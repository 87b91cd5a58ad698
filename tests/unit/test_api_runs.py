"""GET /runs: pages that meet at equal times, filters that mean what they say, pages that nobody made up."""

import base64
import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.api import answering, callers, places, table
from chalicelib.errors import ContractError, RequestRefused, UnknownSource
from chalicelib.warehouse import connection, reader

[ROUTE] = [route for route in table.ROUTES if route.name == "get_runs"]
DAY = dt.datetime(2019, 3, 1, tzinfo=dt.UTC)
SOURCE = "paged"


def get(**query):
    given = {name: [str(value)] for name, value in query.items()}
    arrived = answering.Arrived({}, given, {}, b"", callers.Caller("x", ("read",)))
    return json.loads(answering.answer(ROUTE, arrived).content)


def refused(**query):
    with pytest.raises(RequestRefused) as raised:
        get(**query)
    assert raised.value.where["status"] == 422
    return [fault["name"] for fault in raised.value.where["errors"]]


@pytest.fixture(scope="module", autouse=True)
def runs(database_url):
    """Thirty, of which many started at the same moment."""
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        for number in range(30):
            cursor.execute(
                "INSERT INTO pipeline.runs (run_id, source, execution, input, status, verdict, started_at)"
                " VALUES (%s, %s, 'arn', '{}', %s, %s, %s)",
                (
                    f"{SOURCE}-{number:02d}",
                    SOURCE,
                    ("succeeded", "failed")[number % 2],
                    ("pass", "warn", None)[number % 3],
                    DAY + dt.timedelta(hours=12 * (number // 7)),
                ),
            )
    own = reader.transaction
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "transaction", lambda: own(database_url))
        yield
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        cursor.execute("DELETE FROM pipeline.runs WHERE source = %s", (SOURCE,))


@pytest.mark.parametrize("limit", [1, 2, 6, 7, 8, 29, 30, 31])
def test_pages_hold_every_run_once_newest_first(limit):
    whole = [run["run_id"] for run in get(source=SOURCE, limit=1000)["runs"]]
    assert len(whole) == 30 and sorted(whole) == [f"{SOURCE}-{number:02d}" for number in range(30)]
    found, page = [], get(source=SOURCE, limit=limit)
    while True:
        assert len(page["runs"]) <= limit
        found += [run["run_id"] for run in page["runs"]]
        if page["next"] is None:
            break
        token = page["next"].partition("page=")[2]
        page = get(source=SOURCE, limit=limit, page=token)
    assert found == whole


def test_a_run_that_comes_or_goes_between_pages_moves_no_other(database_url):
    first = get(source=SOURCE, limit=10)
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        cursor.execute(
            "INSERT INTO pipeline.runs (run_id, source, execution, input, status, started_at)"
            " VALUES ('paged-new', %s, 'arn', '{}', 'running', now())",
            (SOURCE,),
        )
    try:
        second = get(source=SOURCE, limit=1000, page=first["next"].partition("page=")[2])
    finally:
        with connection.transaction(database_url) as opened, opened.cursor() as cursor:
            cursor.execute("DELETE FROM pipeline.runs WHERE run_id = 'paged-new'")
    found = [run["run_id"] for run in first["runs"] + second["runs"]]
    assert len(found) == len(set(found)) == 30


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"status": "failed"}, lambda number: number % 2 == 1),
        ({"verdict": "warn"}, lambda number: number % 3 == 1),
        ({"from": "2019-03-02"}, lambda number: number // 7 >= 2),
        ({"to": "2019-03-01"}, lambda number: number // 7 < 2),
        ({"from": "2019-03-02", "to": "2019-03-02"}, lambda number: number // 7 in (2, 3)),
        ({"status": "failed", "verdict": "pass"}, lambda number: number % 2 == 1 and number % 3 == 0),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_days_are_whole_and_filters_are_all_meant(query, wanted):
    found = {run["run_id"] for run in get(source=SOURCE, limit=1000, **query)["runs"]}
    assert found == {f"{SOURCE}-{number:02d}" for number in range(30) if wanted(number)}


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "1_0"}, "limit"),
        ({"limit": "1e1"}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"status": "done"}, "status"),
        ({"from": "1709251200"}, "from"),
        ({"from": "2019-02-30"}, "from"),
        ({"to": "2019-3-1"}, "to"),
        ({"source": "a\x00b"}, "source"),
        ({"page": "nonsense"}, "page"),
        ({"page": ""}, "page"),
    ],
    ids=str,
)
def test_a_parameter_that_is_none_is_named(query, name):
    assert refused(**query) == [name]


def test_a_page_belongs_to_its_query_whatever_the_limit():
    token = get(source=SOURCE, limit=3)["next"].partition("page=")[2]
    assert get(source=SOURCE, limit=5, page=token)["runs"]
    assert refused(limit=3, page=token) == ["page"]
    assert refused(source=SOURCE, status="failed", limit=3, page=token) == ["page"]


@given(values=st.lists(st.none() | st.integers() | st.text() | st.lists(st.integers()), min_size=2, max_size=2))
def test_a_page_that_somebody_made_up_is_refused_or_gives_runs_of_the_query(values):
    made = places.following("/runs", {"source": SOURCE}, values).partition("page=")[2]
    try:
        assert {run["source"] for run in get(source=SOURCE, page=made)["runs"]} <= {SOURCE}
    except RequestRefused as error:
        assert error.where["status"] == 422


@given(text=st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_no_text_for_a_page_is_more_than_refused(text):
    try:
        get(source=SOURCE, page=text)
    except RequestRefused as error:
        assert error.where["status"] == 422


def test_a_source_that_there_is_not_is_no_empty_list():
    with pytest.raises(UnknownSource, match="no source is called 'nosuch'"):
        get(source="nosuch")
    assert get(source="sensors", verdict="fail") == {"runs": [], "next": None}
    # it is gone, and its runs are not
    assert get(source=SOURCE, status="rejected") == {"runs": [], "next": None}


def test_days_the_wrong_way_round_are_refused_by_name():
    with pytest.raises(ContractError, match="from is 2019-03-02, after to, which is 2019-03-01"):
        get(**{"from": "2019-03-02", "to": "2019-03-01"})
