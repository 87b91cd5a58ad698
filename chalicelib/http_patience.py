"""How long a fetch waits: between its requests, after a failure, and when a server asks it to.

What a server asks for at one time is waited for up to PATIENCE_SECONDS. The state machine's own retries
end within 31 seconds, so it could not wait longer than that: a server that wants more time is told
as a `SourceError`, which nothing retries, instead of being asked five times more against its wish.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import random
import time
from collections.abc import Callable, Mapping

from chalicelib.errors import SourceError, SourceUnavailable
from chalicelib.http_response import Deadline

RETRIES = 3
BACKOFF_SECONDS = 0.5  # doubled per retry, full jitter
# in sum, per request; a minute's limit is the commonest. A function of 512 MB that sleeps for it costs $0.0006
PATIENCE_SECONDS = 75


class Pace:
    """At least so many seconds from one request to a host to the next one, by host.

    The first request waits too: what this process did not ask for, the one before it may have asked
    for a moment ago. They share nothing, so each keeps its part of the limit by itself.
    """

    def __init__(self, seconds: Mapping[str, float], sleep: Callable[[float], None]):
        self._seconds = {host.lower(): pause for host, pause in seconds.items()}
        self._sleep = sleep
        self._asked: dict[str, float] = {}

    def wait(self, host: str) -> None:
        """Return when `host` may be asked."""
        if not (pause := self._seconds.get(host.lower())):
            return
        last = self._asked.get(host)
        left = pause if last is None else last + pause - time.monotonic()
        if left > 0:
            self._sleep(left)
        self._asked[host] = time.monotonic()


class Patience:
    """What one request may still spend on tries and waits."""

    def __init__(self, deadline: Deadline, sleep: Callable[[float], None]):
        self.deadline = deadline
        self._sleep = sleep
        self._failures = 0
        self._waited = 0.0

    def failed(self, reason: str, where: str, quote: str | None = None) -> None:
        """Back off, or raise SourceUnavailable once that was done often enough."""
        if self.deadline.passed:
            raise SourceUnavailable(f"no answer within {self.deadline.seconds:g} s", url=where)
        self._failures += 1
        if self._failures > RETRIES:
            raise SourceUnavailable(f"tried {self._failures} times, last: {reason}", quote=quote, url=where)
        self._pause(random.uniform(0, BACKOFF_SECONDS * 2**self._failures), reason, where, quote)

    def asked_to_wait(self, seconds: float, status: int, reason: str, where: str) -> None:
        """Wait as asked; raise SourceError where that is longer than anybody waits, SourceUnavailable in sum."""
        seconds = max(1.0, seconds)  # a server that says 0 for ever must come to an end too
        told = f"{status}, the source asks to wait {seconds:.0f} s"
        if seconds > PATIENCE_SECONDS:
            again = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
            raise SourceError(
                told,
                quote=reason,
                url=where,
                next_step=f"run it again after {again:%Y-%m-%d %H:%M} UTC, or ask for less",
            )
        self._waited += seconds
        if self._waited > PATIENCE_SECONDS:
            raise SourceUnavailable(told, quote=reason, url=where)
        self._pause(seconds, str(status), where, reason)

    def _pause(self, seconds: float, reason: str, where: str, quote: str | None = None) -> None:
        if seconds >= self.deadline.left:
            told = f"no answer within {self.deadline.seconds:g} s, last: {reason}"
            raise SourceUnavailable(told, quote=quote, url=where)
        self._sleep(seconds)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from now that Retry-After asks for, given as seconds or as an HTTP date."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    moment = _date(value)
    # the server's own clock where it tells it: a laptop's may be off by more than the wait
    now = _date(headers.get("Date", "")) or dt.datetime.now(dt.UTC)
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def _date(value: str) -> dt.datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
