"""What is taken out of a layer, and that what stays can be imported."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import elf, pruning

GONE = (
    "thing/tests/test_a.py",
    "thing/tests/data/a.csv",
    "thing/__pycache__/a.cpython-311.pyc",
    "thing/a.pyi",
    "thing/a.pyx",
    "thing/py.typed",
    "thing/core/include/a.h",
    "thing-stubs/a.py",
    "thing-1.0.data/scripts/thing",
    "thing-1.0.dist-info/RECORD",
    "thing-1.0.dist-info/WHEEL",
    "bin/thing",
    "scipy/signal/a.py",
    "numpy/_core/tests/test_a.py",
    "numpy/_core/_simd.cpython-311-x86_64-linux-gnu.so",
)
KEPT = (
    "thing/a.py",
    "thing/testing.py",
    "thing/data/a.json",
    "thing.libs/liba.so.1",
    "thing-1.0.dist-info/METADATA",
    "thing-1.0.dist-info/entry_points.txt",
    "thing-1.0.dist-info/licenses/LICENSE",
    "thing-1.0.dist-info/LICENSE.txt",
    "tests.py",
    "scipy/stats/a.py",
    "numpy/_core/tests/_natype.py",
)


def test_what_no_lambda_uses_goes_and_the_rest_stays(tmp_path):
    for name in (*GONE, *KEPT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    pruning.prune(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(KEPT)


def test_folders_that_are_empty_then_go_too(tmp_path):
    (tmp_path / "thing" / "stubs").mkdir(parents=True)
    (tmp_path / "thing" / "stubs" / "a.pyi").write_text("")
    (tmp_path / "thing" / "a.py").write_text("")
    pruning.prune(tmp_path)
    assert [path.name for path in (tmp_path / "thing").iterdir()] == ["a.py"]


def test_a_library_is_shorter_then_and_still_loads(tmp_path):
    """Of an installed wheel that was built with its symbols."""
    found = Path(importlib.util.find_spec("wrapt._wrappers").origin)
    if not elf.is_library(found):
        pytest.skip("no ELF library here")
    library = tmp_path / found.name
    shutil.copy(found, library)
    before = library.stat().st_size
    saved = elf.trim(library)
    assert saved > 0 and library.stat().st_size == before - saved
    assert elf.trim(library) == 0
    load = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("_wrappers", {str(library)!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.ObjectProxy([1, 2]) == [1, 2])
"""
    ran = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True)
    assert ran.stdout.strip() == "True", ran.stderr


def test_what_is_no_library_is_told_from_one(tmp_path):
    (tmp_path / "a.so").write_text("INPUT(liba.so.1)")
    (tmp_path / "b.so").write_bytes(b"")
    assert not elf.is_library(tmp_path / "a.so") and not elf.is_library(tmp_path / "b.so")
