"""How long work on a table may take in all, as timeouts of Postgres' statements."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import psycopg2

from chalicelib.warehouse.queries import statement

# for who publishes, and for snapshots that somebody holds: an index waits for them before it is whole
_LONGEST_WAIT = 300
# for what is left of work that did not come to its end
_CLEAN_UP_SECONDS = 5


class Deadline:
    """`seconds` from now; None for as long as it takes."""

    def __init__(self, seconds: float | None):
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> int | None:
        """Whole seconds, at least 1; None without end."""
        return None if self._end is None else max(1, int(self._end - time.monotonic()))

    @property
    def wait(self) -> str:
        """A lock_timeout."""
        return f"{min(self.left or _LONGEST_WAIT, _LONGEST_WAIT)}s"

    def limit(self, cursor) -> None:
        """Let the next statement of this session, outside of transactions, end by then."""
        cursor.execute(statement("upkeep", "limit_time"), {"time": f"{self.left or 0}s", "wait": self.wait})


@contextlib.contextmanager
def clearing(clear: Callable[[Deadline], None]) -> Iterator[None]:
    """Where the database breaks the block off, `clear` what is left of it, if that can be done; the error goes on."""
    try:
        yield
    except psycopg2.Error:
        with contextlib.suppress(psycopg2.Error):
            clear(Deadline(_CLEAN_UP_SECONDS))
        raise
