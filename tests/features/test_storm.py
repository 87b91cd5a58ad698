"""A short storm: runs with faults of all kinds, several at once, and after each of them nothing is lost."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.features.conftest import ROOT

RUNS = 24
SEED = "3"


def command(folder, *more):
    return [sys.executable, "-m", "storm", "--seed", SEED, "--folder", folder, "--report", folder, *more]


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def played(folder, *more, report="storm"):
    ran = subprocess.run(command(folder, *more), cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads((folder / f"{report}.json").read_text())


@pytest.fixture(scope="module")
def storm(tmp_path_factory):
    return played(tmp_path_factory.mktemp("storm"), "--runs", str(RUNS))


@pytest.mark.timeout(1800)  # alone on two cores it takes about a minute; a busy machine is no failure
def test_nothing_is_lost_in_a_storm(storm):
    assert (storm["trials"], storm["counterexamples"], storm["left"]) == (RUNS, [], None)
    # it was one: faults struck, some runs survived them, others did not and were made up for
    assert sum(kind.get("struck", 0) for kind in storm["by_kind"].values()) >= RUNS / 2
    assert storm["runs"] > RUNS
    assert len({trial["lane"] for trial in storm["played"]}) >= 9
    # and some of what was set aside was judged again
    assert storm["replays"]["trials"] >= 5 and storm["replays"]["ended"]["SUCCEEDED"] >= 5
    assert storm["replays"]["struck"] >= 1


@pytest.mark.timeout(1800)
def test_a_trial_that_is_played_alone_meets_what_it_met_in_the_storm(storm, tmp_path):
    """What a counterexample prints: the table and the cursor are first made as they are before that trial."""
    # one that met all of its faults, none of which depends on who is faster
    among = next(
        trial
        for trial in storm["played"]
        if all(fault["seam"] == "database" and fault["struck"] for fault in trial["faults"])
    )
    whole = tmp_path / "storm.json"
    whole.write_text("what a whole campaign found")
    told = played(tmp_path, "--only", str(among["trial"]), report="storm-only")
    assert whole.read_text() == "what a whole campaign found"
    [alone] = told["played"]
    assert (alone["trial"], alone["lane"]) == (among["trial"], among["lane"])
    # each by its kind, its place, when it begins, how often it strikes, and that it did
    assert alone["faults"] == among["faults"]


@pytest.mark.timeout(900)
def test_a_storm_that_is_stopped_says_what_it_played_and_leaves_nothing(tmp_path):
    storm = subprocess.Popen(
        command(tmp_path, "--runs", "1000"),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # as a shell's job: Ctrl-C is for all of its group
    )
    said = []
    while not said or not said[-1].startswith("2/1000 trial "):  # a slow one has a line more
        said.append(storm.stdout.readline())
        assert said[-1], said
    time.sleep(1)  # in the middle of others
    os.killpg(storm.pid, signal.SIGINT)
    said += storm.communicate()[0].splitlines()
    assert storm.returncode == 130, said
    told = json.loads((tmp_path / "storm.json").read_text())
    assert 2 <= len(told["played"]) < 1000
    assert any(
        line.startswith(f"Seed {SEED}: {len(told['played'])} of 1000 trials, {told['runs']} runs") for line in said
    )
    assert "| fault | drawn | struck |" in (tmp_path / "storm.md").read_text()
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(tmp_path) in word for word in process.cmdline()):
                left.append(process.cmdline())
    assert left == []
