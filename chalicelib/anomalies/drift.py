"""A run against the earlier runs of its source: more or fewer rows, more nulls, another mean, older data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from statistics import median

from chalicelib.anomalies.drift_declaration import FRESHNESS, MEAN, NULL_RATE, ROW_COUNT, Drift, Limit
from chalicelib.anomalies.statistics import Statistics
from chalicelib.quality import catalogue
from chalicelib.quality.results import ItemResult
from chalicelib.quality.suite import INFO, WARNING
from chalicelib.quality.verdict import DRIFT, FAIL, NOTE, WARN, Finding, Observation, percent

# runs differ by themselves: so many of their own spreads are always tolerated
_SPREADS = 3.0
_SPREAD_OF_NORMAL = 1.4826  # a standard deviation over the median absolute deviation, of a normal distribution


def judge(drift: Drift, found: Statistics, earlier: Sequence[Statistics], reference: dt.datetime) -> list[Observation]:
    """What there is to say of a run, by each declared measure and column.

    `earlier` are comparable runs. `reference` is the moment that the age of the data is counted to.
    """
    observed = []
    for limit in drift.limits:
        for column in limit.columns or ("",):
            if limit.kind == FRESHNESS:
                observed += _fresh(limit, column, found, reference)
                continue
            if limit.kind != ROW_COUNT and found.is_by_hand:
                # days or files that somebody picked may be of any season
                observed.append(_observation(limit, column, True, "not judged: the window or input was given by hand"))
                continue
            value, history = _measured(limit.kind, column, found, earlier)
            if value is None or len(history) < drift.minimum_runs:
                why = "no value" if value is None else f"{len(history)} of {drift.minimum_runs} runs to compare with"
                observed.append(_observation(limit, column, True, f"not judged: {why}"))
            else:
                observed.append(_compared(limit, column, value, history, found, earlier))
    return observed


def _measured(kind: str, column: str, found: Statistics, earlier: Sequence[Statistics]):
    """(this run's value, those of the earlier runs that have one)."""
    if kind == ROW_COUNT:
        return found.rate, [run.rate for run in earlier]
    values = [_of(kind, column, run) for run in (found, *earlier)]
    return values[0], [value for value in values[1:] if value is not None]


def _of(kind: str, column: str, run: Statistics) -> float | None:
    measured = run.columns.get(column, {})
    if kind == MEAN:
        return measured.get("mean")
    return measured["nulls"] / run.rows if run.rows and "nulls" in measured else None


def _compared(
    limit: Limit, column: str, value: float, history: list[float], found: Statistics, earlier: Sequence[Statistics]
) -> Observation:
    middle = median(history)
    varies = _SPREADS * _SPREAD_OF_NORMAL * median([abs(one - middle) for one in history])
    if limit.kind == ROW_COUNT:
        tolerated = limit.tolerance * middle
    elif limit.kind == NULL_RATE:
        tolerated = limit.tolerance
    else:
        deviations = [run.columns.get(column, {}).get("deviation") for run in earlier]
        tolerated = limit.tolerance * median([one for one in deviations if one is not None] or [0.0])
    # whatever is added up in another order differs in its last digits
    room = max(tolerated, varies) + 1e-9 * abs(middle)
    low, high = middle - room, middle + room
    kept = value <= high if limit.kind == NULL_RATE else low <= value <= high
    low = max(low, 0.0) if limit.kind == ROW_COUNT else low
    shown = {
        ROW_COUNT: lambda: (
            f"{_count(value * found.extent)} rows{_span(found)},"
            f" {_count(low * found.extent)} to {_count(high * found.extent)} expected"
        ),
        NULL_RATE: lambda: f"{percent(value)} null, at most {percent(min(high, 1.0))} expected",
        MEAN: lambda: f"mean {_short(value)}, {_short(low)} to {_short(high)} expected",
    }[limit.kind]()
    return _observation(limit, column, kept, f"{shown} after {len(history)} earlier runs")


def _span(found: Statistics) -> str:
    """For how much the rows are: nothing where every run asks for the same."""
    if found.extent == 1:
        return ""
    return f" for {found.extent:g} {'raw objects' if found.scope in ('inbox', 'input') else 'days'}"


def _fresh(limit: Limit, column: str, found: Statistics, reference: dt.datetime) -> Iterator[Observation]:
    if found.scope == "input":  # files that somebody gave by hand are as old as they are
        yield _observation(limit, column, True, "not judged: the files were given by hand")
        return
    newest = found.columns.get(column, {}).get("newest")
    if newest is None:
        yield _observation(limit, column, False, f"no value, newer than {_age(limit.max_age)} expected")
        return
    age = dt.timedelta(seconds=reference.timestamp() - newest)
    told = f"the newest value is {_age(max(age, dt.timedelta()))} old, at most {_age(limit.max_age)} expected"
    yield _observation(limit, column, age <= limit.max_age, told)


def _observation(limit: Limit, column: str, kept: bool, told: str) -> Observation:
    subject = f"{limit.kind.replace('_', ' ')} of {column}" if column else limit.kind.replace("_", " ")
    name = f"{DRIFT} {limit.kind} {column}".strip()
    text = f"{subject}: {told}"
    result = ItemResult(
        id=name,
        type=f"{DRIFT}_{limit.kind}",
        severity=limit.severity,
        scope=catalogue.DATASET,
        title=f"{subject} as in earlier runs"
        if limit.kind != FRESHNESS
        else f"{subject}: at most {_age(limit.max_age)}",
        success=kept,
        text=text,
        observed=told,
    )
    if kept:
        return Observation(result)
    level = {WARNING: WARN, INFO: NOTE}.get(limit.severity, FAIL)
    return Observation(result, (Finding(level, DRIFT, text, expectation=name),))


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _short(value: float) -> str:
    return f"{value:.4g}"


def _age(age: dt.timedelta) -> str:
    """ "3 days", "5 hours", "20 minutes": the largest unit of which there are two."""
    minutes = age.total_seconds() / 60
    for name, size in (("days", 24 * 60), ("hours", 60)):
        if minutes >= 2 * size:
            return f"{minutes / size:.3g} {name}"
    return f"{minutes:.3g} minutes"
