"""How far a backfill is, on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from chalicelib import durations
from chalicelib.warehouse.backfills import DONE, BackfillWindow
from cli.backfilling import Progress

BAR_WIDTH = 40
SHOWN = 8  # windows under way that are named


def summary(progress: Progress) -> str:
    """One line: `3 of 52 done, 1 failed, 4 running, 44 left, 300 rows, 50 more under way, about 1 min to go`."""
    parts = [f"{progress.done + progress.skipped:,} of {progress.windows:,} done"]
    parts += [f"{progress.skipped:,} of them before"] if progress.skipped else []
    parts += [f"{progress.failed:,} failed"] if progress.failed else []
    parts += [f"{progress.rejected:,} rejected"] if progress.rejected else []
    parts += [f"{progress.running:,} running", f"{progress.left:,} left", f"{progress.rows:,} rows"]
    parts += [f"{progress.loaded:,} more under way"] if progress.loaded else []
    remaining = progress.remaining_seconds
    if remaining is not None and (progress.left or progress.running):
        parts.append(f"about {durations.words(remaining)} to go")
    return ", ".join(parts)


class View:
    """On a terminal a bar that stays in place; elsewhere a line for each window that ends."""

    def __init__(self, console: Console):
        self._console = console
        self._progress = Progress()
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[View]:
        if not self._console.is_terminal or self._console.quiet:
            yield self
            return
        with Live(self, console=self._console, refresh_per_second=4) as self._live:
            yield self

    def update(self, progress: Progress) -> None:
        self._progress = progress

    def ended(self, window: BackfillWindow, progress: Progress) -> None:
        """Tell of a window: on a terminal only where it did not end well, above the bar."""
        if self._live is not None and window.status == DONE:
            return
        days = f"{window.first} to {window.last}" if window.first != window.last else str(window.first)
        what = f"{window.rows or 0:,} rows" if window.status == DONE else window.error
        line = f"{days} {window.status}: {what}"
        if self._live is None:
            line += f"  ({summary(progress)})"
        self.say(line)

    def stopping(self) -> None:
        self.say("No more runs are started; waiting for those under way. Ctrl-C again leaves them.")

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __rich__(self) -> Group:
        progress = self._progress
        ended = progress.windows - progress.left - progress.running
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=max(progress.windows, 1), completed=ended, width=BAR_WIDTH), Text(summary(progress))
        )
        named = [Text(f"  {window.run_id}", style="dim") for window in progress.under_way[:SHOWN]]
        more = len(progress.under_way) - len(named)
        return Group(bar, *named, *([Text(f"  and {more} more", style="dim")] if more > 0 else []))
