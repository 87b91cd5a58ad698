"""FetchPartition: what the source says, byte for byte, into the raw layer, cut into chunks."""

from __future__ import annotations

import datetime as dt

from chalicelib import settings as settings_module
from chalicelib import sources
from chalicelib.contract_reading import write_contract
from chalicelib.contracts import FetchPartitionRequest, FetchPartitionResult
from chalicelib.http import Client
from chalicelib.lake import Lake, cutting, keys


def fetch_partition(request: FetchPartitionRequest) -> FetchPartitionResult:
    settings = settings_module.current()
    settings.require("bucket")
    lake = Lake(settings.bucket)
    source = sources.for_run(request.source, request.run_id, lake)
    client = Client(source.hosts, settings)
    pages = source.pages(request.partition.request, client, settings)
    day = dt.datetime.now(dt.UTC).date().isoformat()
    listing = cutting.store(source.name, request.run_id, day, request.partition, pages, lake, settings)
    lake.put_json(keys.listing(request.run_id, request.partition.index), write_contract(listing))
    return FetchPartitionResult(
        partition=request.partition.index,
        objects=len(listing.objects),
        bytes=sum(o.bytes for o in listing.objects),
        chunks=len(listing.chunks),
    )
