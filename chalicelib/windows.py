"""Which days a run asks its source for."""

from __future__ import annotations

import datetime as dt

from chalicelib.contracts import Window
from chalicelib.errors import ContractError
from chalicelib.sources.base import Source


def derive(source: Source, start: str | None, end: str | None, position: str | None, today: dt.date) -> Window:
    """The window of a run.

    Given days win and leave the cursor alone. Otherwise the window starts after the cursor's
    `position` (less the source's overlap, for late data), or on the source's first day, and ends
    yesterday, or `window_days` later if that is sooner. A source without a first day has no windows; one whose
    first day is not over yet has no days so far: `Window()`.
    """
    if source.first_day is None:
        if start or end:
            raise ContractError(f"{source.name} has no windows", next_step="leave out --from and --to")
        return Window()
    yesterday = today - dt.timedelta(days=1)
    longest = dt.timedelta(days=source.window_days - 1)
    if start or end:
        if not start:
            raise ContractError("a window has an end but no start", source=source.name, next_step="give --from as well")
        first = _day("from", start)
        last = _day("to", end) if end else min(first + longest, yesterday)
        if last < first:
            raise ContractError(f"the window ends on {last}, before it starts on {first}", source=source.name)
        return Window(first.isoformat(), last.isoformat())
    if position is None:
        first = source.first_day
    else:
        after = dt.date.fromisoformat(position) + dt.timedelta(days=1)
        first = max(min(after, yesterday) - dt.timedelta(days=source.overlap_days), source.first_day)
    if first > yesterday:
        return Window()
    return Window(first.isoformat(), min(first + longest, yesterday).isoformat(), by_cursor=True)


def _day(name: str, text: str) -> dt.date:
    try:
        if len(text) == 10:
            return dt.date.fromisoformat(text)
    except ValueError:
        pass
    raise ContractError(f"{name} is {text!r}", next_step="give a day as YYYY-MM-DD")
