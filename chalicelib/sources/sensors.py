"""Readings of the simulated sensors (see `simulation`), which arrive in the inbox every five minutes."""

from __future__ import annotations

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
    format = formats.NDJSON

    def partitions(self, window: Window, given: str | None, settings: Settings) -> list[dict]:
        """One per object; without an input all that lie in the source's inbox."""
        return super().partitions(window, given or f"s3://{settings.bucket}/{keys.inbox(self.name)}", settings)
