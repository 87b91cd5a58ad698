"""FetchPartition: what the source says, byte for byte, into the raw layer, cut into chunks."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
from collections.abc import Iterator

from chalicelib import settings as settings_module
from chalicelib import sources
from chalicelib.contract_reading import write_contract
from chalicelib.contracts import FetchPartitionRequest, FetchPartitionResult
from chalicelib.errors import SourceUnavailable
from chalicelib.http import Client
from chalicelib.lake import Lake, cutting, keys
from chalicelib.lake.listing import Listing
from chalicelib.quarantine import REQUEST, reading
from chalicelib.redriving import kept_listing
from chalicelib.schema import header


def fetch_partition(request: FetchPartitionRequest) -> FetchPartitionResult:
    settings = settings_module.current()
    settings.require("bucket")
    if request.partition.live:
        settings = settings.live
    lake = Lake(settings.bucket)
    if request.partition.request == REQUEST:
        return _listed(request, lake, reading.listing(request.run_id, lake, settings))
    if (kept := kept_listing.key(request.partition)) is not None:
        return _listed(request, lake, kept_listing.read(lake, kept, request.partition.index))
    source = sources.as_declared(request.source, request.run_id, lake)
    client = Client.of(source, settings, request.runs_at_once)
    pages = source.pages(request.partition.request, client, settings)
    day = dt.datetime.now(dt.UTC).date().isoformat()
    with _way_back(request.partition.live and settings.is_local):
        listing = cutting.store(
            source.name,
            request.run_id,
            day,
            request.partition,
            pages,
            lake,
            settings,
            functools.partial(header.expect_some, source),
        )
    listing = dataclasses.replace(listing, request=request.partition.request, live=request.partition.live)
    return _listed(request, lake, listing)


def _listed(request: FetchPartitionRequest, lake: Lake, listing: Listing) -> FetchPartitionResult:
    lake.put_json(keys.listing(request.run_id, request.partition.index), write_contract(listing))
    return FetchPartitionResult(
        partition=request.partition.index,
        objects=len(listing.objects),
        bytes=sum(o.bytes for o in listing.objects),
        chunks=len(listing.chunks),
    )


@contextlib.contextmanager
def _way_back(to_sample: bool) -> Iterator[None]:
    """Say of a real host that cannot be reached that there is a sample to go on with."""
    try:
        yield
    except SourceUnavailable as error:
        if not to_sample or error.next_step:
            raise
        next_step = "is this machine online? leave out --live for the sample API"
        raise SourceUnavailable(error.message, quote=error.quote, next_step=next_step, **error.where) from error
