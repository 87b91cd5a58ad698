"""The race, run whole on a stack of its own with a few thousand records, by those who need nothing else installed."""

import dataclasses
import random

import pytest

from benchmarks.race import __main__ as race
from benchmarks.race import report, truth, wanted
from benchmarks.race.contestants import BY_NAME
from benchmarks.race.track import AGAIN, FIRST, Track

ROWS = 4000
# does its work, but is held against another truth; and one that is no module
MISTAKEN = dataclasses.replace(BY_NAME["floor"], truth=truth.PASSING)
NOBODY = dataclasses.replace(BY_NAME["floor"], name="nobody")
NAMES = ("floor", "sluice", "sluice_stages")


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    with Track(tmp_path_factory.mktemp("race")) as made:
        yield made


@pytest.fixture(scope="module")
def taken(track):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(race, "KEPT", track.folder / "figures.json")
        contestants = [BY_NAME[name] for name in NAMES]
        return race.run(track, contestants, ROWS, files=2, larger=2 * ROWS, repeats=1, vectors=600, seed=1)


def test_every_load_leaves_the_truth_and_a_balanced_account(taken):
    assert [result.problem for result in taken.results if result.problem] == []
    loads = {(result.contestant, result.rows, result.load) for result in taken.results}
    both = (FIRST, AGAIN)
    assert loads == {(name, ROWS, load) for name in NAMES for load in both} | {
        ("sluice", 2 * ROWS, load) for load in both
    }


def test_the_order_follows_from_the_seed(taken):
    contestants = [BY_NAME[name] for name in NAMES]
    assert taken.order == [[one.name for one in random.Random(1).sample(contestants, len(contestants))]]


def test_each_load_is_measured_by_clock_cpu_and_memory(taken):
    for result in taken.results:
        # the kernel counts CPU in hundredths of a second, which is more than COPY takes of a client for so few rows
        assert result.seconds > 0 and (result.used.cpu > 0 or result.contestant == "floor")
        assert result.used.largest_mb > 0 and result.used.together_mb > 0


def test_where_the_time_goes_is_known_by_stage(taken):
    [alone] = taken.of("sluice_stages")
    [machine] = taken.of("sluice")
    assert set(alone.details["stages"]) == set(report.STAGES) == set(machine.details["functions"])
    assert all(used["cpu"] > 0 for used in alone.details["stages"].values())
    assert 0 < wanted.gate_share(taken) < 1


def test_a_first_load_is_from_scratch_and_the_second_takes_its_chunks_over(track, taken):
    given = track.input(ROWS, 2)  # the same files as those that earlier rounds loaded
    for name in ("sluice", "sluice_stages"):
        first, again = track.heat(BY_NAME[name], 8, given)
        assert (first.details["account"]["kept_chunks"], again.details["account"]["kept_chunks"]) == (None, 2)
    assert any(line.startswith("Sluice again takes over the chunks whose bytes are") for line in report.lines(taken))


def test_an_unchanged_run_embeds_nothing_again(taken):
    first, again = taken.embeddings["embedded"]
    assert first > 0 and again == 0
    assert all(taken.embeddings[f"{way}_per_second"] > 0 for way in ("bare", "keyed", "written"))


def test_the_report_says_of_everything_wanted_that_can_be_known_whether_it_is_met(taken):
    unknown = [one.what for one in wanted.all_of(taken) if one.met is None]
    assert unknown == ["first load, against dlt with Arrow tables", "dlt with Python records, against Sluice"]
    assert "Every load of every contestant left what it had to." in list(report.lines(taken))


@pytest.mark.parametrize(
    ("contestant", "told"),
    [
        (MISTAKEN, "rows {failing} too many, {superseded} different"),
        (NOBODY, "its warm-up failed: its process ended with 1"),
    ],
    ids=["leaves-something-else", "does-not-start"],
)
def test_who_fails_is_told_of_and_stops_nobody(track, taken, contestant, told):
    """What does not pass is too much where no other record of its key does, and else in the place of one that does."""
    given = track.input(ROWS, 2)
    with track.cursor() as cursor:
        cursor.execute(
            'SELECT count(*) FROM truth."all" AS a JOIN truth.passing AS p USING (id) WHERE a.note <> p.note'
        )
        (superseded,) = cursor.fetchone()
    told = told.format(failing=given.counts.all - given.counts.passing, superseded=superseded)
    found = track.heat(contestant, 9, given)
    assert [result.problem for result in found] == [told.removesuffix(", 0 different")] * 2
