"""What `make test` says of tests that fail at first: once more by themselves, and only where all of them were run."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTEST = """#!/bin/sh
echo "$@" >> "$CALLS"
next=$(head -1 "$STATUSES"); sed -i.before 1d "$STATUSES"; exit "${next:-0}"
"""


@pytest.fixture
def make_test(tmp_path):
    """make_test(1, 0): `make test` where pytest ends with these statuses, one after the other, and then with 0.

    Its status, what it says, and the arguments of each pytest.
    """
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    for name, text in (("python", PYTEST), ("chromium", "#!/bin/sh\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for folder in ("venv", "checkov"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "installed").touch()
    (tmp_path / "calls").touch()

    def run(*statuses):
        (tmp_path / "statuses").write_text("".join(f"{status}\n" for status in statuses))
        given = {"CALLS": str(tmp_path / "calls"), "STATUSES": str(tmp_path / "statuses")}
        # what the make that runs this test hands down would be this one's, too
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        ran = subprocess.run(
            ["make", "test", f"VENV={tmp_path / 'venv'}", f"CHECKOV={tmp_path / 'checkov'}", "PYTHON=none"],
            cwd=ROOT,
            env={**environment, **given, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )
        return ran.returncode, ran.stdout, (tmp_path / "calls").read_text().splitlines()

    return run


def test_unit_tests_are_run_and_then_those_of_features(make_test):
    status, told, calls = make_test(0, 0)
    assert status == 0 and "UNSTABLE" not in told
    assert [call.split()[-1] for call in calls] == ["tests/unit", "tests/features"]


def test_what_fails_only_at_first_is_told_and_fails_nothing(make_test):
    status, told, calls = make_test(1, 0, 1, 0)
    assert status == 0 and told.count("UNSTABLE") == 2
    assert ["--last-failed" in call for call in calls] == [False, True, False, True]


@pytest.mark.parametrize("statuses", [(1, 1), (0, 1, 1)], ids=["unit", "features"])
def test_what_fails_twice_fails(make_test, statuses):
    status, told, calls = make_test(*statuses)
    assert status != 0 and "UNSTABLE" not in told and len(calls) == len(statuses)


@pytest.mark.parametrize("status", [2, 3, 4, 5, 137], ids=["interrupted", "internal", "usage", "none", "killed"])
def test_tests_that_were_not_all_run_are_not_made_up_for_by_those_that_failed(make_test, status):
    found, told, calls = make_test(status, 0)
    assert found != 0 and "UNSTABLE" not in told and len(calls) == 1
