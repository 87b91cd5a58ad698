"""Whether the application's code on disk is still what a process has loaded."""

from __future__ import annotations

import os
import time
from pathlib import Path

# what goes into a deployed Lambda: https://aws.github.io/chalice/topics/packaging.html
PARTS = ("app.py", "chalicelib")

# seconds between scans; one of 150 files takes about 1 ms
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
        found = set()
        for part in PARTS:
            path = self._folder / part
            if path.is_file():
                found.add(_signature(path, path.stat()))
            for root, folders, files in os.walk(path):
                folders[:] = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
                for name in files:
                    file = Path(root, name)
                    try:
                        found.add(_signature(file, file.stat()))
                    except FileNotFoundError:  # an editor's temporary file
                        continue
        return frozenset(found)


def _signature(path: Path, stat: os.stat_result) -> tuple[str, int, int]:
    return str(path), stat.st_size, stat.st_ctime_ns  # what `code_fingerprint` goes by, too
