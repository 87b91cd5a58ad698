"""What a Lambda is made of: the package that Chalice's own packager writes, without the libraries that pip adds."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from chalice.deploy.packager import LambdaDeploymentPackager
from chalice.utils import UI, OSUtils

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


class WithoutLibraries:
    """In place of Chalice's builder of dependencies, which downloads them."""

    def build_site_packages(self, *arguments, **options):
        pass


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    for name in ("chalicelib", "expectations", "vendor"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def package(project):
    """package() packs the project anew where it changed; the path of the zip."""
    packager = LambdaDeploymentPackager(OSUtils(), WithoutLibraries(), UI(out=open(os.devnull, "w")))  # noqa: SIM115
    return lambda: packager.create_deployment_package(str(project), PYTHON)


def test_a_lambda_finds_every_suite_in_its_package(package, tmp_path):
    unpacked = tmp_path / "task"
    with zipfile.ZipFile(package()) as packed:
        packed.extractall(unpacked)
    suites = sorted(path.name for path in (ROOT / "expectations").glob("*.json"))
    assert sorted(path.name for path in (unpacked / "expectations").iterdir()) == suites
    ran = subprocess.run(
        [sys.executable, "-c", LOAD_SUITES],
        cwd=unpacked,
        env={**os.environ, "PYTHONPATH": str(unpacked), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert {"posts", "weather"} <= {line.split()[0] for line in ran.stdout.splitlines()}


def test_a_suite_that_changed_makes_a_new_package(package, project):
    before = package()
    assert package() == before
    (project / "expectations" / "posts.json").write_text("{}")
    assert package() != before
