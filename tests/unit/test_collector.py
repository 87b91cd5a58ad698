"""What a process keeps is not looked through for garbage, neither meanwhile nor later."""

import gc
import subprocess
import sys

import pytest

from chalicelib import collector


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.enable()
    gc.unfreeze()


def test_what_exists_afterwards_is_never_looked_through_again():
    before = gc.get_freeze_count()
    with collector.importing():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)


def test_imports_within_imports_leave_the_collector_to_the_outermost():
    with collector.importing():
        with collector.importing():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_import_that_fails_leaves_the_collector_running():
    with pytest.raises(ImportError), collector.importing():
        raise ImportError
    assert gc.isenabled()


def test_great_expectations_is_imported_for_good():
    """In a process of its own: here others have imported it."""
    script = (
        "import gc; from chalicelib.quality import engine; engine.context(); "
        "print(gc.get_freeze_count() > 100_000, gc.isenabled())"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "True"]
