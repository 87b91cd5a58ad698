"""Transform: the raw records of a chunk become typed rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chalicelib import chunk_results, code_fingerprint, sources
from chalicelib import settings as settings_module
from chalicelib.columns import Column
from chalicelib.contract_reading import write_contract
from chalicelib.contracts import Chunk, TransformRequest, TransformResult
from chalicelib.conversion import NULL, encode, indexed, quoted, shorten
from chalicelib.errors import TransformError
from chalicelib.lake import Lake, formats, keys, records
from chalicelib.lake.position import part_and_line
from chalicelib.lake.records import ReadRecords
from chalicelib.rejection import RECORD, TYPE, Reason, Rejected
from chalicelib.rejection import store as store_rejected
from chalicelib.schema import FREEZE, header
from chalicelib.schema.model import Observation
from chalicelib.schema.observing import Observer
from chalicelib.sources.base import Source
from chalicelib.warehouse import copy_text
from chalicelib.warehouse.cells import unescaped

if TYPE_CHECKING:
    import pandas as pd

_INT64 = 2**63
_FLOAT64 = 2**53  # beyond, it does not hold every integer


@dataclass(frozen=True)
class _SetAside:
    """A row with values that its columns cannot hold; `key` as of `Rejected`."""

    reasons: tuple[Reason, ...]
    key: tuple[str, ...] | None


def transform(request: TransformRequest) -> TransformResult:
    settings = settings_module.current()
    settings.require("bucket")
    lake = Lake(settings.bucket)
    code = code_fingerprint.of_process(request.source, settings)
    if request.chunk.done_by is not None:
        answer = chunk_results.transformed(lake, request.chunk, code)
        if answer is not None:
            return answer
    source = sources.for_run(request.source, request.run_id, lake)
    batch = records.read(request.chunk, source, lake, settings, columns=_copied(source))
    fields = _transformed(batch, source, request.chunk)
    # a frozen schema is told of what a file lacks with all else that changed, once it has rows
    if request.chunk.format == formats.CSV and (source.schema_contract != FREEZE or not len(batch.seqs)):
        header.expect_all(source, fields, request.chunk)
    observer = Observer(source, request.chunk, batch.seqs)
    rows, unfit, kept = _typed(fields, batch, source, observer)
    observed_key = None
    if (observation := observer.observation(fields)) != Observation():
        observed_key = keys.chunk(request.run_id, request.chunk.chunk, keys.OBSERVED)
        lake.put_json(observed_key, write_contract(observation))

    raw = records.raw_texts(request.chunk, source, lake, settings, unfit) if unfit else {}
    rejected = len(batch.malformed) + len(unfit)
    rejected_key = None
    if rejected:
        key = keys.chunk(request.run_id, request.chunk.chunk, keys.MALFORMED)
        rejected_key = store_rejected(lake, key, _rejected(batch, unfit, raw))
    return TransformResult(
        chunk=request.chunk.chunk,
        records=batch.records,
        rows=kept,
        rejected=rejected,
        rows_key=lake.put(
            keys.chunk(request.run_id, request.chunk.chunk, keys.ROWS), rows, "text/tab-separated-values"
        ),
        rejected_key=rejected_key,
        observed_key=observed_key,
        schema_revision=source.schema.revision if source.schema else 0,
        code=code,
    )


def _rejected(batch: ReadRecords, unfit: dict[int, _SetAside], raw: dict[int, str]) -> Iterator[Rejected]:
    for bad in batch.malformed:
        yield Rejected(bad.part, bad.line, (Reason(RECORD, bad.reason),), bad.record)
    for seq, row in unfit.items():
        yield Rejected(*part_and_line(seq), row.reasons, raw[seq], row.key)


def _transformed(batch: ReadRecords, source: Source, chunk: Chunk) -> dict[str, list]:
    """The fields after the source's own transform; raises TransformError."""
    rows = len(batch.seqs)
    if type(source).transform is Source.transform or not (rows or chunk.format == formats.CSV):
        return batch.fields  # no frame to build: a third of the time of a chunk without a transform
    import pandas as pd

    frame = _frame(batch)
    where = {"source": source.name, "chunk": chunk.chunk}
    try:
        frame = source.transform(frame)
    except Exception as error:
        if not rows and not isinstance(error, KeyError):
            # it counts on there being rows, which says nothing of the header, unlike a field that it misses
            return {name: [] for name in source.column_names}
        raise TransformError(
            f"transform() raised {type(error).__name__}",
            quote=shorten(error, 500),
            **where,
            next_step=f"mend chalicelib/sources/{source.name}.py; leave values that may be bad to the column types",
        ) from error
    if not isinstance(frame, pd.DataFrame):
        raise TransformError(f"transform() returned {type(frame).__name__}, expected a DataFrame", **where)
    if len(frame) != rows or list(frame.index) != list(range(rows)):
        raise TransformError(
            f"transform() was given {rows} rows and returned {len(frame)}, or others",
            **where,
            next_step="return every row, index kept; rows are set aside by expectations, never dropped",
        )
    if not frame.columns.is_unique:
        raise TransformError("transform() returned two columns of one name", **where)
    return {str(name): frame[name].tolist() for name in frame.columns}


def _frame(batch: ReadRecords) -> pd.DataFrame:
    """The fields as columns; integers stay exact, where pandas would make floats of them beside nulls or floats."""
    import pandas as pd

    columns = {}
    for name, values in batch.fields.items():
        kinds = set(map(type, values))
        if kinds == {int, type(None)} and _within(values, _INT64):
            columns[name] = pd.array(values, dtype="Int64")
        elif not values or (int in kinds and len(kinds) > 1 and not _within(values, _FLOAT64)):
            columns[name] = pd.Series(values, dtype=object)
        else:
            columns[name] = values
    return pd.DataFrame(columns, index=range(len(batch.seqs)))


def _within(values: list, limit: int) -> bool:
    """Whether every integer among `values` is less than `limit` from 0."""
    return all(-limit < value < limit for value in values if type(value) is int)


def _copied(source: Source) -> tuple[Column, ...]:
    """The columns, where values may become rows without being looked at one by one."""
    looked_at = type(source).transform is not Source.transform or source.late or source.schema_contract == FREEZE
    return () if looked_at else tuple(source.columns)


def _typed(
    fields: dict[str, list], batch: ReadRecords, source: Source, observer: Observer
) -> tuple[bytes, dict[int, _SetAside], int]:
    """(COPY text of the rows that fit, the others by seq, how many fit)."""
    seqs = batch.seqs.tolist()
    columns: list[list[str]] = []
    reasons: dict[int, list[Reason]] = {}
    absent = [None] * len(seqs)
    late = {place: name for place, name in enumerate(source.column_names) if name in source.late}
    for column in source.columns:
        values = fields.get(source.late.get(column.name, column.name), absent)
        texts, problems = encode(values, column)
        columns.append(texts)
        if problems:
            observer.values_that_do_not_fit(column, values, problems)
        for position, message in problems.items():
            reason = Reason(TYPE, message, column.name, quoted(values[position], column))
            reasons.setdefault(position, []).append(reason)
    of_source, by_name = {c.name: c for c in source.columns}, dict(zip(source.column_names, columns, strict=True))
    for position, name in indexed.too_long(of_source, by_name, source.sorted_by).items():
        value = quoted(fields[source.late.get(name, name)][position], of_source[name])
        reason = Reason(TYPE, f"{name} is {value}, {indexed.UNFIT}", name, value)
        reasons.setdefault(position, []).append(reason)
    keys_of_rows = [by_name[name] for name in source.key]
    by_seq = {
        seqs[position]: _SetAside(tuple(why), _key([texts[position] for texts in keys_of_rows], why, source))
        for position, why in sorted(reasons.items())
    }
    if reasons:
        fit = [position for position in range(len(seqs)) if position not in reasons]
        columns = [[texts[position] for position in fit] for texts in columns]
        seqs = [seqs[position] for position in fit]
    if batch.uniform:
        return _with_uniform(batch, copy_text.encoded(columns), seqs), by_seq, len(seqs) + len(batch.uniform)
    return copy_text.write(columns, seqs, late), by_seq, len(seqs)


def _key(texts: list[str], why: list[Reason], source: Source) -> tuple[str, ...] | None:
    if NULL in texts or any(reason.column in source.key for reason in why):
        return None
    return tuple(map(unescaped, texts))


def _with_uniform(batch: ReadRecords, rows: list[bytes], seqs: list[int]) -> bytes:
    """Rows that were COPY text already and `rows` that have become it, in raw order."""
    all_rows, all_seqs = [*batch.uniform, *rows], np.concatenate([batch.uniform_seqs, np.array(seqs, dtype=np.int64)])
    if rows:
        order = np.argsort(all_seqs)
        all_rows, all_seqs = [all_rows[place] for place in order.tolist()], all_seqs[order]
    return copy_text.with_seqs(all_rows, all_seqs)
