"""Chunks that an earlier run transformed and validated: a later one of the same bytes loads what these stages left.

docs/decisions/0038-unchanged-chunks-are-taken-over.md says when that is certain to be what they would leave again.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from chalicelib import code_fingerprint
from chalicelib.contract_reading import read_contract, write_contract
from chalicelib.contracts import Chunk, TransformResult, ValidateResult
from chalicelib.errors import AccountError, ContractError, NotFound
from chalicelib.lake import Lake, keys
from chalicelib.lake.listing import RawObject
from chalicelib.quality import suite as suites
from chalicelib.schema import DISCARD
from chalicelib.sources.base import Source

if TYPE_CHECKING:
    from chalicelib.warehouse.ledger import EarlierRun

RESULTS, ROWS, FAILURE = "results.json", "rows.copy", "failure.json"
# what Validate keeps in a chunk's results for later runs; the ledger has the first two in columns
_TRANSFORMED, _VALIDATED, _RAW_KEYS, _JUDGE, _CHECKSUM = _KEPT = (
    "transformed",
    "validated",
    "raw_keys",
    "judge",
    "checksum",
)
# Great Expectations and what it judges with: `code_fingerprint` leaves it out, for on AWS Plan does not have it
_JUDGES = ("great-expectations", "jsonschema", "numpy", "pandas", "python-dateutil")

# the state machine gives a run that long: nothing that it takes over may expire before its end
_MARGIN = dt.timedelta(days=1)
_EXPIRY = re.compile(r'expiry-date="([^"]+)"')
_ANEW = "`sluice redrive` makes the chunk anew"
_AT_ONCE = 16  # runs whose objects are listed


# --- what Validate keeps, and what the stages read of it -------------------------------------


def kept(chunk: Chunk, transformed: TransformResult, validated: ValidateResult, rows: bytes) -> dict:
    """What Validate writes into a chunk's results, so that it and Transform can answer again without their work.

    The checksum is that of the rows as they were judged: CRC-32, 5 ms for the 13 MB of a chunk, where SHA-256 takes 16.
    """
    return {
        _TRANSFORMED: write_contract(transformed),
        _VALIDATED: write_contract(validated),
        _RAW_KEYS: _raw_keys(chunk),
        _JUDGE: code_fingerprint.versions(_JUDGES),
        _CHECKSUM: zlib.crc32(rows),
    }


def counted(results: dict) -> dict:
    """A chunk's results without what `kept` put there."""
    return {name: value for name, value in results.items() if name not in _KEPT}


def expect_judged(results: dict, rows: bytes, **where) -> None:
    """Raise AccountError where `rows` are not those that were judged: somebody has altered the object since."""
    if zlib.crc32(rows) != results.get(_CHECKSUM):
        raise AccountError(
            "the rows of the chunk are not those that Validate judged",
            **where,
            next_step=_ANEW,
        )


def transformed(lake: Lake, chunk: Chunk) -> TransformResult:
    """What Transform answered for the chunk in the run that did it."""
    return read_contract(TransformResult, _results(lake, chunk)[0][_TRANSFORMED])


def validated(lake: Lake, run_id: str, chunk: Chunk) -> ValidateResult | None:
    """What Validate answered for it; None where other versions than these judged it.

    Results that name raw objects are written once more for this run, whose objects have other names.
    """
    found, here = _results(lake, chunk)
    if found[_JUDGE] != code_fingerprint.versions(_JUDGES):
        return None
    answer = read_contract(ValidateResult, found[_VALIDATED])
    if here == found:
        return answer
    key = lake.put_json(keys.chunk(run_id, chunk.chunk, RESULTS), here)
    return dataclasses.replace(answer, results_key=key)


def schema(lake: Lake, chunk: Chunk, rows: bytes) -> dict:
    """What its results say of the schema, where `rows` are judged anew; raises what `expect_judged` does."""
    found, here = _results(lake, chunk)
    expect_judged(found, rows, chunk=chunk.chunk)
    return here["schema"]


def _results(lake: Lake, chunk: Chunk) -> tuple[dict, dict]:
    """The chunk's results as they were left, and with the names of this run's raw objects in place of those of then."""
    key = keys.chunk(chunk.done_by, chunk.chunk, RESULTS)
    where = {"chunk": chunk.chunk, "next_step": _ANEW}
    try:
        found = lake.get_json(key)
        if missing := [name for name in ("schema", "set_aside", "expectations", *_KEPT) if name not in found]:
            raise KeyError(*missing)
        here = _raw_keys(chunk)
        names = {there: here[part] for part, there in found[_RAW_KEYS].items()}
    except NotFound as error:
        raise NotFound(f"{key}, which the chunk was to be taken over from, is gone", **where) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ContractError(f"{key} is not as Validate wrote it: {type(error).__name__}", **where) from error
    return found, _renamed(found, names)


def _renamed(value, names: Mapping[str, str]):
    """`value` with other names for raw objects, wherever an example, or a field that was seen, says where it is."""
    if isinstance(value, dict):
        return {
            name: names.get(held, held) if name == "raw" and isinstance(held, str) else _renamed(held, names)
            for name, held in value.items()
        }
    return [_renamed(each, names) for each in value] if isinstance(value, list) else value


def _raw_keys(chunk: Chunk) -> dict[str, str]:
    return {str(piece.part): piece.raw_key for piece in chunk.slices}


# --- which chunks are taken over -------------------------------------------------------------


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
    whole = _left(lake, name, same, before.redriven)
    taken = [dataclasses.replace(chunk, done_by=whole.get(chunk.chunk)) for chunk in chunks]
    return taken, name if whole else None


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


def _left(lake: Lake, name: str, same: Mapping[int, str | None], redriven: bool) -> dict[int, str]:
    """By chunk, the run that has all that it left of it. None of what has failed to be taken over by an attempt."""

    def listed(run: str) -> list[str]:
        # a run that others have their chunks from may be about to expire before they are
        return lake.keys(keys.chunks(run)) if run == name or _stays(lake, run) else []

    asked = {by or name for by in same.values()} | ({name} if redriven else set())
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        there = {key for found in pool.map(listed, asked) for key in found}
    whole = {}
    for number, by in same.items():
        left = {keys.chunk(by or name, number, each) for each in (RESULTS, ROWS)}
        if left <= there and not (by is not None and keys.chunk(name, number, FAILURE) in there):
            whole[number] = by or name
    return whole
