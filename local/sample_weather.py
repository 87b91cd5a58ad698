"""Open-Meteo's archive, in the format of https://open-meteo.com/en/docs/historical-weather-api.

Seattle from 2012 to 2015 is what was observed there (NOAA, in the package `vega_datasets`).
Everything else is made up after the place's climate: the same place and day always give the same
values. Days that the archive would not have yet are null.
"""

from __future__ import annotations

import csv
import datetime as dt
import functools
import hashlib
import io
import json
import math
import zoneinfo
from dataclasses import dataclass
from statistics import NormalDist

from werkzeug.wrappers import Request, Response

FIRST_DAY = dt.date(1940, 1, 1)
LAG_DAYS = 5  # a day's values appear so much later
UNITS = {
    "temperature_2m_max": "°C",
    "temperature_2m_min": "°C",
    "precipitation_sum": "mm",
    "wind_speed_10m_max": "km/h",
    "weather_code": "wmo code",
}
_GRID = 4  # cells per degree, as in ERA5


@dataclass(frozen=True)
class Climate:
    """The averages that made-up days vary around: °C, shares of wet days, mm per wet day, km/h."""

    mean: float
    swing: float  # of the daily mean, from the year's average to its warmest day
    spread: float  # between a day's minimum and maximum
    warmest: int  # day of the year
    wet_winter: float
    wet_summer: float
    rain: float
    wind: float
    elevation: float = 10.0


# rounded from the climate tables of these cities' weather services
CLIMATES = {
    (47.5, -122.25): Climate(11.5, 7.5, 8.0, 210, 0.60, 0.18, 5.5, 15, 56),  # Seattle
    (37.75, -122.5): Climate(14.5, 3.2, 7.0, 255, 0.34, 0.02, 7.0, 21, 28),  # San Francisco
    (40.75, -74.0): Climate(13.0, 12.3, 8.0, 203, 0.33, 0.32, 9.5, 19, 10),  # New York
    (38.75, -9.25): Climate(17.2, 6.0, 8.5, 222, 0.40, 0.05, 7.5, 20, 77),  # Lisbon
    (60.0, 10.75): Climate(6.3, 11.3, 8.0, 201, 0.36, 0.38, 5.5, 13, 23),  # Oslo
    (-33.75, 151.25): Climate(18.2, 5.2, 8.5, 22, 0.30, 0.37, 9.0, 20, 58),  # Sydney
}
_SEATTLE = (47.5, -122.25)


class Refused(Exception):
    """What the API answers with status 400; the message is its `reason`."""


def respond(request: Request, path: str) -> Response:
    """`/v1/archive` for one place, or for several as an array."""
    if path != "/v1/archive":
        return _json({"error": True, "reason": "Not Found"}, 404)
    try:
        answers = _answers(request.args)
    except Refused as refused:
        return _json({"error": True, "reason": str(refused)}, 400)
    return _json(answers[0] if len(answers) == 1 else answers)


def day(cell: tuple[float, float], date: dt.date) -> dict[str, float | int]:
    """The five variables of a day in a grid cell (latitude, longitude)."""
    if cell == _SEATTLE and date in _observed():
        return _observed()[date]
    return _made_up(cell, date)


def snap(latitude: float, longitude: float) -> tuple[float, float]:
    """The grid cell's coordinates, which the API gives back instead of those it was asked for."""
    return round(latitude * _GRID) / _GRID, round(longitude * _GRID) / _GRID


# --- the answer ------------------------------------------------------------------------------


def _answers(args) -> list[dict]:
    latitudes = _numbers(args, "latitude", 90)
    longitudes = _numbers(args, "longitude", 180)
    if len(latitudes) != len(longitudes):
        raise Refused("Parameter 'latitude' and 'longitude' must have the same number of elements")
    start, end = _date(args, "start_date"), _date(args, "end_date")
    if end < start:
        raise Refused("End-date must be larger or equals than start-date")
    variables = [name for part in args.getlist("daily") for name in part.split(",") if name]
    for name in variables:
        if name not in UNITS:
            raise Refused(
                f"Data corrupted at path ''. Cannot initialize ForecastVariableDaily from invalid String value {name}."
            )
    zone = args.get("timezone", "GMT")
    try:
        local = dt.datetime.combine(start, dt.time(12), zoneinfo.ZoneInfo(zone))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise Refused("Invalid timezone") from None
    dates = [start + dt.timedelta(days=n) for n in range((end - start).days + 1)]
    answers = []
    for number, (latitude, longitude) in enumerate(zip(latitudes, longitudes, strict=True)):
        cell = snap(latitude, longitude)
        answer = {
            "latitude": cell[0],
            "longitude": cell[1],
            "generationtime_ms": round(0.05 + len(dates) * len(variables) / 5000, 4),
            "utc_offset_seconds": int(local.utcoffset().total_seconds()),
            "timezone": zone,
            "timezone_abbreviation": local.tzname(),
            "elevation": _climate(cell).elevation,
        }
        if number:
            answer["location_id"] = number
        if variables:
            known = [day(cell, date) if date <= _today() - dt.timedelta(days=LAG_DAYS) else {} for date in dates]
            answer["daily_units"] = {"time": "iso8601", **{name: UNITS[name] for name in variables}}
            answer["daily"] = {
                "time": [date.isoformat() for date in dates],
                **{name: [values.get(name) for values in known] for name in variables},
            }
        answers.append(answer)
    return answers


def _numbers(args, name: str, bound: int) -> list[float]:
    try:
        numbers = [float(part) for part in args[name].split(",")]
    except KeyError:
        raise Refused(f"Value of type 'Array<Float>' required for key '{name}'.") from None
    except ValueError:
        raise Refused(f"Parameter '{name}' is not a number. Given: {args[name]}.") from None
    for number in numbers:
        if not -bound <= number <= bound:
            raise Refused(f"{name.title()} must be in range of -{bound} to {bound}°. Given: {number}.")
    return numbers


def _date(args, name: str) -> dt.date:
    try:
        date = dt.date.fromisoformat(args.get(name, ""))
    except ValueError:
        raise Refused("Invalid date format. Make sure to use 'YYYY-MM-DD'") from None
    last = _today() + dt.timedelta(days=1)  # it may be tomorrow already where the station is
    if not FIRST_DAY <= date <= last:
        raise Refused(f"Parameter '{name}' is out of allowed range from {FIRST_DAY} to {last}")
    return date


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def _json(document, status: int = 200) -> Response:
    return Response(json.dumps(document, ensure_ascii=False), status, content_type="application/json; charset=utf-8")


# --- observed days ---------------------------------------------------------------------------


@functools.cache
def _observed() -> dict[dt.date, dict]:
    from vega_datasets import local_data  # imports pandas, so only when somebody asks for weather

    rows = csv.DictReader(io.StringIO(local_data.seattle_weather.raw().decode()))
    return {dt.date.fromisoformat(row["date"].replace("/", "-")): _observation(row) for row in rows}


def _observation(row: dict) -> dict:
    rain = float(row["precipitation"])
    codes = {"sun": 0, "fog": 45, "drizzle": 51, "rain": _graded(rain, 61), "snow": _graded(rain, 71)}
    return {
        "temperature_2m_max": float(row["temp_max"]),
        "temperature_2m_min": float(row["temp_min"]),
        "precipitation_sum": rain,
        "wind_speed_10m_max": round(float(row["wind"]) * 3.6, 1),  # observed in m/s
        "weather_code": codes[row["weather"]],
    }


def _graded(rain: float, slight: int) -> int:
    """The WMO code for slight, moderate or heavy, which are two apart."""
    return slight + 2 * ((rain >= 5) + (rain >= 20))


# --- made-up days ----------------------------------------------------------------------------


def _made_up(cell: tuple[float, float], date: dt.date) -> dict:
    climate = _climate(cell)
    season = math.cos(2 * math.pi * (date.timetuple().tm_yday - climate.warmest) / 365.25)  # 1 on the warmest day
    # weather lasts: today's anomaly is mostly yesterday's, with weights whose squares sum to one
    weights = (0.62, 0.50, 0.40, 0.33, 0.31)
    anomaly = sum(w * _normal(cell, date - dt.timedelta(days=n), "warm") for n, w in enumerate(weights))
    mean = climate.mean + climate.swing * season + 2.6 * anomaly
    chance = (climate.wet_winter + climate.wet_summer) / 2 - (climate.wet_winter - climate.wet_summer) / 2 * season
    wet = _uniform(cell, date, "wet") < chance
    spread = climate.spread * (0.65 if wet else 1.1) * (0.8 + 0.4 * _uniform(cell, date, "spread"))
    rain = round(0.1 - climate.rain * math.log(1 - _uniform(cell, date, "rain")), 1) if wet else 0.0
    high, low = round(mean + spread / 2, 1), round(mean - spread / 2, 1)
    if wet:
        code = _graded(rain, 71) if mean < 0.5 else 51 if rain < 1 else _graded(rain, 61)
    else:
        code = int(4 * _uniform(cell, date, "cloud"))  # 0 clear … 3 overcast
    return {
        "temperature_2m_max": high,
        "temperature_2m_min": low,
        "precipitation_sum": rain,
        "wind_speed_10m_max": round(climate.wind * math.exp(0.35 * _normal(cell, date, "wind")), 1),
        "weather_code": code,
    }


def _climate(cell: tuple[float, float]) -> Climate:
    """The cell's own climate, or one after its latitude alone."""
    if cell in CLIMATES:
        return CLIMATES[cell]
    north = abs(cell[0])
    return Climate(
        mean=28 - 0.0085 * north**2,
        swing=0.5 + 0.2 * north,
        spread=8.5,
        warmest=205 if cell[0] >= 0 else 22,
        wet_winter=0.35,
        wet_summer=0.3,
        rain=6.0,
        wind=17,
    )


def _uniform(cell: tuple[float, float], date: dt.date, what: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    seed = f"{cell[0]} {cell[1]} {date.toordinal()} {what}".encode()
    return int.from_bytes(hashlib.blake2b(seed, digest_size=6).digest()) / 2**48


def _normal(cell: tuple[float, float], date: dt.date, what: str) -> float:
    return NormalDist().inv_cdf(min(max(_uniform(cell, date, what), 1e-9), 1 - 1e-9))
