"""Zips that are the same, byte for byte, whenever their content is."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

# the earliest date that the format knows
_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644  # Lambda runs no file of a package; it must be able to read all of them
_UNIX = 3


def write(folder: Path, path: Path, prefix: str = "") -> None:
    """Pack all files below `folder` into `path`, each name after `prefix`.

    Names are sorted, dates and modes fixed. The zip appears whole or not at all.
    """
    names = {file.relative_to(folder).as_posix(): file for file in Path(folder).rglob("*") if file.is_file()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for name in sorted(names):
                entry = zipfile.ZipInfo(f"{prefix}/{name}" if prefix else name, _DATE)
                entry.external_attr = (0o100000 | _MODE) << 16
                entry.create_system = _UNIX
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, names[name].read_bytes(), compresslevel=9)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def sizes(path: Path) -> dict[str, int]:
    """The unzipped bytes of each file in a zip, by name."""
    with zipfile.ZipFile(path) as packed:
        return {entry.filename: entry.file_size for entry in packed.infolist()}
