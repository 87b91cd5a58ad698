"""A replay reads the lines that it is to judge, and no other, from every kind of raw object, as they were before."""

import gzip
import io
import json

import pytest
from memory_s3 import MemoryS3

from chalicelib.columns import Column
from chalicelib.contract_reading import write_contract
from chalicelib.contracts import Partition, StoredObject
from chalicelib.errors import NotFound
from chalicelib.lake import cutting, keys, position, records
from chalicelib.lake.store import Lake
from chalicelib.quarantine import reading
from chalicelib.settings import Settings
from chalicelib.sources.base import Page, Source


class Parcels(Source):
    name = "parcels"
    key = ("id",)
    columns = (Column("id", "bigint"), Column("note", "text"))

    def records(self, document, request):
        return [{"id": number, "note": request["of"]} if number else number for number in document["numbers"]]


NDJSON = '{"id":1}\n\n{"id":2,"note":"two"}\n{broken\n[3]\n{"id":4,"note":"' + "x" * 200 + '"}\n{"id":5}'
CSV = 'id;note\n1;one\n\n2;"of\nseveral\nlines"\n3;three;more\n4;"a"b\n5;"' + "x" * 40 + '"\n6;six'
ARRAY = '[{"id":1}, 2, {"id":3,\n"note":"[,]"}, , {"id":5}]'
RESPONSE = json.dumps({"numbers": [1, 2, 0, 4]})

CASES = {
    "ndjson": (NDJSON.encode(), "ndjson", None),
    "ndjson.gz": (gzip.compress(NDJSON.encode()), "ndjson", "gzip"),
    "csv": (CSV.encode(), "csv", None),
    "csv.gz": (gzip.compress(CSV.encode()), "csv", "gzip"),
    "array": (ARRAY.encode(), "json", None),
    "array.gz": (gzip.compress(ARRAY.encode()), "json", "gzip"),
    "response": (RESPONSE.encode(), "response", None),
}
SMALL = {"chunk_bytes": 32, "record_bytes": 150}  # a record of the NDJSON is too long, and there are many chunks
REQUEST = {"of": "all"}


def found(chunks, lake, settings):
    """By (part, line) what was read there: the record's fields, or why it is none."""
    everything = {}
    for chunk in chunks:
        batch = records.read(chunk, Parcels(), lake, settings)
        for row, seq in enumerate(batch.seqs.tolist()):
            fields = {name: values[row] for name, values in batch.fields.items() if values[row] is not None}
            everything[position.part_and_line(seq)] = fields
        everything |= {(bad.part, bad.line): bad.reason for bad in batch.malformed}
    return everything


def stored(listing, lines):
    """The raw objects as the ledger has them, with the lines that are meant: (part, line) each."""
    read_as = {piece.part: chunk for chunk in listing.chunks for piece in chunk.slices}
    return [
        StoredObject(
            **{name: getattr(each, name) for name in ("part", "key", "bytes", "sha256")},
            format=read_as[each.part].format,
            delimiter=read_as[each.part].delimiter,
            request=read_as[each.part].request if read_as[each.part].format == "response" else None,
            lines=tuple(line for part, line in lines if part == each.part),
        )
        for each in listing.objects
    ]


def replayed(lake, objects, settings):
    lake.put_json(keys.replayed_objects("again"), [write_contract(each) for each in objects])
    lake.put_json(keys.replayed_rows("again"), {str(each.part): each.lines for each in objects if each.lines})
    return reading.listing("again", lake, settings)


@pytest.fixture(params=CASES)
def original(request):
    """Two raw objects of one kind, cut into chunks: (their listing, the lake, its settings)."""
    data, format, compression = CASES[request.param]
    lake, settings = Lake("lake", MemoryS3()), Settings(**SMALL)
    pages = [Page(io.BytesIO(data), format, compression) for _ in range(2)]
    listing = cutting.store("parcels", "first", "2026-01-02", Partition(0, REQUEST), iter(pages), lake, settings)
    return listing, lake, settings


def test_each_line_alone_and_all_together_are_what_they_were(original):
    listing, lake, settings = original
    everything = found(listing.chunks, lake, settings)
    assert len(everything) >= 8 and any(isinstance(each, str) for each in everything.values())
    raw = {key: body for key, body in lake.client.objects.items() if key.startswith("raw/")}
    # of the original run nothing is needed but its raw objects
    for key in lake.keys("runs/first/"):
        lake.delete(key)
    meant = [[place] for place in everything] + [sorted(everything), sorted(everything)[::2]]
    for lines in meant:
        again = replayed(lake, stored(listing, lines), settings)
        assert found(again.chunks, lake, settings) == {place: everything[place] for place in lines}
        assert [(each.part, each.key, each.sha256) for each in again.objects] == [
            (each.part, each.key, each.sha256) for each in listing.objects
        ]
    assert {key: body for key, body in lake.client.objects.items() if key.startswith("raw/")} == raw


def test_chunks_without_a_line_that_is_meant_are_left_out(original):
    listing, lake, settings = original
    everything = found(listing.chunks, lake, settings)
    last = max(everything)
    [chunk] = replayed(lake, stored(listing, [last]), settings).chunks
    assert {piece.part for piece in chunk.slices} == {last[0]}
    assert {piece.raw_key for piece in chunk.slices} == {listing.objects[last[0]].key}


def test_a_record_that_was_too_long_is_read_where_longer_ones_are_taken_today():
    data, format, _ = CASES["ndjson"]
    lake, settings = Lake("lake", MemoryS3()), Settings(**SMALL)
    page = Page(io.BytesIO(data), format)
    listing = cutting.store("parcels", "first", "2026-01-02", Partition(0, {}), iter([page]), lake, settings)
    [place] = [place for place, read in found(listing.chunks, lake, settings).items() if "bytes long" in str(read)]
    today = Settings(**{**SMALL, "record_bytes": 1000})
    again = replayed(lake, stored(listing, [place]), today)
    assert found(again.chunks, lake, today) == {place: {"id": 4, "note": "x" * 200}}


def test_a_raw_object_that_is_gone_or_of_unknown_format_is_told(original):
    listing, lake, settings = original
    place = min(found(listing.chunks, lake, settings))
    [first, _] = objects = stored(listing, [place])
    lake.delete(first.key)
    with pytest.raises(NotFound, match="cannot be read any more"):
        replayed(lake, objects, settings)
    unknown = StoredObject(**{**vars(first), "format": None})
    with pytest.raises(NotFound, match="was not recorded yet"):
        replayed(lake, [unknown], settings)
