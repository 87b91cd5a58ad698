"""A redriven run takes over what is in the lake, and nothing that has expired."""

import dataclasses

import pytest
from memory_s3 import MemoryS3

from chalicelib import kept_chunks
from chalicelib.columns import Column
from chalicelib.contract_reading import write_contract
from chalicelib.contracts import Chunk, Slice
from chalicelib.errors import NotFound
from chalicelib.lake import keys
from chalicelib.lake.listing import Listing, RawObject
from chalicelib.lake.store import Lake
from chalicelib.redriving import kept_listing
from chalicelib.schema import EVOLVE
from chalicelib.sources.base import Source

FIRST, SECOND, THIRD = ({"run_id": f"press-{number}", "code": "same"} for number in (1, 2, 3))
RAW, COPY = "raw/part-00000-00000.ndjson.gz", "runs/press-1/work/part-00000-00000.ndjson"


class Press(Source):
    name = "press"
    key = ("id",)
    columns = (Column("id", "integer"),)


class Growing(Press):
    schema_contract = EVOLVE


def chunks(*done_by):
    pieces = (Slice(0, COPY, RAW, 10 * number, 10 * number + 10, number, 1) for number in range(len(done_by)))
    return [
        Chunk(chunk=number, partition=0, request={}, format="ndjson", slices=(piece,), done_by=run)
        for number, (piece, run) in enumerate(zip(pieces, done_by, strict=True))
    ]


@pytest.fixture
def lake():
    return Lake("bucket", MemoryS3())


@pytest.fixture
def failed(lake):
    """The first run made two of three chunks, the second, which redrove it, the last of them."""
    for run, planned, made in ((FIRST, (None, None, None), (0, 1)), (SECOND, ("press-1", "press-1", None), (2,))):
        lake.put_json(keys.manifest(run["run_id"]), [write_contract(chunk) for chunk in chunks(*planned)])
        for number in made:
            for left in (kept_chunks.RESULTS, kept_chunks.ROWS):
                lake.put(keys.chunk(run["run_id"], number, left), b"x")
    return [SECOND, FIRST]


def done_by(lake, failed, source=Press):
    marked = kept_chunks.marked(lake, source(), THIRD, failed, chunks(None, None, None))
    assert [dataclasses.replace(chunk, done_by=None) for chunk in marked] == chunks(None, None, None)
    return [chunk.done_by for chunk in marked]


def test_chunks_are_taken_from_whichever_run_made_them(lake, failed):
    assert done_by(lake, failed) == ["press-1", "press-1", "press-2"]


@pytest.mark.parametrize("gone", [kept_chunks.RESULTS, kept_chunks.ROWS])
def test_a_chunk_that_has_expired_with_an_earlier_run_is_made_anew(lake, failed, gone):
    lake.delete(keys.chunk("press-1", 1, gone))
    assert done_by(lake, failed) == ["press-1", None, "press-2"]


def test_where_the_columns_of_then_have_expired_all_chunks_are_made_anew(lake, failed):
    schema = {"revision": 0, "columns": []}
    lake.put_json(keys.schema("press-3"), schema)
    assert done_by(lake, failed, Growing) == [None, None, None]
    lake.put_json(keys.schema("press-2"), schema)
    assert done_by(lake, failed, Growing) == ["press-1", "press-1", "press-2"]


@pytest.mark.parametrize("gone", [RAW, COPY], ids=["raw object", "working copy"])
def test_what_was_fetched_and_has_expired_is_told_before_a_chunk_is_read(lake, gone):
    listing = Listing((RawObject(0, RAW, 3, "sha256", 3),), tuple(chunks(None, None, None)))
    kept = lake.put_json(keys.listing("press-1", 0), write_contract(listing))
    for key in {RAW, COPY} - {gone}:
        lake.put(key, b"x")
    with pytest.raises(NotFound, match=f"{gone}, which was fetched before.*sluice run"):
        kept_listing.read(lake, kept, 0)
    lake.put(gone, b"x")
    assert kept_listing.read(lake, kept, 4).kept_of == "press-1"
