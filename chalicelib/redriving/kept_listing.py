"""What FetchPartition does for a partition that the failed run had fetched: it takes over what is listed of it."""

from __future__ import annotations

import dataclasses

from chalicelib.contract_reading import read_contract
from chalicelib.contracts import Partition
from chalicelib.errors import NotFound
from chalicelib.lake import Lake
from chalicelib.lake.listing import Listing

# No field of `Partition`, which each of 2,000 partitions of other runs would carry through the state machine
_KEY = "kept listing"


def request(key: str) -> dict:
    """The request of a partition that is in the lake already: `key` is that of its listing."""
    return {_KEY: key}


def key(partition: Partition) -> str | None:
    """Where the listing of a partition is that is not to be fetched; None for one that is."""
    return partition.request[_KEY] if set(partition.request) == {_KEY} else None


def read(lake: Lake, kept: str, index: int) -> Listing:
    """The listing, as that of the partition `index`. Raises NotFound where an object that it names is gone."""
    listing = read_contract(Listing, lake.get_json(kept), kept)
    # working copies expire with the run that made them, raw objects may stay for good
    read = (piece.key for chunk in listing.chunks for piece in chunk.slices)
    for key in dict.fromkeys([*(stored.key for stored in listing.objects), *read]):
        try:
            lake.about(key)
        except NotFound as error:
            raise NotFound(
                f"{key}, which was fetched before, is not there any more",
                next_step="`sluice run` fetches all of it anew",
            ) from error
    chunks = tuple(dataclasses.replace(chunk, partition=index) for chunk in listing.chunks)
    return dataclasses.replace(listing, chunks=chunks, kept_of=listing.kept_of or _run_of(kept))


def _run_of(kept: str) -> str:
    return kept.split("/")[1]
