"""The picture of an execution is well-formed, says what happened and nothing else, and can be read."""

import datetime as dt
import itertools
import json
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from chalicelib import asl, durations
from chalicelib.executions import Children, Execution, State, Transition
from chalicelib.graph import draw, svg, text
from chalicelib.graph.layout import lay_out, unique_edges

SVG = "{http://www.w3.org/2000/svg}"
PIPELINE = json.loads((Path(__file__).parents[2] / "statemachine" / "pipeline.asl.json").read_text(encoding="utf-8"))
BEGAN = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
STATUSES = ("succeeded", "failed", "caught", "running", "aborted", "not_run")


def executed(definition, statuses=(), transitions=(), **changes):
    """An execution with the statuses given; `statuses` maps a name to a status or to fields of State."""
    states = {}
    for name, state, _ in asl.placed(definition):
        known = dict(statuses).get(name, {})
        known = {"status": known} if isinstance(known, str) else known
        ran = {"entered": 1, "seconds": 1.5, "first": BEGAN, "last": BEGAN} if known else {}
        states[name] = State(name, state["Type"], **{**ran, **known})
    fields = {
        "arn": "arn:aws:states:eu-west-1:123456789012:execution:sluice:weather-1",
        "name": "weather-1",
        "status": "SUCCEEDED",
        "started": BEGAN,
        "stopped": BEGAN + dt.timedelta(seconds=83),
        "read_at": BEGAN + dt.timedelta(seconds=83),
        "error": None,
        "cause": None,
        "input": None,
        "output": None,
    }
    taken = frozenset(Transition(*t) for t in transitions)
    return Execution(**{**fields, **changes}, definition=definition, states=states, transitions=taken)


def drawn(definition, *args, **changes):
    return ElementTree.fromstring(svg(definition, executed(definition, *args, **changes)))


def states_of(root):
    return {g.get("data-state"): g for g in root.iter(f"{SVG}g") if g.get("class") == "state"}


def edges_of(root):
    return [g for g in root.iter(f"{SVG}g") if g.get("class") == "edge"]


def words(element):
    return [node.text for node in element.iter(f"{SVG}text")]


def chain(*names):
    return {
        "StartAt": names[0],
        "States": {
            name: {"Type": "Pass", **({"Next": following} if following else {"End": True})}
            for name, following in zip(names, [*names[1:], None], strict=True)
        },
    }


# --- what it says ----------------------------------------------------------------------------


def test_every_state_and_every_edge_of_the_pipeline_is_drawn():
    root = drawn(PIPELINE)
    assert set(states_of(root)) == {place.name for place in asl.placed(PIPELINE)}
    wanted = set()
    machines = [PIPELINE]
    for machine in machines:
        wanted |= {(e.source, e.target, e.kind == asl.CATCH) for e in unique_edges(machine)}
        machines += [m for s in machine["States"].values() for m in asl.inner(s)]
    found = [(e.get("data-from"), e.get("data-to"), e.get("data-kind") == "catch") for e in edges_of(root)]
    assert sorted(found) == sorted(wanted)


def test_an_edge_is_taken_only_if_the_history_shows_that_transition():
    ran = dict.fromkeys(PIPELINE["States"], "succeeded")  # both ends of every edge ran
    taken = [("Plan", "FetchRunsOn", False), ("Publish", "RecordFailure", True)]
    root = drawn(PIPELINE, ran, taken)
    found = {
        (e.get("data-from"), e.get("data-to"), e.get("data-kind") == "catch")
        for e in edges_of(root)
        if e.get("data-taken") == "true"
    }
    assert found == set(taken)


def test_next_and_catch_to_the_same_state_are_two_edges():
    machine = chain("A", "B")
    machine["States"]["A"]["Catch"] = [{"ErrorEquals": ["States.ALL"], "Next": "B"}]
    root = drawn(machine, {"A": "caught", "B": "succeeded"}, [("A", "B", True)])
    assert {e.get("data-kind"): e.get("data-taken") for e in edges_of(root)} == {"next": "false", "catch": "true"}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_shown_by_icon_and_word(status):
    root = drawn(chain("A"), {"A": status} if status != "not_run" else {})
    state = states_of(root)["A"]
    assert state.get("data-status") == status
    assert draw.LOOKS[status].word in state.find(f"{SVG}title").text
    icons = {path.get("d") for path in state.iter(f"{SVG}path")}
    assert draw.LOOKS[status].icon in icons
    assert len({look.icon for look in draw.LOOKS.values()}) == len(STATUSES)


def test_items_retries_and_durations_are_told():
    children = Children(total=20, succeeded=19, failed=1)
    statuses = {
        "Process": {"status": "succeeded", "children": children, "seconds": 185.0},
        "Plan": {"status": "succeeded", "retries": 2, "seconds": 0.042},
    }
    root = drawn(PIPELINE, statuses)
    assert "Distributed Map · 20 items: 19 ok, 1 failed · 3 min 5 s" in words(states_of(root)["Process"])
    assert "Lambda · 42 ms · 2 retries" in words(states_of(root)["Plan"])


def test_the_header_tells_name_status_duration_and_error():
    cause = json.dumps({"errorType": "AccountError", "errorMessage": "90 rows are missing", "stackTrace": []})
    root = drawn(chain("A"), status="FAILED", error="AccountError", cause=cause)
    header = " ".join(words(root))
    assert "weather-1" in header
    assert "failed · 83.0 s · started 2026-01-31 12:00:00 UTC" in header
    assert "AccountError: 90 rows are missing" in header


def test_a_running_execution_and_a_map_whose_items_nobody_has_counted():
    children = Children(total=None, succeeded=5, running=4)
    root = drawn(PIPELINE, {"Process": {"status": "running", "children": children}}, status="RUNNING", stopped=None)
    assert "running · 83.0 s so far" in " ".join(words(root))
    assert any("5 ok, 4 running" in line for line in words(states_of(root)["Process"]))


def test_an_edge_between_states_known_by_count_only_has_a_line_of_its_own():
    counted = {name: {"status": "succeeded", "entered": 20} for name in ("Transform", "Validate", "Load")}
    root = drawn(PIPELINE, counted)
    edge = next(e for e in edges_of(root) if e.get("data-from") == "Transform" and e.get("data-kind") == "next")
    assert (edge.get("data-taken"), edge.find(f"{SVG}path").get("class")) == ("false", "e counted")


# --- that it can be used ---------------------------------------------------------------------


def test_it_stands_alone_and_can_be_read_aloud():
    source = svg(PIPELINE, executed(PIPELINE, {"Plan": "succeeded"}))
    root = ElementTree.fromstring(source)
    assert root.get("role") == "img"
    named = {node.get("id"): node.text for node in root.iter() if node.get("id")}
    assert all(named[name] for name in root.get("aria-labelledby").split())
    assert "Plan succeeded" in named["desc"]
    assert not re.search(r"(href|src|url\((?!#)|@import|<script|<image|<foreignObject)", source)
    first = next(node for node in root if node.tag == f"{SVG}rect")
    assert first.get("fill") == draw.PAPER  # its own background, for dark pages too


def test_hostile_names_and_errors_are_only_text():
    nasty = '<script>alert("1")</script>&amp;\'\x00\x0b\ud800'
    machine = chain(nasty, "B")
    statuses = {nasty: {"status": "failed", "error": nasty, "cause": nasty}}
    source = svg(machine, executed(machine, statuses, name=nasty, error=nasty, cause=nasty, status="FAILED"))
    root = ElementTree.fromstring(source.encode())
    assert "<script" not in source
    assert any(name.startswith("<script>alert") for name in states_of(root))


def test_a_long_error_is_cut_in_the_box_and_whole_in_the_tooltip():
    cause = "a cause " * 100
    root = drawn(chain("A"), {"A": {"status": "failed", "error": "DataError", "cause": cause}})
    state = states_of(root)["A"]
    assert any(line.endswith("…") for line in words(state))
    assert cause.strip() in state.find(f"{SVG}title").text


def test_no_text_is_wider_than_its_box():
    long = "A" * 80
    statuses = {
        "Plan": {"status": "caught", "error": "E" * 200, "cause": "c" * 3000},
        "Process": {"status": "failed", "error": "E" * 200, "children": Children(10**7, 10**6, 10**6, 10**6)},
        "Transform": {"status": "succeeded", "entered": 10**9, "retries": 10**6},
        long: {"status": "failed", "error": long, "cause": "w" * 500},
    }
    machine = json.loads(json.dumps(PIPELINE).replace('"Failed"', f'"{long}"'))
    for state in states_of(drawn(machine, statuses)).values():
        box = state.find(f"{SVG}rect")
        for line in state.iter(f"{SVG}text"):
            size, bold = (13, True) if line.get("class") == "n" else (11, line.get("class") == "x")
            assert float(line.get("x")) + text.width(line.text, size, bold) <= float(box.get("width")), line.text


def test_colours_have_the_contrast_that_wcag_asks_for():
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one, other):
        light, dark = sorted((luminance(one), luminance(other)), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    for look in draw.LOOKS.values():
        for ink in (draw.INK, draw.FAINT, draw.ERROR):
            assert contrast(ink, look.fill) >= 4.5  # text
    for name in ("succeeded", "failed", "caught", "running", "aborted"):
        assert contrast(draw.LOOKS[name].stroke, "#ffffff") >= 3  # icons
        assert contrast(draw.LOOKS[name].stroke, draw.PAPER) >= 3
    for name in ("taken", "caught"):
        assert contrast(draw.STYLES[name][0], draw.PAPER) >= 3


# --- where things are ------------------------------------------------------------------------


def invented(seed):
    """A machine with chains, choices, loops, catches, Maps and Parallels, by chance but repeatable."""
    rng = random.Random(seed)
    number = itertools.count()

    def machine(depth):
        names = [f"S{next(number)}" for _ in range(rng.randint(1, 9))]
        states = {}
        for index, name in enumerate(names):
            later = names[index + 1 :]
            kind = rng.choice(["Task", "Task", "Pass", "Choice", "Map", "Parallel", "Fail"] if later else ["Succeed"])
            state = {"Type": kind}
            if kind == "Choice":
                state["Choices"] = [{"Next": rng.choice(names)} for _ in range(rng.randint(1, 3))]
                state["Default"] = later[0]
            elif kind not in ("Fail", "Succeed"):
                state["Next"] = rng.choice(later[:2])
                if kind != "Pass" and rng.random() < 0.6:
                    state["Catch"] = [{"ErrorEquals": ["States.ALL"], "Next": rng.choice(later)}]
            if kind == "Map" and depth < 2:
                state["ItemProcessor"] = machine(depth + 1)
            if kind == "Parallel":
                state["Branches"] = [machine(depth + 1) for _ in range(rng.randint(1, 3))] if depth < 2 else []
            states[name] = state
        return {"StartAt": names[0], "States": states}

    return machine(0)


def placed(definition):
    return lay_out(definition, lambda name: (180.0, 52.0), 66.0)


MACHINES = [PIPELINE, *(invented(seed) for seed in range(60))]
IDS = ["pipeline", *(f"invented-{seed}" for seed in range(60))]


@pytest.mark.parametrize("definition", MACHINES, ids=IDS)
def test_no_boxes_overlap_but_with_what_is_inside(definition):
    layout = placed(definition)
    parents = {place.name: place.parent for place in asl.placed(definition)}
    assert set(layout.boxes) == set(parents)
    for one, other in itertools.combinations(layout.boxes.values(), 2):
        overlap = one.x < other.right and other.x < one.right and one.y < other.bottom and other.y < one.bottom
        assert not overlap or is_within(parents, one.name, other.name) or is_within(parents, other.name, one.name)
    for box in layout.boxes.values():
        around = layout.boxes.get(parents[box.name])
        left, top, right, bottom = (
            (around.x, around.y + 66, around.right, around.bottom) if around else (0, 0, layout.width, layout.height)
        )
        assert (
            left - 0.01 <= box.x and top - 0.01 <= box.y and box.right <= right + 0.01 and box.bottom <= bottom + 0.01
        )


def is_within(parents, name, around):
    while (name := parents[name]) is not None:
        if name == around:
            return True
    return False


def points_along(route):
    """Points of a route, close to each other; curves as they are drawn."""
    for (x0, y0), (x1, y1) in itertools.pairwise(route.points):
        for step in range(41):
            t = step / 40
            if x0 != x1 and y0 != y1:
                ease = 3 * t**2 * (1 - t) + t**3
                rise = 1.5 * t * (1 - t) ** 2 + 1.5 * t**2 * (1 - t) + t**3
                yield x0 + (x1 - x0) * ease, y0 + (y1 - y0) * rise
            else:
                yield x0 + (x1 - x0) * t, y0 + (y1 - y0) * t


@pytest.mark.parametrize("definition", MACHINES, ids=IDS)
def test_no_edge_runs_through_a_box(definition):
    layout = placed(definition)
    parents = {place.name: place.parent for place in asl.placed(definition)}
    for route in layout.routes:
        beside = [b for b in layout.boxes.values() if not is_within(parents, route.edge.source, b.name)]
        for x, y in points_along(route):
            for box in beside:
                inside = box.x + 0.5 < x < box.right - 0.5 and box.y + 0.5 < y < box.bottom - 0.5
                assert not inside, f"{route.edge} runs through {box.name}"


def test_every_route_joins_the_borders_of_its_two_states():
    layout = placed(PIPELINE)
    for route in layout.routes:
        for (x, y), name in ((route.points[0], route.edge.source), (route.points[-1], route.edge.target)):
            box = layout.boxes[name]
            assert box.x - 0.01 <= x <= box.right + 0.01 and box.y - 0.01 <= y <= box.bottom + 0.01
            assert min(abs(x - box.x), abs(x - box.right), abs(y - box.y), abs(y - box.bottom)) < 0.01


def test_what_follows_a_failure_stands_right_of_the_way_to_success():
    boxes = placed(PIPELINE).boxes
    failures = ["PlanFailed", "RecordFailure", "DescribeFailure", "AlertFailure", "DeadLetter", "Failed"]
    failures += ["AlertQualityFailure", "Reject", "DeadLetterQuality", "QualityFailed"]
    good = [boxes[name] for name in PIPELINE["States"] if name not in failures]
    assert min(boxes[name].x for name in failures) > max(box.right for box in good)
    # one straight column of what is usual: Lambdas, not containers, which a Choice takes by a rule
    aside = {"FetchInContainers", "ProcessInContainers"}
    assert len({round(boxes[name].centre, 3) for name in PIPELINE["States"] if name not in {*failures, *aside}}) == 1


@pytest.mark.parametrize("rule_first", [True, False], ids=["rule-first", "default-first"])
def test_what_a_choice_takes_by_default_stands_below_it_and_what_by_a_rule_left_of_that(rule_first):
    both = ["ByRule", "Usual"] if rule_first else ["Usual", "ByRule"]
    states = {"Which": {"Type": "Choice", "Choices": [{"Next": "ByRule"}], "Default": "Usual"}}
    states |= {name: {"Type": "Task", "Next": "Last"} for name in both} | {"Last": {"Type": "Succeed"}}
    boxes = placed({"StartAt": "Which", "States": states}).boxes
    assert boxes["Usual"].centre == boxes["Which"].centre == boxes["Last"].centre
    assert boxes["ByRule"].right < boxes["Usual"].x


def test_boxes_are_as_wide_as_the_names_beside_them_ask_for_not_those_inside_a_map():
    machine = chain("A", "B", "Each")
    machine["States"]["Each"] = {"Type": "Map", "ItemProcessor": chain("OneWithANameThatIsRatherLong"), "End": True}
    widths = {name: float(state.find(f"{SVG}rect").get("width")) for name, state in states_of(drawn(machine)).items()}
    assert widths["A"] == widths["B"] < widths["OneWithANameThatIsRatherLong"] < widths["Each"]


def test_the_same_execution_gives_the_same_picture():
    execution = executed(PIPELINE, {"Plan": "succeeded"})
    assert svg(PIPELINE, execution) == svg(PIPELINE, execution)


# --- texts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 ms"), (0.0312, "31 ms"), (0.9996, "1.0 s"), (4.24, "4.2 s"), (99.96, "1 min 40 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds, said):
    assert durations.words(seconds) == said


def test_wrapped_lines_fit_and_lose_nothing_before_the_ellipsis():
    long = "one two three " + "x" * 60 + " end"
    for room in (40, 80, 200):
        lines = text.wrap(long, room, 11, 50)
        assert all(text.width(line, 11) <= room for line in lines)
        assert "".join(lines).replace(" ", "") == long.replace(" ", "")
    assert text.wrap("", 100, 11, 3) == []
    assert text.wrap(long, 80, 11, 2)[-1].endswith("…")
