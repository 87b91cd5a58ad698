"""What takes long to import is imported once; a sandbox forked from there is as one that was started."""

import os
import subprocess
import sys

import psutil
import pytest
from sandboxes import answer, opening

from local.nursery import Forked, Nursery
from local.sandbox import PYTHON, behind_the_package, runtime_folder

# instead of the real one, which takes a second: it tells in which process it was imported
PANDAS = "import gc, os\nIMPORTED_BY = os.getpid()\nSEEN = sorted(os.environ)\nMEANWHILE = gc.isenabled()\n"
CODE = """
import os, sys, pandas
def handler(event, context):
    if event.get('run'): exec(event['run'])
    return {'pid': os.getpid(), 'pandas': pandas.IMPORTED_BY, 'mine': os.environ.get('MINE'), 'cwd': os.getcwd(),
            'names': sorted(os.environ), 'seen': getattr(pandas, 'SEEN', []), 'path': sys.path}
"""


@pytest.fixture
def layer(tmp_path):
    """A layer with a module that takes long to import."""
    folder = tmp_path / "opt" / "python" / "lib" / PYTHON / "site-packages" / "pandas"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(PANDAS)
    return tmp_path / "opt"


@pytest.fixture
def nursery(layer, tmp_path):
    made = Nursery(behind_the_package(layer, runtime_folder(tmp_path / "runtime")))
    yield made
    made.close()


@pytest.fixture
def sandbox(layer, nursery, tmp_path):
    """sandbox(name, code, …) is an environment of the function in the package `name`."""
    with opening(tmp_path) as make_one:

        def make(name="one", code=CODE, memory_mb=256, variables=None, **files):
            made = make_one(
                code,
                [layer],
                environment={"MINE": name, **(variables or {})},
                memory_mb=memory_mb,
                name=name,
                log=tmp_path / "log",
                nursery=nursery,
            )
            for module, text in files.items():
                (tmp_path / name / f"{module}.py").write_text(text)
            return made

        yield make


def test_what_takes_long_is_imported_once_for_all_functions_of_the_layers(sandbox):
    (_, one), (_, other) = answer(sandbox("one")), answer(sandbox("other"))
    assert one["pandas"] == other["pandas"]
    assert len({one["pid"], other["pid"], one["pandas"], os.getpid()}) == 4


def test_each_has_its_own_package_folder_and_environment(sandbox, layer, tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_OF_THE_CALLER", "1")
    for name in ("one", "other"):
        made = sandbox(name)
        (_, found) = answer(made)
        assert (found["mine"], found["cwd"]) == (name, str(tmp_path / name))
        assert found["path"][:2] == [str(tmp_path / name), str(layer / f"python/lib/{PYTHON}/site-packages")]
        assert "SLUICE_OF_THE_CALLER" not in found["names"]
        # what a function is told decides nothing of what others share
        assert "MINE" not in found["seen"] and "SLUICE_OF_THE_CALLER" not in found["seen"]
        assert answer(made)[1]["pid"] == found["pid"]


def test_it_has_the_time_zone_that_its_environment_says(sandbox):
    code = "import time\ndef handler(event, context): return time.strftime('%H %Z', time.localtime(0))\n"
    assert answer(sandbox(code=code)) == (True, "00 UTC")
    assert answer(sandbox("other", code, variables={"TZ": "JST-9"})) == (True, "09 JST")


def test_nothing_looks_for_garbage_in_what_was_imported_once_and_in_what_a_function_makes_it_does(sandbox):
    code = "import gc, pandas\ndef handler(event, context):\n"
    code += "    return [pandas.MEANWHILE, gc.isenabled(), gc.get_freeze_count() > 1000]\n"
    assert answer(sandbox(code=code)) == (True, [False, True, True])


@pytest.mark.parametrize("name", ["pandas", "calendar"], ids=["of-a-layer", "of-the-standard-library"])
def test_a_package_with_such_a_module_of_its_own_starts_by_itself(sandbox, name):
    """boto3 has imported the standard library's calendar; on Lambda, too, the package's goes before that."""
    code = f"import {name}\ndef handler(event, context): return {name}.WHOSE\n"
    assert answer(sandbox(code=code, **{name: "WHOSE = 'the package'"})) == (True, "the package")


def test_what_cannot_be_imported_is_told_by_the_function_that_needs_it(sandbox, layer):
    (layer / f"python/lib/{PYTHON}/site-packages/pandas/__init__.py").write_text("raise ImportError('no numpy')")
    succeeded, body = answer(sandbox())
    assert (succeeded, body["errorMessage"]) == (False, "Unable to import module 'module': no numpy")
    assert answer(sandbox("other", "def handler(event, context): return 1\n")) == (True, 1)


@pytest.mark.parametrize(
    ("code", "kind", "how"),
    [
        ("os._exit(3)", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("sys.exit(2)", "Runtime.ExitError", "Runtime exited with error: exit status 2"),
        ("os._exit(0)", "Runtime.ExitError", "Runtime exited without providing a reason"),
        ("os.kill(os.getpid(), 11)", "Runtime.ExitError", "Runtime exited with error: signal: segmentation fault"),
        ("import time; time.sleep(60)", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
        (
            "kept = b'x' * 2**29; import time; time.sleep(60)",
            "Runtime.ExitError",
            "Runtime exited with error: signal: killed",
        ),
    ],
    ids=["exit", "sys.exit", "exit-0", "crash", "time", "memory"],
)
def test_how_it_ended_is_told_as_lambda_does_and_the_next_starts_anew(sandbox, code, kind, how):
    made = sandbox()
    pid = answer(made)[1]["pid"]
    succeeded, body = answer(made, {"run": code}, timeout=1 if "Timedout" in kind else 30)
    assert (succeeded, body["errorType"]) == (False, kind)
    assert body["errorMessage"].endswith(how)
    assert not psutil.pid_exists(pid)
    assert answer(made)[1]["pid"] != pid


def test_an_exit_while_it_is_imported_is_one_of_the_process(sandbox):
    succeeded, body = answer(sandbox(code="import sys; sys.exit(4)"))
    assert (succeeded, body["errorType"]) == (False, "Runtime.ExitError")
    assert body["errorMessage"].endswith("exit status 4")


def test_what_it_prints_is_in_the_log(sandbox, tmp_path):
    answer(sandbox(), {"run": "print('hello')"})
    assert (tmp_path / "log").read_text() == "hello\n"


def test_closing_a_sandbox_leaves_nothing_running(sandbox):
    made = sandbox()
    pid = answer(made)[1]["pid"]
    made.close()
    assert not psutil.pid_exists(pid)


def test_what_was_forked_outlives_a_nursery_that_is_killed_and_others_start_by_themselves(sandbox, nursery):
    made = sandbox()
    pid = answer(made)[1]["pid"]
    nursery._process.kill()
    nursery._process.wait()
    assert answer(made)[1]["pid"] == pid
    succeeded, found = answer(sandbox("other"))
    assert (succeeded, found["pandas"]) == (True, found["pid"])
    made.close()  # though nobody says any more how it ended


def test_killing_what_has_ended_without_its_nursery_is_no_error():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    Forked(None, ended.pid).kill()


def test_it_pays_where_the_layers_have_something_that_takes_long(layer, tmp_path):
    runtime = runtime_folder(tmp_path / "runtime")
    assert Nursery.pays(behind_the_package(layer, runtime))
    assert not Nursery.pays(behind_the_package(tmp_path / "nothing", runtime))
