"""SimulateSensors: what the sensors measured in the last five minutes becomes an object in their inbox."""

from __future__ import annotations

import datetime as dt

import orjson

from chalicelib import settings, simulation
from chalicelib.errors import ContractError
from chalicelib.lake import keys
from chalicelib.lake.store import Lake
from chalicelib.telemetry import logger

MINUTES = 5


def simulate_sensors(event: dict) -> dict:
    """`event` is {"scheduled": the time it is due, ISO 8601 with a zone}; raises ContractError for any other.

    The readings that arrived in the five minutes before, by the clock, are one NDJSON object. The
    same time again makes the same object, which is left as it is: nothing is notified twice.
    Returns {"key", "readings", "written": whether the object is new}.
    """
    end = _five_minutes(event)
    readings = simulation.readings(end - dt.timedelta(minutes=MINUTES), MINUTES)
    key = keys.readings(f"{end:%Y-%m-%d}", f"{end:%H%M}")
    body = b"".join(orjson.dumps(reading) + b"\n" for reading in readings)
    written = Lake(settings.current().bucket).put_new(key, body, "application/x-ndjson", {})
    logger.info("readings written" if written else "readings were there", key=key, readings=len(readings))
    return {"key": key, "readings": len(readings), "written": written}


def _five_minutes(event: dict) -> dt.datetime:
    """The end of the five minutes that an event is about, in UTC."""
    scheduled = event.get("scheduled") if isinstance(event, dict) else None
    try:
        moment = dt.datetime.fromisoformat(scheduled)
        if moment.tzinfo is None:
            raise ValueError
    except (TypeError, ValueError):
        raise ContractError(
            f"scheduled is {scheduled!r}", next_step='give {"scheduled": "2026-11-21T13:05:00Z"}, the time it is due'
        ) from None
    moment = moment.astimezone(dt.UTC)
    return moment.replace(minute=moment.minute // MINUTES * MINUTES, second=0, microsecond=0)
