"""Layers that were built, kept in `build/cache/`: a minute or two each to make, up to 90 MB each to keep.

A layer's name ends in a hash of all that it is made from, so each change of requirements leaves one behind. The folder
may be shared by several checkouts: what one of them used lately is not another's to delete.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

DAYS = 30  # for which a layer is kept that no build uses
BUILDS = 3  # of each kind that are kept however old, to go back and forth between branches
LOCK = "lock"

_DAY = 86_400


def layer(folder: Path, kind: str, made_from: str, make: Callable[[Path], None]) -> Path:
    """The layer of this kind and hash in `folder`, which `make` writes where it is not there.

    Who needs what another process is making waits for it.
    """
    kept = folder / f"{kind}-{made_from}.zip"
    if _used(kept):
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _used(kept):
            make(kept)
    return kept


def _used(kept: Path) -> bool:
    """Whether it is there; it was used at this moment then."""
    try:
        os.utime(kept)
    except FileNotFoundError:
        return False
    return True


def forget_unused(folder: Path) -> list[Path]:
    """Delete the layers that no build used in DAYS and that are not the last BUILDS of their kind; returns them."""
    used: dict[str, list[tuple[float, Path]]] = {}
    for path in folder.glob("*.zip"):
        used.setdefault(path.name.rpartition("-")[0], []).append((path.stat().st_mtime, path))
    oldest = time.time() - DAYS * _DAY
    unused = [path for layers in used.values() for when, path in sorted(layers)[:-BUILDS] if when < oldest]
    for path in unused:
        path.unlink(missing_ok=True)  # another build may be at it
    return unused
