"""Artefacts: limits, cache, sameness, and what a layer may not hold. The layers here are small, made on the spot."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from chalice.deploy.packager import (
    AppOnlyDeploymentPackager,
    DependencyBuilder,
    LayerDeploymentPackager,
    MissingDependencyError,
    NoSuchPackageError,
)
from chalice.utils import OSUtils

from chalicelib.errors import ConfigurationError
from deploy import artefacts, bytecode, layers, pruning, zips
from statemachine import render

ROOT = Path(__file__).parents[2]
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


class Wheel:
    """What Chalice knows of one."""

    def __init__(self, name, version="1.0"):
        self.name, self.version, self.identifier = name, version, f"{name}=={version}"


class Pip:
    """In place of Chalice's downloads: what the requirements resolve to, each a module of `size` characters."""

    def __init__(self, monkeypatch):
        self.resolved = {
            layers.REQUIREMENTS: ["numbers-one", "botocore"],
            layers.GATE_REQUIREMENTS: ["great-gate"],
            layers.API_REQUIREMENTS: ["models"],
        }
        self.size, self.calls, self.asked = 100, [], {}
        pip = self

        def build_site_packages(builder, abi, requirements_filepath, target_directory):
            name = Path(requirements_filepath).name
            pip.calls.append((name, abi, builder._machine))
            pip.asked[name] = Path(requirements_filepath).read_text()
            for line in pip.asked[name].splitlines():
                if line.startswith("-c "):
                    found = Path(requirements_filepath).parent / line.removeprefix("-c ")
                    pip.asked[found.name] = found.read_text()
            wheels = set(map(Wheel, pip.resolved[name]))
            builder._install_wheels(None, target_directory, wheels)

        def install_wheels(builder, src_dir, dst_dir, wheels):
            for wheel in wheels:
                module = Path(dst_dir, wheel.name.replace("-", "_"))
                described = Path(dst_dir, f"{module.name}-{wheel.version}.dist-info")
                for folder in (module, described):
                    folder.mkdir(parents=True)
                (module / "__init__.py").write_text("x = '" + "x" * pip.size + "'\n")
                (described / "METADATA").write_text(f"Name: {wheel.name}\n")

        monkeypatch.setattr(DependencyBuilder, "build_site_packages", build_site_packages)
        monkeypatch.setattr(DependencyBuilder, "_install_wheels", install_wheels)


@pytest.fixture
def pip(monkeypatch):
    return Pip(monkeypatch)


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
    for name in ("chalicelib", ".chalice"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("app.py", "requirements.txt", "requirements-gate.txt", "requirements-api.txt", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def names(artefact):
    return set(zips.sizes(artefact.path))


# --- what is in them -------------------------------------------------------------------------


def test_a_layer_holds_neither_what_the_runtime_brings_nor_what_the_layer_below_has(pip, checkout):
    pip.resolved[layers.GATE_REQUIREMENTS] = ["great-gate", "numbers-one", "boto3", "cryptography"]
    # which of Great Expectations' is for Snowflake alone checks the API's signatures
    pip.resolved[layers.API_REQUIREMENTS] = ["models", "numbers-one", "boto3", "cryptography"]
    made = artefacts.build(checkout, "dev")
    assert layers.distributions(made.dependencies.path) == {"numbers-one": "1.0"}
    assert layers.distributions(made.gate.path) == {"great-gate": "1.0"}
    assert layers.distributions(made.api.path) == {"models": "1.0", "cryptography": "1.0"}
    assert not names(made.dependencies) & (names(made.gate) | names(made.api))


def test_the_gate_is_resolved_with_the_versions_of_the_layer_below(pip, checkout):
    artefacts.build(checkout, "dev")
    assert pip.asked["below.txt"] == "numbers-one==1.0\n"
    assert (
        f"-r {checkout / 'build' / 'dev' / 'project' / layers.GATE_REQUIREMENTS}" in pip.asked[layers.GATE_REQUIREMENTS]
    )


def test_a_layer_is_unpacked_to_where_lambda_looks_and_brings_its_bytecode(pip, checkout):
    made = artefacts.build(checkout, "dev")
    tag = sys.implementation.cache_tag
    prefix = f"python/lib/{PYTHON}/site-packages"
    assert {f"{prefix}/numbers_one/__init__.py", f"{prefix}/numbers_one/__pycache__/__init__.{tag}.pyc"} <= names(
        made.dependencies
    )
    assert f"{prefix}/great_gate/__init__.pyc" in names(made.gate)
    assert not {name for name in names(made.gate) if name.endswith(".py")}
    assert {"app.py", f"__pycache__/app.{tag}.pyc", "chalice/app.py"} <= names(made.code)


def test_what_is_in_vendor_is_in_the_layer(pip, checkout):
    (checkout / "vendor" / "ours").mkdir(parents=True)
    (checkout / "vendor" / "ours" / "__init__.py").write_text("x = 1")
    made = artefacts.build(checkout, "dev")
    assert f"python/lib/{PYTHON}/site-packages/ours/__init__.py" in names(made.dependencies)


def test_bytecode_is_used_although_the_source_has_another_date(tmp_path):
    (tmp_path / "thing.py").write_text("print('compiled', __file__)\n")
    bytecode.compile_all(tmp_path, "/var/task")
    (tmp_path / "thing.py").write_text("print('source')\n")
    ran = subprocess.run([sys.executable, "-B", "-c", "import thing"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout.startswith("compiled"), ran.stderr


def test_a_module_without_its_source_is_imported_and_one_that_does_not_compile_keeps_it(tmp_path):
    (tmp_path / "thing.py").write_text("def f(): raise ValueError(1)\n")
    (tmp_path / "template.py").write_text("{{ name }} = \n")
    bytecode.compile_all(tmp_path, "/opt/python", sources=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["template.py", "thing.pyc"]
    ran = subprocess.run(
        [sys.executable, "-B", "-c", "import thing; thing.f()"], cwd=tmp_path, capture_output=True, text=True
    )
    assert 'File "/opt/python/thing.py", line 1, in f' in ran.stderr


# --- the same again --------------------------------------------------------------------------


def test_built_again_from_nothing_the_zips_are_the_same_whatever_the_dates_and_modes(pip, checkout):
    def digests(made):
        return [artefact.sha256_base64 for artefact in made.all]

    first = artefacts.build(checkout, "dev")
    shutil.rmtree(checkout / "build")
    for path in checkout.rglob("*.py"):
        os.utime(path, (0, 1_000_000_000))
        path.chmod(0o600)
    (checkout / "chalicelib" / "__pycache__").mkdir()
    (checkout / "chalicelib" / "__pycache__" / "app.cpython-27.pyc").write_text("")
    again = artefacts.build(checkout, "dev")
    assert digests(again) == digests(first)
    with zipfile.ZipFile(again.code.path) as packed:
        entries = packed.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {(entry.date_time, entry.external_attr >> 16) for entry in entries} == {((1980, 1, 1, 0, 0, 0), 0o100644)}


def test_a_second_build_fetches_nothing_and_code_alone_does_not_touch_the_layers(pip, checkout):
    first = artefacts.build(checkout, "dev")
    assert len(pip.calls) == 3
    (checkout / "chalicelib" / "expectations" / "posts.json").write_text("{}")
    again = artefacts.build(checkout, "dev")
    assert len(pip.calls) == 3
    assert again.code.sha256_base64 != first.code.sha256_base64
    assert again.all[1:] == first.all[1:]


@pytest.mark.parametrize(
    "file", ("requirements.txt", "requirements-gate.txt", "requirements-api.txt", "constraints.txt")
)
def test_a_requirement_that_changed_builds_the_layers_anew(pip, checkout, file):
    artefacts.build(checkout, "dev")
    with (checkout / file).open("a") as requirements:
        requirements.write("one-more==1.0\n")
    artefacts.build(checkout, "dev")
    assert len(pip.calls) == 6


def test_an_architecture_has_layers_of_its_own(pip, checkout):
    x86 = artefacts.build(checkout, "dev")
    arm = artefacts.build(checkout, "dev", "arm64")
    assert {machine for _, _, machine in pip.calls} == {"x86_64", "aarch64"}
    assert x86.dependencies.path != arm.dependencies.path and x86.code.path == arm.code.path
    assert x86.dependencies.path.exists() and arm.architecture == "arm64"
    described = json.loads((checkout / "build" / "dev" / "artefacts.json").read_text())
    assert described["architecture"] == "arm64" and described["gate"]["sha256"] == arm.gate.sha256_base64


# --- where Chalice finds them ----------------------------------------------------------------


def test_chalice_takes_what_was_built_and_makes_nothing_itself(pip, checkout, monkeypatch):
    made = artefacts.build(checkout, "dev")
    calls = len(pip.calls)
    for packager, artefact in (
        (AppOnlyDeploymentPackager, made.code),
        (LayerDeploymentPackager, made.dependencies),
    ):
        chalice = packager(OSUtils(), DependencyBuilder(OSUtils()), artefacts._Quiet(), made.architecture)
        found = chalice.create_deployment_package(str(made.project), made.python)
        assert Path(found).read_bytes() == artefact.path.read_bytes()
    # plain `chalice deploy` in the root packs the code itself, and takes the layer
    found = chalice.create_deployment_package(str(checkout), made.python)
    assert Path(found).read_bytes() == made.dependencies.path.read_bytes()
    assert len(pip.calls) == calls


# --- bad input -------------------------------------------------------------------------------


def test_a_function_over_the_limit_is_refused_by_name_with_its_bytes_and_what_is_heaviest(pip, checkout, monkeypatch):
    made = artefacts.build(checkout, "dev")
    monkeypatch.setattr(artefacts, "UNZIPPED_LIMIT", made.function_size("plan"))
    assert made.function_size("validate") > made.function_size("plan")
    with pytest.raises(ConfigurationError) as error:
        artefacts.build(checkout, "dev")
    told = str(error.value)
    assert f"validate has {made.function_size('validate'):,} bytes unzipped" in told
    assert f"Lambda takes {made.function_size('plan'):,}" in told
    assert "chalicelib" in told and "requirements-gate.txt" in told


def test_a_zip_that_chalice_cannot_upload_is_refused(pip, checkout, monkeypatch):
    made = artefacts.build(checkout, "dev")
    for artefact, source in ((made.code, "chalicelib/"), (made.dependencies, "requirements.txt")):
        monkeypatch.setattr(artefacts, "DIRECT_LIMIT", artefact.zipped - 1)
        other = made.dependencies if artefact is made.code else made.code
        small = dataclasses.replace(other, zipped=0)
        one = dataclasses.replace(made, **{artefact.name: artefact, other.name: small})
        with pytest.raises(
            ConfigurationError, match=rf"has {artefact.zipped:,} bytes; Chalice uploads at most"
        ) as told:
            artefacts._check(one, [])
        assert f"take something out of {source}" in str(told.value)


def test_a_distribution_without_a_wheel_for_lambda_stops_the_build_and_leaves_no_layer(pip, checkout, monkeypatch):
    def without(builder, abi, requirements_filepath, target_directory):
        raise MissingDependencyError({Wheel("psycopg2-binary", "2.9.13")})

    monkeypatch.setattr(DependencyBuilder, "build_site_packages", without)
    with pytest.raises(
        ConfigurationError, match=r"no wheel for Lambda .*arm64, glibc 2\.\d+\): psycopg2-binary==2\.9\.13"
    ):
        artefacts.build(checkout, "dev", "arm64")
    assert not list((checkout / "build").rglob("dependencies*"))


def test_a_requirement_that_does_not_exist_is_told(pip, checkout, monkeypatch):
    def without(builder, abi, requirements_filepath, target_directory):
        raise NoSuchPackageError("nothing==1.0")

    monkeypatch.setattr(DependencyBuilder, "build_site_packages", without)
    with pytest.raises(ConfigurationError, match=r"requirements\.txt could not be fetched: .*nothing==1\.0"):
        artefacts.build(checkout, "dev")


def test_an_unknown_stage_or_architecture_is_refused(pip, checkout):
    with pytest.raises(ConfigurationError, match="has no stage 'nowhere'"):
        artefacts.build(checkout, "nowhere")
    config = json.loads((checkout / ".chalice" / "config.json").read_text())
    config["stages"]["dev"]["lambda_architecture"] = "riscv"
    (checkout / ".chalice" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match=r"'riscv'.*take one of x86_64, arm64"):
        artefacts.build(checkout, "dev")


def test_the_functions_with_the_gate_are_functions_of_the_machine():
    for functions in artefacts.ABOVE.values():
        assert set(functions) < set(render.lambda_functions())
    assert not pruning.RUNTIME & pruning.SNOWFLAKE
