"""Daily weather of a few cities, from Open-Meteo's archive (https://open-meteo.com/en/docs/historical-weather-api).

One request per station covers the whole window. The newest days can be null until the archive
has them; `overlap_days` asks for them again, and publishing then updates those rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from chalicelib.anomalies import Anomaly
from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.errors import ContractError, NotFound, SourceError
from chalicelib.settings import Settings
from chalicelib.sources.base import Page, Source

if TYPE_CHECKING:
    import pandas as pd

    from chalicelib.http import Client

HOST = "archive-api.open-meteo.com"
PATH = "/v1/archive"


@dataclass(frozen=True)
class Station:
    """A place and the time zone whose midnights bound its days."""

    name: str
    latitude: float
    longitude: float
    timezone: str


STATIONS = (
    Station("Seattle", 47.6062, -122.3321, "America/Los_Angeles"),
    Station("San Francisco", 37.7749, -122.4194, "America/Los_Angeles"),
    Station("New York", 40.7128, -74.0060, "America/New_York"),
    Station("Lisbon", 38.7223, -9.1393, "Europe/Lisbon"),
    Station("Oslo", 59.9139, 10.7522, "Europe/Oslo"),
    Station("Sydney", -33.8688, 151.2093, "Australia/Sydney"),
)
_STATION = {s.name.lower(): s for s in STATIONS}


@dataclass(frozen=True)
class Variable:
    """A daily variable of the API, the unit we rely on, and the column it becomes."""

    name: str
    unit: str
    column: Column


VARIABLES = (
    Variable("temperature_2m_max", "°C", Column("temperature_max", "double precision")),
    Variable("temperature_2m_min", "°C", Column("temperature_min", "double precision")),
    Variable("precipitation_sum", "mm", Column("precipitation", "double precision")),
    Variable("wind_speed_10m_max", "km/h", Column("wind_speed_max", "double precision")),
    # WMO code table 4677, as Open-Meteo reduces it: 0 clear … 99 thunderstorm with hail
    Variable("weather_code", "wmo code", Column("weather_code", "integer")),
)


class Weather(Source):
    name = "weather"
    key = ("station", "day")
    columns = (
        Column("station", "text", nullable=False),
        Column("day", "date", nullable=False),
        *(v.column for v in VARIABLES),
    )
    day = "day"
    repeatable = True
    hosts = (HOST,)
    requests_per_second: ClassVar = {HOST: 5}  # 600 calls a minute are free, and a year of days counts as several
    schedule = "cron(0 8 * * ? *)"
    timezone = "America/New_York"
    first_day = dt.date(2012, 1, 1)
    overlap_days = 5  # the archive follows the day itself by up to five days
    window_days = 366
    # by the 15 days before and after the same day of earlier years; of real days of Seattle, see docs/quality.md
    anomalies = tuple(
        Anomaly(
            column, by=("station",), time="day", season="yearly", history_days=3653, threshold=5.0, direction=direction
        )
        for column, direction in (("temperature_max", "both"), ("temperature_min", "both"), ("wind_speed_max", "above"))
    )

    def partitions(self, window: Window, given: str | None, settings: Settings) -> list[dict]:
        """One per station; `given` is a comma-separated choice of station names, in any case.

        Raises NotFound for a station that is not in the table.
        """
        if not window.start or not window.end:
            raise ContractError("weather is fetched by the day and got no window", source=self.name)
        return [{"station": s.name, "start": window.start, "end": window.end} for s in _chosen(given or "")]

    def pages(self, request: dict, client: Client, settings: Settings) -> Iterator[Page]:
        station = _STATION[request["station"].lower()]
        answer = client.get(
            client.url_of(HOST, PATH),
            params={
                "latitude": station.latitude,
                "longitude": station.longitude,
                "start_date": request["start"],
                "end_date": request["end"],
                "daily": ",".join(v.name for v in VARIABLES),
                "timezone": station.timezone,
            },
        )
        yield Page(answer.stream(), "response")

    def asked_wait(self, reason: str) -> float | None:
        """Open-Meteo says in words when its limit by the minute, the hour or the day is lifted."""
        now = dt.datetime.now(dt.UTC)
        if "one minute" in reason:
            return 60.0
        if "next hour" in reason:
            return 3600.0 - 60 * now.minute - now.second
        if "tomorrow" in reason:
            return 86400.0 - 3600 * now.hour - 60 * now.minute - now.second
        return None

    def records(self, document: Any, request: dict) -> Iterable[dict]:
        """One record per day: `station`, `time` and the API's variables.

        Raises SourceError where the document is not the archive's answer for one place, in the
        expected units, with arrays of one length.
        """
        station = request["station"]
        daily = _daily(document, station)
        names = ("time", *(v.name for v in VARIABLES))
        return [
            {"station": station, **dict(zip(names, values, strict=True))}
            for values in zip(*(daily[n] for n in names), strict=True)
        ]

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.rename(columns={"time": "day", **{v.name: v.column.name for v in VARIABLES}})


def _chosen(given: str) -> list[Station]:
    """The stations named, in that order; all of them where none is."""
    names = dict.fromkeys(part.strip().lower() for part in given.split(",") if part.strip())
    if unknown := [n for n in names if n not in _STATION]:
        raise NotFound(
            f"no weather station is called {', '.join(map(repr, unknown))}",
            next_step="use any of " + ", ".join(s.name for s in STATIONS),
        )
    return [_STATION[n] for n in names] or list(STATIONS)


def _daily(document: Any, station: str) -> dict[str, list]:
    """The arrays of the answer, by name, once their form is known to be right."""
    if not isinstance(document, dict):
        raise SourceError(f"Open-Meteo answered {_kind(document)}, expected one object", station=station)
    if document.get("error"):
        raise SourceError(f"Open-Meteo refused: {document.get('reason', 'no reason given')}", station=station)
    daily, units = document.get("daily"), document.get("daily_units")
    for field, value in (("daily", daily), ("daily_units", units)):
        if not isinstance(value, dict):
            raise SourceError(
                f"Open-Meteo's answer has {_kind(value)} as `{field}`, expected an object", station=station
            )
    for name, unit in (("time", "iso8601"), *((v.name, v.unit) for v in VARIABLES)):
        if not isinstance(daily.get(name), list):
            raise SourceError(
                f"Open-Meteo's answer has {_kind(daily.get(name))} as `daily.{name}`, expected an array",
                station=station,
            )
        if units.get(name) != unit:
            raise SourceError(f"Open-Meteo gives {name} in {units.get(name)!r}, expected {unit!r}", station=station)
        if len(daily[name]) != len(daily["time"]):
            raise SourceError(
                f"Open-Meteo's answer has {len(daily[name])} values of {name} for {len(daily['time'])} days",
                station=station,
            )
    return daily


def _kind(value: Any) -> str:
    """The JSON name of a value's type, with its article."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "nothing"}
    return names.get(type(value), "a number")
