"""Whether the application's code on disk is still what a process has loaded."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

# what goes into a deployed Lambda: https://aws.github.io/chalice/topics/packaging.html
PARTS = ("app.py", "chalicelib")

# seconds between scans; one of 308 files takes 1.5 ms
INTERVAL = 0.2


class Fingerprint:
    """Names and sizes of the application's files, and when they were altered, or moved to their places."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._seen = self._scan()
        self._scanned = time.monotonic()

    def changed(self) -> bool:
        """Whether the files changed since this last answered True, or since the start."""
        if time.monotonic() - self._scanned < INTERVAL:
            return False
        now = self._scan()
        self._scanned = time.monotonic()
        changed, self._seen = now != self._seen, now
        return changed

    def _scan(self) -> frozenset[tuple[str, int, int]]:
        found: set[tuple[str, int, int]] = set()
        for part in PARTS:
            path = self._folder / part
            if path.is_dir():
                _look(str(path), found)
            elif path.is_file():
                found.add(_signature(str(path), path.stat()))
        return frozenset(found)


def _look(folder: str, found: set[tuple[str, int, int]]) -> None:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):  # an editor's temporary file
                found.add(_signature(entry.path, entry.stat()))
        elif entry.name != "__pycache__" and not entry.name.startswith("."):
            _look(entry.path, found)


def _signature(path: str, stat: os.stat_result) -> tuple[str, int, int]:
    return path, stat.st_size, stat.st_ctime_ns  # what `code_fingerprint` goes by, too
