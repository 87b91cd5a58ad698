"""A short storm: runs with faults of all kinds, several at once, and after each of them nothing is lost."""

import json
import os
import subprocess
import sys

import pytest

from tests.features.conftest import ROOT

RUNS = 24


@pytest.mark.timeout(1800)  # alone on two cores it takes under a minute; a busy machine is no failure
def test_nothing_is_lost_in_a_storm(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "storm", "--seed", "3", "--runs", str(RUNS), "--folder", tmp_path, "--report", tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads((tmp_path / "storm.json").read_text())
    assert (told["trials"], told["counterexamples"], told["left"]) == (RUNS, [], None)
    # it was one: faults struck, some runs survived them, others did not and were made up for
    assert sum(kind.get("struck", 0) for kind in told["by_kind"].values()) >= RUNS / 2
    assert told["runs"] > RUNS


def test_a_trial_that_is_played_alone_meets_what_it_met_in_the_storm(tmp_path):
    """What a counterexample prints: the table and the cursor are first made as they are before that trial."""
    ran = subprocess.run(
        [sys.executable, "-m", "storm", "--seed", "3", "--only", "9", "--folder", tmp_path, "--report", tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1/1 trial 9 " in ran.stdout
