"""The zips that a stage's functions are made of, inside Lambda's limits.

- `code`: `app.py`, `chalicelib/` with the suites, and Chalice's runtime; every function's own package.
- `dependencies`: Chalice's managed layer, `requirements.txt`; every function has it.
- `gate`: `requirements-gate.txt` without what is in `dependencies`; Validate's and QualityGate's alone.
- `api`: `requirements-api.txt` likewise; of the functions behind the API alone.

They are written to `build/<stage>/`. Chalice reuses the first two: they are placed under the names it
looks for. The layers are kept by `layer_cache` under a hash of all they are made from.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from chalice.deploy.packager import AppOnlyDeploymentPackager, DependencyBuilder, LayerDeploymentPackager
from chalice.utils import UI, OSUtils

from chalicelib.errors import ConfigurationError
from deploy import bytecode, elf, layer_cache, layers, project, pruning, stage, zips
from statemachine import render

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
UNZIPPED_LIMIT = 262_144_000  # a function's package and its layers
DIRECT_LIMIT = 50 * 1024 * 1024  # a zip in a call to Lambda, as Chalice makes it; by S3 it may be larger

# the layers that some functions have above the dependencies, and whose they are
ABOVE = {"gate": ("validate", "quality_gate"), "api": render.API_FUNCTIONS}
GATE_FUNCTIONS = ABOVE["gate"]
ARCHITECTURES = ("x86_64", "arm64")

FOLDER = "build"
MANIFEST = "artefacts.json"

_TASK = "/var/task"


@dataclass(frozen=True)
class Artefact:
    """A zip: its size, in all and unzipped, in bytes; its SHA-256 as Lambda tells it."""

    name: str  # code, dependencies, gate or api
    path: Path
    sha256_base64: str
    zipped: int
    unzipped: int


@dataclass(frozen=True)
class Artefacts:
    """What a stage's functions are made of."""

    stage: str
    python: str  # Lambda's name of it, e.g. python3.11
    architecture: str
    project: Path  # the clean copy in which Chalice finds what was built
    code: Artefact
    dependencies: Artefact
    gate: Artefact
    api: Artefact

    @property
    def all(self) -> tuple[Artefact, ...]:
        return (self.code, self.dependencies, *(self.above(name) for name in ABOVE))

    def above(self, name: str) -> Artefact:
        """The layer of ABOVE of that name."""
        return getattr(self, name)

    def layers(self, function: str) -> tuple[Artefact, ...]:
        """A function's layers, in the order in which Lambda unpacks them."""
        return (self.dependencies, *(self.above(name) for name in above(function)))

    def function_size(self, function: str) -> int:
        """Unzipped bytes of a function: its package and its layers."""
        return sum(artefact.unzipped for artefact in (self.code, *self.layers(function)))

    def place(self, folder: Path) -> None:
        """Put code and dependencies where Chalice, run in the clean copy `folder`, looks for them."""
        for packager, artefact in (
            (_code_packager(), self.code),
            (_layer_packager(self.architecture), self.dependencies),
        ):
            _place(artefact.path, Path(packager.deployment_package_filename(str(folder), self.python)))


def build(
    folder: Path, stage_name: str, architecture: str | None = None, progress: Callable[[str], None] = lambda line: None
) -> Artefacts:
    """Build the artefacts of a stage of the project in `folder`, or take from the cache what did not change.

    The Python is this interpreter's, as it is for Chalice; the architecture is the stage's unless
    one is given. Raises ConfigurationError where a limit is exceeded.
    """
    folder = Path(folder).resolve()
    config = stage.read(folder, stage_name).config
    architecture = architecture or config.lambda_architecture
    if architecture not in ARCHITECTURES:
        raise ConfigurationError(
            f"lambda_architecture of stage {stage_name} in {folder / stage.CONFIG} is {architecture!r}",
            next_step=f"take one of {', '.join(ARCHITECTURES)}",
        )
    python = config.lambda_python_version
    output = folder / FOLDER / stage_name
    copied = project.copy(folder, output / "project")
    code = output / f"code-{python}.zip"
    _write_code(copied, code, python)

    kind = f"{python}-{architecture}"
    dependencies = output / f"dependencies-{kind}.zip"
    cache = folder / FOLDER / "cache"
    made_from = _fingerprint(copied, python, architecture)

    def place(name: str, path: Path, write: Callable[[Path], None]) -> None:
        def make(kept: Path) -> None:
            progress(f"building {path.name}, a minute or two the first time …")
            write(kept)

        _place(layer_cache.layer(cache, f"{name}-{kind}", made_from, make), path)

    place("dependencies", dependencies, lambda kept: layers.dependencies(copied, kept, python, architecture))
    others = {name: output / f"{name}-{kind}.zip" for name in ABOVE}
    for name, path in others.items():
        write = {"gate": layers.gate, "api": layers.api}[name]
        place(name, path, lambda kept, write=write: write(copied, kept, python, architecture, below=dependencies))
    layer_cache.forget_unused(cache)
    made = Artefacts(
        stage_name,
        python,
        architecture,
        copied,
        _measured("code", code),
        _measured("dependencies", dependencies),
        **{name: _measured(name, path) for name, path in others.items()},
    )
    _check(made, [*config.config_from_disk.get("lambda_functions", {}), *GATE_FUNCTIONS])
    made.place(copied)
    # its name depends on requirements.txt and vendor/ alone, so plain `chalice deploy` finds it from the root too
    managed = _layer_packager(architecture).deployment_package_filename(str(folder), python)
    _place(dependencies, Path(managed))
    _write_manifest(made, output / MANIFEST)
    return made


def above(function: str) -> tuple[str, ...]:
    """The names of the layers that the function has above the dependencies."""
    return tuple(name for name, functions in ABOVE.items() if function in functions)


def layer_id(name: str) -> str:
    """The logical id of a layer of ABOVE."""
    return f"{name.capitalize()}Layer"


def _requirements(function: str) -> list[str]:
    files = {"gate": layers.GATE_REQUIREMENTS, "api": layers.API_REQUIREMENTS}
    return [layers.REQUIREMENTS, *(files[name] for name in above(function))]


def _write_code(copied: Path, path: Path, python: str) -> None:
    """Chalice's package of the code, with bytecode and made reproducible."""
    packed = _code_packager().create_deployment_package(str(copied), python)
    with tempfile.TemporaryDirectory(prefix="sluice-code-") as temporary:
        with zipfile.ZipFile(packed) as package:
            package.extractall(temporary)
        bytecode.compile_all(Path(temporary), _TASK)
        zips.write(Path(temporary), path)


def _fingerprint(copied: Path, python: str, architecture: str) -> str:
    """A hash of all that decides what is in a layer."""
    rules = (layers, pruning, elf, bytecode, zips)
    requirements = (layers.REQUIREMENTS, layers.GATE_REQUIREMENTS, layers.API_REQUIREMENTS)
    files = [copied / name for name in (*requirements, layers.CONSTRAINTS)]
    files += (copied / project.VENDOR).rglob("*")
    parts = [f"{python} {platform.python_version()} {architecture} chalice {version('chalice')}".encode()]
    parts += [Path(module.__file__).read_bytes() for module in rules]
    for file in sorted(path for path in files if path.is_file()):
        parts += [file.relative_to(copied).as_posix().encode(), file.read_bytes()]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _place(artefact: Path, path: Path) -> None:
    """A copy at `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    shutil.copyfile(artefact, partial)
    os.replace(partial, path)


def _measured(name: str, path: Path) -> Artefact:
    digest = base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
    return Artefact(name, path, digest, path.stat().st_size, sum(zips.sizes(path).values()))


def _check(made: Artefacts, functions: list[str]) -> None:
    for artefact, source in ((made.code, f"{project.CODE[1]}/"), (made.dependencies, layers.REQUIREMENTS)):
        if artefact.zipped > DIRECT_LIMIT:
            raise ConfigurationError(
                f"{artefact.path} has {artefact.zipped:,} bytes; Chalice uploads at most {DIRECT_LIMIT:,};"
                f" heaviest, unzipped: {_heaviest(artefact)}",
                next_step=f"take something out of {source}",
            )
    for function in functions:
        size = made.function_size(function)
        if size > UNZIPPED_LIMIT:
            parts = (made.code, *made.layers(function))
            raise ConfigurationError(
                f"{function} has {size:,} bytes unzipped ({made.python}, {made.architecture}), Lambda takes"
                f" {UNZIPPED_LIMIT:,}; heaviest: {_heaviest(*parts)}",
                next_step="take something out of " + " or ".join(_requirements(function)),
            )


def _heaviest(*artefacts: Artefact, most: int = 6) -> str:
    """The folders that take most, e.g. "scipy 92 MB, pandas 45 MB"."""
    weights: Counter[str] = Counter()
    for artefact in artefacts:
        for name, size in zips.sizes(artefact.path).items():
            weights[name.rpartition("site-packages/")[2].split("/")[0]] += size
    return ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in weights.most_common(most))


def _write_manifest(made: Artefacts, path: Path) -> None:
    described = {
        artefact.name: {
            "file": artefact.path.name,
            "sha256": artefact.sha256_base64,
            "zipped": artefact.zipped,
            "unzipped": artefact.unzipped,
        }
        for artefact in made.all
    }
    document = {"stage": made.stage, "python": made.python, "architecture": made.architecture, **described}
    path.write_text(json.dumps(document, indent=2) + "\n")


def _code_packager() -> AppOnlyDeploymentPackager:
    return AppOnlyDeploymentPackager(OSUtils(), DependencyBuilder(OSUtils()), _Quiet())


def _layer_packager(architecture: str) -> LayerDeploymentPackager:
    return LayerDeploymentPackager(OSUtils(), DependencyBuilder(OSUtils()), _Quiet(), architecture)


class _Quiet(UI):
    """Chalice says each step on standard output."""

    def write(self, msg: str) -> None:
        pass
