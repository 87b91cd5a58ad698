"""Row-wise expectations on one chunk: which rows fail, and what each expectation counted.

Great Expectations evaluates every item. Severity decides about rows here; `mostly` plays no part:
what a chunk counts is summed and judged over the whole run (see `verdict`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chalicelib.columns import Column
from chalicelib.conversion import shorten
from chalicelib.errors import GateError
from chalicelib.quality import catalogue, distinct, engine, prepared
from chalicelib.quality.suite import CRITICAL, Item, Suite
from chalicelib.redaction import MASK
from chalicelib.rejection import EXPECTATION, Reason

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 3

_FORMAT = {
    "result_format": "COMPLETE",
    "partial_unexpected_count": 0,
    "exclude_unexpected_values": True,
    "include_unexpected_rows": False,
    "return_unexpected_index_query": False,
}


@dataclass(frozen=True)
class Example:
    """One value that failed. `position` is the row in its chunk; `raw` and `line` say where it came from."""

    value: str
    position: int | None = None
    raw: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class ItemCount:
    """What one row-wise expectation counted in one chunk.

    `evaluated` are the rows it judged, `nulls` those it passed over because there was nothing to
    judge; rows outside its row condition are in neither.
    """

    id: str
    evaluated: int
    unexpected: int
    nulls: int = 0
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class RowCheck:
    """`counts` in the suite's order; `failing` maps a row's position to all its reasons, critical ones only."""

    counts: tuple[ItemCount, ...]
    failing: dict[int, list[Reason]] = field(default_factory=dict)


def check(frame: pd.DataFrame, suite: Suite) -> RowCheck:
    """Judge the rows of `frame`, whose index is 0, 1, … and which holds `suite.row_columns`.

    Dates and times are ISO text, text and jsonb are objects with None, integers are int64, or
    float64 where some are null, objects where some are beyond 2**53. Raises GateError for an
    item that could not be evaluated, and for a frame without a column that the suite reads.
    """
    if missing := [name for name in suite.row_columns if name not in frame.columns]:
        raise GateError(f"the chunk has no column {', '.join(missing)}, which {suite.file} judges", suite=suite.name)
    counts: dict[str, ItemCount] = {}
    failing: dict[int, list[Reason]] = {}
    for item, outcome in outcomes(frame, suite, suite.row_items):
        if outcome.error:
            raise GateError(
                f"{suite.where(item)} of {suite.file} could not be evaluated",
                quote=outcome.error,
                suite=suite.name,
                column=", ".join(item.columns) or None,
                next_step=f"correct the expectation in {suite.file}, or the source's transform()",
            )
        positions = _positions(outcome.result, item, suite)
        values = _values(frame, item, suite, positions if item.severity == CRITICAL else positions[:EXAMPLES])
        counts[item.id] = _count(item, outcome.result, positions, values)
        if item.severity == CRITICAL:
            for position, reason in zip(positions, _reasons(item, values), strict=True):
                failing.setdefault(position, []).append(reason)
    return RowCheck(tuple(counts[item.id] for item in suite.row_items), failing)


def located(
    counts: Sequence[ItemCount], origins: Callable[[list[int]], Sequence[tuple[str, int]]]
) -> tuple[ItemCount, ...]:
    """`counts` with the raw object and line of every example; `origins` gives both for each position asked."""
    positions = sorted({example.position for count in counts for example in count.examples})
    found = dict(zip(positions, origins(positions), strict=True)) if positions else {}
    return tuple(
        dataclasses.replace(
            count,
            examples=tuple(
                dataclasses.replace(example, raw=found[example.position][0], line=found[example.position][1])
                for example in count.examples
            ),
        )
        for count in counts
    )


def outcomes(frame: pd.DataFrame, suite: Suite, items: Sequence[Item]) -> Iterator[tuple[Item, engine.Outcome]]:
    """Evaluate `items`, those that read the same columns together (see `engine` for why), in the suite's order.

    Of results that is kept by which rows are counted and named.
    """
    groups: dict[tuple, list[Item]] = {}
    for item in items:
        groups.setdefault((item.read_columns, _as_moments(item, suite)), []).append(item)
    found: dict[str, engine.Outcome] = {}
    for (columns, moments), members in groups.items():
        rows = frame[list(columns)]
        for kinds, judging in distinct.parts(rows, members):
            part = kinds.values.to_frame() if kinds else rows
            if moments:
                try:
                    part = part.assign(**{columns[0]: _moments(part[columns[0]], moments)})
                except ValueError as error:
                    found |= {item.id: engine.Outcome(False, {}, str(error)) for item in judging}
                    continue
            judged = prepared.evaluate(part, suite, judging, _FORMAT)
            found |= {id: kinds.outcome_of_rows(outcome) for id, outcome in judged.items()} if kinds else judged
    for item in items:
        yield item, found[item.id]


def _as_moments(item: Item, suite: Suite) -> str | None:
    """The family of a column whose text must become dates or times, because its bounds are such."""
    if item.type != "expect_column_values_to_be_between":
        return None
    family = suite.family(item.columns[0])
    return family if family in catalogue.TEMPORAL else None


def _moments(texts: pd.Series, family: str) -> pd.Series:
    """ISO text as date or datetime objects.

    Objects, not datetime64: bounds arrive as dates and datetimes, and Great Expectations compares
    datetime64 with neither dates nor anything before 1678.
    """
    import pandas as pd

    parse = dt.date.fromisoformat if family == catalogue.DATE else dt.datetime.fromisoformat
    known: dict[str, dt.date] = {}
    for text in texts.dropna().unique():
        moment = parse(text)
        if family == catalogue.TIMESTAMPTZ and moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        known[text] = moment
    return pd.Series([known.get(text) for text in texts], index=texts.index, dtype=object)


def _positions(result: dict, item: Item, suite: Suite) -> list[int]:
    positions = [int(position) for position in result.get("unexpected_index_list") or ()]
    unexpected = result.get("unexpected_count") or 0
    if len(positions) != unexpected:
        raise GateError(
            f"{suite.where(item)} of {suite.file} found {unexpected} rows but named {len(positions)}",
            suite=suite.name,
            next_step="this version of Great Expectations is not the pinned one; install requirements-gate.txt",
        )
    return positions


def _count(item: Item, result: dict, positions: list[int], values: list[list[str]]) -> ItemCount:
    total = int(result.get("element_count") or 0)
    nulls = int(result.get("missing_count") or 0)
    examples = tuple(
        Example(_described(item, shown), position)
        for position, shown in zip(positions[:EXAMPLES], values, strict=False)
    )
    return ItemCount(item.id, total - nulls, len(positions), nulls, examples)


def _values(frame: pd.DataFrame, item: Item, suite: Suite, positions: list[int]) -> list[list[str]]:
    """The judged values at `positions` as text, a list per row in the order of `item.columns`."""
    declared = {column.name: column for column in suite.columns}
    columns = [
        [_text(value, declared[name]) for value in frame[name].to_numpy()[positions].tolist()] for name in item.columns
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def _text(value: object, column: Column) -> str:
    if value is None or value != value:
        return "null"
    if column.personal:
        return MASK
    if isinstance(value, float):
        # a column of integers with nulls among them arrives as float64
        return str(int(value)) if column.base in ("smallint", "integer", "bigint") else catalogue.number(value)
    return shorten(value)


def _described(item: Item, values: Sequence[str]) -> str:
    if len(values) == 1:
        return values[0]
    return ", ".join(f"{name} {value}" for name, value in zip(item.columns, values, strict=True))


def _reasons(item: Item, values: list[list[str]]) -> Iterator[Reason]:
    """One reason per row; rows with the same values share one (a whole chunk may fail alike)."""
    column = ", ".join(item.columns)
    made: dict[tuple[str, ...], Reason] = {}
    for shown in map(tuple, values):
        reason = made.get(shown)
        if reason is None:
            told = " and ".join(f"{name} is {value}" for name, value in zip(item.columns, shown, strict=True))
            message = f"{told}, expected {item.expected}"
            reason = made[shown] = Reason(EXPECTATION, message, column, _described(item, shown), item.id)
        yield reason
