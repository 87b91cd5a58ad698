"""A clean copy of the project for Chalice to run in.

Chalice packs whatever it finds below `chalicelib/`: another interpreter's bytecode, an editor's
back-ups. In the copy is only what a Lambda gets and what Chalice reads, so the same code makes the
same package on every machine.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from chalicelib.errors import ConfigurationError

# what Chalice packs: https://aws.github.io/chalice/topics/packaging.html
CODE = ("app.py", "chalicelib")
VENDOR = "vendor"

_REQUIREMENTS = ("requirements*.txt", "constraints*.txt")
_CHALICE = ".chalice"
_UNWANTED = shutil.ignore_patterns("__pycache__", "*.py[co]", ".*", "*~", "#*#")


def copy(folder: Path, destination: Path) -> Path:
    """Copy the project in `folder` to `destination`, which is replaced, and return that.

    Links become what they point to. With it goes `.chalice/`, with what is deployed but without the
    packages made earlier.
    """
    folder, destination = Path(folder), Path(destination)
    missing = [name for name in (*CODE, _CHALICE) if not (folder / name).exists()]
    if missing:
        raise ConfigurationError(f"{folder} has no {', '.join(missing)}", next_step="run this from the project's root")
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir(parents=True)
    for name in (*CODE, VENDOR):
        path = folder / name
        if path.is_dir():
            shutil.copytree(path, destination / name, ignore=_UNWANTED)
        elif path.exists():
            shutil.copy(path, destination)
    for pattern in _REQUIREMENTS:
        for path in folder.glob(pattern):
            shutil.copy(path, destination)
    made = shutil.ignore_patterns("deployments", "venv")
    shutil.copytree(folder / _CHALICE, destination / _CHALICE, ignore=made)
    return destination
