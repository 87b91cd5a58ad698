"""What a storm plays, and what it expects, comes from its seed alone."""

import datetime as dt
from collections import Counter, defaultdict

import pytest

from local import faults as aws
from storm import campaign, document, faults, plan, report, truth
from storm.database import ACTIONS, PLACES
from storm.stack import entered, longest
from storm.trial import Outcome

DAY = dt.date(2001, 2, 3)


def row(key, amount="1.00", note="x"):
    return {"id": key, "day": "2001-02-03", "amount": amount, "note": note}


def shown(key, amount="1.00", note="x"):
    return (str(key), "2001-02-03", amount, note)


def test_a_seed_makes_the_same_trials_whatever_their_number():
    assert plan.trials(7, 200)[:50] == plan.trials(7, 50)
    assert plan.trials(7, 50) != plan.trials(8, 50)


def test_every_fault_is_drawn_and_can_be_done():
    drawn = [fault for trial in plan.trials(1, 1000) for fault in trial.faults]
    assert all(trial.faults for trial in plan.trials(1, 1000))
    for fault in drawn:
        if fault.seam == "aws":
            assert fault.values["action"] in aws.ACTIONS[fault.values["service"]]
        elif fault.seam == "database" and fault.values["place"] != "clock":
            assert fault.values["place"] in PLACES and fault.values["action"] in ACTIONS
    done = {(fault.values["service"], fault.values["action"]) for fault in drawn if fault.seam == "aws"}
    assert done == {(service, action) for service, actions in aws.ACTIONS.items() for action in actions}
    places = {fault.values["place"] for fault in drawn if fault.seam == "database"}
    assert places == set(PLACES) | {"clock"}
    assert {fault.values["action"] for fault in drawn if fault.seam == "source"} >= {"429", "500", "hang", "truncated"}
    assert {fault.seam for fault in drawn} == {"source", "aws", "database", "run", "stack", "starts"}


def test_all_that_was_asked_for_is_drawn_often_enough_to_strike():
    drawn = Counter(fault.kind for trial in plan.trials(1, 1000) for fault in trial.faults)
    for name, kinds in report.WANTED.items():
        assert all(drawn[kind] for kind in kinds), f"{name}: {kinds}"
        assert sum(drawn[kind] for kind in kinds) >= 10, name
    # what struck 1 of 4, and not once, in a campaign of 165
    for kind in ("out of memory", "disk full in the merge", "read-only in COPY"):
        assert drawn[kind] >= 8, kind


def test_a_lane_gets_what_its_kind_can_meet():
    met = defaultdict(set)
    for trial in plan.trials(2, 1500):
        met[trial.kind] |= {fault.kind for fault in trial.faults}
        functions = {fault.values.get("function") for fault in trial.faults}
        if trial.kind == faults.CONTAINERS:
            assert not functions & set(faults.IN_CONTAINERS)
    own = {
        faults.TEXTS: {"worker killed in EmbedShard", "connection cut in EmbedShard"},
        faults.CONTAINERS: {"container killed", "container out of memory", "ECS unavailable"},
        faults.INBOX: {"event delivered twice", "Step Functions unheard", "worker killed in StartRun"},
    }
    for kind, wanted in own.items():
        assert wanted <= met[kind]
        assert not any(wanted & others for another, others in met.items() if another != kind)
    assert not any(kind.startswith("source") for kind in met[faults.INBOX])


def test_what_is_replayed_is_drawn_for_every_lane_that_can():
    replays = {trial.number: trial.replay for trial in plan.trials(1, 1000) if trial.replay}
    lanes = Counter(plan.trials(1, 1000)[number].lane for number in replays)
    assert set(lanes) == set(plan.LANES) - {"storm_7_containers"}
    assert min(lanes.values()) > 10
    for what in ("twice", "older", "beside", "together", "newest_first"):
        assert {getattr(replay, what) for replay in replays.values()} == {False, True}, what
    assert {replay.at_once for replay in replays.values()} == {1, 2}
    met = [fault for replay in replays.values() for fault in replay.faults]
    assert {fault.seam for fault in met} == {"aws", "database", "run"}
    wanted = {"connection cut in the merge", "connection cut in the commit", "worker killed", "S3 error", "S3 kill"}
    assert wanted <= {fault.kind for fault in met}
    assert all(fault.values["action"] in aws.ACTIONS[fault.values["service"]] for fault in met if fault.seam == "aws")


def test_a_key_comes_bad_and_good_in_the_same_days():
    """What a replay must tell apart: whether the bad row or the good one is the later."""
    orders = Counter()
    for place in range(20):
        by_key = defaultdict(str)
        for each in truth.planned(1, "storm_0", truth.window(place)):
            by_key[each["id"]] += "u" if truth.is_unfit(each) else "b" if truth.is_bad(each) else "g"
        orders.update(by_key.values())
    assert {"g", "b", "u", "gb", "bg"} <= set(orders)
    assert min(orders["gb"], orders["bg"]) > 20


def test_what_once_struck_and_what_never_did_is_told():
    trial = plan.trials(1, 1)[0]
    cut, full = (faults.Fault(kind, "database") for kind in ("connection cut in COPY", "disk full"))
    played = Outcome(trial, ended=["SUCCEEDED"], struck=[(cut, True), (full, False)], seconds=31.0)
    played.waited = [("r in Publish", 20.0), ("the dead letter of r", 4.0)]
    found = report.Report(1, False, 1000, [played], 60.0, None)
    assert set(report.WANTED) - set(found.never) == {"connection cut in COPY"}
    played.replayed.runs += ["FAILED X", "SUCCEEDED"]
    played.replayed.struck += [(cut, True), (full, False)]
    text = found.as_text()
    assert (
        "2 replays of what 1 of the trials had set aside, 1 of which succeeded, 1 failed, 0 were lost, 0 were stopped;"
        " 1 of 2 faults struck these." in text
    )
    assert (
        f"Of the {len(report.WANTED)} faults that were asked for, 1 struck at least once; never: source: 429," in text
    )
    assert "1 of 1000 trials, 1 runs" in text
    assert "trial 0 took 31 s, and waited 20 s for r in Publish; 4 s for the dead letter of r" in text
    assert "| connection cut in COPY | 1 | 1 | 1 | 0 | 0 | 0 |" in found.as_markdown()
    assert "| disk full | 1 | 0 | 0 | 0 | 0 | 0 |" in found.as_markdown()


def test_how_long_a_state_took_is_read_from_the_history():
    def event(kind, name, second):
        at = dt.datetime(2026, 1, 1, 0, 0, second)
        return {"timestamp": at, f"state{kind}EventDetails": {"name": name}}

    events = [
        event("Entered", "Plan", 0),
        event("Exited", "Plan", 1),
        event("Entered", "Fetch", 1),
        event("Entered", "FetchPartition", 2),
        event("Entered", "FetchPartition", 3),
        event("Exited", "FetchPartition", 9),
        event("Exited", "FetchPartition", 21),
        event("Exited", "Fetch", 22),
    ]
    assert longest(events) == [("Fetch", 21.0), ("FetchPartition", 18.0), ("Plan", 1.0)]
    assert entered(events) == ["Plan", "Fetch", "FetchPartition", "FetchPartition"]


def test_who_wants_no_disturbance_of_others_gets_none():
    assert "stack" not in {fault.seam for trial in plan.trials(1, 500, disturbing=False) for fault in trial.faults}


@pytest.mark.parametrize("more", [[], ["--calm"]], ids=["all", "calm"])
def test_a_trial_alone_is_the_one_that_it_is_among_the_others(more):
    asked = campaign.parser().parse_args
    among = campaign.chosen(asked(["--seed", "7", "--runs", "60", *more]))
    alone = campaign.chosen(asked(["--seed", "7", "--only", "12,48", *more]))
    assert alone == [among[12], among[48]]
    told = report.replay(7, bool(more), Outcome(alone[0]))
    assert told == "again: make storm SEED=7 ONLY=12" + (" CALM=1" if more else "")


def test_days_of_a_lane_follow_each_other():
    windows = [truth.window(place) for place in range(3)]
    assert [day for window in windows for day in truth.days(*window)] == [
        truth.FIRST_DAY + dt.timedelta(days=n) for n in range(3 * truth.WINDOW_DAYS)
    ]


def test_the_source_says_the_same_each_time_and_something_else_once_it_changed():
    planned, changed = truth.pages(1, "storm_0", DAY), truth.pages(1, "storm_0", DAY, truth.CHANGED)
    assert planned == truth.pages(1, "storm_0", DAY) != truth.pages(1, "storm_1", DAY)
    moved = planned[-1][0]["id"]
    assert changed[0][-1]["id"] == moved
    assert sum(map(len, planned)) == sum(map(len, changed))
    spoiled = truth.pages(1, "storm_0", DAY, truth.SPOILED)
    assert sum(truth.is_bad(row) for page in spoiled for row in page) >= sum(map(len, spoiled)) / 2


@pytest.mark.parametrize(
    ("sent", "after", "account"),
    [
        pytest.param([row(2)], {"1": shown(1), "2": shown(2)}, (1, 1, 0, 0, 0, 0), id="inserted"),
        pytest.param([row(1, note="y")], {"1": shown(1, note="y")}, (1, 0, 1, 0, 0, 0), id="updated"),
        pytest.param([row(1)], {"1": shown(1)}, (1, 0, 0, 1, 0, 0), id="unchanged"),
        pytest.param([row(1, note="y"), row(1)], {"1": shown(1)}, (2, 0, 0, 1, 1, 0), id="duplicate"),
        pytest.param([row(2, "twelve"), row(3, "-1.00")], {"1": shown(1)}, (2, 0, 0, 0, 0, 2), id="quarantined"),
    ],
)
def test_what_becomes_of_a_row(sent, after, account):
    table, counted = truth.apply({"1": shown(1)}, [tuple(sent)])
    assert (table, tuple(vars(counted).values())) == (after, account)


def test_a_page_is_read_in_one_version_or_the_other_never_in_both():
    served = {(DAY.isoformat(), 0): ["planned"], (DAY.isoformat(), 1): ["changed", "planned"]}
    found = list(truth.readings(1, "storm_0", (DAY, DAY), served))
    planned, changed = truth.pages(1, "storm_0", DAY), truth.pages(1, "storm_0", DAY, truth.CHANGED)
    assert found == [[planned[0], changed[1]], [planned[0], planned[1]]]


def test_a_run_that_tells_of_no_failure_is_not_drawn_where_telling_is_to_fail():
    for trial in plan.trials(3, 500):
        kinds = [fault.kind for fault in trial.faults]
        if any(kind.startswith(("SNS", "SQS", "telling")) for kind in kinds):
            assert any(fault.lasting for fault in trial.faults), kinds


def test_two_runs_of_one_window_are_told_the_same():
    for trial in plan.trials(4, 500):
        if any(fault.seam == "starts" for fault in trial.faults):
            assert not trial.by_cursor
            assert not {"source changed", "source spoiled"} & {fault.kind for fault in trial.faults}


def test_a_trial_has_one_to_four_faults():
    for trial in plan.trials(5, 300):
        assert 1 <= len(trial.faults) <= 4


def test_the_document_gets_the_report_in_place_of_the_older_one():
    made = (
        "Seed 1: all.\n0 counterexamples.\n\n| fault | drawn |\n|---|---:|\n| a | 1 |\n\n| error | runs |\n|---|---:|\n"
    )
    once = document.replaced("# The storm\n\n## What was played\n\nOlder.\n", made)
    wanted = (
        "# The storm\n\n## What was played\n\nSeed 1: all.\n\n0 counterexamples.\n\n"
        "| fault | drawn |\n|---|---:|\n| a | 1 |\n\n| error | runs |\n|---|---:|\n"
    )
    assert once == wanted == document.replaced(once, made)
    with pytest.raises(ValueError, match="What was played"):
        document.replaced("# Another\n", made)
