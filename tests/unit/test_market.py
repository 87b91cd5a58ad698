"""Market prices: Yahoo's chart format read to the letter, or refused by name; another provider takes its place."""

import copy
import datetime as dt
import json
import zoneinfo

import pytest
from loopback import serving

from chalicelib.contracts import Window
from chalicelib.errors import ContractError, SourceError
from chalicelib.http import Client
from chalicelib.settings import Settings
from chalicelib.sources.base import Page
from chalicelib.sources.market import SYMBOLS, Market
from local import sample_api

SUMMER = Window("2009-06-01", "2009-07-31")
VIX = {"symbol": "^VIX", "start": "2009-06-01", "end": "2009-07-31"}


@pytest.fixture(scope="module")
def source():
    return Market()


@pytest.fixture(scope="module")
def settings():
    with serving(sample_api.app) as url:
        yield Settings(sources_url=url)


@pytest.fixture(scope="module")
def fetch(source, settings):
    def fetched(symbol, start, end):
        request = {"symbol": symbol, "start": start, "end": end}
        (page,) = source.pages(request, Client(source.hosts, settings), settings)
        document = json.loads(page.body.read())
        return document, list(source.records(document, request))

    return fetched


@pytest.fixture(scope="module")
def document(fetch):
    return fetch(**VIX)[0]


def test_every_symbol_is_a_partition_from_the_day_it_was_listed(source, settings):
    partitions = source.partitions(Window("2004-01-01", "2004-12-31"), None, settings)
    assert [p["symbol"] for p in partitions] == [s.name for s in SYMBOLS]
    assert {p["symbol"]: p["start"] for p in partitions}["GOOG"] == "2004-08-19"
    earlier = source.partitions(Window("2003-01-01", "2003-12-31"), None, settings)
    assert "GOOG" not in [p["symbol"] for p in earlier]


def test_symbols_can_be_chosen_also_others_than_those_listed(source, settings):
    chosen = source.partitions(SUMMER, " msft, ^vix,NFLX,MSFT ", settings)
    assert [p["symbol"] for p in chosen] == ["MSFT", "^VIX", "NFLX"]


def test_prices_without_a_window_are_refused(source, settings):
    with pytest.raises(ContractError, match="no window"):
        source.partitions(Window(), None, settings)


def test_the_summer_of_2009_is_what_was_traded(fetch):
    from vega_datasets import data

    _, records = fetch(**VIX)
    assert len(records) == 44
    assert [(r["date"], r["open"], r["high"], r["low"], r["close"]) for r in records] == [
        (f"{row.date:%Y-%m-%d}", row.open, row.high, row.low, row.close) for row in data.ohlc().itertuples()
    ]
    assert {(r["symbol"], r["currency"], r["volume"]) for r in records} == {("^VIX", "USD", 0)}


def test_a_month_ends_at_its_real_close(fetch):
    from vega_datasets import data

    _, records = fetch("IBM", "2000-01-01", "2009-12-31")
    last = {r["date"][:7]: r["close"] for r in records}
    stocks = data.stocks().query("symbol == 'IBM' and date < '2010-01-01'")
    assert last == {f"{row.date:%Y-%m}": row.price for row in stocks.itertuples()}


def test_the_date_is_the_exchanges_and_days_without_trade_have_no_row(fetch):
    # 20:30 on the eve in New York is the session's day in UTC already; the window is of the exchange's days
    _, records = fetch("AAPL", "2026-06-29", "2026-07-07")
    assert [r["date"] for r in records] == [
        "2026-06-29", "2026-06-30", "2026-07-01", "2026-07-02", "2026-07-06", "2026-07-07"
    ]  # fmt: skip


def test_a_weekend_is_empty_and_that_is_no_error(fetch):
    document, records = fetch("AAPL", "2026-07-04", "2026-07-05")
    assert "timestamp" not in document["chart"]["result"][0]
    assert records == []


def test_weeks_without_a_price_are_an_error(source, fetch):
    document, _ = fetch("AAPL", "2026-07-04", "2026-07-05")
    with pytest.raises(SourceError, match=r"no price on 261 weekdays .*symbol=AAPL.*SYMBOLS"):
        source.records(document, {"symbol": "AAPL", "start": "2025-01-01", "end": "2025-12-31"})


def test_sessions_of_which_nothing_is_known_are_rows_of_nulls(fetch):
    _, records = fetch("^GSPC", "2010-01-01", "2019-12-31")
    empty = [r for r in records if r["close"] is None]
    assert 0 < len(empty) < 0.02 * len(records)
    assert {(r["open"], r["volume"], r["adjusted_close"], r["currency"]) for r in empty} == {(None, None, None, "USD")}


def test_prices_in_single_precision_become_what_was_quoted(source, document):
    told = document["chart"]["result"][0]["indicators"]["quote"][0]["close"][0]
    assert told == 30.040000915527344
    assert source.records(document, VIX)[0]["close"] == 30.04


def test_an_unknown_symbol_is_a_404_with_the_providers_reason(fetch):
    with pytest.raises(SourceError, match=r"answered 404: No data found, symbol may be delisted.*chart/NOPE"):
        fetch("NOPE", "2026-01-05", "2026-01-09")


def changed(document, change):
    document = copy.deepcopy(document)
    change(document["chart"]["result"][0])
    return document


WRONG = {
    "no quotes": (lambda r: r.pop("indicators"), "`indicators` is not of the known form"),
    "no adjusted prices": (lambda r: r["indicators"].update(adjclose=[]), "`indicators` is not of the known form"),
    "prices that are no array": (lambda r: r["indicators"]["quote"][0].update(low=None), "no array of low"),
    "too few prices": (lambda r: r["indicators"]["quote"][0]["high"].pop(), "43 values of high for 44 sessions"),
    "another symbol": (lambda r: r["meta"].update(symbol="^VVIX"), "about '^VVIX'"),
    "no time zone": (lambda r: r["meta"].pop("exchangeTimezoneName"), "exchangeTimezoneName` is 'None'"),
    "a time zone that is none": (lambda r: r["meta"].update(exchangeTimezoneName="NY"), "is 'NY', no time zone"),
    "a time that is none": (lambda r: r["timestamp"].__setitem__(0, "today"), "holds 'today', not seconds"),
    "times that are no array": (lambda r: r.update(timestamp=3), "no array"),
}


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG.keys())
def test_an_answer_of_another_form_says_what_is_wrong_with_it(source, document, change, words):
    with pytest.raises(SourceError) as raised:
        source.records(changed(document, change), VIX)
    assert words in str(raised.value)
    assert "symbol=^VIX" in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [[], None, {}, {"chart": {"result": [], "error": None}}, {"chart": {"result": None, "error": {"code": "x"}}}],
)
def test_an_answer_without_a_result_is_refused(source, answer):
    with pytest.raises(SourceError, match="symbol=\\^VIX"):
        source.records(answer, VIX)


def test_another_provider_takes_the_place_of_this_one(settings):
    class Closes:
        host = "prices.example.com"

        def request(self, symbol, start, end):
            return f"/daily/{symbol}", {"from": start.isoformat(), "to": end.isoformat()}

        def prices(self, document, symbol):
            return [{"symbol": symbol, "date": day, "close": close} for day, close in document.items()]

    class Elsewhere(Market):
        name = "elsewhere"
        provider = Closes()
        hosts = (Closes.host,)

    class Recorder(Client):
        def get(self, url, params=None, headers=None, json=True):
            self.asked = url, params
            return self

        def stream(self):
            return "the body"

    source = Elsewhere()
    request = source.partitions(Window("2026-01-05", "2026-01-06"), "IBM", settings)[0]
    client = Recorder(source.hosts, settings)
    assert list(source.pages(request, client, settings)) == [Page("the body", "response")]
    url = f"{settings.sources_url}/prices.example.com/daily/IBM"
    assert client.asked == (url, {"from": "2026-01-05", "to": "2026-01-06"})
    assert source.records({"2026-01-05": 1.5}, request) == [{"symbol": "IBM", "date": "2026-01-05", "close": 1.5}]


def test_a_run_after_the_close_asks_for_the_day_that_just_closed(source):
    """The schedule fires past midnight UTC, in summer and in winter: then that day is UTC's yesterday."""
    minute, hour, *_ = source.schedule.removeprefix("cron(").split()
    for day in (dt.date(2026, 1, 7), dt.date(2026, 7, 8)):
        fired = dt.datetime.combine(day, dt.time(int(hour), int(minute)), zoneinfo.ZoneInfo(source.timezone))
        assert fired.astimezone(dt.UTC).date() - dt.timedelta(days=1) == day
