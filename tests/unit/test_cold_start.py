"""What a Lambda imports before its first event, and what it must not: by module, a time would be the machine's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib import cold_start
from chalicelib.settings import Runtime, runtime
from deploy.artefacts import GATE_FUNCTIONS
from statemachine import render

ROOT = Path(__file__).parents[2]
HEAVY = {"pandas", "numpy", "psycopg2", "sqlalchemy", "great_expectations", "scipy", "altair", "pgvector"}
FUNCTIONS = render.lambda_functions()

# what each has imported of HEAVY when its first event comes
EXPECTED = {
    "plan": {"psycopg2"},
    "fetch_partition": {"numpy"},
    "write_manifest": {"psycopg2"},
    "transform": {"numpy"},
    "validate": {"numpy", "pandas"},
    "load": {"numpy", "psycopg2"},
    "record_chunk_failure": set(),
    "review_schema": {"psycopg2"},
    "quality_gate": {"psycopg2"},
    "publish": {"psycopg2"},
    "reject": {"psycopg2"},
    "embed_shard": {"psycopg2"},
    "complete": {"psycopg2"},
    "record_failure": {"psycopg2"},
    "start_run": {"psycopg2"},
    "collect_events": set(),
    "api_handler": set(),
    "authorize": {"psycopg2"},
    "simulate_sensors": set(),
    "apply_changes": {"numpy", "psycopg2"},
}


OF_THE_API = {"api_handler": "chalicelib.api.webhooks", "authorize": "chalicelib.api.access"}


def imported(handler, initialization="on-demand", then=""):
    """The modules that a fresh process has after `import app` as that function, and `then`."""
    ran = subprocess.run(
        [sys.executable, "-c", f"import json, sys, app\n{then}\nprint(json.dumps(sorted(sys.modules)))"],
        cwd=ROOT,
        env={**os.environ, "_HANDLER": handler, "AWS_LAMBDA_INITIALIZATION_TYPE": initialization},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout.splitlines()[-1]))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_imported_its_stage_and_no_library_that_it_may_not_need(function):
    modules = imported(render.handler(function))
    own = {f"chalicelib.stages.{function}", f"chalicelib.events.{function}"} & modules
    assert modules & HEAVY == EXPECTED[function]
    assert {name for name in modules if name.startswith(("chalicelib.stages.", "chalicelib.events."))} == own
    if function in render.API_FUNCTIONS:
        assert set(OF_THE_API.values()) & modules == {OF_THE_API[function]}
    else:
        assert len(own) == 1


@pytest.mark.parametrize("function", ("plan", "publish", "embed_shard", "complete", "reject"))
def test_no_source_brings_numpy_or_pandas_to_those_that_read_no_rows(function):
    then = "from chalicelib import sources\nfor name in sources.names(): sources.get(name)"
    assert not imported(f"app.{function}", then=then) & {"numpy", "pandas"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_with_snap_start_great_expectations_is_in_the_snapshot_of_the_quality_functions_alone(function):
    assert ("great_expectations" in imported(render.handler(function), "snap-start")) == (function in GATE_FUNCTIONS)


@pytest.mark.parametrize("handler", ("", "app.nothing", "local.worker"))
def test_a_process_of_no_function_of_ours_imports_no_stage(handler):
    assert not {module for module in imported(handler) if module.startswith("chalicelib.stages.")}


def test_the_functions_with_the_layer_are_those_that_import_from_it():
    assert set(cold_start._GATE) == set(GATE_FUNCTIONS)


def test_the_runtime_is_read_from_what_lambda_sets():
    assert runtime({"_HANDLER": "app.plan", "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}) == Runtime(
        "app.plan", "snap-start"
    )
    assert runtime({}) == Runtime()
