"""What the gate says of a run's columns: those that it changes, and the fields that no column takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from chalicelib.contract_reading import read_contract
from chalicelib.quality.rows import Example
from chalicelib.quality.verdict import WARN, Finding
from chalicelib.schema import EVOLVE, observing
from chalicelib.schema.model import Observation, SchemaReport

if TYPE_CHECKING:
    from chalicelib.sources.base import Source

# kinds of findings: a column that the run adds or widens, and one that it may not widen
CHANGE, KEPT = "schema", "schema kept"

# of the fields that are kept in raw only; all of them are with the run's chunks
_NAMED = 20


def made(source: Source, results: Sequence[dict]) -> SchemaReport:
    """`results` are what Validate wrote of each chunk."""
    counts: Counter[str] = Counter()
    seen = [read_contract(Observation, result["schema"]["observed"] or {}) for result in results]
    for observed in seen:
        counts.update({field.name: field.records for field in observed.unknown})
    more = max((observed.more + observed.nameless for observed in seen), default=0)
    # once the columns are as wide as they get
    kept = observing.total(seen).misfits if source.schema_contract == EVOLVE else ()
    named = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    changes = source.schema.changes if source.schema else ()
    more += max(len(named) - _NAMED, 0)
    return SchemaReport(source.schema_contract, changes, kept, tuple(named[:_NAMED]), more)


def findings(report: SchemaReport, published: bool = True) -> list[Finding]:
    """A change of the table warns, so that somebody is told; so does one that is not made.

    `published` is whether the run comes to that.
    """
    kept = [
        Finding(
            WARN,
            KEPT,
            f"column {seen.name} keeps its type, since the suite or an anomaly that judges it could not judge "
            f"{seen.type}, which {seen.records:,} of the quarantined rows need{'s' if seen.records == 1 else ''}",
            examples=(Example(value=f"column {seen.name}", raw=seen.raw, line=seen.line),) if seen.raw else (),
        )
        for seen in report.kept
    ]
    return kept + [
        Finding(
            WARN,
            CHANGE,
            change.text(published),
            examples=(Example(value=f"field {change.field}", raw=change.raw, line=change.line),) if change.raw else (),
        )
        for change in report.changes
    ]


def section(report: SchemaReport) -> str:
    """The part of the page; empty where there is nothing to tell."""
    rows = [
        (change.column, change.change, f"{change.from_type or 'none'} to {change.to_type}", _counted(change.records))
        for change in report.changes
    ]
    rows += [(field, "kept in raw only", "", _counted(records)) for field, records in report.raw_only]
    if not rows:
        return ""
    more = f'<p class="quiet">and {report.more:,} more fields kept in raw only</p>' if report.more else ""
    body = "\n".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return (
        f'<section>\n<h2>Columns</h2>\n<p class="quiet">schema contract {escape(report.contract)}</p>\n<table>\n'
        "<thead><tr><th>Column or field</th><th>Change</th><th>Type</th><th>Records</th></tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>\n{more}</section>"
    )


def _cells(row: Iterable[str]) -> str:
    return "".join(f"<td>{escape(text)}</td>" for text in row)


def _counted(records: int | None) -> str:
    return "" if records is None else f"{records:,}"
