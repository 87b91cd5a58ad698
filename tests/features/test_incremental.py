"""Days arrive once, late ones too; backfills go on where they stopped; runs at the same time do no harm.

A source of its own asks a server of the test's, which knows late, changed and broken days.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from werkzeug.wrappers import Request, Response

from local.stack import Stack
from tests.features.conftest import Pipeline
from tests.unit.loopback import serving

FIRST = dt.date(2024, 1, 1)
SOURCE = '''"""Readings of a meter, by the day."""

import datetime as dt

from chalicelib.columns import Column
from chalicelib.sources.base import Page, Source


class {Name}(Source):
    name = "{name}"
    key = ("day", "meter")
    columns = (Column("day", "date"), Column("meter", "text"), Column("reading", "integer"))
    hosts = ("127.0.0.1",)
    first_day = dt.date(2024, 1, 1)
    overlap_days = 3
    window_days = 10

    def partitions(self, window, given, settings):
        return [{{"start": window.start, "end": window.end}}]

    def pages(self, request, client, settings):
        address = "{url}/{name}"
        yield Page(client.get(address, params={{"from": request["start"], "to": request["end"]}}).stream(), "response")
'''
SUITE = {"expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 0}}]}


def days(first: str, last: str) -> list[str]:
    begin, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    return [str(begin + dt.timedelta(days=n)) for n in range((end - begin).days + 1)]


class Meters:
    """What the server answers, per source: 1 for each day, unless `readings` says otherwise; None is no row yet."""

    def __init__(self):
        self.readings: dict[tuple[str, str], int | None] = {}
        self.broken: set[tuple[str, str]] = set()  # days of which the answer is of no use
        self.asked: list[tuple[str, str, str]] = []  # (source, from, to), in the order of the questions
        self.held: dict[tuple[str, str, str], threading.Event] = {}  # answered when the event is set
        self.numbered: set[str] = set()  # sources whose readings are the number of the question
        self._lock = threading.Lock()

    def __call__(self, environ, start_response):
        request = Request(environ)
        name, first, last = request.path.strip("/"), request.args["from"], request.args["to"]
        with self._lock:
            self.asked.append((name, first, last))
            number = len(self.asked)
        # what is held back was read before it is sent: it is old when it arrives
        found = [
            (day, number if name in self.numbered else self.readings.get((name, day), 1)) for day in days(first, last)
        ]
        if event := self.held.get((name, first, last)):
            event.wait(60)
        if any((name, day) in self.broken for day, _ in found):
            return Response("not here", status=404)(environ, start_response)
        rows = [{"day": day, "meter": "m", "reading": reading} for day, reading in found if reading is not None]
        return Response(json.dumps(rows), content_type="application/json")(environ, start_response)

    def number(self, name: str, first: str, last: str) -> int:
        return self.asked.index((name, first, last)) + 1


class Shop(Pipeline):
    """A checkout with sources of its own, its stack, and the server that the sources ask."""

    folder: Path
    meters: Meters
    url: str

    def source(self, name: str) -> str:
        """A source of that name, which nobody has run yet."""
        text = SOURCE.format(Name=name.capitalize(), name=name, url=self.url)
        (self.folder / "chalicelib" / "sources" / f"{name}.py").write_text(text)
        (self.folder / "chalicelib" / "expectations" / f"{name}.json").write_text(json.dumps({"name": name, **SUITE}))
        return name

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.folder), "SLUICE_HOME": str(self.home)}

    def command(self, *arguments: str) -> subprocess.Popen:
        words = [sys.executable, "-m", "cli", *arguments]
        return subprocess.Popen(
            words, cwd=self.folder, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def sluice(self, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess:
        process = self.command(*arguments)
        out, err = process.communicate(timeout=200)
        assert status is None or process.returncode == status, out + err
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def backfill(self, source: str, first: str, last: str, *more: str, status: int = 0) -> dict:
        said = self.sluice("backfill", source, "--from", first, "--to", last, *more, "--json", status=status)
        return json.loads(said.stdout)

    def position(self, source: str) -> str | None:
        found = self.query("SELECT position FROM pipeline.cursors WHERE source = %s", source)
        return found[0][0] if found else None

    def readings(self, source: str) -> dict[str, int]:
        return dict(self.query(f"SELECT day::text, reading FROM curated.{source} ORDER BY day"))

    def runs(self, source: str) -> list[str]:
        found = self.query("SELECT run_id FROM pipeline.runs WHERE source = %s ORDER BY run_id", source)
        return [run_id for (run_id,) in found]


@pytest.fixture(scope="module")
def shop(checkout, tmp_path_factory):
    folder, home, meters = checkout(), tmp_path_factory.mktemp("shop"), Meters()
    environment = {**os.environ, "PYTHONPATH": str(folder), "SLUICE_HOME": str(home)}
    with serving(meters) as url:
        subprocess.run(
            [sys.executable, "-m", "cli", "up"], cwd=folder, env=environment, check=True, capture_output=True
        )
        try:
            made = Shop(home, Stack(home))
            made.folder, made.meters, made.url = folder, meters, url
            yield made
        finally:
            subprocess.run([sys.executable, "-m", "cli", "down"], cwd=folder, env=environment, capture_output=True)


# --- the cursor --------------------------------------------------------------------------------


def test_a_late_row_within_the_overlap_arrives_by_itself_and_one_outside_by_a_backfill(shop):
    name, late = shop.source("lateness"), ("2024-01-02", "2024-01-09")
    shop.meters.readings |= {(name, day): None for day in late}
    assert shop.run(name).status == "SUCCEEDED"
    assert shop.position(name) == "2024-01-10"
    assert [day for day in days("2024-01-01", "2024-01-10") if day not in shop.readings(name)] == list(late)

    shop.meters.readings |= {(name, day): 7 for day in late}
    second = shop.run(name)
    assert (second.row["window_start"], shop.position(name)) == ("2024-01-08", "2024-01-17")
    assert (shop.readings(name).get(late[1]), shop.readings(name).get(late[0])) == (7, None)

    found = shop.backfill(name, "2024-01-01", "2024-01-10", "--every", "5d")
    assert (found["windows"], found["done"], found["rows"]) == (2, 2, 10)
    assert shop.readings(name)[late[0]] == 7
    assert shop.position(name) == "2024-01-17"


def test_a_given_window_moves_the_cursor_only_on_request_and_never_over_days_that_nobody_asked_for(shop):
    name = shop.source("moves")
    shop.sluice("run", name, "--from", "2024-01-01", "--to", "2024-01-05")
    assert shop.position(name) is None
    shop.sluice("run", name, "--from", "2024-01-01", "--to", "2024-01-05", "--move-cursor")
    assert shop.position(name) == "2024-01-05"

    refused = shop.sluice("run", name, "--from", "2024-01-08", "--to", "2024-01-09", "--move-cursor", status=4)
    assert "from 2024-01-06 to 2024-01-07" in refused.stdout
    assert shop.position(name) == "2024-01-05"
    shop.sluice("run", name, "--from", "2024-01-08", "--to", "2024-01-09", "--move-cursor", "--allow-gap")
    assert shop.position(name) == "2024-01-09"
    # never backwards by a run
    shop.sluice("run", name, "--from", "2024-01-01", "--to", "2024-01-02", "--move-cursor")
    assert shop.position(name) == "2024-01-09"


def test_a_cursor_that_a_person_sets_is_kept_with_name_and_reason_and_the_next_run_begins_there(shop):
    name = shop.source("setback")
    assert shop.run(name).status == "SUCCEEDED"
    shop.sluice("cursor", "set", name, "2024-01-04", "--why", "the meter was wrong")
    shown = json.loads(shop.sluice("cursor", "show", name, "--json").stdout)
    assert shown["position"] == "2024-01-04"
    move = shown["moves"][0]
    assert (move["before"], move["after"], move["why"]) == ("2024-01-10", "2024-01-04", "the meter was wrong")
    assert move["moved_by"]
    assert shop.run(name).row["window_start"] == "2024-01-02"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("set", "posts", "2024-01-01", "--why", "x"), "posts has no windows"),
        (("show", "posts"), "posts has no windows"),
        (("set", "weather", "2999-01-01", "--why", "x"), "2999-01-01 is not over"),
        (("set", "weather", "2001-01-01", "--why", "x"), "sluice cursor set weather 2011-12-31"),
        (("set", "weather", "yesterday", "--why", "x"), "the day is 'yesterday'"),
        (("set", "weather", "2014-01-01", "--why", " "), "the reason is empty"),
        (("set", "wether", "2014-01-01", "--why", "x"), "no source is called 'wether'"),
    ],
)
def test_a_cursor_is_not_set_to_what_makes_no_sense(shop, arguments, words):
    assert words in shop.sluice("cursor", *arguments, status=1).stderr
    assert shop.position("weather") is None


# --- runs at the same time ---------------------------------------------------------------------


@pytest.mark.parametrize("number", [2, 5])
def test_runs_of_one_source_at_the_same_time_do_no_harm(shop, number):
    """The first to be entered is answered last, with what the source said first."""
    name = shop.source(f"crowd{number}")
    shop.meters.numbered.add(name)
    windows = [("2024-01-01", f"2024-01-{10 + 2 * n}") for n in range(number)]
    shop.meters.held[(name, *windows[0])] = threading.Event()
    first = shop.start(name, start=windows[0][0], end=windows[0][1], move_cursor=True)
    while (name, *windows[0]) not in shop.meters.asked:
        time.sleep(0.05)
    others = [shop.start(name, start=start, end=end, move_cursor=True) for start, end in windows[1:]]
    finished = [shop.wait(arn) for arn in others]
    shop.meters.held[(name, *windows[0])].set()
    finished = [shop.wait(first), *finished]

    assert [run.status for run in finished] == ["SUCCEEDED"] * number
    for run in finished:
        fetched, *rest = run.account
        assert fetched == sum(rest) == len(days(run.row["window_start"], run.row["window_end"]))
    assert finished[0].row["published_at"] > max(run.row["published_at"] for run in finished[1:])
    by_entry = sorted(finished, key=lambda run: run.row["entered_at"])
    assert by_entry[0] is finished[0]
    expected = {}
    for run in by_entry:
        window = run.row["window_start"], run.row["window_end"]
        expected |= dict.fromkeys(days(*window), shop.meters.number(name, *window))
    assert shop.readings(name) == expected
    assert shop.position(name) == windows[-1][1]
    assert shop.staging_tables() == []


# --- backfills ---------------------------------------------------------------------------------


def executions_of(shop, source: str) -> dict[str, dict]:
    machine = shop.env["SLUICE_STATE_MACHINE_ARN"]
    pages = shop.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=machine)
    found = [execution for page in pages for execution in page["executions"]]
    return {execution["name"]: execution for execution in found if execution["name"].startswith(f"{source}-b")}


def number_of(shop, source: str) -> int:
    """The number of the source's newest backfill, which is in the names of its runs."""
    return shop.query("SELECT max(id) FROM pipeline.backfills WHERE source = %s", source)[0][0]


def test_a_backfill_runs_its_windows_as_executions_of_their_own_so_many_at_once_and_leaves_the_cursor(shop):
    name = shop.source("filling")
    found = shop.backfill(name, "2024-01-01", "2024-01-31", "--every", "7d", "--concurrency", "2")
    assert [found[key] for key in ("windows", "done", "failed", "left", "rows")] == [5, 5, 0, 0, 31]
    executions = executions_of(shop, name)
    number = number_of(shop, name)
    assert sorted(executions) == [
        f"{name}-b{number}-{start}-{end}"
        for start, end in (
            ("20240101", "20240107"),
            ("20240108", "20240114"),
            ("20240115", "20240121"),
            ("20240122", "20240128"),
            ("20240129", "20240131"),
        )
    ]
    says = "SELECT input ->> 'trigger' FROM pipeline.runs WHERE source = %s ORDER BY run_id"
    triggers = [text for (text,) in shop.query(says, name)]
    assert len(triggers) == 5 and triggers[0] == f"backfill {number}, 2024-01-01 to 2024-01-07"
    assert shop.query("SELECT DISTINCT (input ->> 'runs_at_once')::int FROM pipeline.runs WHERE source = %s", name) == [
        (2,)
    ]
    moments = [(execution["startDate"], 1) for execution in executions.values()]
    moments += [(execution["stopDate"], -1) for execution in executions.values()]
    under_way = most = 0
    for _, change in sorted(moments):
        under_way += change
        most = max(most, under_way)
    assert most == 2
    assert sorted(shop.readings(name)) == days("2024-01-01", "2024-01-31")
    assert shop.position(name) is None

    asked = len(shop.meters.asked)
    again = shop.backfill(name, "2024-01-01", "2024-01-31", "--every", "7d")
    assert (again["done"], again["left"], len(shop.meters.asked)) == (5, 0, asked)


def test_windows_that_were_published_before_are_skipped_unless_they_are_wanted_again(shop):
    name = shop.source("skipping")
    shop.sluice("run", name, "--from", "2024-01-03", "--to", "2024-01-04")
    found = shop.backfill(name, "2024-01-01", "2024-01-06", "--every", "2d")
    assert (found["done"], found["skipped"]) == (2, 1)
    assert shop.meters.asked.count((name, "2024-01-03", "2024-01-04")) == 1

    shop.meters.readings[(name, "2024-01-03")] = 5
    found = shop.backfill(name, "2024-01-01", "2024-01-06", "--every", "2d", "--again")
    assert (found["done"], found["skipped"]) == (3, 0)
    assert shop.readings(name)["2024-01-03"] == 5


def test_failed_windows_are_listed_with_the_next_command_which_runs_them_again(shop):
    name = shop.source("breaking")
    shop.meters.broken.add((name, "2024-01-03"))
    said = shop.sluice("backfill", name, "--from", "2024-01-01", "--to", "2024-01-03", status=4)
    assert "failed   2024-01-03 to 2024-01-03: SourceError" in said.stdout
    retry = f"sluice backfill {name} --from 2024-01-01 --to 2024-01-03 --every 1d --retry-failed"
    assert f"Next: {retry}" in said.stdout
    assert sorted(shop.readings(name)) == ["2024-01-01", "2024-01-02"]

    # without being asked to, it does not try again
    found = shop.backfill(name, "2024-01-01", "2024-01-03", status=4)
    assert (found["done"], found["failed"], len(shop.runs(name))) == (2, 1, 3)
    assert [window["from"] for window in found["troubled"]] == ["2024-01-03"]

    shop.meters.broken.clear()
    found = shop.backfill(name, "2024-01-01", "2024-01-03", "--retry-failed")
    assert (found["done"], found["failed"], found["troubled"], found["next"]) == (3, 0, [], None)
    assert f"{name}-b{number_of(shop, name)}-20240103-20240103-2" in shop.runs(name)
    assert len(shop.runs(name)) == 4


def test_a_window_whose_name_somebody_gave_to_another_run_is_not_taken_for_done(shop):
    name = shop.source("namesake")
    [(coming,)] = shop.query("SELECT nextval(pg_get_serial_sequence('pipeline.backfills', 'id')) + 1")
    taken = f"{name}-b{coming}-20240101-20240101"
    shop.sluice("run", name, "--from", "2024-01-09", "--to", "2024-01-09", "--name", taken)
    found = shop.backfill(name, "2024-01-01", "2024-01-02", status=4)
    assert (found["done"], found["failed"]) == (1, 1)
    assert found["troubled"][0]["error"].startswith("TriggerConflict: ")
    found = shop.backfill(name, "2024-01-01", "2024-01-02", "--retry-failed")
    assert (found["done"], found["failed"]) == (2, 0)
    assert sorted(shop.readings(name)) == ["2024-01-01", "2024-01-02", "2024-01-09"]
    assert f"{taken}-2" in shop.runs(name)


def test_a_failed_window_that_was_mended_by_hand_counts_as_done(shop):
    name = shop.source("mended")
    shop.meters.broken.add((name, "2024-01-02"))
    assert shop.backfill(name, "2024-01-01", "2024-01-02", status=4)["failed"] == 1
    shop.meters.broken.clear()
    shop.sluice("run", name, "--from", "2024-01-02", "--to", "2024-01-02")
    assert shop.backfill(name, "2024-01-01", "2024-01-02")["failed"] == 0


def interrupted(shop, name: str, *, twice: bool) -> tuple[int, str]:
    """A backfill of four days, one at a time, that is told to stop while its second window waits for an answer."""
    held = shop.meters.held[(name, "2024-01-02", "2024-01-02")] = threading.Event()
    command = ("backfill", name, "--from", "2024-01-01", "--to", "2024-01-04", "--concurrency", "1")
    process = shop.command(*command)
    while (name, "2024-01-02", "2024-01-02") not in shop.meters.asked:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    if twice:
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        held.set()
    else:
        time.sleep(1)
        held.set()
        out, err = process.communicate(timeout=60)
    return process.returncode, out + err


def test_ctrl_c_lets_the_runs_under_way_end_and_the_same_command_goes_on(shop):
    name = shop.source("stopping")
    status, said = interrupted(shop, name, twice=False)
    assert status == 130, said
    assert "waiting for those under way" in said
    assert f"Next: sluice backfill {name} --from 2024-01-01 --to 2024-01-04 --every 1d" in said
    assert sorted(shop.readings(name)) == days("2024-01-01", "2024-01-02")

    found = shop.backfill(name, "2024-01-01", "2024-01-04")
    assert (found["done"], found["left"]) == (4, 0)
    number = number_of(shop, name)
    assert shop.runs(name) == [f"{name}-b{number}-2024010{n}-2024010{n}" for n in range(1, 5)]
    assert len([asked for asked in shop.meters.asked if asked[0] == name]) == 4


def test_a_second_ctrl_c_leaves_the_runs_to_themselves_and_the_same_command_takes_them_up(shop):
    name = shop.source("leaving")
    status, said = interrupted(shop, name, twice=True)
    assert status == 130
    assert "The runs under way go on" in said
    found = shop.backfill(name, "2024-01-01", "2024-01-04", "--concurrency", "3")
    assert (found["done"], found["left"]) == (4, 0)
    assert len([asked for asked in shop.meters.asked if asked[0] == name]) == 4


def test_a_backfill_whose_command_was_killed_goes_on_elsewhere(shop):
    name = shop.source("killed")
    held = shop.meters.held[(name, "2024-01-02", "2024-01-02")] = threading.Event()
    process = shop.command("backfill", name, "--from", "2024-01-01", "--to", "2024-01-04", "--concurrency", "2")
    while (name, "2024-01-02", "2024-01-02") not in shop.meters.asked:
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=30)
    held.set()
    found = shop.backfill(name, "2024-01-01", "2024-01-04")
    assert (found["done"], found["left"], len(shop.runs(name))) == (4, 0, 4)


def test_two_commands_for_one_backfill_share_its_windows(shop):
    name = shop.source("sharing")
    command = ("backfill", name, "--from", "2024-01-01", "--to", "2024-01-05", "--concurrency", "2", "--json")
    processes = [shop.command(*command) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        assert json.loads(out)["done"] == 5
    assert len(shop.runs(name)) == len([asked for asked in shop.meters.asked if asked[0] == name]) == 5


def test_two_backfills_that_overlap_each_run_their_own_windows(shop):
    """The second one comes while the first waits for an answer, and asks for embeddings otherwise than the first."""
    name = shop.source("overlapping")
    held = shop.meters.held[(name, "2024-01-02", "2024-01-02")] = threading.Event()
    first = shop.command("backfill", name, "--from", "2024-01-01", "--to", "2024-01-03", "--concurrency", "1", "--json")
    while (name, "2024-01-02", "2024-01-02") not in shop.meters.asked:
        time.sleep(0.05)
    number = number_of(shop, name)
    second = shop.command("backfill", name, "--from", "2024-01-02", "--to", "2024-01-04", "--no-embed", "--json")
    while shop.meters.asked.count((name, "2024-01-02", "2024-01-02")) < 2:
        assert second.poll() is None, second.communicate()
        time.sleep(0.05)
    held.set()
    for process in (first, second):
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        assert (json.loads(out)["done"], json.loads(out)["skipped"], json.loads(out)["rows"]) == (3, 0, 3)
    expected = [(number, 1), (number, 2), (number, 3), *((number_of(shop, name), day) for day in (2, 3, 4))]
    assert shop.runs(name) == sorted(f"{name}-b{n}-2024010{day}-2024010{day}" for n, day in expected)
    assert sorted(shop.readings(name)) == days("2024-01-01", "2024-01-04")


def test_days_that_two_backfills_do_again_are_asked_for_by_each(shop):
    name = shop.source("again")
    wide, narrow = ("2024-01-01", "2024-01-04", "--every", "2d"), ("2024-01-03", "2024-01-06", "--every", "2d")
    assert shop.backfill(name, *wide)["done"] == 2
    assert (found := shop.backfill(name, *narrow))["done"] == 1 and found["skipped"] == 1
    shop.meters.readings |= {(name, day): 2 for day in days("2024-01-01", "2024-01-06")}
    assert shop.backfill(name, *wide, "--again")["done"] == 2
    shop.meters.readings |= {(name, day): 3 for day in days("2024-01-01", "2024-01-06")}
    assert shop.backfill(name, *narrow, "--again")["done"] == 2
    assert list(shop.readings(name).values()) == [2, 2, 3, 3, 3, 3]
    assert shop.meters.asked.count((name, "2024-01-03", "2024-01-04")) == 3
    # and once more, after the first
    shop.meters.readings |= {(name, day): 4 for day in days("2024-01-01", "2024-01-06")}
    assert shop.backfill(name, *narrow, "--again")["done"] == 2
    assert list(shop.readings(name).values()) == [2, 2, 4, 4, 4, 4]
    assert len(shop.runs(name)) == len(set(shop.runs(name))) == 9


WARNING = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "reading", "max_value": 10}}


def test_windows_that_pass_with_warnings_are_told_of_in_one_email_and_each_verdict_is_kept(shop):
    name = shop.source("warning")
    suite = {"name": name, "expectations": [*SUITE["expectations"], {**WARNING, "severity": "warning"}]}
    (shop.folder / "chalicelib" / "expectations" / f"{name}.json").write_text(json.dumps(suite))
    shop.meters.readings |= {(name, "2024-01-02"): 99, (name, "2024-01-04"): 98}
    said = shop.sluice("backfill", name, "--from", "2024-01-01", "--to", "2024-01-04")
    runs = [f"{name}-b{number_of(shop, name)}-{day}-{day}" for day in ("20240102", "20240104")]
    verdicts = dict(shop.query("SELECT run_id, verdict FROM pipeline.runs WHERE source = %s", name))
    assert [run_id for run_id, verdict in sorted(verdicts.items()) if verdict == "warn"] == runs
    for day, run_id in zip(("2024-01-02", "2024-01-04"), runs, strict=True):
        assert f"warning  {day} to {day}: sluice runs show {run_id}" in said.stdout
    mails = [mail for mail in shop.stack.sent_emails() if f"[sluice] {name}" in mail["subject"]]
    assert [mail["subject"] for mail in mails] == [f"[sluice] {name}: 2 windows of a backfill passed with warnings"]
    assert all(run_id in mails[0]["message"] for run_id in runs)
    [listed] = json.loads(shop.sluice("backfill", name, "--list", "--json").stdout)
    assert (listed["done"], listed["warned"]) == (4, 2)
    # they are told of once; a run of its own tells by itself
    shop.backfill(name, "2024-01-01", "2024-01-04")
    shop.sluice("run", name, "--from", "2024-01-02", "--to", "2024-01-02")
    mails = [mail["subject"] for mail in shop.stack.sent_emails() if f"[sluice] {name}" in mail["subject"]]
    assert len(mails) == 2 and "quality passed with warnings" in mails[1]


def test_warnings_that_nobody_was_told_of_are_told_when_the_backfill_goes_on(shop):
    name = shop.source("untold")
    suite = {"name": name, "expectations": [*SUITE["expectations"], {**WARNING, "severity": "warning"}]}
    (shop.folder / "chalicelib" / "expectations" / f"{name}.json").write_text(json.dumps(suite))
    shop.meters.readings |= {(name, day): 99 for day in days("2024-01-01", "2024-01-03")}
    held = shop.meters.held[(name, "2024-01-02", "2024-01-02")] = threading.Event()
    process = shop.command("backfill", name, "--from", "2024-01-01", "--to", "2024-01-03", "--concurrency", "1")
    while (name, "2024-01-02", "2024-01-02") not in shop.meters.asked:
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=30)
    held.set()
    found = shop.backfill(name, "2024-01-01", "2024-01-03")
    assert [window["from"] for window in found["warned"]] == days("2024-01-01", "2024-01-03")
    mails = [mail["subject"] for mail in shop.stack.sent_emails() if f"[sluice] {name}" in mail["subject"]]
    assert mails == [f"[sluice] {name}: 3 windows of a backfill passed with warnings"]


def test_the_backfills_that_there_were_are_listed(shop):
    name = shop.source("listed")
    shop.backfill(name, "2024-01-01", "2024-01-02")
    [found] = json.loads(shop.sluice("backfill", name, "--list", "--json").stdout)
    assert (found["every"], found["windows"], found["done"], found["left"]) == ("1d", 2, 2, 0)
    assert name in shop.sluice("backfill", "--list").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("posts", "--from", "2024-01-01", "--to", "2024-01-02"), "posts has no windows"),
        (("wether", "--from", "2024-01-01", "--to", "2024-01-02"), "no source is called 'wether'"),
        (("weather", "--from", "2024-01-02", "--to", "2024-01-01"), "--to 2024-01-01 is before --from 2024-01-02"),
        (("weather", "--from", "2024-01-01", "--to", "2999-01-01"), "--to 2999-01-01 is not over yet"),
        (("weather", "--from", "1.1.2024", "--to", "2024-01-01"), "--from is '1.1.2024'"),
        (("weather", "--from", "2024-01-01", "--to", "2024-01-02", "--every", "0d"), "every is '0d'"),
        (("weather", "--from", "1950-01-01", "--to", "2024-01-02"), "more than 10,000 windows"),
        (("weather", "--from", "2024-01-01", "--to", "2024-01-02", "--embed"), "weather has no text to embed"),
    ],
)
def test_a_backfill_that_makes_no_sense_starts_nothing(shop, arguments, words):
    assert words in shop.sluice("backfill", *arguments, status=1).stderr
    assert shop.query("SELECT count(*) FROM pipeline.backfills WHERE source = ANY(%s)", ["weather", "posts"]) == [(0,)]
