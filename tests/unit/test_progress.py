"""Whoever watches a run sees each state, how far it is, and its end; on a terminal and in a log."""

import dataclasses
import datetime as dt
import io
import json

import pytest
from rich.console import Console

from chalicelib.errors import WarehouseUnavailable
from chalicelib.executions import Children, Execution, State, chunks
from cli import progress
from cli.progress import follow

BEGAN = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
PROCESSOR = {
    "ProcessorConfig": {"Mode": "DISTRIBUTED"},
    "StartAt": "Work",
    "States": {"Work": {"Type": "Pass", "End": True}},
}
MACHINE = {
    "StartAt": "Plan",
    "States": {
        "Plan": {"Type": "Task", "Next": "WriteManifest"},
        "WriteManifest": {"Type": "Task", "Next": "Process"},
        "Process": {"Type": "Map", "ItemProcessor": PROCESSOR, "Next": "Publish"},
        "Publish": {"Type": "Task", "End": True},
    },
}
MANIFEST = json.dumps({"manifest": {"result": {"chunks": 8}}})


def at(second, status="RUNNING", **states):
    """The execution at a second; `states` gives each that was entered its fields."""
    now = BEGAN + dt.timedelta(seconds=second)
    known = {}
    for order, name in enumerate([*MACHINE["States"], "Work"]):
        kind = MACHINE["States"].get(name, {"Type": "Pass"})["Type"]
        ran = {"entered": 1, "first": BEGAN + dt.timedelta(seconds=order), "seconds": 2.0} if name in states else {}
        if states.get(name, {}).get("status") in ("succeeded", "caught"):
            ran["last"] = now
        known[name] = State(name, kind, **{**ran, **states.get(name, {})})
    return Execution(
        arn="arn",
        name="run",
        status=status,
        started=BEGAN,
        stopped=None if status == "RUNNING" else now,
        read_at=now,
        error=None,
        cause=None,
        input=None,
        output=None,
        definition=MACHINE,
        states=known,
        transitions=frozenset(),
    )


DONE = {"status": "succeeded"}
RUN = [
    at(0.2),
    at(0.4, Plan={"status": "running"}),
    at(1.0, Plan=DONE, WriteManifest={"status": "running"}),
    at(
        3.0,
        Plan=DONE,
        WriteManifest={**DONE, "output": MANIFEST},
        Process={"status": "running", "children": Children(None, succeeded=2, running=2)},
        Work={"status": "running"},
    ),
    at(
        5.0,
        status="SUCCEEDED",
        Plan={**DONE, "retries": 1},
        WriteManifest={**DONE, "output": MANIFEST},
        Process={**DONE, "children": Children(8, succeeded=7, failed=1)},
        Work=DONE,
        Publish=DONE,
    ),
]


def followed(executions, rows=lambda: None, terminal=False, **options):
    pauses = []
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, **options)
    ended = follow(iter(executions).__next__, console, rows=rows, sleep=pauses.append)
    return ended, out.getvalue(), pauses


def test_a_log_gets_a_line_per_state_with_its_duration():
    ended, said, _ = followed(RUN)
    assert ended is RUN[-1]
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert lines == [
        "0.4 s Plan running",
        "1.0 s Plan succeeded in 2.0 s",
        "1.0 s WriteManifest running",
        "3.0 s WriteManifest succeeded in 2.0 s",
        "3.0 s Process running: 2 of 8 done",
        "5.0 s Process succeeded in 2.0 s: 8 of 8 done, 1 failed",
        "5.0 s Publish succeeded in 2.0 s",
    ]
    assert "\x1b" not in said  # no control sequences in a log


def test_states_inside_a_map_are_told_by_their_count_alone():
    assert "Work" not in followed(RUN)[1]


def test_a_terminal_shows_states_a_bar_and_the_rate(monkeypatch):
    monkeypatch.setattr(progress, "ROWS_EVERY", 0.0)
    _, said, _ = followed(RUN, rows=lambda: 150_000, terminal=True)
    assert "━" in said
    assert "150,000 rows, 75,000 rows/s" in said
    assert "✓" in said
    assert said.rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_a_quiet_console_says_nothing():
    ended, said, _ = followed(RUN, terminal=True, quiet=True)
    assert (ended.status, said) == ("SUCCEEDED", "")


def test_an_error_is_told_with_its_message_and_as_it_is():
    cause = json.dumps({"errorMessage": "90 [bold]rows[/bold] are missing", "errorType": "AccountError"})
    caught = {"status": "caught", "error": "AccountError", "cause": cause}
    said = followed([at(1.0, status="FAILED", Plan=caught)])[1]
    assert "Plan caught an error in 2.0 s: AccountError: 90 [bold]rows[/bold] are missing" in said


def test_the_pause_grows_while_nothing_changes_and_shrinks_when_something_does():
    still = at(1.0, Plan={"status": "running"})
    moved = at(2.0, Plan=DONE, WriteManifest={"status": "running"})
    pauses = followed([still] * 12 + [moved] + [RUN[-1]])[2]
    assert pauses[0] == 0.05
    assert pauses[:12] == sorted(pauses[:12])
    assert pauses[11] == 0.5
    assert pauses[12] == 0.05


def test_a_state_that_lasts_is_told_of_again_off_a_terminal(monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    lasting = [at(second, Plan={"status": "running"}) for second in (1.0, 2.0)]
    assert followed([*lasting, RUN[-1]])[1].count("Plan running") == 2


def test_rows_that_cannot_be_counted_do_not_end_the_watching():
    def unavailable():
        raise WarehouseUnavailable()

    assert followed(RUN, rows=unavailable)[0].status == "SUCCEEDED"


@pytest.mark.parametrize("output", [None, "", "no json", "[]", "{}", '{"manifest": {"result": {"chunks": null}}}'])
def test_the_number_of_chunks_is_unknown_without_a_manifest(output):
    execution = at(1.0, WriteManifest={**DONE, "output": output})
    assert chunks.planned(execution) is None
    other = dataclasses.replace(execution, states={})
    assert chunks.planned(other) is None
