"""Weather: what is asked of Open-Meteo, and what is made of its answers."""

from __future__ import annotations

import copy
import json

import pandas as pd
import pytest
from loopback import serving

from chalicelib import sources
from chalicelib.contracts import Window
from chalicelib.errors import ContractError, NotFound, SourceError
from chalicelib.http import Client
from chalicelib.settings import Settings
from local import sample_api

WINDOW = Window("2015-01-01", "2015-01-03")
REQUEST = {"station": "Seattle", "start": "2015-01-01", "end": "2015-01-03"}


@pytest.fixture(scope="module")
def source():
    return sources.get("weather")


@pytest.fixture(scope="module")
def document(source):
    with serving(sample_api.app) as url:
        settings = Settings(sources_url=url)
        (page,) = source.pages(REQUEST, Client(source.hosts, settings), settings)
        assert (page.format, page.compression) == ("response", None)
        return json.loads(page.body.read())


def test_every_station_is_a_partition_with_the_whole_window(source):
    partitions = source.partitions(WINDOW, None, Settings())
    assert len(partitions) >= 6
    assert partitions[0] == REQUEST
    assert {(p["start"], p["end"]) for p in partitions} == {("2015-01-01", "2015-01-03")}


def test_stations_can_be_chosen_by_name(source):
    chosen = source.partitions(WINDOW, " lisbon, New York,Lisbon ", Settings())
    assert [p["station"] for p in chosen] == ["Lisbon", "New York"]


def test_an_unknown_station_is_named_and_the_known_ones_are_listed(source):
    with pytest.raises(NotFound, match=r"'atlantis'.*Seattle, San Francisco"):
        source.partitions(WINDOW, "Seattle,Atlantis", Settings())


def test_weather_without_a_window_is_refused(source):
    with pytest.raises(ContractError, match="no window"):
        source.partitions(Window(), None, Settings())


def test_a_record_is_a_day_of_a_station(source, document):
    records = list(source.records(document, REQUEST))
    assert records[0] == {
        "station": "Seattle",
        "time": "2015-01-01",
        "temperature_2m_max": 5.6,
        "temperature_2m_min": -3.2,
        "precipitation_sum": 0.0,
        "wind_speed_10m_max": 4.3,
        "weather_code": 0,
    }
    assert [r["time"] for r in records] == ["2015-01-01", "2015-01-02", "2015-01-03"]


def test_transform_gives_exactly_the_declared_columns(source, document):
    frame = source.transform(pd.DataFrame(source.records(document, REQUEST)))
    assert tuple(frame.columns) == source.column_names
    assert frame["day"].tolist() == ["2015-01-01", "2015-01-02", "2015-01-03"]
    assert list(frame.index) == [0, 1, 2]


def test_days_that_have_not_arrived_are_kept_as_nulls(source, document):
    late = copy.deepcopy(document)
    late["daily"]["temperature_2m_max"][2] = None
    assert [r["temperature_2m_max"] for r in source.records(late, REQUEST)] == [5.6, 5.6, None]


def broken(document, path, value):
    document = copy.deepcopy(document)
    *parents, last = path.split(".")
    place = document
    for name in parents:
        place = place[name]
    place[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("daily", None, "nothing as `daily`, expected an object"),
        ("daily_units", [], "an array as `daily_units`"),
        ("daily.precipitation_sum", None, "nothing as `daily.precipitation_sum`, expected an array"),
        ("daily.time", "2015-01-01", "a string as `daily.time`"),
        ("daily.weather_code", [1, 2], "2 values of weather_code for 3 days"),
        ("daily_units.temperature_2m_max", "°F", "temperature_2m_max in '°F', expected '°C'"),
        ("daily_units.wind_speed_10m_max", None, "wind_speed_10m_max in None, expected 'km/h'"),
        ("error", True, "Open-Meteo refused: no reason given"),
    ],
)
def test_an_answer_of_another_form_says_what_is_wrong_with_it(source, document, path, value, message):
    with pytest.raises(SourceError) as raised:
        source.records(broken(document, path, value), REQUEST)
    assert message in str(raised.value)
    assert "station=Seattle" in str(raised.value)


@pytest.mark.parametrize("other", [[], "text", 3, None])
def test_an_answer_that_is_no_object_is_refused(source, other):
    with pytest.raises(SourceError, match="expected one object"):
        source.records(other, REQUEST)


def test_open_meteos_own_reason_reaches_the_message(source):
    with serving(sample_api.app) as url:
        settings = Settings(sources_url=url)
        request = {**REQUEST, "start": "2015-13-01"}
        with pytest.raises(SourceError, match="400: Invalid date format"):
            list(source.pages(request, Client(source.hosts, settings), settings))


@pytest.mark.parametrize(
    ("reason", "low", "high"),
    [
        ("Minutely API request limit exceeded. Please try again in one minute.", 60, 60),
        ("Hourly API request limit exceeded. Please try again in the next hour.", 0, 3600),
        ("Daily API request limit exceeded. Please try again tomorrow.", 0, 86400),
    ],
)
def test_open_meteo_says_in_words_how_long_it_wants_to_be_left_alone(source, reason, low, high):
    assert low <= source.asked_wait(reason) <= high


def test_a_reason_that_says_nothing_of_time_asks_for_no_wait(source):
    assert source.asked_wait("Too many concurrent requests") is None


def test_a_minutely_limit_is_waited_for_and_the_fetch_goes_on(source):
    pauses = []
    with serving(sample_api.app) as url:
        # what stands in fails once, in Open-Meteo's own words and without Retry-After
        settings = Settings(sources_url=f"{url}/faults/429,times=1")
        client = Client(
            [*source.hosts, url.removeprefix("http://")], settings, pauses.append, asked_wait=source.asked_wait
        )
        (page,) = source.pages(REQUEST, client, settings)
        assert len(json.loads(page.body.read())["daily"]["time"]) == 3
    assert pauses == [60.0]
