"""What has imported the layers of deployed functions is there whenever one of them starts, and ends with the last."""

import time

import pytest

from local.deployed import IDLE_SECONDS, Deployed
from local.sandbox import PYTHON


@pytest.fixture
def layer(tmp_path):
    """A layer with a module that takes long to import."""
    (tmp_path / "layer/python/lib" / PYTHON / "site-packages/pandas").mkdir(parents=True)
    return tmp_path / "layer"


@pytest.fixture
def deployed(tmp_path):
    made = Deployed(tmp_path / "deployed", {}, tmp_path / "log")
    yield made
    made.close()


def test_functions_of_the_same_layers_share_it(deployed, layer, tmp_path):
    shared = deployed._nursery([layer])
    assert shared.alive and deployed._nursery([layer]) is shared
    (tmp_path / "other").mkdir()
    assert deployed._nursery([tmp_path / "other"]) is deployed._nursery([]) is None


def test_it_is_there_again_after_it_was_killed(deployed, layer):
    first = deployed._nursery([layer])
    first._process.kill()
    first._process.wait()
    second = deployed._nursery([layer])
    assert second.alive and not first.alive
    assert deployed._nursery([layer]) is second


def test_it_ends_when_no_function_has_needed_it_for_a_while(deployed, layer):
    shared, long = deployed._nursery([layer]), 2 * IDLE_SECONDS
    shared.used = time.monotonic() - long
    assert deployed._nursery([layer]) is shared  # for a function that is about to start
    deployed.drop_idle()
    assert shared.alive
    shared.used = time.monotonic() - long
    deployed.drop_idle()
    assert not shared.alive


def test_it_ends_with_the_stack(deployed, layer):
    shared = deployed._nursery([layer])
    deployed.close()
    assert not shared.alive
    assert deployed._nursery([layer]) is shared  # who comes too late is told None by it, and is closed, too
    assert not shared.alive
