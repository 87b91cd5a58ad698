"""Which chunks a run is to take over from an earlier one of the same bytes, as its Transform and Validate left them.

docs/decisions/0038-unchanged-chunks-are-taken-over.md says when that is certain to be what they would leave again.
Which code began the earlier run is known here; which code made a chunk of it, in `chunk_results`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from chalicelib.contract_reading import read_contract
from chalicelib.contracts import Chunk
from chalicelib.errors import NotFound
from chalicelib.lake import Lake, keys
from chalicelib.lake.listing import RawObject
from chalicelib.quality import suite as suites
from chalicelib.schema import DISCARD
from chalicelib.sources.base import Source

if TYPE_CHECKING:
    from chalicelib.warehouse.ledger import EarlierRun

# the state machine gives a run that long: nothing that it takes over may expire before its end
_MARGIN = dt.timedelta(days=1)
_EXPIRY = re.compile(r'expiry-date="([^"]+)"')
_AT_ONCE = 16  # runs whose objects are listed


def marked(
    lake: Lake,
    source: Source,
    run_id: str,
    earlier: Iterable[EarlierRun],
    chunks: Sequence[Chunk],
    objects: Sequence[RawObject],
) -> tuple[list[Chunk], str | None]:
    """The run's chunks, and of which run some of them are taken over, None where none is.

    Of `earlier` the first counts that read any of the same bytes, may serve, and stays until the run has ended.
    `done_by` of a chunk that is the same there is that run, or the one that it had it from in its turn. `objects` are
    the raw objects by part.
    """
    known = {part: (each.bytes, each.sha256) for part, each in enumerate(objects)}
    alike = (each for each in earlier if not set(known.values()).isdisjoint(each.objects.values()))
    before = next((each for each in alike if _may_serve(source, each) and _stays(lake, each.run_id)), None)
    if before is None:
        return list(chunks), None
    name = before.run_id
    if not _has_columns_of(lake, source, run_id, name):
        return list(chunks), None
    planned = (read_contract(Chunk, chunk) for chunk in lake.get_json(keys.manifest(name)))
    there = {_what(chunk, before.objects): chunk.done_by for chunk in planned}
    same = {chunk.chunk: there[what] for chunk in chunks if (what := _what(chunk, known)) in there}
    left = _left(lake, name, same)
    taken = [dataclasses.replace(chunk, done_by=left.get(chunk.chunk)) for chunk in chunks]
    return taken, name if left else None


def _may_serve(source: Source, earlier: EarlierRun) -> bool:
    """Whether the same bytes become the same rows whenever they are read; an attempt at the run is no other time."""
    return earlier.redriven or (source.is_repeatable and not suites.goes_by_the_day(source))


def _stays(lake: Lake, run_id: str) -> bool:
    """Whether what a run left in `runs/` is there, and will be for as long as a run may take.

    Its manifest is older than what its chunks left. S3 tells of an object when the bucket's rules delete it:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html#API_HeadObject_ResponseSyntax.
    """
    try:
        about = lake.about(keys.manifest(run_id))
    except NotFound:
        return False
    expiry = _EXPIRY.search(about.get("Expiration") or "")
    return expiry is None or parsedate_to_datetime(expiry[1]) > dt.datetime.now(dt.UTC) + _MARGIN


def _has_columns_of(lake: Lake, source: Source, run_id: str, earlier: str) -> bool:
    """Whether both runs have the same declaration and columns, and none that evolved in the middle of a run."""
    if source.is_declared_by_run and (
        not lake.has(keys.declaration(earlier))
        or lake.get_json(keys.declaration(run_id)) != lake.get_json(keys.declaration(earlier))
    ):
        return False
    if source.schema_contract == DISCARD:
        return True
    schema, earlier_schema = lake.get_json(keys.schema(run_id)), keys.schema(earlier)
    return not schema["revision"] and lake.has(earlier_schema) and schema == lake.get_json(earlier_schema)


def _what(chunk: Chunk, objects: Mapping[int, tuple[int, str]]) -> str:
    """All that makes a chunk the one that it is. Its raw objects count by what is in them, whatever their names.

    One of a replay has its own list of lines, so it is like none of another run.
    """
    slices = []
    for piece in chunk.slices:
        holds = objects.get(piece.part, piece.raw_key)
        slices.append((holds, piece.key == piece.raw_key, dataclasses.replace(piece, key="", raw_key="")))
    return repr((slices, dataclasses.replace(chunk, slices=(), done_by=None)))


def _left(lake: Lake, name: str, same: Mapping[int, str | None]) -> dict[int, str]:
    """By chunk, the run that has all that it left of it. None of what has failed to be taken over by an attempt."""

    def listed(run: str) -> dict[str, dt.datetime]:
        # a run that others have their chunks from may be about to expire before they are
        return lake.written(keys.chunks(run)) if run == name or _stays(lake, run) else {}

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(listed, {name} | {by for by in same.values() if by is not None})
        written = {key: when for each in found for key, when in each.items()}
    left = {}
    for number, by in same.items():
        # a chunk that it was to take over, and has made anew, it has itself
        run = name if by is None or _is_whole(written, name, number) else by
        has_failed = run != name and keys.chunk(name, number, keys.FAILURE) in written
        if not has_failed and _is_whole(written, run, number):
            left[number] = run
    return left


def _is_whole(written: Mapping[str, dt.datetime], run: str, number: int) -> bool:
    """Whether what a run left of a chunk is there, and was not altered since it was judged.

    Validate writes its results last: what is newer than these is not what they are about. Alterations within the same
    second, which is as much as S3 tells, are left for Load to find.
    """
    results = written.get(keys.chunk(run, number, keys.RESULTS))
    there = [written.get(keys.chunk(run, number, each)) for each in (keys.ROWS, keys.MALFORMED, keys.FAILING)]
    return results is not None and there[0] is not None and all(when <= results for when in there if when is not None)
