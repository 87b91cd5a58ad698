"""Readings of the simulated sensors (see `simulation`), which arrive in the inbox every five minutes."""

from __future__ import annotations

from chalicelib.anomalies import Anomaly
from chalicelib.columns import Column
from chalicelib.contracts import Window
from chalicelib.lake import formats, keys
from chalicelib.settings import Settings
from chalicelib.sources.files import FileSource


class Sensors(FileSource):
    name = "sensors"
    key = ("sensor", "measured_at")
    columns = (
        Column("sensor", "text", nullable=False),
        Column("measured_at", "timestamptz", nullable=False),
        Column("temperature", "double precision"),  # °C
        Column("humidity", "double precision"),  # %, relative
        Column("pressure", "double precision"),  # hPa
        Column("battery", "double precision"),  # % left
    )
    day = "measured_at"
    format = formats.NDJSON
    schedule = "rate(5 minutes)"
    simulator = "simulate_sensors"  # the object that it writes then starts the run
    # what each finds of the faults that the simulator plants is measured, see docs/quality.md
    anomalies = (
        # an hour of a day gives eight values at most: not judged by less than two weeks of weather
        Anomaly("temperature", by=("sensor",), time="measured_at", season="hour", threshold=4.0, minimum=112),
        Anomaly("temperature", by=("sensor",), time="measured_at", of="change", history_days=3, threshold=8.0),
        Anomaly("humidity", by=("sensor",), time="measured_at", of="change", history_days=3, threshold=8.0, stuck=15),
        Anomaly("pressure", by=("sensor",), time="measured_at", of="change", history_days=3, threshold=8.0),
    )

    def partitions(self, window: Window, given: str | None, settings: Settings) -> list[dict]:
        """One per object; without an input all that lie in the source's inbox."""
        return super().partitions(window, given or f"s3://{settings.bucket}/{keys.inbox(self.name)}", settings)
