"""The layers: what every Lambda needs, and what the quality functions and the API's need besides.

Which wheels fit Lambda is Chalice's decision (`chalice.deploy.packager`): up to glibc 2.26 for
Python 3.11, up to 2.34 for later ones. Where Chalice only warns of a distribution without such a
wheel and packs the rest, this is an error.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Collection
from pathlib import Path

from chalice.deploy.packager import (
    DependencyBuilder,
    LayerDeploymentPackager,
    MissingDependencyError,
    NoSuchPackageError,
    PackageDownloadError,
)
from chalice.utils import OSUtils

from chalicelib.errors import ConfigurationError
from deploy import bytecode, project, pruning, zips

REQUIREMENTS = "requirements.txt"
GATE_REQUIREMENTS = "requirements-gate.txt"
API_REQUIREMENTS = "requirements-api.txt"
CONSTRAINTS = "constraints.txt"

# where a layer is unpacked, and where in it Lambda looks: https://docs.aws.amazon.com/lambda/latest/dg/python-layers.html
ROOT = "/opt"
SITE_PACKAGES = "python/lib/{python}/site-packages"

_DISTRIBUTION = re.compile(r".*/([^/]+)-([^/-]+)\.dist-info/METADATA")


class Builder(DependencyBuilder):
    """Chalice's, leaving out distributions by name."""

    def __init__(self, architecture: str, leave_out: Collection[str]):
        super().__init__(OSUtils(), architecture=architecture)
        self._leave_out = frozenset(leave_out)

    def _install_wheels(self, src_dir, dst_dir, wheels):
        super()._install_wheels(src_dir, dst_dir, {wheel for wheel in wheels if wheel.name not in self._leave_out})


def dependencies(folder: Path, path: Path, python: str, architecture: str) -> None:
    """Write Chalice's managed layer to `path`: `requirements.txt`, and what is in `vendor/`."""
    _build(folder, REQUIREMENTS, path, python, architecture, pruning.RUNTIME, vendor=True)


def gate(folder: Path, path: Path, python: str, architecture: str, below: Path) -> None:
    """Write the quality functions' own layer to `path`, for use with the layer `below`.

    Its modules are bytecode without sources: with both, the gate would be 18 MB over Lambda's limit.
    """
    _above(folder, GATE_REQUIREMENTS, path, python, architecture, below, pruning.SNOWFLAKE, sources=False)


def api(folder: Path, path: Path, python: str, architecture: str, below: Path) -> None:
    """Write the layer of the API's functions to `path`, for use with the layer `below`."""
    _above(folder, API_REQUIREMENTS, path, python, architecture, below, frozenset(), sources=True)


def _above(
    folder: Path,
    requirements: str,
    path: Path,
    python: str,
    architecture: str,
    below: Path,
    unused: Collection[str],
    sources: bool,
) -> None:
    """A layer that holds no distribution that is in `below`, and was resolved with the versions that are there."""
    present = distributions(below)
    with tempfile.TemporaryDirectory(prefix="sluice-layer-") as temporary:
        # Chalice takes one file; paths in it are relative to it
        wanted = Path(temporary, requirements)
        constraints = Path(temporary, "below.txt")
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in sorted(present.items())))
        lines = [f"-c {constraints}", f"-r {(folder / requirements).resolve()}"]
        wanted.write_text("\n".join(lines) + "\n")
        leave_out = {*pruning.RUNTIME, *unused, *present}
        _build(folder, wanted, path, python, architecture, leave_out, sources=sources)


def distributions(path: Path) -> dict[str, str]:
    """The versions of the distributions in a layer, by normalised name (PEP 503)."""
    with zipfile.ZipFile(path) as packed:
        found = map(_DISTRIBUTION.fullmatch, packed.namelist())
        return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] for match in found if match}


def _build(
    folder: Path,
    requirements: str | Path,
    path: Path,
    python: str,
    architecture: str,
    leave_out: Collection[str],
    vendor: bool = False,
    sources: bool = True,
) -> None:
    file = (folder / requirements).resolve()
    if not file.exists():
        raise ConfigurationError(f"{file} does not exist", next_step="run this from the project's root")
    with tempfile.TemporaryDirectory(prefix="sluice-layer-") as temporary:
        tree = Path(temporary, "site-packages")
        _install(file, tree, python, architecture, leave_out)
        if vendor and (folder / project.VENDOR).is_dir():
            shutil.copytree(folder / project.VENDOR, tree, dirs_exist_ok=True)
        pruning.prune(tree)
        prefix = SITE_PACKAGES.format(python=python)
        bytecode.compile_all(tree, f"{ROOT}/{prefix}", sources)
        zips.write(tree, path, prefix)


def _install(requirements: Path, tree: Path, python: str, architecture: str, leave_out: Collection[str]) -> None:
    abi = LayerDeploymentPackager._RUNTIME_TO_ABI.get(python)
    if abi is None:
        raise ConfigurationError(
            f"{python} is none of Lambda's runtimes that Chalice knows",
            next_step=f"build with one of {', '.join(LayerDeploymentPackager._RUNTIME_TO_ABI)}",
        )
    try:
        Builder(architecture, leave_out).build_site_packages(abi, str(requirements), str(tree))
    except MissingDependencyError as error:
        missing = ", ".join(sorted(package.identifier for package in error.missing))
        glibc = ".".join(map(str, DependencyBuilder._RUNTIME_GLIBC[abi]))
        raise ConfigurationError(
            f"no wheel for Lambda ({python}, {architecture}, glibc {glibc}): {missing}",
            next_step=f"pin a version that has one, in {requirements.name} and {CONSTRAINTS}",
        ) from None
    except (NoSuchPackageError, PackageDownloadError) as error:
        reason = "\n".join(line for line in str(error).splitlines() if "WARNING" not in line)[-800:]
        raise ConfigurationError(
            f"{requirements.name} could not be fetched: {reason}", next_step="check the pins, and the way to PyPI"
        ) from None
