"""The sample exchange keeps New York's calendar, and its made-up prices are worth looking at."""

import datetime as dt
import itertools

import pytest
from werkzeug.test import Client

from local import sample_api, sample_market

CHART = "/query1.finance.yahoo.com/v8/finance/chart"
AGENT = {"User-Agent": "a client with a name"}


@pytest.fixture(scope="module")
def api():
    return Client(sample_api.app)


@pytest.mark.parametrize(
    ("year", "holidays"),
    [
        # https://www.nyse.com/markets/hours-calendars; in 2022 New Year's Day was a Saturday and not kept
        (2022, "01-17 02-21 04-15 05-30 06-20 07-04 09-05 11-24 12-26"),
        (2026, "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25"),
        (2012, "01-02 01-16 02-20 04-06 05-28 07-04 09-03 10-29 10-30 11-22 12-25"),
    ],
)
def test_the_exchange_is_closed_on_its_holidays_and_on_no_other_weekday(year, holidays):
    days = (dt.date(year, 1, 1) + dt.timedelta(days=n) for n in range(365))
    closed = [day for day in days if day.weekday() < 5 and not sample_market.is_trading_day(day)]
    assert " ".join(f"{day:%m-%d}" for day in closed) == holidays


@pytest.mark.parametrize("symbol", sample_market.SYMBOLS)
def test_made_up_prices_are_plausible_and_always_alike(symbol):
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=n) for n in range(366)]
    days = [day for day in days if sample_market.is_trading_day(day)]
    bars = [bar for day in days if (bar := sample_market.session(symbol, day))["close"] is not None]
    assert all(0 < bar["low"] <= min(bar["open"], bar["close"]) for bar in bars)
    assert all(max(bar["open"], bar["close"]) <= bar["high"] < 1e6 for bar in bars)
    assert all(0.6 < b["close"] / a["close"] < 1.7 for a, b in itertools.pairwise(bars))
    sample_market._month.cache_clear()
    assert sample_market.session(symbol, days[0]) == bars[0]


@pytest.mark.parametrize("agent", [{}, {"User-Agent": "python-requests/2.32"}])
def test_who_does_not_say_who_he_is_gets_429(api, agent):
    assert api.get(f"{CHART}/IBM?period1=1767225600&period2=1769904000", headers=agent).status_code == 429


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("/NOPE?period1=1&period2=2", 404, "may be delisted"),
        ("/IBM?period1=2&period2=1", 400, "start date cannot be after end date"),
        ("/IBM", 400, "Invalid input"),
        ("/IBM?period1=1&period2=2&interval=1m", 422, "interval=1d"),
    ],
)
def test_refusals_have_the_form_of_the_real_ones(api, query, status, words):
    answer = api.get(CHART + query, headers=AGENT)
    assert answer.status_code == status
    assert answer.json["chart"]["result"] is None
    assert words in answer.json["chart"]["error"]["description"]


def test_todays_session_is_there_once_it_is_over(api, monkeypatch):
    class Clock(dt.datetime):
        @classmethod
        def now(cls, zone):
            return cls.moment.astimezone(zone)

    monkeypatch.setattr(sample_market.dt, "datetime", Clock)
    found = {}
    for hour in (15, 17):
        Clock.moment = Clock(2026, 7, 8, hour, tzinfo=sample_market.NEW_YORK)
        answer = api.get(f"{CHART}/IBM?period1=1783483200&period2=1783569600", headers=AGENT)
        found[hour] = len(answer.json["chart"]["result"][0].get("timestamp", ()))
    assert found == {15: 0, 17: 1}
