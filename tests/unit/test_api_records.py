"""`GET /records`, `GET /records/{id}` and `GET /analytics` answer as their models say, and their links lead on."""

import base64
import json
import zlib
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chalicelib import settings, sources
from chalicelib.api import answering, callers, places, problems, table
from chalicelib.columns import Column
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, tables

ROUTES = {route.name: route for route in table.ROUTES}


class Guests(Source):
    name = "guests"
    key = ("id",)
    columns = (Column("id", "integer"), Column("name", "text", personal=True), Column("room", "text"))


@pytest.fixture
def ask(database_url, monkeypatch):
    """ask(route, query, path, scope) gives (status, document)."""
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    settings.current.cache_clear()
    registered = sources.get
    monkeypatch.setattr(sources, "get", lambda name: Guests() if name == "guests" else registered(name))
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS curated.guests")
        tables.ensure_curated(cursor, Guests())
        cursor.execute(
            "INSERT INTO curated.guests SELECT n, 'Ada', CASE WHEN mod(n, 2) = 0 THEN 'a b&c' END, 'r', '0:1', 1, now()"
            " FROM generate_series(1, 7) AS n"
        )

    def asked(name, query=None, path=None, scope=table.READ):
        given = {key: value if isinstance(value, list) else [value] for key, value in (query or {}).items()}
        arrived = answering.Arrived(path or {}, given, {}, b"", callers.Caller("somebody", (scope,)))
        try:
            response = answering.answer(ROUTES[name], arrived)
        except Exception as error:
            problem = problems.of(error, "/")
            return problem.status, problem.document
        return response.status, json.loads(response.content)

    yield asked
    settings.current.cache_clear()
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE curated.guests")


def follow(ask, query):
    found, pages = [], 0
    while True:
        status, document = ask("get_records", query)
        assert status == 200, document
        found += document["records"]
        pages += 1
        if not document["next"]:
            return found, pages
        assert urlsplit(document["next"]).path == "/records"
        query = parse_qs(urlsplit(document["next"]).query)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7]),
        ({"sort": "-id"}, [7, 6, 5, 4, 3, 2, 1]),
        ({"sort": "room"}, [2, 4, 6, 1, 3, 5, 7]),
        ({"sort": "-room"}, [7, 5, 3, 1, 6, 4, 2]),
        ({"filter": ["room:eq:a b&c", "id:gt:2"]}, [4, 6]),
    ],
    ids=["key", "down", "nulls-last", "nulls-first", "filtered"],
)
def test_the_links_lead_through_all_records(ask, query, ids):
    found, pages = follow(ask, {"source": "guests", "limit": "2", **query})
    assert [record["values"]["id"] for record in found] == ids
    assert pages == (len(ids) + 1) // 2
    for record in found[:2]:
        status, alone = ask("get_records_id", path={"id": record["id"]})
        assert status == 200
        assert {**record, "raw": None} == alone


@pytest.fixture
def longest(monkeypatch, ask, database_url):
    """longest(room) gives every guest such a room, and takes the key's place for a text too where `key` is given."""

    def made(room=None, key=None):
        with connection.transaction(database_url) as conn, conn.cursor() as cursor:
            if key:
                monkeypatch.setattr(Guests, "columns", (Column("id", "text"), *Guests.columns[1:]))
                cursor.execute("ALTER TABLE curated.guests ALTER id TYPE text USING repeat(%s, 8000) || id", (key,))
            else:
                cursor.execute(f"UPDATE curated.guests SET room = {room} || id")

    return made


# 40,000 hexadecimal digits that no compression makes fewer than 20,000 bytes
HASHES = "(SELECT string_agg(md5(id::text || n), '') FROM generate_series(1, 1250) AS n)"


@pytest.mark.parametrize(
    "room", ["repeat('x', 600)", "repeat('x', 40000)", "repeat('ä', 40000)", HASHES], ids=["short", "ascii", "ä", "any"]
)
@pytest.mark.parametrize("direction", ["", "-"], ids=["up", "down"])
def test_the_links_lead_on_where_what_it_is_sorted_by_is_long(ask, longest, room, direction):
    longest(room=room)
    found, _ = follow(ask, {"source": "guests", "limit": "2", "sort": f"{direction}room"})
    rooms = [record["values"]["room"] for record in found]
    assert sorted(record["values"]["id"] for record in found) == [1, 2, 3, 4, 5, 6, 7]
    assert rooms == sorted(rooms, reverse=bool(direction))


@pytest.mark.parametrize("query", [{}, {"sort": "-room"}], ids=["by-key", "by-another"])
def test_the_links_lead_on_where_keys_are_as_long_as_an_index_takes(ask, longest, query):
    longest(key="x")
    found, pages = follow(ask, {"source": "guests", "limit": "2", **query})
    assert (sorted(record["values"]["id"][-1] for record in found), pages) == (list("1234567"), 4)


def test_a_page_behind_a_record_that_has_changed_is_refused_and_says_what_to_do(ask, longest):
    longest(room="repeat('x', 40000)")
    _, document = ask("get_records", {"source": "guests", "limit": "2", "sort": "room"})
    longest(room="repeat('y', 40000)")
    status, problem = ask("get_records", parse_qs(urlsplit(document["next"]).query))
    assert status == 422 and "changed, or is gone" in problem["detail"] and "first page" in problem["detail"]


def test_a_page_that_would_unpack_to_more_than_any_is_refused(ask):
    bomb = base64.urlsafe_b64encode(zlib.compress(b"[" + b" " * 4_000_000 + b"]")).decode()
    status, document = ask("get_records", {"source": "guests", "page": bomb[:6000]})
    assert (status, [fault["name"] for fault in document["errors"]]) == (422, ["page"])


def token(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


# Postgres has neither of them
@pytest.mark.parametrize("none", ["\x00", "\ud800", "a\udfffb"], ids=["nul", "surrogate", "within"])
def test_an_id_of_characters_that_are_none_is_that_of_no_record(ask, none):
    for document in (["guests", [none]], [none, ["1"]], ["files", ["1"], none], ["guests", ["1"], none]):
        assert ask("get_records_id", path={"id": token(document)})[0] == 404


@pytest.mark.parametrize("none", ["\x00", "\ud800"], ids=["nul", "surrogate"])
@pytest.mark.parametrize(
    ("route", "query", "values"),
    [
        ("get_records", {"source": "guests", "sort": "room", "limit": "100"}, lambda none: [none, 1]),
        ("get_runs", {"limit": "50"}, lambda none: ["2026-01-01T00:00:00+00:00", none]),
        ("get_runs", {"limit": "50"}, lambda none: [none, "weather-1"]),
    ],
    ids=["records", "run", "moment"],
)
def test_a_page_of_characters_that_are_none_is_refused(ask, none, route, query, values):
    made_up = token([places._digest(query, values(none)), values(none)])
    status, document = ask(route, {**query, "page": made_up})
    assert (status, [fault["name"] for fault in document["errors"]]) == (422, ["page"])


def test_a_page_of_another_query_is_refused(ask):
    _, document = ask("get_records", {"source": "guests", "limit": "2"})
    page = parse_qs(urlsplit(document["next"]).query)["page"][0]
    for other in ({"sort": "room"}, {"filter": "id:gt:1"}, {"from": "2020-01-01"}, {"page": page[:-2]}):
        status, document = ask("get_records", {"source": "guests", "page": page, **other})
        assert (status, document["errors"][0]["name"]) == (422, "page")


def test_what_is_wrong_is_named(ask):
    for query, status, told in (
        ({"source": "guests", "filter": "colour:eq:red"}, 422, "no column 'colour'"),
        ({"source": "guests", "sort": "colour"}, 422, "no column 'colour'"),
        ({"source": "guests", "limit": "1001"}, 422, "limit"),
        ({"source": "nosuch"}, 404, "no source is called 'nosuch'"),
        ({}, 422, "source"),
        ({"source": "guests", "filter": "name:eq:Ada"}, 403, "name of guests is personal"),
        ({"source": "files"}, 422, "files has a table per declaration"),
        ({"source": "files", "table": "x"}, 404, "files has published no table 'x'"),
        ({"source": "guests", "table": "x"}, 404, "guests has no table 'x'"),
    ):
        found, document = ask("get_records", query)
        assert (found, told in document["detail"]) == (status, True), document
    assert ask("get_records_id", path={"id": "x"})[0] == 404
    assert ask("get_analytics", {"source": "nosuch"})[0] == 404
    assert ask("get_analytics", {"from": "2026-01-02", "to": "2026-01-01"})[0] == 422


def test_personal_values_are_shown_to_admins_alone(ask):
    for scope, name in ((table.READ, "***"), (table.ADMIN, "Ada")):
        _, document = ask("get_records", {"source": "guests"}, scope=scope)
        assert {record["values"]["name"] for record in document["records"]} == {name}
        _, alone = ask("get_records_id", path={"id": document["records"][0]["id"]}, scope=scope)
        assert alone["values"]["name"] == name


def test_the_analytics_are_those_of_the_tables(ask):
    status, document = ask("get_analytics", {"source": "guests"})
    assert (status, document["rows"]) == (200, 7)
    assert [(found["table"], found["rows"]) for found in document["sources"]] == [("guests", 7)]


VALUES = st.text(st.characters(exclude_categories=[]), max_size=20) | st.sampled_from(
    ["guests", "'; DROP TABLE curated.guests; --", "id:eq:1 OR 1=1", "id) --", "%(a0)s", "2026-01-01", "1"]
)
NAMES = ["source", "table", "filter", "from", "to", "sort", "limit", "page"]


@hypothesis_settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.booleans(), VALUES)
def test_whatever_is_sent_is_answered_or_refused_and_nothing_fails(ask, query, of_guests, id):
    sent = {**query, **({"source": "guests"} if of_guests else {})}
    for name, given_query, path in (
        ("get_records", sent, None),
        ("get_records_id", {}, {"id": id}),
        ("get_analytics", {key: sent[key] for key in ("source", "from", "to") if key in sent}, None),
    ):
        status, document = ask(name, given_query, path)
        assert status in (200, 403, 404, 422), document
    assert len(ask("get_records", {"source": "guests"})[1]["records"]) == 7


PARTS = VALUES | st.none() | st.integers() | st.floats() | st.lists(VALUES, max_size=2) | st.just({"sha256": "x"})


@hypothesis_settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PARTS, max_size=3) | PARTS, st.lists(PARTS, min_size=1, max_size=2))
def test_ids_and_pages_of_the_right_form_with_anything_in_them_fail_nowhere(ask, id, values):
    for document in (id, ["guests", id], ["guests", values[:1]]):
        assert ask("get_records_id", path={"id": token(document)})[0] in (200, 404, 422)
    for name, query in (("get_records", {"source": "guests", "sort": "room"}), ("get_runs", {})):
        given_query = {**query, "limit": "50" if name == "get_runs" else "100"}
        page = token([places._digest(given_query, values), values])
        assert ask(name, {**given_query, "page": page})[0] in (200, 422)
