"""What a running execution is doing, on the terminal."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from chalicelib import asl, durations
from chalicelib.errors import SluiceError
from chalicelib.executions import Children, Execution, State, chunks
from chalicelib.failure import plain_cause

SHORTEST_PAUSE = 0.05  # seconds between two reads of the execution, while states come and go
LONGEST_PAUSE = 0.5  # while nothing changes
ROWS_EVERY = 0.5  # seconds between two questions for the rows
PLAIN_EVERY = 10.0  # seconds between two lines about the same state, off a terminal
BAR_WIDTH = 28

_MARKS = {"succeeded": ("✓", "green"), "failed": ("✗", "red"), "caught": ("!", "yellow"), "aborted": ("■", "magenta")}


def follow(
    read: Callable[[], Execution],
    console: Console,
    rows: Callable[[], int | None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Execution:
    """Show the execution until it has ended; returns it as it was then.

    `read` gives the execution as it is, such as `executions.Reader(client, arn).read`; `rows` the
    number of rows done so far, or None while that is not known. On a terminal the states stay in
    place and change; elsewhere there is a line for each state that ends, and for one that lasts.
    """
    view = _View(rows)
    if console.is_terminal and not console.quiet:
        with Live(view, console=console, refresh_per_second=8) as live:
            view.redraw = live.refresh
            return _poll(read, view, sleep)
    lines = _Lines(view, console)
    return _poll(read, lines, sleep)


def _poll(read: Callable[[], Execution], shown: _View | _Lines, sleep: Callable[[float], None]) -> Execution:
    pause, before = SHORTEST_PAUSE, None
    while True:
        execution = read()
        shown.update(execution)
        if not execution.is_running:
            return execution
        now = [(state.name, state.status) for state in execution.states.values()]
        pause = SHORTEST_PAUSE if now != before else min(pause * 1.5, LONGEST_PAUSE)
        before = now
        sleep(pause)


class _View:
    """A table with a row per state that was entered; rich draws it again and again."""

    def __init__(self, rows: Callable[[], int | None]):
        self._rows = rows
        self._rows_asked = 0.0
        self._rows_known: int | None = None
        self._spinner = Spinner("dots", style="blue")
        self.execution: Execution | None = None
        self.redraw: Callable[[], None] = lambda: None

    def update(self, execution: Execution) -> None:
        self.execution = execution
        now = time.monotonic()
        if now - self._rows_asked >= ROWS_EVERY or not execution.is_running:
            self._rows_asked = now
            try:
                self._rows_known = self._rows()
            except SluiceError:  # a glance is not worth a failure; the run itself will tell
                self._rows_known = None
        self.redraw()

    def __rich__(self) -> Group:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column()
        table.add_column(justify="right")
        table.add_column()
        if self.execution is None:
            return Group(Spinner("dots", text="starting"))
        for state in self.execution.entered:
            mark, style = _MARKS.get(state.status, ("", ""))
            table.add_row(
                self._spinner if state.status == "running" else Text(mark, style=style),
                Text(state.name, style="bold" if state.status == "running" else ""),
                Text(durations.words(self.elapsed(state)), style="dim"),
                self._remarks(state),
            )
        return Group(table)

    def elapsed(self, state: State) -> float:
        """Seconds; of a running state they go on between two reads."""
        if state.status != "running" or self.execution is None:
            return state.seconds
        since = (dt.datetime.now(dt.UTC) - self.execution.read_at).total_seconds()
        return state.seconds + max(since, 0.0)

    def _remarks(self, state: State) -> Table | Text:
        style = "dim" if state.status == "succeeded" else _MARKS.get(state.status, ("", ""))[1]
        text = Text(remarks(state, self.execution, self.rows_text(state)), style=style)
        total = total_of(state, self.execution)
        if state.status != "running" or not total:
            return text
        grid = Table.grid(padding=(0, 1))
        grid.add_row(ProgressBar(total=total, completed=state.children.done, width=BAR_WIDTH), text)
        return grid

    def rows_text(self, state: State) -> str:
        """Rows so far and per second, beside the Map that works on them."""
        is_at_work = state.children is not None and self._is_distributed(state.name)
        if not is_at_work or not self._rows_known:
            return ""
        text = f"{self._rows_known:,} rows"
        return f"{text}, {self._rows_known / state.seconds:,.0f} rows/s" if state.seconds > 0 else text

    def _is_distributed(self, name: str) -> bool:
        return asl.is_distributed(self.execution.definition["States"][name])


class _Lines:
    """A line for each state when it ends, and now and then for one that goes on."""

    def __init__(self, view: _View, console: Console):
        self._view = view
        self._console = console
        self._told: dict[str, tuple] = {}
        self._last = time.monotonic()

    def update(self, execution: Execution) -> None:
        self._view.update(execution)
        late = time.monotonic() - self._last >= PLAIN_EVERY
        for state in execution.entered:
            known = (state.status, state.entered)
            is_running = state.status == "running"
            if self._told.get(state.name) == known and not (is_running and late):
                continue
            self._told[state.name] = known
            self._last = time.monotonic()
            self._console.print(self._line(state, execution), markup=False, highlight=False, soft_wrap=True)

    def _line(self, state: State, execution: Execution) -> str:
        verb = state.status if state.status != "caught" else "caught an error"
        about = remarks(state, execution, self._view.rows_text(state))
        at = ((state.last or execution.read_at) - execution.started).total_seconds()
        line = f"{at:8.1f} s  {state.name} {verb}"
        if state.status != "running" and state.type != "Fail":
            line += f" in {durations.words(state.seconds)}"
        return f"{line}: {about}" if about else line


def total_of(state: State, execution: Execution) -> int | None:
    """The number of items of a Map, from whoever knows it first."""
    children = state.children
    if children is None:
        return None
    if children.total is not None:
        return children.total
    planned = chunks.planned(execution)
    return planned if planned and planned >= children.done + children.running else None


def remarks(state: State, execution: Execution, rows: str = "") -> str:
    """What else there is to say of a state: items, rows, retries, its error."""
    parts = []
    if state.children:
        parts.append(_items(state.children, total_of(state, execution)))
    if rows:
        parts.append(rows)
    if state.retries:
        parts.append("1 retry" if state.retries == 1 else f"{state.retries} retries")
    if state.error and state.status in ("failed", "caught", "running"):
        parts.append(f"{state.error}: {plain_cause(state.cause)}".rstrip(": "))
    return ", ".join(parts)


def _items(children: Children, total: int | None) -> str:
    text = f"{children.done:,}" if total is None else f"{children.done:,} of {total:,}"
    return f"{text} done" + (f", {children.failed:,} failed" if children.failed else "")
