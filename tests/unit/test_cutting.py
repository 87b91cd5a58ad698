import dataclasses
import gzip
import hashlib
import io
import json
import re

import boto3
import moto
import pytest
from memory_s3 import MemoryS3

from chalicelib import contracts
from chalicelib.contract_reading import read_contract, write_contract
from chalicelib.contracts import Partition
from chalicelib.errors import NotFound, RawError
from chalicelib.lake import cutting, gunzip, keys, parts, records
from chalicelib.lake.listing import Listing
from chalicelib.lake.store import Lake
from chalicelib.settings import Settings
from chalicelib.sources.base import Page, Source


@pytest.fixture
def lake():
    return Lake("lake", MemoryS3())


class Dribble(io.BytesIO):
    """A network stream: gives what has arrived, at most 7 bytes at a time."""

    def read(self, size=-1):
        return super().read(min(size, 7) if size >= 0 else 7)


def page(data: bytes, format: str, compression: str | None = None, body=io.BytesIO) -> Page:
    return Page(body(data), format, compression, name="input")


def store(lake: Lake, *pages: Page, **settings) -> Listing:
    partition = Partition(3, {"location": "input"})
    return cutting.store("orders", "run1", "2026-01-02", partition, iter(pages), lake, Settings(**settings))


def read(lake: Lake, listing: Listing, **settings) -> list[records.ReadRecords]:
    return [records.read(chunk, Source(), lake, Settings(**settings)) for chunk in listing.chunks]


def column(batches: list[records.ReadRecords], name: str) -> list:
    return [value for batch in batches for value in batch.fields[name]]


NDJSON = b"".join(b'{"id":%d}\n' % i for i in range(1000))


@pytest.mark.parametrize("body", [io.BytesIO, Dribble])
def test_a_page_is_stored_byte_for_byte_with_its_digest(lake, body):
    listing = store(lake, page(NDJSON, "ndjson", body=body))
    [raw] = listing.objects
    assert raw.key == keys.raw("orders", "2026-01-02", "run1", 3, 0, "ndjson")
    assert lake.get(raw.key) == NDJSON
    assert raw.bytes == len(NDJSON)
    assert raw.sha256 == hashlib.sha256(NDJSON).hexdigest()
    assert raw.lines == 1000
    assert not lake.client.uploads


def test_a_listing_survives_its_journey_as_json(lake):
    listing = store(lake, page(b"a;b\n1;2\n", "csv"), page(b'{"id":1}', "ndjson"))
    assert read_contract(Listing, json.loads(json.dumps(write_contract(listing)))) == listing


def test_a_big_page_is_cut_into_chunks_that_hold_each_record_once(lake):
    listing = store(lake, page(NDJSON, "ndjson"), chunk_bytes=1000)
    assert [c.chunk for c in listing.chunks] == list(range(len(listing.chunks)))
    assert len(listing.chunks) > 5
    assert {c.partition for c in listing.chunks} == {3}
    assert column(read(lake, listing), "id") == list(range(1000))


def test_small_pages_share_a_chunk_up_to_its_size(lake):
    pages = [page(b'{"id":%d}\n' % i, "ndjson") for i in range(10)]
    listing = store(lake, *pages, chunk_bytes=40)
    assert [len(c.slices) for c in listing.chunks] == [4, 4, 2]
    assert [s.part for c in listing.chunks for s in c.slices] == list(range(10))
    assert column(read(lake, listing), "id") == list(range(10))


def test_narrow_pages_share_a_chunk_up_to_its_number_of_rows(lake):
    pages = [page(b'{"id":%d}\n' % i * 30, "ndjson") for i in range(5)]
    listing = store(lake, *pages, chunk_rows=100)
    assert [[s.lines for s in c.slices] for c in listing.chunks] == [[30, 30, 30], [30, 30]]
    listing = store(lake, page(NDJSON, "ndjson"), chunk_rows=400)
    assert [[s.lines for s in c.slices] for c in listing.chunks] == [[400], [400], [200]]


def test_a_chunk_stays_small_enough_for_the_state_machine(lake):
    pages = [page(b'{"id":%d}\n' % i, "ndjson") for i in range(250)]
    listing = store(lake, *pages)
    assert len(listing.chunks) == 3
    assert all(len(json.dumps(write_contract(chunk))) < 100_000 for chunk in listing.chunks)


def test_pages_with_different_headers_share_no_chunk(lake):
    listing = store(lake, page(b"a,b\n1,2\n", "csv"), page(b"b;a\n3;4\n", "csv"), page(b"b;a\n5;6\n", "csv"))
    assert [(c.header, c.delimiter) for c in listing.chunks] == [(("a", "b"), ","), (("b", "a"), ";")]
    assert column(read(lake, listing), "a") == ["1", "4", "6"]


@pytest.mark.parametrize("body", [io.BytesIO, Dribble])
def test_gzip_stays_as_it_is_and_is_read_from_a_working_copy(lake, body):
    packed = gzip.compress(NDJSON[:500]) + gzip.compress(NDJSON[500:])  # two members
    listing = store(lake, page(packed, "ndjson", "gzip", body), chunk_bytes=1000)
    [raw] = listing.objects
    assert raw.key.endswith(".ndjson.gz")
    assert lake.get(raw.key) == packed
    assert (raw.bytes, raw.lines) == (len(packed), 1000)
    pieces = [s for c in listing.chunks for s in c.slices]
    assert {s.key for s in pieces} == {keys.working_copy("run1", 3, 0, "ndjson")}
    assert {s.raw_key for s in pieces} == {raw.key}
    assert column(read(lake, listing), "id") == list(range(1000))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("body", [io.BytesIO, Dribble])
def test_an_array_is_read_as_lines_and_stored_as_it_came(lake, packed, body):
    array = json.dumps([{"id": i, "name": "a,\n[x]"} for i in range(300)], indent=1).encode()
    data = gzip.compress(array) if packed else array
    listing = store(lake, page(data, "json", "gzip" if packed else None, body), chunk_bytes=1000)
    assert lake.get(listing.objects[0].key) == data
    assert listing.objects[0].lines == 300
    assert len(listing.chunks) > 5
    batches = read(lake, listing)
    assert column(batches, "id") == list(range(300))
    assert [int(seq) for batch in batches for seq in batch.seqs] == list(range(1, 301))


def test_an_array_without_elements_and_a_file_of_blank_lines_hold_no_records(lake):
    assert store(lake, page(b"[ ]\n", "json")).chunks == ()
    assert sum(b.records for b in read(lake, store(lake, page(b"\n \n", "ndjson")))) == 0


def test_a_response_is_kept_whole(lake):
    listing = store(lake, page(b'{"a": [1,\n2]}', "response"), page(b"[]", "response"), chunk_bytes=5)
    assert [[(s.start, s.end, s.lines) for s in c.slices] for c in listing.chunks] == [[(0, 13, None)], [(0, 2, None)]]
    assert listing.objects[0].lines is None


def test_an_overlong_line_is_the_only_thing_in_its_slice_and_is_not_read_whole(lake):
    data = b'{"id":1}\n' + b"x" * 50_000 + b'\n{"id":2}\n'
    listing = store(lake, page(data, "ndjson"), record_bytes=1000)
    [chunk] = listing.chunks
    assert [(s.first_line, s.lines) for s in chunk.slices] == [(1, 1), (2, 1), (3, 1)]
    [batch] = read(lake, listing, record_bytes=1000)
    assert batch.fields == {"id": [1, 2]}
    [bad] = batch.malformed
    assert (bad.part, bad.line) == (0, 2)
    assert "bytes 9 to 50010" in bad.reason
    assert bad.record == "x" * records.TEXT_CHARACTERS


def test_what_is_damaged_names_file_and_remedy_and_leaves_nothing_in_the_lake(lake):
    whole = gzip.compress(NDJSON * 10)
    cases = [
        (page(whole[:-9], "ndjson", "gzip"), "ends early: 108900 decompressed bytes could be read"),
        (page(whole[:100] + b"\0\0\0\0" + whole[104:], "ndjson", "gzip"), "damaged"),
        (page(whole + b"garbage", "ndjson", "gzip"), "damaged"),
        (page(b"", "csv"), "empty (0 bytes)"),
        (page(gzip.compress(b""), "csv", "gzip"), "empty (0 bytes)"),
        (page(b"\xff\xfea\0,\0b\0", "csv"), "UTF-16"),
        (page(b"\n <!DOCTYPE html><html>", "csv"), "HTML or XML where csv was expected"),
        (page(b"<html>", "json"), "HTML or XML where json was expected"),
        (page(b"<html>", "response"), "HTML or XML where response was expected"),
        (page(b"PK\x03\x04....", "csv"), "a zip archive"),
        (page(b"PAR1....", "csv"), "Parquet"),
        (page(b'[{"id":1},', "json"), "ends early"),
    ]
    for given, message in cases:
        with pytest.raises(RawError) as caught:
            store(lake, given)
        assert message in str(caught.value)
        assert caught.value.where["file"] == "input"
        assert caught.value.next_step
    assert lake.client.objects == {}
    assert lake.client.uploads == {}


def test_a_response_has_a_limit(lake, monkeypatch):
    monkeypatch.setattr(cutting.WholeCutter, "LIMIT", 10)
    with pytest.raises(RawError, match="larger than 10 bytes"):
        store(lake, page(b"[1,2,3,4,5,6,7]", "response"))


def test_a_small_gzip_that_expands_a_thousandfold_never_fills_the_memory():
    packed = gzip.compress(b"\0" * 20_000_000)
    assert max(map(len, gunzip.decompress(iter([packed]), "f"))) <= gunzip.BLOCK_BYTES


def test_big_objects_go_to_s3_in_parts_and_are_dropped_when_writing_fails(monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", 5 * 1024 * 1024)  # the least that S3 takes
    data = b'{"id":1}\n' * 1_300_000
    with moto.mock_aws():
        client = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )
        client.create_bucket(Bucket="lake")
        lake = Lake("lake", client)
        listing = store(lake, page(data, "ndjson"))
        assert lake.get(listing.objects[0].key) == data
        with pytest.raises(RuntimeError), parts.PartWriter(lake, "broken") as writer:
            writer.write(data)
            raise RuntimeError
        assert client.list_multipart_uploads(Bucket="lake").get("Uploads", []) == []
        with pytest.raises(NotFound):
            lake.get("broken")


@pytest.mark.parametrize("size", ["a part", "several parts"])
@pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_what_one_attempt_stored_stays_as_it_is_when_another_is_told_something_else(lake, monkeypatch, packed, size):
    """The first may be at it still, or be what a redriven run goes on with."""
    monkeypatch.setattr(parts, "PART_BYTES", 5 if size == "several parts" else 10_000)
    compression = "gzip" if packed is gzip.compress else None
    told = [NDJSON, NDJSON.replace(b"1", b"7") * 2]
    listings = [store(lake, page(packed(data), "ndjson", compression)) for data in told]
    for listing, data in zip(listings, told, strict=True):
        assert lake.get(listing.objects[0].key) == packed(data)
        assert b"".join(lake.get(s.key, s.start, s.end) for chunk in listing.chunks for s in chunk.slices) == data
    first, second = (listing.objects[0].key for listing in listings)
    assert first.endswith("/part-00003-00000.ndjson" + (".gz" if compression else ""))
    assert re.fullmatch(re.escape(first).replace(r"00000\.nd", r"00000\-[0-9a-f]{8}\.nd"), second)


def test_pages_are_closed_also_when_they_fail(lake):
    good, bad = page(NDJSON, "ndjson"), page(b"", "ndjson")
    with pytest.raises(RawError):
        store(lake, good, bad)
    assert good.body.closed
    assert bad.body.closed


def test_the_slice_has_the_fields_of_a_piece():
    assert {f.name for f in dataclasses.fields(cutting.Piece)} <= {f.name for f in dataclasses.fields(contracts.Slice)}
