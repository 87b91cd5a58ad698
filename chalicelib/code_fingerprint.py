"""Which code makes a chunk: what tells if what was left of one is what this code would make of the same bytes."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import re
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from chalicelib import IMPORTED_NS, sources
from chalicelib.settings import Settings
from chalicelib.sources.base import Source

_PACKAGE = Path(__file__).parent
# those that read and convert records; the gate's are compared by `chunk_results`
_LIBRARIES = ("numpy", "orjson", "pandas", "tzdata")


def of(source: Source, settings: Settings) -> str:
    """32 hexadecimal digits over all that rows depend on besides their bytes.

    The package as it is on disk, less the other sources and their suites: some 270 files of 1.5 MB, 40 ms.
    The source as it is declared, which may be more than its module says. Python, the libraries, the time zone, and of
    the settings `record_bytes`: those of chunks' sizes show in the chunks, no other is read by Transform or Validate.
    """
    return _read(source, settings)[0]


@functools.cache
def of_process(name: str, settings: Settings) -> str:
    """`of` the source of that name as its module declares it; found once in the life of a process, whose code stays.

    Without what a run declares: whoever takes chunks over has compared that, and the columns, by then. Where a file was
    altered since the process began, as happens on a laptop, nobody can say what of it was loaded before and what after:
    then it is like that of no other process.
    """
    found, altered_ns = _read(sources.get(name), settings)
    return found if altered_ns <= IMPORTED_NS else uuid.uuid4().hex


def _read(source: Source, settings: Settings) -> tuple[str, int]:
    """The fingerprint, and when a file was altered last, or moved to its place, which st_mtime_ns does not tell."""
    declared = [(name, getattr(source, name, None)) for name in sorted(Source.__annotations__)]
    zone = (time.tzname, time.timezone, time.altzone)  # names alone are those of several: China has a CST, too
    around = (sys.version_info[:3], zone, versions(_LIBRARIES), settings.record_bytes, declared)
    digest = hashlib.blake2b(repr(around).encode(), digest_size=16)
    altered_ns = 0
    for path in _files(source):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()} {len(content)}\n".encode() + content)
        altered_ns = max(altered_ns, path.stat().st_ctime_ns)
    return digest.hexdigest(), altered_ns


@functools.cache
def versions(distributions: tuple[str, ...]) -> dict[str, str | None]:
    """The versions of these as they are installed, None of one that is not; 15 ms for the first, then 1 ms each."""
    return {name: _version(name) for name in distributions}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _files(source: Source) -> Iterator[Path]:
    """Those of the package, in order, less other sources and their suites; of any kind: a source may read one."""
    own = _modules(source)
    others = {name for name in sources.names() if name not in own}
    for path in sorted(_PACKAGE.rglob("*")):
        parts = path.relative_to(_PACKAGE).parts
        if "__pycache__" in parts or not path.is_file():
            continue
        if parts[0] == "sources" and path.stem in others:
            continue
        if parts[0] == "expectations" and path.name != source.suite:
            continue
        yield path


def _modules(source: Source) -> set[str]:
    """The modules of sources that the source is made of: its own, those that it is a subclass of, those they name."""
    found: set[str] = set()
    wanted: Iterable[str] = {kind.__module__.rpartition(".")[2] for kind in type(source).__mro__}
    while wanted := set(wanted) - found:
        found |= wanted
        paths = (_PACKAGE / "sources" / f"{name}.py" for name in wanted)
        texts = [path.read_text(encoding="utf-8") for path in paths if path.exists()]
        wanted = {name for name in sources.names() if any(re.search(rf"\b{name}\b", text) for text in texts)}
    return found
