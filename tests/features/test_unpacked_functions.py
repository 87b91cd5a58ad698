"""Every function runs from its zips: unpacked as Lambda does, with boto3 and nothing else.

The artefacts are the real ones; pip fetches their wheels where they are not in `build/cache/`.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from benchmarks import unpacked
from benchmarks.package import BUDGETS
from chalicelib import cold_start
from deploy import artefacts, layers, pruning, zips
from statemachine import render

ROOT = Path(__file__).parents[2]
# runs whose columns may change are those of tests/features/test_schema_contracts.py
FUNCTIONS = tuple(name for name in render.lambda_functions() if name != "review_schema")
# what the first event has imported at its end
IMPORTED = {
    "api_handler": {"pydantic"},
    "plan": {"psycopg2"},
    "transform": {"pandas", "orjson"},
    "validate": {"pandas", "great_expectations", "scipy.stats"},
    "quality_gate": {"psycopg2", "sqlalchemy", "great_expectations"},
    "embed_shard": {"psycopg2", "numpy"},
}


@pytest.fixture(scope="module")
def made():
    return artefacts.build(ROOT, "dev")


@pytest.fixture(scope="module")
def lambdas(made, tmp_path_factory):
    return unpacked.Unpacked(made, tmp_path_factory.mktemp("lambda"))


@pytest.fixture(scope="module")
def environment(pipeline):
    return {**unpacked.environment(pipeline.env), **unpacked.BEDROCK}


@pytest.fixture(scope="module")
def calls(lambdas, environment):
    """One cold call of every function with a real run's event."""
    return unpacked.run(lambdas, environment, "unpacked")


@pytest.mark.timeout(600)
def test_every_function_does_its_part_of_a_run(calls, pipeline):
    assert set(FUNCTIONS) <= set(calls)
    assert {function for function, call in calls.items() if call.error} == set()
    rows = dict(pipeline.query("SELECT run_id, status FROM pipeline.runs WHERE run_id LIKE 'unpacked%%'"))
    assert rows["unpacked-rejected"] == "rejected" and rows["unpacked-failed"] == "failed"
    assert rows["unpacked"] == "succeeded"
    # another test may have loaded them before
    [(published,)] = pipeline.query(
        "SELECT inserted + updated + unchanged FROM pipeline.runs WHERE run_id = 'unpacked'"
    )
    assert published == len(pipeline.rows("posts")) > 0


def test_texts_are_embedded_by_bedrock(calls):
    assert calls["embed_shard"].result["embedded"] > 0


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_imports_nothing_from_anywhere_but_its_zips_boto3_and_python(calls, lambdas, function):
    python = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    allowed = (*lambdas.paths(function), lambdas.runtime, *python)
    installed = sysconfig.get_path("purelib")
    for file in calls[function].files:
        assert file.startswith(allowed) and not file.startswith(installed), file


@pytest.mark.parametrize("function", IMPORTED)
def test_its_libraries_are_there(calls, function):
    assert IMPORTED[function] <= calls[function].modules


@pytest.mark.parametrize("function", sorted(set(FUNCTIONS) - set(artefacts.GATE_FUNCTIONS)))
def test_a_function_without_the_layer_needs_nothing_of_it(calls, function):
    assert not {"great_expectations", "scipy", "sqlalchemy"} & calls[function].modules


@pytest.mark.parametrize("function", artefacts.GATE_FUNCTIONS)
def test_what_snap_start_restores_has_imported_all_that_its_event_needs(calls, lambdas, function):
    restored = calls[f"{function}{unpacked.SNAP_START}"]
    assert not restored.error
    assert restored.event_import_seconds < calls[function].event_import_seconds / 4


def test_every_function_with_a_budget_is_measured(calls):
    assert set(BUDGETS) | set(artefacts.GATE_FUNCTIONS) == {
        function for function in calls if not function.endswith(unpacked.SNAP_START)
    }


def test_every_expectation_that_a_suite_may_hold_works_in_the_pruned_layer(lambdas, tmp_path):
    """Our own tests of Great Expectations, against the unpacked layers; hypothesis and pytest come from here."""
    _, *opt = lambdas.paths("validate")
    # without a folder of its own, pytest would close the one that it shares with us to the accounts of our Postgres
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'pytest'}"]
    script = f"""
import sys
sys.path[:0] = {[str(path) for path in opt]!r}
import pytest
status = pytest.main({[*options, "tests/unit/test_rows.py", "tests/unit/test_suite.py"]!r})
import great_expectations, pandas, scipy
assert all(module.__file__.startswith({opt[0]!r}) for module in (great_expectations, pandas, scipy))
sys.exit(status)
"""
    ran = subprocess.run([sys.executable, "-B", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]


def test_the_layers_hold_no_distribution_twice_and_none_of_the_runtimes(made):
    below, gate = layers.distributions(made.dependencies.path), layers.distributions(made.gate.path)
    assert {"pandas", "numpy", "psycopg2-binary"} <= set(below)
    assert {"great-expectations", "scipy", "sqlalchemy"} <= set(gate)
    assert not set(below) & set(gate)
    assert not (set(below) | set(gate)) & pruning.RUNTIME
    assert not set(zips.sizes(made.dependencies.path)) & set(zips.sizes(made.gate.path))
    api = layers.distributions(made.api.path)
    assert {"pydantic", "pyjwt", "cryptography"} <= set(api)
    assert not set(api) & (set(below) | pruning.RUNTIME)
    assert not set(zips.sizes(made.dependencies.path)) & set(zips.sizes(made.api.path))


@pytest.mark.timeout(600)
def test_built_elsewhere_from_nothing_they_are_the_same_byte_for_byte(made, tmp_path):
    shutil.copytree(made.project, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("deployments"))
    again = artefacts.build(tmp_path / "elsewhere", "dev")
    for one, other in zip(again.all, made.all, strict=True):
        assert one.sha256_base64 == other.sha256_base64, one.name


def test_the_command_says_sizes_and_limits(made):
    command = [sys.executable, "-m", "cli", "build", "--stage", "dev"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    built = json.loads((made.project.parent / "artefacts.json").read_text())
    size = sum(built[name]["unzipped"] for name in ("code", "dependencies", "gate"))
    assert f"{size:,} of 262,144,000 bytes unzipped" in ran.stdout
    assert all(f"{built[artefact.name]['zipped']:,}" in ran.stdout for artefact in made.all)


def test_a_stage_is_found_by_the_environment_that_lambda_sets(lambdas, environment):
    """`_HANDLER` and the initialization type are all that tells a process whose it is."""
    made = lambdas.call("plan", {"run_id": "x"}, environment, cold_start.SNAP_START)
    assert made.error == "ContractError"
    assert "chalicelib.stages.plan" in made.modules and "great_expectations" not in made.modules
