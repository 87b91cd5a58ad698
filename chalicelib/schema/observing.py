"""What Transform tells of a chunk's fields, and the sum over all chunks.

A chunk without unknown fields and misfits pays for two set operations. Where a source keeps unknown
fields in raw only, they are counted and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from chalicelib.columns import Column
from chalicelib.conversion import fits, is_null
from chalicelib.lake import formats
from chalicelib.lake.position import part_and_line
from chalicelib.schema import DISCARD, EVOLVE, FREEZE, kinds, ladder, names
from chalicelib.schema.model import Observation, Seen

if TYPE_CHECKING:
    from chalicelib.contracts import Chunk
    from chalicelib.sources.base import Source

# of the unknown fields that a chunk names; a document may have any number
NAMED = 100


class Observer:
    """Takes what a chunk's conversion finds; `source` has the columns that the run works with."""

    def __init__(self, source: Source, chunk: Chunk, seqs: Sequence[int]):
        self._source, self._chunk, self._seqs = source, chunk, seqs
        self._misfits: list[Seen] = []

    def values_that_do_not_fit(self, column: Column, values: Sequence, positions: Iterable[int]) -> None:
        """`positions` are those of `values` for which `column` has a problem, such as a wrong type or null."""
        contract = self._source.schema_contract
        if contract == DISCARD:
            return
        key, text = self._source.key, self._source.text
        steps = ladder.above(column.type) if contract == FREEZE else ladder.allowed(column, key, text)
        reached, records, first = 0, 0, None
        for position in positions:
            value = values[position]
            step = next((i for i in range(reached, len(steps)) if fits(value, Column(column.name, steps[i]))), None)
            if step is None or is_null(value):
                continue
            reached, records = step, records + 1
            first = position if first is None else min(first, position)
        if records:
            self._misfits.append(Seen(column.name, steps[reached], records, *self._place(first)))

    def observation(self, fields: Mapping[str, Sequence]) -> Observation:
        """`fields` as they were before conversion."""
        source = self._source
        taken = {source.late.get(name, name) for name in source.column_names}
        found = sorted(set(fields) - taken)
        told = found  # what is to become a column has to be named
        if source.schema_contract != EVOLVE:
            # without any of the columns a CSV has no header row, and these are values
            is_header = self._chunk.format != formats.CSV or not taken.isdisjoint(fields)
            told = [name for name in found if is_header and names.is_like_a_field(name)]
        missing = ()
        if source.schema_contract == FREEZE and len(self._seqs):
            missing = tuple(name for name in source.column_names if name not in source.late and name not in fields)
        unknown = tuple(self._unknown(name, fields[name]) for name in told[:NAMED])
        more, nameless = max(len(told) - NAMED, 0), len(found) - len(told)
        return Observation(unknown, tuple(self._misfits), missing, more, nameless)

    def _unknown(self, name: str, values: Sequence) -> Seen:
        kinds_of_values = set(map(type, values))
        if kinds_of_values <= {str, int, bool, dict, list, type(None)}:
            present = len(values) - values.count(None)
        else:
            present = sum(not is_null(value) for value in values)
        if self._source.schema_contract == DISCARD:
            return Seen(name, None, present)
        first = next((i for i, value in enumerate(values) if not is_null(value)), 0)
        found = kinds.inferred(values, self._chunk.format == formats.CSV)
        return Seen(name, found, present, *(self._place(first) if len(self._seqs) else ()))

    def _place(self, position: int) -> tuple[str, int]:
        part, line = part_and_line(int(self._seqs[position]))
        return next(piece.raw_key for piece in self._chunk.slices if piece.part == part), line


def total(observations: Iterable[Observation]) -> Observation:
    """What a run saw: `observations` of its chunks that hold records, in raw order."""
    unknown: dict[str, Seen] = {}
    misfits: dict[str, Seen] = {}
    missing: set[str] | None = None
    more = nameless = 0
    for seen in observations:
        for field in seen.unknown:
            unknown[field.name] = _sum(unknown.get(field.name), field, kinds.together)
        for column in seen.misfits:
            misfits[column.name] = _sum(misfits.get(column.name), column, _wider)
        missing = set(seen.missing) if missing is None else missing & set(seen.missing)
        more, nameless = max(more, seen.more), max(nameless, seen.nameless)
    return Observation(
        tuple(unknown[name] for name in sorted(unknown)),
        tuple(misfits[name] for name in sorted(misfits)),
        tuple(sorted(missing or ())),
        more,
        nameless,
    )


def _sum(one: Seen | None, other: Seen, join) -> Seen:
    if one is None:
        return other
    first = one if one.records or not other.records else other
    return Seen(one.name, join(one.type, other.type), one.records + other.records, first.raw, first.line)


def _wider(one: str, other: str) -> str:
    return ladder.common(one, other)
