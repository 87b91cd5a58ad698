"""Chunks that the failed run had transformed and validated: the redriven one loads what these stages left."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from chalicelib.contract_reading import read_contract, write_contract
from chalicelib.contracts import Chunk, TransformResult, ValidateResult
from chalicelib.lake import Lake, keys
from chalicelib.schema import DISCARD
from chalicelib.sources.base import Source

RESULTS, ROWS = "results.json", "rows.copy"
_TRANSFORMED, _VALIDATED = "transformed", "validated"


def kept(transformed: TransformResult, validated: ValidateResult) -> dict:
    """What Validate writes into a chunk's results, so that both stages can answer again without their work."""
    return {_TRANSFORMED: write_contract(transformed), _VALIDATED: write_contract(validated)}


def counted(results: dict) -> dict:
    """A chunk's results without what `kept` put there: the ledger has it in columns."""
    return {name: value for name, value in results.items() if name not in (_TRANSFORMED, _VALIDATED)}


def transformed(lake: Lake, chunk: Chunk) -> TransformResult:
    """What Transform answered for the chunk in the run that did it."""
    return read_contract(TransformResult, _results(lake, chunk)[_TRANSFORMED])


def validated(lake: Lake, chunk: Chunk) -> ValidateResult:
    """What Validate answered for it."""
    return read_contract(ValidateResult, _results(lake, chunk)[_VALIDATED])


def _results(lake: Lake, chunk: Chunk) -> dict:
    return lake.get_json(keys.chunk(chunk.done_by, chunk.chunk, RESULTS))


def marked(lake: Lake, source: Source, run: dict, failed: Sequence[dict], chunks: Sequence[Chunk]) -> list[Chunk]:
    """The chunks of a redriven run; `done_by` of those that the failed one finished is that, or where it had them from.

    A chunk is finished where its results are in the lake, and is the same where the manifests say the same of it:
    slices, header, number. `run` and `failed`, the run that is redriven and those before it, are rows of the ledger.
    Of these the newest with a manifest counts. None is taken over where the code, the suite, the declaration or the
    columns are others today, or were others in a second round of an evolving schema.
    """
    before = next((each for each in failed if lake.keys(keys.manifest(each["run_id"]))), None)
    if before is None or before["code"] is None or before["code"] != run["code"]:
        return list(chunks)
    run_id, name = run["run_id"], before["run_id"]
    if source.is_declared_by_run and lake.get_json(keys.declaration(run_id)) != lake.get_json(keys.declaration(name)):
        return list(chunks)
    if source.schema_contract != DISCARD:
        schema = lake.get_json(keys.schema(run_id))
        earlier = keys.schema(name)
        if schema["revision"] or not lake.has(earlier) or schema != lake.get_json(earlier):
            return list(chunks)
    planned = [read_contract(Chunk, chunk) for chunk in lake.get_json(keys.manifest(name))]
    done_by = {chunk.chunk: (chunk, chunk.done_by or name) for chunk in planned}
    # a run before the failed one may have expired meanwhile, and of the failed one what it did not do itself is there
    there = {key for each in {by for _, by in done_by.values()} for key in lake.keys(keys.chunks(each))}
    return [_marked(chunk, *done_by.get(chunk.chunk, (None, name)), there) for chunk in chunks]


def _marked(chunk: Chunk, earlier: Chunk | None, done_by: str, there: set[str]) -> Chunk:
    if earlier is None or dataclasses.replace(earlier, done_by=None) != chunk:
        return chunk
    if not {keys.chunk(done_by, chunk.chunk, left) for left in (RESULTS, ROWS)} <= there:
        return chunk
    return dataclasses.replace(chunk, done_by=done_by)
