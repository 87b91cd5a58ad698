"""CPU per row, stage by stage: generated orders through the stages' own functions, in one process.

    python -m benchmarks.stages [--rows 200000] [--files 4] [--times 3] [--profile Transform]

S3 is a dictionary here and no state machine runs, so what is left is what Python and Postgres do.
CPU time, not wall time: it hardly depends on what else the machine does. Each time is a first load
and then the same data again; printed are the medians, in microseconds per row.
"""

from __future__ import annotations

import cProfile
import datetime as dt
import io
import pstats
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import click
import psutil
from botocore.exceptions import ClientError

from benchmarks import orders
from chalicelib import settings
from chalicelib.contract_reading import read_contract
from chalicelib.contracts import (
    Chunk,
    FetchPartitionRequest,
    LoadRequest,
    PlanRequest,
    PublishRequest,
    QualityGateRequest,
    TransformRequest,
    ValidateRequest,
    WriteManifestRequest,
)
from chalicelib.lake import Lake, store
from chalicelib.settings import Settings
from chalicelib.stages.fetch_partition import fetch_partition
from chalicelib.stages.load import load
from chalicelib.stages.plan import plan
from chalicelib.stages.publish import publish
from chalicelib.stages.quality_gate import quality_gate
from chalicelib.stages.transform import transform
from chalicelib.stages.validate import validate
from chalicelib.stages.write_manifest import write_manifest
from chalicelib.warehouse import connection
from local.postgres import Postgres

STAGES = ("FetchPartition", "WriteManifest", "Transform", "Validate", "Load", "QualityGate", "Publish")
WARM_UP_ROWS = 5_000
_WRITTEN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Objects:
    """As much of boto3's S3 client as a run needs."""

    def __init__(self):
        self._objects: dict[str, bytes] = {}
        self._parts: dict[str, list[bytes]] = {}

    def put_object(self, Key, Body, **_):
        self._objects[Key] = bytes(Body)

    def get_object(self, Bucket, Key, Range=None):
        if Key not in self._objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        body = self._objects[Key]
        if Range:
            start, end = Range.removeprefix("bytes=").split("-")
            body = body[int(start) : int(end) + 1 if end else None]
        return {"Body": io.BytesIO(body)}

    def get_paginator(self, _operation):
        return self

    def paginate(self, Prefix, **_):
        found = [key for key in sorted(self._objects) if key.startswith(Prefix)]
        return [{"KeyCount": len(found), "Contents": [{"Key": key, "LastModified": _WRITTEN} for key in found]}]

    def create_multipart_upload(self, Key, **_):
        self._parts[Key] = []
        return {"UploadId": Key}

    def upload_part(self, Key, Body, **_):
        self._parts[Key].append(Body)
        return {"ETag": ""}

    def complete_multipart_upload(self, Key, **_):
        self._objects[Key] = b"".join(self._parts.pop(Key))


class Meter:
    """CPU seconds by stage, of this process and of Postgres."""

    def __init__(self, postgres: Postgres, profiled: str | None):
        self._postgres = psutil.Process(postgres.pid)
        self.profile = cProfile.Profile() if profiled else None
        self._profiled = profiled
        self.python: dict[str, float] = defaultdict(float)
        self.postgres: dict[str, float] = defaultdict(float)

    def run(self, stage: str, work: Callable, request):
        before, ours = self._backends(), time.process_time()
        if stage == self._profiled:
            self.profile.enable()
        try:
            return work(request)
        finally:
            if stage == self._profiled:
                self.profile.disable()
            self.python[stage] += time.process_time() - ours
            self.postgres[stage] += self._backends() - before

    def _backends(self) -> float:
        ended = self._postgres.cpu_times()  # the workers of a parallel plan end with its statement
        times = [process.cpu_times() for process in self._postgres.children()]
        return sum(spent.user + spent.system for spent in times) + ended.children_user + ended.children_system


def run(declaration: Path, run_id: str, meter: Meter, bucket: str) -> None:
    """One run, its stages one after the other."""
    given = {"source": "files", "input": str(declaration)}
    started = "2026-01-01T00:00:00Z"
    planned = plan(PlanRequest(run_id, f"arn:{run_id}", started, given))
    for partition in planned.partitions:
        meter.run("FetchPartition", fetch_partition, FetchPartitionRequest(run_id, "files", partition))
    fetched = tuple(partition.index for partition in planned.partitions)
    manifest = meter.run("WriteManifest", write_manifest, WriteManifestRequest(run_id, "files", fetched))
    for listed in Lake(bucket).get_json(manifest.manifest_key):
        chunk = read_contract(Chunk, listed, manifest.manifest_key)
        transformed = meter.run("Transform", transform, TransformRequest(run_id, "files", chunk))
        validated = meter.run("Validate", validate, ValidateRequest(run_id, "files", chunk, transformed))
        meter.run("Load", load, LoadRequest(run_id, "files", validated))
    gate = QualityGateRequest(run_id, "files", f"arn:{run_id}", manifest.manifest_key)
    judged = meter.run("QualityGate", quality_gate, gate)
    meter.run("Publish", publish, PublishRequest(run_id, "files", judged.verdict, False))


@click.command()
@click.option("--rows", default=200_000, show_default=True)
@click.option("--files", default=4, show_default=True)
@click.option("--times", default=3, show_default=True)
@click.option("--profile", "profiled", type=click.Choice(STAGES), help="Show where this stage's time goes.")
def main(rows: int, files: int, times: int, profiled: str | None) -> None:
    """Measure the stages' CPU time per row."""
    objects = Objects()
    store._client = lambda: objects
    loads: dict[str, list[Meter]] = {"first load": [], "same data again": []}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        declaration = orders.write(Path(folder, "data"), rows, files)
        warm_up = orders.write(Path(folder, "warm-up"), WARM_UP_ROWS, 1)
        postgres = Postgres(Path(folder, "postgres"), Path(folder, "postgres.log"))
        postgres.start()
        configured = Settings(bucket="lake", database_url=postgres.database_url, stage=settings.LOCAL)
        settings.current = lambda: configured
        try:
            run(warm_up, "warm-up", Meter(postgres, None), "lake")
            for number in range(times):
                with connection.transaction() as open_connection, open_connection.cursor() as cursor:
                    cursor.execute("DROP TABLE curated.orders")
                for title, meters in loads.items():
                    meter = Meter(postgres, profiled)
                    run(declaration, f"{title.split()[0]}-{number}", meter, "lake")
                    meters.append(meter)
        finally:
            postgres.stop()
    click.echo(f"microseconds of CPU per row, {rows:,} records, medians of {times}\n")
    click.echo(f"{'':16}" + "".join(f"{title:>26}" for title in loads))
    click.echo(f"{'':16}" + f"{'Python':>14}{'Postgres':>12}" * len(loads))
    for stage in STAGES:
        cells = ""
        for meters in loads.values():
            for kind, width in (("python", 14), ("postgres", 12)):
                spent = statistics.median(getattr(meter, kind)[stage] for meter in meters)
                cells += f"{spent / rows * 1e6:>{width}.2f}"
        click.echo(f"{stage:16}{cells}")
    if profiled:
        pstats.Stats(loads["first load"][0].profile).sort_stats("tottime").print_stats(20)


if __name__ == "__main__":
    main()
