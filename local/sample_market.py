"""A chart endpoint in Yahoo's format: daily prices of an index and of shares since 2000.

^VIX in the summer of 2009 is what was traded, and so are the closes at the end of each month from
2000 to March 2010 of the shares (package `vega_datasets`). Everything between and after is made
up, always alike: a walk that ends where the month did. Trading days are those of the New York exchange.
"""

from __future__ import annotations

import calendar
import csv
import datetime as dt
import functools
import io
import json
import math
import random
import struct
import zoneinfo
from dataclasses import dataclass
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

PATH = "/v8/finance/chart/"
NEW_YORK = zoneinfo.ZoneInfo("America/New_York")
OPENING, CLOSE = dt.time(9, 30), dt.time(16)
FIRST_MONTH = (2000, 1)
# sessions of which the endpoint has nothing but nulls
NULLS_PER_SESSION = 1 / 300


@dataclass(frozen=True)
class Walk:
    """What made-up prices are like: the first one, growth and spread per month (logarithms), shares a day."""

    first: float
    growth: float
    spread: float
    volume: float
    returns_to: float | None = None  # a level it stays around, instead of growing
    name: str = ""
    listed: dt.date = dt.date(2000, 1, 3)


SYMBOLS = {
    "^GSPC": Walk(1400, 0.005, 0.04, 3.5e9, name="S&P 500"),
    "^VIX": Walk(24, 0, 0.22, 0, returns_to=19.5, name="CBOE Volatility Index"),
    "AAPL": Walk(25.9, 0.01, 0.09, 1.2e8, name="Apple Inc."),
    "AMZN": Walk(64.6, 0.01, 0.1, 7e7, name="Amazon.com, Inc."),
    "GOOG": Walk(102.4, 0.01, 0.07, 3e7, name="Alphabet Inc.", listed=dt.date(2004, 8, 19)),
    "IBM": Walk(100.5, 0.003, 0.06, 6e6, name="International Business Machines"),
    "MSFT": Walk(39.8, 0.008, 0.07, 5e7, name="Microsoft Corporation"),
}
# closures that follow no rule: attacks, storms, presidents' funerals
_CLOSED = {
    *(dt.date(2001, 9, day) for day in (11, 12, 13, 14)),
    *(dt.date(2012, 10, day) for day in (29, 30)),
    dt.date(2004, 6, 11),
    dt.date(2007, 1, 2),
    dt.date(2018, 12, 5),
    dt.date(2025, 1, 9),
}


def respond(request: Request, path: str) -> Response:
    """`/v8/finance/chart/<symbol>`, by day."""
    agent = request.headers.get("User-Agent", "")
    if not agent or agent.startswith(("python", "Python", "curl")):
        return Response("Edge: Too Many Requests", 429, content_type="text/html; charset=utf-8")
    symbol = unquote(path.removeprefix(PATH))
    if not path.startswith(PATH) or symbol not in SYMBOLS:
        return _refused(404, "Not Found", "No data found, symbol may be delisted")
    start, end = (request.args.get(name, type=int) for name in ("period1", "period2"))
    if request.args.get("interval", "1d") != "1d":
        return _refused(422, "Unprocessable Entity", "only interval=1d is served here")
    if start is None or end is None or start >= end:
        message = f"Invalid input - start date cannot be after end date. startDate = {start}, endDate = {end}"
        return _refused(400, "Bad Request", message)
    sessions = [(moment, day) for day in _days(start, end) if start <= (moment := _opening(day)) < end]
    return _json({"chart": {"result": [_result(symbol, sessions)], "error": None}})


def session(symbol: str, day: dt.date) -> dict[str, float | int | None]:
    """open, high, low, close and volume of a trading day; all None where the endpoint has none."""
    return _month(symbol, day.year, day.month)[day]


def is_trading_day(day: dt.date) -> bool:
    return day.weekday() < 5 and day not in _CLOSED and day not in _holidays(day.year)


# --- the answer ------------------------------------------------------------------------------


def _days(start: int, end: int) -> list[dt.date]:
    """The trading days that are over and touch the seconds from `start` to `end`."""
    now = dt.datetime.now(NEW_YORK)
    first = dt.datetime.fromtimestamp(max(start, 946684800), NEW_YORK).date()
    last = min(dt.datetime.fromtimestamp(end, NEW_YORK).date(), now.date() - dt.timedelta(days=now.time() < CLOSE))
    days = (first + dt.timedelta(days=n) for n in range((last - first).days + 1))
    return [day for day in days if is_trading_day(day)]


def _opening(day: dt.date) -> int:
    return int(dt.datetime.combine(day, OPENING, NEW_YORK).timestamp())


def _result(symbol: str, sessions: list[tuple[int, dt.date]]) -> dict:
    sessions = [(moment, day) for moment, day in sessions if day >= SYMBOLS[symbol].listed]
    bars = [session(symbol, day) for _, day in sessions]
    last = dt.datetime.now(NEW_YORK)
    result = {
        "meta": {
            "currency": "USD",
            "symbol": symbol,
            "exchangeName": "SNP" if symbol.startswith("^") else "NMS",
            "instrumentType": "INDEX" if symbol.startswith("^") else "EQUITY",
            "gmtoffset": int(last.utcoffset().total_seconds()),
            "timezone": last.tzname(),
            "exchangeTimezoneName": "America/New_York",
            "regularMarketPrice": next((bar["close"] for bar in reversed(bars) if bar["close"]), None),
            "longName": SYMBOLS[symbol].name,
            "priceHint": 2,
            "dataGranularity": "1d",
        },
        "indicators": {"quote": [{}], "adjclose": [{}]},
    }
    if sessions:  # an empty period has no `timestamp`, and nothing in its quotes
        result["timestamp"] = [moment for moment, _ in sessions]
        names = ("open", "high", "low", "close", "volume")
        result["indicators"]["quote"] = [{name: [bar[name] for bar in bars] for name in names}]
        result["indicators"]["adjclose"] = [{"adjclose": [bar["close"] for bar in bars]}]
    return result


def _refused(status: int, code: str, description: str) -> Response:
    return _json({"chart": {"result": None, "error": {"code": code, "description": description}}}, status)


def _json(document, status: int = 200) -> Response:
    return Response(json.dumps(document), status, content_type="application/json;charset=utf-8")


# --- prices ----------------------------------------------------------------------------------


@functools.cache
def _month(symbol: str, year: int, month: int) -> dict[dt.date, dict]:
    """The sessions of a month: a walk from the last month's close to this one's, real days as they were."""
    walk = SYMBOLS[symbol]
    rng = random.Random(f"{symbol} {year}-{month}")
    days = [day for day in _calendar_days(year, month) if is_trading_day(day)]
    before, end = _month_end(symbol, *_previous(year, month)), _month_end(symbol, year, month)
    spread = walk.spread / math.sqrt(21)
    steps = [0.0]
    for _ in days:
        steps.append(steps[-1] + rng.gauss(0, spread))
    found, yesterday = {}, before
    for number, day in enumerate(days, 1):
        share = number / len(days)
        bridge = steps[number] - share * steps[-1]
        close = before * math.exp(share * math.log(end / before) + bridge)
        opened = yesterday * math.exp(0.3 * rng.gauss(0, spread))
        high = max(opened, close) * math.exp(0.4 * abs(rng.gauss(0, spread)))
        low = min(opened, close) / math.exp(0.4 * abs(rng.gauss(0, spread)))
        volume = int(walk.volume * math.exp(0.25 * rng.gauss(0, 1)) / 100) * 100
        bar = dict(zip(("open", "high", "low", "close"), map(_single, (opened, high, low, close)), strict=True))
        missing = rng.random() < NULLS_PER_SESSION and day != days[-1]
        found[day] = dict.fromkeys((*bar, "volume")) if missing else {**bar, "volume": volume}
        yesterday = close
    if symbol == "^VIX":
        found |= {day: bar for day, bar in _traded().items() if (day.year, day.month) == (year, month)}
    return found


@functools.cache
def _month_end(symbol: str, year: int, month: int) -> float:
    """The last close of a month: what it was, where that is known."""
    walk = SYMBOLS[symbol]
    if (real := _closes().get((symbol, year, month))) is not None:
        return real
    if (year, month) < FIRST_MONTH or dt.date(year, month, 28) < walk.listed:
        return walk.first
    chance = random.Random(f"{symbol} {year}-{month} end").gauss(0, walk.spread)
    if walk.returns_to:
        return walk.returns_to * math.exp(chance)
    return _month_end(symbol, *_previous(year, month)) * math.exp(walk.growth + chance)


def _single(price: float) -> float:
    """Cents in single precision, which is how the endpoint stores them."""
    return struct.unpack("f", struct.pack("f", round(price, 2)))[0]


@functools.cache
def _closes() -> dict[tuple[str, int, int], float]:
    from vega_datasets import local_data  # imports pandas, so only when somebody asks for prices

    found = {}
    for row in csv.DictReader(io.StringIO(local_data.stocks.raw().decode())):
        day = dt.datetime.strptime(row["date"], "%b %d %Y")
        found[row["symbol"], day.year, day.month] = float(row["price"])
    return found


@functools.cache
def _traded() -> dict[dt.date, dict]:
    from vega_datasets import local_data

    return {
        dt.date.fromisoformat(row["date"]): {
            **{name: _single(row[name]) for name in ("open", "high", "low", "close")},
            "volume": 0,  # an index is not traded
        }
        for row in json.loads(local_data.ohlc.raw())
    }


# --- the exchange's calendar -----------------------------------------------------------------


def _previous(year: int, month: int) -> tuple[int, int]:
    return (year, month - 1) if month > 1 else (year - 1, 12)


def _calendar_days(year: int, month: int) -> list[dt.date]:
    return [dt.date(year, month, number + 1) for number in range(calendar.monthrange(year, month)[1])]


@functools.cache
def _holidays(year: int) -> frozenset[dt.date]:
    """The New York Stock Exchange's (rule 7.2): a Saturday's holiday is kept on Friday, but for New Year's, a Sunday's
    on Monday."""
    mondays = {(1, 3), (2, 3), (9, 1)}  # Martin Luther King, Washington, Labor Day: (month, which Monday)
    found = {_nth(year, month, calendar.MONDAY, which) for month, which in mondays}
    found |= {_nth(year, 5, calendar.MONDAY, -1), _nth(year, 11, calendar.THURSDAY, 4)}
    found.add(_easter(year) - dt.timedelta(days=2))
    fixed = [dt.date(year, 1, 1), dt.date(year, 7, 4), dt.date(year, 12, 25)]
    fixed += [dt.date(year, 6, 19)] if year >= 2022 else []
    for day in fixed:
        if day.weekday() == calendar.SATURDAY and day.month != 1:
            day -= dt.timedelta(days=1)
        found.add(day + dt.timedelta(days=day.weekday() == calendar.SUNDAY))
    return frozenset(found)


def _nth(year: int, month: int, weekday: int, which: int) -> dt.date:
    days = [day for day in _calendar_days(year, month) if day.weekday() == weekday]
    return days[which - 1 if which > 0 else which]


def _easter(year: int) -> dt.date:
    """Easter Sunday, by the anonymous Gregorian algorithm (Meeus, Astronomical Algorithms, chapter 8)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    h = (19 * a + b - d - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    i, k = divmod(c, 4)
    weekday = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * weekday) // 451
    month, day = divmod(h + weekday - 7 * m + 114, 31)
    return dt.date(year, month, day + 1)
