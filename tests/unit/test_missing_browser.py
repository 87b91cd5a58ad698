"""The dashboard's tests in a browser, where there is none: nobody overlooks that they did not run, and CI fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ran(tmp_path):
    """ran(**variables) runs one of these tests with nothing on the PATH."""

    def run(**variables):
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        wanted = "tests/features/test_dashboard_in_browser.py"
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:schemathesis", "-k", "searched_for", wanted],
            cwd=ROOT,
            env={**environment, "PATH": str(tmp_path), "PYTEST_DEBUG_TEMPROOT": str(tmp_path), **variables},
            capture_output=True,
            text=True,
            timeout=250,
        )

    return run


def test_on_a_laptop_they_are_skipped_and_the_end_of_the_session_says_so(ran):
    result = ran()
    assert result.returncode == 0 and "2 skipped" in result.stdout, result.stdout
    last = result.stdout.split("the dashboard was NOT tested in a browser")[1]
    assert "2 tests were skipped" in last and "`make browser`" in last


def test_in_ci_they_fail(ran):
    result = ran(CI="true")
    assert result.returncode == 1 and "skipped" not in result.stdout, result.stdout
    assert "none of chromium, chromium-browser, google-chrome is installed" in result.stdout
    assert "make browser" in result.stdout
