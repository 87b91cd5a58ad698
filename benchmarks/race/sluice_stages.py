"""Sluice's stages called one after the other, chunks by two workers: the same work without the state machine.

What the state machine, its engine and the Lambda runtime add is the difference to `sluice`. S3 and Postgres are those
of the local stack.
"""

from __future__ import annotations

import datetime as dt
import gc
import multiprocessing
import time
from collections.abc import Callable
from functools import cache

from benchmarks.race.heat import Load, serve
from benchmarks.race.sluice import account, given
from chalicelib import contracts
from chalicelib import settings as settings_module
from chalicelib.contract_reading import read_contract
from chalicelib.lake import Lake
from chalicelib.stages import (
    complete,
    fetch_partition,
    plan,
    publish,
    quality_gate,
    transform,
    validate,
    write_manifest,
)
from chalicelib.stages import load as load_stage

WORKERS = 2


def sluice_stages(load: Load) -> dict:
    """The details: seconds and CPU seconds by stage, of all its calls together; the row account."""
    workers = _workers()  # first: a connection to Postgres must not be inherited
    spent: dict[str, dict[str, float]] = {}
    subject = {"run_id": load.name, "source": "files"}

    def call(name: str, stage: Callable, request):
        result, used = _timed(name, stage, request)
        _add(spent, used)
        return result

    planned = call(
        "plan",
        plan.plan,
        contracts.PlanRequest(
            run_id=load.name,
            execution=f"arn:aws:states:us-east-1:123456789012:execution:race:{load.name}",
            started_at=f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            input=given(load),
        ),
    )
    partitions = [contracts.FetchPartitionRequest(**subject, partition=one) for one in planned.partitions]
    for used in workers.imap_unordered(_fetch, partitions):
        _add(spent, used)
    indexes = tuple(partition.index for partition in planned.partitions)
    manifest = call(
        "write_manifest", write_manifest.write_manifest, contracts.WriteManifestRequest(**subject, fetched=indexes)
    )
    listed = Lake(settings_module.current().bucket).get_json(manifest.manifest_key)
    chunks = [contracts.TransformRequest(**subject, chunk=read_contract(contracts.Chunk, one)) for one in listed]
    for used in workers.imap_unordered(_process, chunks):
        _add(spent, used)
    judged = call(
        "quality_gate",
        quality_gate.quality_gate,
        contracts.QualityGateRequest(
            **subject, execution=f"arn:aws:states:::execution:race:{load.name}", manifest_key=manifest.manifest_key
        ),
    )
    if judged.verdict != "pass":
        raise RuntimeError(f"the verdict is {judged.verdict}")
    call("publish", publish.publish, contracts.PublishRequest(**subject, verdict=judged.verdict, embed=False))
    call("complete", complete.complete, contracts.CompleteRequest(**subject))
    return {"stages": spent, "account": account(load.database_url, load.name)}


@cache
def _workers():
    gc.freeze()  # as `local.worker` does before it forks, see `chalicelib.collector`
    return multiprocessing.get_context("fork").Pool(WORKERS)


def _fetch(request: contracts.FetchPartitionRequest) -> dict[str, dict[str, float]]:
    return _timed("fetch_partition", fetch_partition.fetch_partition, request)[1]


def _process(request: contracts.TransformRequest) -> dict[str, dict[str, float]]:
    """What a child execution of the Map does with its chunk."""
    subject = {"run_id": request.run_id, "source": request.source}
    spent: dict[str, dict[str, float]] = {}
    transformed, used = _timed("transform", transform.transform, request)
    _add(spent, used)
    wanted = contracts.ValidateRequest(**subject, chunk=request.chunk, transformed=transformed)
    validated, used = _timed("validate", validate.validate, wanted)
    _add(spent, used)
    _, used = _timed("load", load_stage.load, contracts.LoadRequest(**subject, validated=validated))
    _add(spent, used)
    return spent


def _timed(name: str, stage: Callable, request):
    """(the stage's result, what it took by its name)"""
    started, cpu = time.perf_counter(), time.process_time()
    result = stage(request)
    return result, {name: {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}}


def _add(spent: dict[str, dict[str, float]], used: dict[str, dict[str, float]]) -> None:
    for name, figures in used.items():
        total = spent.setdefault(name, dict.fromkeys(figures, 0.0))
        for figure, value in figures.items():
            total[figure] += value


if __name__ == "__main__":
    serve(sluice_stages)
