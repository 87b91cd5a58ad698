"""The verdict on a run: pass, warn or fail, and why.

Row-wise expectations are judged here over all chunks together, dataset-wide ones as Postgres
answered, and the quarantined rows against the suite's tolerance:

| what                                    | critical                 | warning          | info |
|-----------------------------------------|--------------------------|------------------|------|
| row-wise: share above 1 - mostly        | fail, if `mostly` is set | warn (default 1) | note |
| dataset-wide: not kept                  | fail                     | warn             | note |
| quarantined share above tolerance       | `fail` limit: fail, `warn` limit: warn             |

A row that fails a critical row-wise expectation is in quarantine already; without `mostly` only the
tolerance decides what that means for the run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chalicelib.errors import GateError
from chalicelib.quality import results
from chalicelib.quality.results import ItemResult
from chalicelib.quality.rows import EXAMPLES, Example, ItemCount
from chalicelib.quality.suite import CRITICAL, WARNING, Item, Suite

PASS, WARN, FAIL = "pass", "warn", "fail"
NOTE = "note"  # a finding that changes no verdict
_WORST_FIRST = (FAIL, WARN, NOTE)

# kinds of findings
EXPECTATION = "expectation"
REJECTION = "rejection"  # rows that no expectation saw: malformed, or a value that its column cannot hold
ANOMALY = "anomaly"  # rows unlike the history of their series
DRIFT = "drift"  # a run unlike earlier runs
TOLERANCE = "tolerance"  # the share of quarantined rows as such


@dataclass(frozen=True)
class RejectionCount:
    """Rows quarantined before any expectation saw them, by reason."""

    reason: str
    count: int
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be, in words.

    `level` is what it does to the verdict: fail, warn, or note for nothing. `count` are rows and
    `share` is of the rows judged, 0 to 1; both None where rows are not counted. `quarantined` says
    that these rows are in quarantine. `expectation` is the id of the suite's item.
    """

    level: str
    kind: str
    text: str
    count: int | None = None
    share: float | None = None
    quarantined: bool = False
    expectation: str | None = None
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Observation:
    """Something judged by what was before, not by an expectation: its result, and what it found, with their levels."""

    result: ItemResult
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """`findings` worst first; `results` has every expectation, in the suite's order, then what was observed."""

    verdict: str
    findings: tuple[Finding, ...]
    results: tuple[ItemResult, ...]


def judge(
    suite: Suite,
    chunk_counts: Iterable[Sequence[ItemCount]],
    dataset_results: Sequence[ItemResult],
    fetched: int,
    quarantined: int,
    rejections: Sequence[RejectionCount] = (),
    observations: Sequence[Observation] = (),
    others: Sequence[Finding] = (),
) -> Verdict:
    """The verdict on a run of `fetched` rows, of which `quarantined` were set aside, rejected ones included.

    `chunk_counts` are the `RowCheck.counts` of every chunk; `others` are findings that no expectation made.
    Raises GateError where the counts or the dataset-wide results do not belong to this suite.
    """
    summed = _sum(suite, chunk_counts)
    by_id = {result.id: result for result in dataset_results}
    if set(by_id) != {item.id for item in suite.dataset_items}:
        raise GateError(f"the results on the staging table are not those of {suite.file}", suite=suite.name)
    outcomes = tuple(
        _row_result(item, summed[item.id]) if item.id in summed else by_id[item.id] for item in suite.items
    )

    limit = _tolerance_finding(suite, fetched, quarantined)
    over = limit.level if limit else NOTE
    findings = [*([limit] if limit else []), *others]
    for item, result in zip(suite.items, outcomes, strict=True):
        found = _row_finding(item, result, over) if item.id in summed else _dataset_finding(item, result)
        if found:
            findings.append(found)
    findings += [
        Finding(
            over,
            REJECTION,
            f"{_rows(rejection.count, fetched)} quarantined: {rejection.reason}",
            rejection.count,
            _share(rejection.count, fetched),
            True,
            None,
            rejection.examples,
        )
        for rejection in rejections
        if rejection.count
    ]
    findings += [finding for observation in observations for finding in observation.findings]
    findings.sort(key=_badness)
    worst = findings[0].level if findings else NOTE
    return Verdict(
        PASS if worst == NOTE else worst,
        tuple(findings),
        (*outcomes, *(observation.result for observation in observations)),
    )


def _badness(finding: Finding) -> tuple:
    # within a level: the tolerance first, then what is no matter of single rows, then by rows
    return (
        _WORST_FIRST.index(finding.level),
        finding.kind != TOLERANCE,
        finding.count is not None,
        -(finding.count or 0),
    )


def _sum(suite: Suite, chunk_counts: Iterable[Sequence[ItemCount]]) -> dict[str, ItemCount]:
    totals = {item.id: ItemCount(item.id, 0, 0) for item in suite.row_items}
    for number, counts in enumerate(chunk_counts):
        if {count.id for count in counts} != set(totals):
            raise GateError(
                f"the counts of chunk {number} are not those of {suite.file}",
                suite=suite.name,
                next_step="the suite changed while the run was under way; run the source again, with --from-scratch",
            )
        for count in counts:
            total = totals[count.id]
            totals[count.id] = dataclasses.replace(
                total,
                evaluated=total.evaluated + count.evaluated,
                unexpected=total.unexpected + count.unexpected,
                nulls=total.nulls + count.nulls,
                examples=(*total.examples, *count.examples)[:EXAMPLES],
            )
    return totals


def _row_result(item: Item, count: ItemCount) -> ItemResult:
    if count.unexpected:
        text = f"{_rows(count.unexpected, count.evaluated)}: {item.breach}"
    else:
        text = f"{item.title} in all {count.evaluated} rows"
    return results.of(
        item,
        not _exceeds(count.unexpected, count.evaluated, _allowed(item)),
        text,
        evaluated=count.evaluated,
        unexpected=count.unexpected,
        examples=count.examples,
    )


def _row_finding(item: Item, result: ItemResult, over_tolerance: str) -> Finding | None:
    """`over_tolerance` is the level that quarantined rows as such have."""
    if not result.unexpected:
        return None
    fate = ""
    if item.severity == CRITICAL:
        fate, level = " quarantined", over_tolerance
        if item.mostly is not None and not result.success:
            level = FAIL
    else:
        level = WARN if item.severity == WARNING and not result.success else NOTE
    text = f"{_rows(result.unexpected, result.evaluated)}{fate}: {item.breach}"
    if item.mostly is not None:
        text += f" ({'more than' if not result.success else 'within'} the {percent(_allowed(item))} that mostly allows)"
    return Finding(
        level,
        EXPECTATION,
        text,
        result.unexpected,
        result.share,
        item.severity == CRITICAL,
        item.id,
        result.examples,
    )


def _dataset_finding(item: Item, result: ItemResult) -> Finding | None:
    if result.success and not result.unexpected:
        return None
    level = {CRITICAL: FAIL, WARNING: WARN}.get(item.severity, NOTE)
    return Finding(
        NOTE if result.success else level,
        EXPECTATION,
        result.text,
        result.unexpected,
        result.share,
        False,
        item.id,
        result.examples,
    )


def _tolerance_finding(suite: Suite, fetched: int, quarantined: int) -> Finding | None:
    for level, limit in ((FAIL, suite.quarantine.fail), (WARN, suite.quarantine.warn)):
        if _exceeds(quarantined, fetched, limit):
            text = f"{_rows(quarantined, fetched)} quarantined, {percent(quarantined / fetched)}; "
            text += f"{suite.file} tolerates {percent(limit)} before a run {'fails' if level == FAIL else 'warns'}"
            return Finding(level, TOLERANCE, text, quarantined, quarantined / fetched, True)
    return None


def _allowed(item: Item) -> float:
    """The share of rows that may fail: 1 - mostly, without its rounding error (1 - 0.9 is 0.09999999999999998)."""
    return round(1 - (1.0 if item.mostly is None else item.mostly), 12)


def _exceeds(count: int, total: int, limit: float) -> bool:
    return count > limit * total + 1e-9


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0


def _rows(count: int, total: int | None) -> str:
    return f"{count:,} of {total:,} row{'' if total == 1 else 's'}"


def percent(share: float) -> str:
    """A share as people read it: "0.52%", "12%", and never "0%" for what is not nothing."""
    value = share * 100
    if value == 0 or value >= 10:
        return f"{value:.0f}%"
    return f"{value:.2g}%" if value >= 0.01 else "under 0.01%"
