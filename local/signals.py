"""Who waits for a queue or a stream is woken when something is put into it: they are in one process."""

from __future__ import annotations

import threading
from collections import defaultdict

_lock = threading.Lock()
_waiting: dict[str, set[threading.Event]] = defaultdict(set)


def subscribe(arn: str) -> threading.Event:
    """An event that is set whenever something came to the queue or stream `arn`."""
    event = threading.Event()
    with _lock:
        _waiting[arn].add(event)
    return event


def unsubscribe(arn: str, event: threading.Event) -> None:
    with _lock:
        _waiting[arn].discard(event)
        if not _waiting[arn]:
            del _waiting[arn]


def give(arn: str) -> None:
    """Wake whoever waits for `arn`."""
    if arn not in _waiting:  # nearly always: most queues and streams have no reader here
        return
    with _lock:
        waiting = list(_waiting.get(arn, ()))
    for event in waiting:
        event.set()
