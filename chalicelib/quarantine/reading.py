"""What FetchPartition does for a replay: it reads the raw objects of the original run, and fetches nothing."""

from __future__ import annotations

import dataclasses

from chalicelib.contract_reading import read_contract
from chalicelib.contracts import StoredObject
from chalicelib.errors import NotFound
from chalicelib.lake import Lake, cutting, formats, keys
from chalicelib.lake.listing import Listing, RawObject
from chalicelib.settings import Settings
from chalicelib.sources.base import Page

_SUFFIX = ".gz"


def listing(run_id: str, lake: Lake, settings: Settings) -> Listing:
    """The chunks that hold rows of the replay; every raw object of the original run, under its number.

    Raises NotFound for a raw object that is gone, RawError as a fetch does.
    """
    objects = [read_contract(StoredObject, stored) for stored in lake.get_json(keys.replayed_objects(run_id))]
    only = keys.replayed_rows(run_id)
    chunks = [
        dataclasses.replace(chunk, only=only)
        for stored in objects
        if stored.lines
        for chunk in cutting.cut_again(stored, _page(stored, lake), run_id, lake, settings)
    ]
    return Listing(
        tuple(RawObject(stored.part, stored.key, stored.bytes, stored.sha256) for stored in objects), tuple(chunks)
    )


def _page(stored: StoredObject, lake: Lake) -> Page:
    if stored.format is None:
        raise NotFound(
            f"how {stored.key} is to be read was not recorded yet when it was fetched",
            next_step="run the source again, and discard the rows",
        )
    try:
        body = lake.open(stored.key)
    except NotFound as error:
        raise NotFound(
            f"the raw object {stored.key} cannot be read any more: {error.message}",
            next_step="run the source again if it still has the rows, and discard these",
        ) from error
    compression = formats.GZIP if stored.key.endswith(_SUFFIX) else None
    return Page(body, stored.format, compression, stored.delimiter, name=stored.key)
