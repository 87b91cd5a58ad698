"""Validate: row-wise expectations; a row that fails a critical one is set aside with all its reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chalicelib import chunk_results, code_fingerprint, sources
from chalicelib import settings as settings_module
from chalicelib.contract_reading import write_contract
from chalicelib.contracts import Chunk, TransformResult, ValidateRequest, ValidateResult
from chalicelib.lake import Lake, keys, records
from chalicelib.lake.position import part_and_line
from chalicelib.quality import rows as row_quality
from chalicelib.quality import suite as suites
from chalicelib.rejection import Rejected
from chalicelib.rejection import store as store_rejected
from chalicelib.sources.base import Source
from chalicelib.warehouse import copy_text
from chalicelib.warehouse.cells import Cells


def validate(request: ValidateRequest) -> ValidateResult:
    settings = settings_module.current()
    settings.require("bucket")
    lake = Lake(settings.bucket)
    transformed, code, kept = request.transformed, code_fingerprint.of_process(request.source, settings), None
    if chunk_results.is_taken_over(request.chunk, transformed):
        kept = chunk_results.kept(lake, request.chunk)
        if kept.is_judged_by(code):
            return kept.validated(lake, request.run_id)
    source = sources.for_run(request.source, request.run_id, lake)
    suite = suites.load(source)
    stored = lake.get(transformed.rows_key)
    rows = copy_text.cells(stored, source.columns)
    check = row_quality.check(copy_text.read_frame(rows, source.columns, suite.row_columns), suite)

    positions = sorted(check.failing)
    rejected_keys = [transformed.rejected_key] if transformed.rejected_key else []
    if positions:
        seqs = rows.seqs_at(positions)
        raw = records.raw_texts(request.chunk, source, lake, settings, seqs)
        rejected = (
            Rejected(*part_and_line(seq), tuple(check.failing[position]), raw[seq], key)
            for position, seq, key in zip(positions, seqs, _keys(rows, source, positions), strict=True)
        )
        key = keys.chunk(request.run_id, transformed.chunk, keys.FAILING)
        rejected_keys.append(store_rejected(lake, key, rejected))
    located = row_quality.located(check.counts, _origins(rows, request.chunk))
    validated = ValidateResult(
        chunk=transformed.chunk,
        records=transformed.records,
        rows=transformed.rows - len(check.failing),
        rejected=transformed.rejected + len(check.failing),
        rows_key=transformed.rows_key,
        rejected_keys=tuple(rejected_keys),
        results_key=keys.chunk(request.run_id, transformed.chunk, keys.RESULTS),
    )
    counted = {
        "expectations": [write_contract(count) for count in located],
        "schema": kept.schema(stored) if kept else _schema(lake, transformed),
        "set_aside": positions,
    }
    chunk_results.store(lake, counted, request.chunk, transformed, validated, code, stored)
    return validated


def _keys(rows: Cells, source: Source, positions: list[int]) -> Iterator[tuple[str, ...]]:
    """The keys of the rows at `positions`; none is null, Transform has set such rows aside."""
    return zip(*(rows.texts_at(positions, source.column_names.index(name)) for name in source.key), strict=True)


def _schema(lake: Lake, transformed: TransformResult) -> dict:
    observed = lake.get_json(transformed.observed_key) if transformed.observed_key else None
    return {"revision": transformed.schema_revision, "observed": observed}


def _origins(rows: Cells, chunk: Chunk) -> Callable[[list[int]], list[tuple[str, int]]]:
    """Positions of rows as (raw object, line)."""
    raw_keys = {piece.part: piece.raw_key for piece in chunk.slices}

    def found(positions: list[int]) -> list[tuple[str, int]]:
        places = map(part_and_line, rows.seqs_at(positions))
        return [(raw_keys[part], line) for part, line in places]

    return found
