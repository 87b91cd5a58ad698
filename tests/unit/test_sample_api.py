"""The sample API keeps to the formats of the real hosts, and its data is worth looking at."""

from __future__ import annotations

import datetime as dt
import json
import re

import pytest
from werkzeug.test import Client

from local import sample_api, sample_faults, sample_posts, sample_weather

ARCHIVE = "/archive-api.open-meteo.com/v1/archive"
JSONPLACEHOLDER = "/jsonplaceholder.typicode.com"
SEATTLE = {
    "latitude": "47.6062",
    "longitude": "-122.3321",
    "start_date": "2012-01-01",
    "end_date": "2015-12-31",
    "daily": ",".join(sample_weather.UNITS),
    "timezone": "America/Los_Angeles",
}


@pytest.fixture(scope="module")
def api():
    return Client(sample_api.app)


def archive(api, **changes):
    query = {name: value for name, value in {**SEATTLE, **changes}.items() if value is not None}
    return api.get(ARCHIVE, query_string=query)


# --- weather ---------------------------------------------------------------------------------


def test_seattle_is_what_was_observed(api):
    from vega_datasets import data

    observed = data.seattle_weather()
    daily = archive(api).json["daily"]
    assert daily["time"] == observed["date"].dt.strftime("%Y-%m-%d").tolist()
    assert daily["temperature_2m_max"] == observed["temp_max"].tolist()
    assert daily["temperature_2m_min"] == observed["temp_min"].tolist()
    assert daily["precipitation_sum"] == observed["precipitation"].tolist()
    assert daily["wind_speed_10m_max"][:2] == [16.9, 16.2]  # 4.7 and 4.5 m/s
    assert {code // 10 for code in daily["weather_code"]} == {0, 4, 5, 6, 7}


def test_the_answer_has_the_form_of_the_real_one(api):
    answer = archive(api, daily="weather_code,precipitation_sum", end_date="2012-01-02").json
    assert list(answer) == [
        "latitude", "longitude", "generationtime_ms", "utc_offset_seconds", "timezone", "timezone_abbreviation",
        "elevation", "daily_units", "daily",
    ]  # fmt: skip
    assert (answer["latitude"], answer["longitude"]) == (47.5, -122.25)  # the grid's, not those asked for
    assert (answer["utc_offset_seconds"], answer["timezone_abbreviation"]) == (-8 * 3600, "PST")
    assert answer["daily_units"] == {"time": "iso8601", "weather_code": "wmo code", "precipitation_sum": "mm"}
    assert {len(values) for values in answer["daily"].values()} == {2}


def test_several_places_give_an_array(api):
    answers = archive(api, latitude="47.6,38.7", longitude="-122.3,-9.1", end_date="2012-01-01").json
    assert [a.get("location_id") for a in answers] == [None, 1]


@pytest.mark.parametrize("cell", [*sample_weather.CLIMATES, (0.0, 0.0), (-80.0, 10.0)])
def test_made_up_days_are_plausible_wherever_they_are(cell):
    days = [sample_weather.day(cell, dt.date(2018, 1, 1) + dt.timedelta(days=n)) for n in range(365)]
    assert all(d["temperature_2m_min"] < d["temperature_2m_max"] for d in days)
    assert all(d["temperature_2m_min"] > -60 and d["temperature_2m_max"] < 45 for d in days)
    assert all(0 <= d["precipitation_sum"] < 150 and 0 < d["wind_speed_10m_max"] < 120 for d in days)
    assert all((d["precipitation_sum"] > 0) == (d["weather_code"] > 50) for d in days)
    assert 5 < sum(d["precipitation_sum"] > 0 for d in days) < 250
    january, july = (sum(d["temperature_2m_max"] for d in part) / 31 for part in (days[:31], days[181:212]))
    assert (july > january) == (cell[0] >= 0)


def test_a_made_up_day_is_the_same_in_every_answer(api):
    wide = archive(api, start_date="2019-01-01", end_date="2019-12-31").json["daily"]
    narrow = archive(api, start_date="2019-06-15", end_date="2019-06-15").json["daily"]
    position = wide["time"].index("2019-06-15")
    assert {name: [values[position]] for name, values in wide.items()} == narrow
    # written down, so that a difference between two machines or versions shows
    assert sample_weather.day((60.0, 10.75), dt.date(2020, 2, 29)) == {
        "temperature_2m_max": -0.7,
        "temperature_2m_min": -8.3,
        "precipitation_sum": 0.0,
        "wind_speed_10m_max": 16.6,
        "weather_code": 2,
    }


def test_the_newest_days_have_not_arrived_yet(api, monkeypatch):
    monkeypatch.setattr(sample_weather, "_today", lambda: dt.date(2024, 6, 30))
    daily = archive(api, start_date="2024-06-20", end_date="2024-06-30").json["daily"]
    for name in sample_weather.UNITS:
        assert [value is None for value in daily[name]] == [False] * 6 + [True] * 5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"latitude": None}, "'latitude'"),
        ({"latitude": "north"}, "'latitude' is not a number"),
        ({"latitude": "91"}, "Latitude must be in range of -90 to 90°. Given: 91.0."),
        ({"longitude": "1,2"}, "same number of elements"),
        ({"start_date": "2015-02-30"}, "Invalid date format"),
        ({"end_date": None}, "Invalid date format"),
        ({"end_date": "2011-01-01"}, "End-date must be larger"),
        ({"end_date": "2999-01-01"}, "'end_date' is out of allowed range from 1940-01-01"),
        ({"daily": "temperature"}, "invalid String value temperature"),
        ({"timezone": "Mars/Olympus"}, "Invalid timezone"),
        ({"timezone": "../etc"}, "Invalid timezone"),
    ],
)
def test_a_bad_parameter_gives_400_with_a_reason(api, changes, reason):
    answer = archive(api, **changes)
    assert answer.status_code == 400
    assert answer.json["error"] is True
    assert reason in answer.json["reason"]


# --- posts and comments ----------------------------------------------------------------------


def test_there_are_a_hundred_posts_and_no_two_alike():
    posts = sample_posts.posts()
    assert [p["id"] for p in posts] == list(range(1, 101))
    assert {p["userId"] for p in posts} == set(range(1, 11))
    for field in ("title", "body"):
        assert len({p[field] for p in posts}) == 100
    assert all(2 <= len(re.findall(r"[.!?](?= |$)", p["body"])) <= 4 for p in posts)


def test_every_post_has_comments_and_no_two_alike():
    comments = sample_posts.comments()
    assert len({c["body"] for c in comments}) == len(comments) == 300
    assert {c["postId"] for c in comments} == set(range(1, 101))
    assert all(c["email"].endswith("@example.org") for c in comments)


def test_paging_is_described_by_headers(api):
    page = api.get(f"{JSONPLACEHOLDER}/posts?_page=2&_limit=30")
    assert [p["id"] for p in page.json] == list(range(31, 61))
    assert page.headers["X-Total-Count"] == "100"
    assert re.findall(r'_page=(\d+)&_limit=30>; rel="(\w+)"', page.headers["Link"]) == [
        ("1", "first"), ("1", "prev"), ("3", "next"), ("4", "last"),
    ]  # fmt: skip


def test_the_ends_of_a_listing_have_no_neighbour(api):
    first = api.get(f"{JSONPLACEHOLDER}/comments?_page=1&_limit=100").headers["Link"]
    last = api.get(f"{JSONPLACEHOLDER}/comments?_page=3&_limit=100").headers["Link"]
    assert 'rel="prev"' not in first and 'rel="next"' in first
    assert 'rel="prev"' in last and 'rel="next"' not in last


@pytest.mark.parametrize(
    ("path", "length"), [("/posts", 100), ("/comments", 300), ("/posts/5/comments", 3), ("/comments?postId=5", 3)]
)
def test_listings_without_paging_are_whole(api, path, length):
    answer = api.get(JSONPLACEHOLDER + path)
    assert len(answer.json) == length
    assert "Link" not in answer.headers


def test_one_post_has_the_fields_of_the_real_one(api):
    assert list(api.get(f"{JSONPLACEHOLDER}/posts/1").json) == ["userId", "id", "title", "body"]
    assert list(api.get(f"{JSONPLACEHOLDER}/comments/1").json) == ["postId", "id", "name", "email", "body"]


@pytest.mark.parametrize("path", ["/posts/101", "/comments/0", "/albums", "/comments/1/comments", "/"])
def test_what_does_not_exist_is_404_with_an_empty_object(api, path):
    answer = api.get(JSONPLACEHOLDER + path)
    assert (answer.status_code, answer.json) == (404, {})


# --- hosts and faults ------------------------------------------------------------------------


def test_the_index_lists_hosts_and_faults(api):
    index = api.get("/").json
    assert "archive-api.open-meteo.com" in index["hosts"]
    assert {"hang", "drip", "truncated", "html"} <= set(index["faults"])


@pytest.mark.parametrize("path", ["/example.com/x", "/faults/earthquake/example.com/x", "/faults/299/example.com/x"])
def test_an_unknown_host_or_fault_is_404(api, path):
    assert api.get(path).status_code == 404


def test_a_fault_with_times_ends_and_begins_again(api):
    statuses = [api.get(f"/faults/503,times=2{JSONPLACEHOLDER}/posts/1").status_code for _ in range(6)]
    assert statuses == [503, 503, 200, 503, 503, 200]


def test_links_behind_a_fault_stay_behind_it(api):
    answer = api.get(f"/faults/gzip{JSONPLACEHOLDER}/posts?_page=1&_limit=50")
    assert f"/faults/gzip{JSONPLACEHOLDER}/posts?_page=2" in answer.headers["Link"]


def test_truncated_announces_more_than_it_sends(api):
    answer = api.get(f"/faults/truncated{JSONPLACEHOLDER}/posts")
    assert len(b"".join(answer.response)) * 2 <= int(answer.headers["Content-Length"])


def test_half_json_cannot_be_parsed(api):
    answer = api.get(f"/faults/half-json{JSONPLACEHOLDER}/posts")
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.data)


def test_every_fault_says_what_it_does():
    assert all(fault.__doc__ for fault in sample_faults.FAULTS.values())
