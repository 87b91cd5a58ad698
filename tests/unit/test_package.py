"""What a Lambda is made of: the package that Chalice's own packager writes in a clean copy of the project."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from chalice.deploy.packager import AppOnlyDeploymentPackager, DependencyBuilder, LayerDeploymentPackager
from chalice.utils import UI, OSUtils

from chalicelib.errors import ConfigurationError
from deploy import project

ROOT = Path(__file__).parents[2]
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
# run from the unpacked package: every suite is found beside the code and fits its source
LOAD_SUITES = """
from pathlib import Path
from chalicelib import sources
from chalicelib.quality import suite
assert Path(suite.__file__).is_relative_to(Path.cwd()), suite.__file__
for name in sources.names():
    if sources.get(name).columns:
        print(name, len(suite.load(sources.get(name)).items))
"""


def chalice(packager):
    return packager(OSUtils(), DependencyBuilder(OSUtils()), UI(out=open(os.devnull, "w")))


@pytest.fixture
def copied(tmp_path):
    return project.copy(ROOT, tmp_path / "project")


@pytest.fixture
def package(copied):
    """package() packs the code anew where it changed; the path of the zip."""
    return lambda: chalice(AppOnlyDeploymentPackager).create_deployment_package(str(copied), PYTHON)


def test_a_lambda_finds_every_suite_in_its_package(package, tmp_path):
    unpacked = tmp_path / "task"
    with zipfile.ZipFile(package()) as packed:
        packed.extractall(unpacked)
    suites = sorted(path.name for path in (ROOT / "expectations").glob("*.json"))
    assert suites
    assert sorted(path.name for path in (unpacked / "chalicelib" / "expectations").iterdir()) == suites
    ran = subprocess.run(
        [sys.executable, "-c", LOAD_SUITES],
        cwd=unpacked,
        env={**os.environ, "PYTHONPATH": str(unpacked), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert {"posts", "weather"} <= {line.split()[0] for line in ran.stdout.splitlines()}


def test_a_suite_that_changed_makes_a_new_package_of_the_code_and_no_new_layer(package, copied):
    def layer():
        return chalice(LayerDeploymentPackager).deployment_package_filename(str(copied), PYTHON)

    before, layer_before = package(), layer()
    assert package() == before
    (copied / "chalicelib" / "expectations" / "posts.json").write_text("{}")
    assert package() != before
    assert layer() == layer_before


def test_the_copy_has_what_chalice_reads_and_nothing_that_was_left_lying_about(tmp_path):
    checkout = tmp_path / "checkout"
    for name in ("app.py", "requirements.txt", "requirements-gate.txt", "requirements-api.txt", "constraints.txt"):
        checkout.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, checkout)
    for name in ("chalicelib/__pycache__/x.pyc", "chalicelib/x.py~", "chalicelib/.x.py.swp", "notes.txt", "cli/x.py"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("")
    for name in ("config.json", "deployed/dev.json", "deployments/old.zip"):
        (checkout / ".chalice" / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / ".chalice" / name).write_text("{}")
    (checkout / "chalicelib" / "kept.py").write_text("")
    destination = tmp_path / "copy"
    (destination / "chalicelib").mkdir(parents=True)
    (destination / "chalicelib" / "of_last_time.py").write_text("")
    project.copy(checkout, destination)
    found = {path.relative_to(destination).as_posix() for path in destination.rglob("*") if path.is_file()}
    assert found == {
        "app.py",
        "chalicelib/kept.py",
        "requirements.txt",
        "requirements-gate.txt",
        "requirements-api.txt",
        "constraints.txt",
        ".chalice/config.json",
        ".chalice/deployed/dev.json",
    }


def test_a_folder_that_is_no_project_is_refused_before_anything_is_replaced(tmp_path):
    (tmp_path / "copy").mkdir()
    with pytest.raises(ConfigurationError, match=r"has no app\.py, chalicelib, \.chalice"):
        project.copy(tmp_path, tmp_path / "copy")
    assert (tmp_path / "copy").exists()
