"""Daily prices of an index and of shares, from a chart endpoint as Yahoo's (unofficial, so it has no document).

`YahooChart` is all that knows the endpoint; a class with the same three members takes its place as
`Market.provider`. The newest days are asked for again: prices are corrected, and splits and
dividends change the adjusted ones.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from urllib.parse import quote

from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.errors import ContractError, SourceError
from chalicelib.settings import Settings
from chalicelib.sources.base import Page, Source

if TYPE_CHECKING:
    from chalicelib.http import Client


@dataclass(frozen=True)
class Symbol:
    """A share or an index under its provider's name. `listed`: it has no prices before."""

    name: str
    listed: dt.date = dt.date(1990, 1, 2)


SYMBOLS = (
    Symbol("^GSPC"),  # S&P 500
    Symbol("^VIX"),
    Symbol("AAPL"),
    Symbol("AMZN", dt.date(1997, 5, 15)),
    Symbol("GOOG", dt.date(2004, 8, 19)),
    Symbol("IBM"),
    Symbol("MSFT"),
)
_SYMBOL = {symbol.name: symbol for symbol in SYMBOLS}
NEW_YORK = zoneinfo.ZoneInfo("America/New_York")

# the longest that the exchange was closed since 1933 was four weekdays, in September 2001
_WEEKDAYS_WITHOUT_PRICES = 4


class Provider(Protocol):
    """Where prices come from: how to ask for days of a symbol, and what the answer says."""

    host: str

    def request(self, symbol: str, start: dt.date, end: dt.date) -> tuple[str, dict]:
        """(path, parameters) of the GET for the days from `start` to `end`, both included."""

    def prices(self, document: Any, symbol: str) -> list[dict]:
        """A record per day, its fields those of `Market.columns`; raises SourceError for another form."""


class YahooChart:
    """`/v8/finance/chart/<symbol>`: arrays of equal length, one place per session; see `_series` for its form."""

    host = "query1.finance.yahoo.com"
    _quoted = ("open", "high", "low", "close", "volume")

    def request(self, symbol: str, start: dt.date, end: dt.date) -> tuple[str, dict]:
        # a session is told by its opening, so midnights of the exchange hold whole sessions between them
        first, after = (dt.datetime.combine(day, dt.time(), NEW_YORK) for day in (start, end + dt.timedelta(days=1)))
        period = {"period1": int(first.timestamp()), "period2": int(after.timestamp())}
        return f"/v8/finance/chart/{quote(symbol, safe='')}", {**period, "interval": "1d", "events": "history"}

    def prices(self, document: Any, symbol: str) -> list[dict]:
        result = self._result(document, symbol)
        meta = result["meta"]
        zone = _zone(meta.get("exchangeTimezoneName"), symbol)
        moments = result.get("timestamp", [])  # an empty period has none
        columns = self._series(result.get("indicators"), symbol) if moments else {}
        records = []
        for number, moment in enumerate(moments):
            record = {"symbol": symbol, "date": _day(moment, zone, symbol), "currency": meta.get("currency")}
            for name, values in columns.items():
                if len(values) != len(moments):
                    raise SourceError(f"{len(values)} values of {name} for {len(moments)} sessions", symbol=symbol)
                record[name] = values[number] if name == "volume" else _price(values[number])
            records.append(record)
        return records

    def _result(self, document: Any, symbol: str) -> dict:
        chart = document.get("chart") if isinstance(document, dict) else None
        if not isinstance(chart, dict):
            raise SourceError("the answer has no object `chart`", symbol=symbol)
        if chart.get("error"):
            raise SourceError(f"the provider refused: {str(chart['error'])[:200]}", symbol=symbol)
        results = chart.get("result")
        if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], dict):
            raise SourceError("`chart.result` is not one object in an array", symbol=symbol)
        meta = results[0].get("meta")
        if not isinstance(meta, dict) or not isinstance(results[0].get("timestamp", []), list):
            raise SourceError("`chart.result` has no `meta`, or a `timestamp` that is no array", symbol=symbol)
        if meta.get("symbol") != symbol:
            raise SourceError(f"the answer is about {str(meta.get('symbol'))[:40]!r}", symbol=symbol)
        return results[0]

    def _series(self, indicators: Any, symbol: str) -> dict[str, list]:
        """`{"quote": [{"open": [], …}], "adjclose": [{"adjclose": []}]}` as one array per column."""
        try:
            [quoted], [adjusted] = indicators["quote"], indicators["adjclose"]
            series = {**{name: quoted[name] for name in self._quoted}, "adjusted_close": adjusted["adjclose"]}
        except (TypeError, KeyError, ValueError) as error:
            raise SourceError(
                f"`indicators` is not of the known form: {type(error).__name__} {error}", symbol=symbol
            ) from None
        if wrong := [name for name, values in series.items() if not isinstance(values, list)]:
            raise SourceError(f"`indicators` has no array of {', '.join(wrong)}", symbol=symbol)
        return series


class Market(Source):
    name = "market"
    key = ("symbol", "date")
    columns = (
        Column("symbol", "text", nullable=False),
        Column("date", "date", nullable=False),  # of the exchange
        Column("open", "numeric"),
        Column("high", "numeric"),
        Column("low", "numeric"),
        Column("close", "numeric"),
        Column("adjusted_close", "numeric"),  # for splits and dividends up to the day it was fetched
        Column("volume", "bigint"),
        Column("currency", "text"),
    )
    day = "date"
    provider: Provider = YahooChart()
    hosts = (YahooChart.host,)
    requests_per_second: ClassVar = {YahooChart.host: 2}  # it publishes no limit, and answers 429 to the hasty
    # after the close at 16:00, and past midnight UTC: a run asks for the days up to yesterday's, UTC's yesterday
    schedule = "cron(30 20 ? * MON-FRI *)"
    timezone = "America/New_York"
    first_day = dt.date(2000, 1, 3)
    overlap_days = 7
    window_days = 3660  # ten years: a symbol's 2,500 rows come in one answer

    def partitions(self, window: Window, given: str | None, settings: Settings) -> list[dict]:
        """One per symbol; `given` is symbols with commas between, also others than those listed here."""
        if not window.start or not window.end:
            raise ContractError("market is fetched by the day and got no window", source=self.name)
        wanted = [part.strip().upper() for part in (given or "").split(",") if part.strip()]
        symbols = [_SYMBOL.get(name, Symbol(name)) for name in dict.fromkeys(wanted)] or SYMBOLS
        return [
            {"symbol": symbol.name, "start": max(window.start, symbol.listed.isoformat()), "end": window.end}
            for symbol in symbols
            if symbol.listed.isoformat() <= window.end
        ]

    def pages(self, request: dict, client: Client, settings: Settings) -> Iterator[Page]:
        start, end = (dt.date.fromisoformat(request[name]) for name in ("start", "end"))
        path, params = self.provider.request(request["symbol"], start, end)
        yield Page(client.get(client.url_of(self.provider.host, path), params=params).stream(), "response")

    def records(self, document: Any, request: dict) -> Iterable[dict]:
        """A record per session, none on weekends and holidays.

        Raises SourceError where more weekdays have no prices than the exchange was ever closed.
        """
        records = self.provider.prices(document, request["symbol"])
        start, end = (dt.date.fromisoformat(request[name]) for name in ("start", "end"))
        weekdays = sum((start + dt.timedelta(days=n)).weekday() < 5 for n in range((end - start).days + 1))
        if not records and weekdays > _WEEKDAYS_WITHOUT_PRICES:
            raise SourceError(
                f"there is no price on {weekdays} weekdays from {start} to {end}",
                symbol=request["symbol"],
                next_step="check the symbol; where it was listed later, say so in SYMBOLS of "
                "chalicelib/sources/market.py",
            )
        return records


def _price(value: Any) -> Any:
    """A price as it was quoted: the endpoint's are single-precision, 223.02 comes as 223.02000427246094.

    Seven digits are what such a float holds. What is no number is left for its column to refuse.
    """
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _zone(name: Any, symbol: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (TypeError, ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise SourceError(f"`meta.exchangeTimezoneName` is {str(name)[:40]!r}, no time zone", symbol=symbol) from None


def _day(moment: Any, zone: zoneinfo.ZoneInfo, symbol: str) -> str:
    """The exchange's date of a session's opening, given in seconds since 1970."""
    try:
        return dt.datetime.fromtimestamp(moment, zone).date().isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        raise SourceError(f"`timestamp` holds {str(moment)[:40]!r}, not seconds since 1970", symbol=symbol) from None
