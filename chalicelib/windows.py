"""Which days a run asks its source for."""

from __future__ import annotations

import calendar
import dataclasses
import datetime as dt
import re
from collections.abc import Iterator

from chalicelib.contracts import Window
from chalicelib.errors import ContractError
from chalicelib.run_input import RunInput
from chalicelib.sources.base import Source

_STEP = re.compile(r"(\d{1,4})(d|w|mo)")


def derive(source: Source, given: RunInput, position: str | None, today: dt.date) -> Window:
    """The window of a run.

    Given days win, and leave the cursor alone unless `move_cursor` is wanted. Otherwise the window starts after the
    cursor's `position` (less the source's overlap, for late data), or on the source's first day, and ends
    yesterday, or `window_days` later if that is sooner. A source without a first day has no windows; one whose
    first day is not over yet has no days so far: `Window()`. A part of the source (`input`) never moves the cursor,
    since these days of the rest would be left out.
    """
    if (window := asked_for(source, given, today)) is not None:
        return _moving(window, source, given, position) if given.move_cursor else window
    if source.first_day is None:
        return Window()
    yesterday = today - dt.timedelta(days=1)
    following = following_day(source, position)
    first = max(min(following, yesterday) - dt.timedelta(days=source.overlap_days), source.first_day)
    if position is None:
        first = source.first_day
    if first > yesterday:
        return Window()
    last = min(first + _longest(source), yesterday)
    return Window(first.isoformat(), last.isoformat(), by_cursor=not given.input)


def asked_for(source: Source, given: RunInput, today: dt.date) -> Window | None:
    """The window that a run's input names; None where it names none.

    Raises ContractError for what no run of the source could do, wherever its cursor is: whatever starts a run asks
    before it does.
    """
    if source.first_day is None:
        if given.start or given.end or given.move_cursor:
            raise ContractError(f"{source.name} has no windows", next_step="leave out from, to and move_cursor")
        return None
    if given.allow_gap and not given.move_cursor:
        raise ContractError("allow_gap means nothing without move_cursor", source=source.name)
    if given.move_cursor and given.input:
        raise ContractError(
            "a part of the source cannot move its cursor: these days of the rest would be left out",
            source=source.name,
            next_step="leave out input or move_cursor",
        )
    if not given.start and not given.end:
        return None
    yesterday = today - dt.timedelta(days=1)
    window = _given(source, given.start, given.end, yesterday)
    if given.move_cursor and dt.date.fromisoformat(window.end) > yesterday:
        raise ContractError(
            f"the window ends on {window.end}, and that day is not over: what comes later would never be asked for",
            source=source.name,
            next_step=f"end it on {yesterday} or before",
        )
    return window


def following_day(source: Source, position: str | None) -> dt.date:
    """The first day that has not been read: the one after the cursor, or the source's first."""
    return dt.date.fromisoformat(position) + dt.timedelta(days=1) if position else source.first_day


def _longest(source: Source) -> dt.timedelta:
    return dt.timedelta(days=source.window_days - 1)


def _given(source: Source, start: str | None, end: str | None, yesterday: dt.date) -> Window:
    if not start:
        raise ContractError("a window has an end but no start", source=source.name, next_step="give from as well")
    first = day("from", start)
    last = day("to", end) if end else max(first, min(first + _longest(source), yesterday))
    if last < first:
        raise ContractError(f"the window ends on {last}, before it starts on {first}", source=source.name)
    if first > yesterday:
        raise ContractError(
            f"the window begins on {first}, and that day is not over",
            source=source.name,
            next_step=f"begin it on {yesterday} or before",
        )
    return Window(first.isoformat(), last.isoformat())


def _moving(window: Window, source: Source, given: RunInput, position: str | None) -> Window:
    """The window as one that moves the cursor; raises ContractError where that would leave out days unseen."""
    following = following_day(source, position)
    if (first := dt.date.fromisoformat(window.start)) > following and not given.allow_gap:
        raise ContractError(
            f"no run has asked for the days from {following} to {first - dt.timedelta(days=1)};"
            " the cursor would pass them",
            source=source.name,
            next_step=f"start on {following} or before, or leave them out on purpose with allow_gap",
        )
    return dataclasses.replace(window, by_cursor=True)


def split(first: dt.date, last: dt.date, every: str) -> Iterator[tuple[dt.date, dt.date]]:
    """The windows of a backfill, both ends included: `every` is a number of days, weeks or months, as in 7d, 2w, 1mo.

    Months count from the first day: from January 31 the next windows start on February 28 and March 31. Raises
    ContractError for a step that is none.
    """
    found = _STEP.fullmatch(every)
    if not found or not int(found[1]):
        raise ContractError(f"every is {every!r}", next_step="give a number of days, weeks or months: 1d, 7d, 2w, 1mo")
    number, unit = int(found[1]), found[2]
    start, count = first, 0
    while start <= last:
        count += number
        try:
            end = min(_later(first, count, unit) - dt.timedelta(days=1), last)
        except (OverflowError, ValueError):  # beyond the year 9999
            end = last
        yield start, end
        if end == last:
            return
        start = end + dt.timedelta(days=1)


def _later(first: dt.date, count: int, unit: str) -> dt.date:
    if unit != "mo":
        return first + dt.timedelta(days=count * (7 if unit == "w" else 1))
    years, month = divmod(first.month - 1 + count, 12)
    year, month = first.year + years, month + 1
    return dt.date(year, month, min(first.day, calendar.monthrange(year, month)[1]))


def day(name: str, text: str) -> dt.date:
    """A day as YYYY-MM-DD; raises ContractError under the `name` that the user gave it by."""
    try:
        if len(text) == 10:
            return dt.date.fromisoformat(text)
    except ValueError:
        pass
    raise ContractError(f"{name} is {text!r}", next_step="give a day as YYYY-MM-DD")
