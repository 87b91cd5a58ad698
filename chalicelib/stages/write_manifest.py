"""WriteManifest: one list of chunks, however many there are; the run's staging table is made."""

from __future__ import annotations

import dataclasses
import json

from chalicelib import kept_chunks, redaction, sources
from chalicelib import settings as settings_module
from chalicelib.contract_reading import read_contract, write_contract
from chalicelib.contracts import Chunk, WriteManifestRequest, WriteManifestResult
from chalicelib.lake import Lake, formats, keys
from chalicelib.lake.listing import Listing
from chalicelib.warehouse import connection, ledger, tables


def write_manifest(request: WriteManifestRequest) -> WriteManifestResult:
    """Partitions number their chunks and raw objects from 0; here they get the run's numbers, in raw order."""
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    lake = Lake(settings.bucket)
    source = sources.for_run(request.source, request.run_id, lake)
    chunks, objects, read_as, kept_partitions = [], [], {}, 0
    for partition in sorted(request.fetched):
        listing_key = keys.listing(request.run_id, partition)
        listing = read_contract(Listing, lake.get_json(listing_key), listing_key)
        for chunk in listing.chunks:
            slices = tuple(dataclasses.replace(s, part=s.part + len(objects)) for s in chunk.slices)
            chunks.append(dataclasses.replace(chunk, chunk=len(chunks), slices=slices))
            read_as |= dict.fromkeys((piece.part for piece in slices), chunk)
        objects += listing.objects
        kept_partitions += listing.kept_of is not None
    with connection.transaction() as open_connection:
        run = ledger.get_run(open_connection, request.run_id)
        earlier = ledger.earlier_runs(open_connection, request.run_id)
    # S3 is asked between two transactions: neither waits for it
    chunks, kept_of = kept_chunks.marked(lake, source, request.run_id, earlier, chunks, objects)
    manifest_key = lake.put_json(keys.manifest(request.run_id), [write_contract(chunk) for chunk in chunks])
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        ledger.hold(cursor, request.run_id)
        tables.create_staging(cursor, source, request.run_id)
        ledger.forget_attempt(cursor, request.run_id)
        ledger.add_raw_objects(
            cursor,
            request.run_id,
            [(part, o.key, o.bytes, o.sha256, *_read_as(read_as.get(part))) for part, o in enumerate(objects)],
        )
        is_redriven = run["redrive_of"] is not None
        if is_redriven or earlier:  # in a second round of an evolving schema, none is kept any more
            done = sum(chunk.done_by is not None for chunk in chunks)
            ledger.count_kept(cursor, request.run_id, kept_of, done, kept_partitions if is_redriven else None)
    return WriteManifestResult(
        manifest_key=manifest_key, chunks=len(chunks), objects=len(objects), bytes=sum(o.bytes for o in objects)
    )


def _read_as(chunk: Chunk | None) -> tuple[str | None, str | None, str | None]:
    """How a raw object is read, for a replay of its rows: format, delimiter, and the request of a response."""
    if chunk is None:
        return None, None, None
    of_response = chunk.format == formats.RESPONSE
    return chunk.format, chunk.delimiter, json.dumps(redaction.strings(chunk.request)) if of_response else None
