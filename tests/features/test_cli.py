"""The command line as people and scripts use it: what is printed where, and the exit statuses."""

import contextlib
import json
import os
import pty
import subprocess
import sys
import uuid
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from chalicelib import executions
from chalicelib.lake import keys

ROOT = Path(__file__).parents[2]
KEYS = {
    "run_id",
    "status",
    "verdict",
    "fetched",
    "inserted",
    "updated",
    "unchanged",
    "duplicates",
    "quarantined",
    "seconds",
    "report",
    "graph",
}
WEEK = ("--from", "2012-03-01", "--to", "2012-03-07", "--input", "Lisbon")
DOWN, USAGE, REJECTED, FAILED = 1, 2, 3, 4
IDS = {"id": "integer not null"}
OF_TWO = {"expectations": [{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 2}, "severity": "critical"}]}


@pytest.fixture
def at_home(tmp_path):
    """at_home(*arguments): `sluice` with a home folder where no stack is, and in `tmp_path`."""

    def sluice(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SLUICE_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return sluice


def test_run_json_prints_one_object_and_nothing_else(pipeline):
    ran = pipeline.sluice("run", "weather", *WEEK, "--json")
    outcome = json.loads(ran.stdout)
    assert outcome.keys() >= KEYS
    assert ran.stdout.count("\n") == 1
    assert ran.stderr == ""
    assert (outcome["status"], outcome["fetched"]) == ("succeeded", 7)
    # with what other tests have loaded as its history, a day may stand out
    assert outcome["verdict"] in ("pass", "warn")
    assert Path(outcome["report"]).read_text().startswith("<!doctype html>")
    assert ElementTree.parse(outcome["graph"]).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_off_a_terminal_states_are_plain_lines_and_the_account_is_on_stdout(pipeline):
    ran = pipeline.sluice("run", "weather", *WEEK)
    assert "7 fetched = " in ran.stdout
    assert "Plan succeeded in" in ran.stderr
    assert "Process succeeded in" in ran.stderr
    assert "\x1b" not in ran.stdout + ran.stderr
    assert "\r" not in ran.stderr


def test_on_a_terminal_a_bar_shows_the_chunks(pipeline, declare, table, tmp_path):
    # a file is a chunk: enough of them for the bar to be seen
    for number in range(25):
        (tmp_path / f"part{number}.ndjson").write_text(json.dumps({"id": number}))
    given = declare(table, None, IDS, location="part*.ndjson")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "cli", "run", "files", "--input", given],
        cwd=ROOT,
        env={**os.environ, "SLUICE_HOME": str(pipeline.home), "TERM": "xterm-256color", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = read_terminal(ours)
    assert process.returncode == 0, shown
    assert "━" in shown
    assert "of 25 done" in shown
    assert "25 fetched = 25 inserted" in shown


def read_terminal(descriptor):
    shown = b""
    with contextlib.suppress(OSError):  # Linux' way to say that the other side is closed
        while block := os.read(descriptor, 65536):
            shown += block
    os.close(descriptor)
    return shown.decode()


def test_a_name_is_run_once_and_shown_again(pipeline, declare, table):
    given, name = declare(table, '{"id": 1}', IDS), f"named-{uuid.uuid4().hex[:8]}"

    def outcome():
        found = json.loads(pipeline.sluice("run", "files", "--input", given, "--name", name, "--json").stdout)
        return {key: value for key, value in found.items() if key != "seconds"}

    first = outcome()
    declare(table, '{"id": 2}', IDS)
    assert outcome() == first
    assert pipeline.query(f"SELECT id FROM curated.{table}") == [(1,)]


@pytest.mark.parametrize("name", ["no spaces", "../elsewhere", "", "x" * 81])
def test_a_name_that_step_functions_would_refuse_is_refused_in_a_line(pipeline, name):
    ran = pipeline.sluice("run", "weather", *WEEK, "--name", name, status=DOWN)
    assert repr(name) in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_an_input_that_has_the_name_of_a_folder_is_a_path_for_sources_of_files_alone(pipeline, tmp_path):
    (tmp_path / "post").mkdir()
    ran = pipeline.sluice("run", "posts", "--input", "post", "--no-embed", "--json", cwd=tmp_path)
    assert json.loads(ran.stdout)["fetched"] == 100


def test_the_picture_counts_the_chunks_that_were_not_loaded_and_no_failure_of_an_earlier_attempt(
    pipeline, declare, table
):
    name = f"drawn-{uuid.uuid4().hex[:8]}"
    pipeline.sluice("run", "files", "--input", declare(table, '{"id": 1}', IDS), "--name", name)
    pipeline.client("s3").put_object(
        Bucket=pipeline.env["SLUICE_BUCKET"], Key=keys.chunk(name, 0, "failure.json"), Body=b"{}"
    )
    drawn = Path(pipeline.sluice("graph", name).stdout.strip())
    children = executions.from_json(drawn.with_name("execution.json").read_text()).states["Process"].children
    assert (children.succeeded, children.failed) == (1, 0)


def test_emails_are_printed_newest_last_and_by_run(pipeline, declare, table):
    def rejected():
        given = declare(table, '{"id": 1}', IDS, suite=OF_TWO)
        return json.loads(pipeline.sluice("run", "files", "--input", given, "--json", status=REJECTED).stdout)["run_id"]

    first, second = rejected(), rejected()
    everything = pipeline.sluice("emails").stdout
    assert everything.index(first) < everything.index(second)
    printed = pipeline.sluice("emails", "--run", second).stdout
    assert printed.startswith("Subject: [sluice] files: quality failed, ")
    [mail] = pipeline.emails(second)
    assert mail["message"].rstrip() in printed
    assert f"To: {', '.join(mail['to'])}" in printed
    assert first not in printed
    assert pipeline.sluice("emails", "--run", "no-such-run").stdout == "No emails since the stack is up.\n"


def test_data_that_do_not_pass_exit_with_3_and_a_report(pipeline, declare, table):
    ran = pipeline.sluice(
        "run", "files", "--input", declare(table, '{"id": 1}', IDS, suite=OF_TWO), "--json", status=REJECTED
    )
    outcome = json.loads(ran.stdout)
    assert (outcome["status"], outcome["verdict"], outcome["inserted"]) == ("rejected", "fail", None)
    assert Path(outcome["report"]).exists()
    listed = json.loads(pipeline.sluice("runs", "show", outcome["run_id"], "--json").stdout)
    assert listed["failed"][0]["type"] == "expect_table_row_count_to_equal"


def test_a_run_that_fails_exits_with_4_and_says_what_is_missing(pipeline):
    missing = "/no/such/folder/orders.toml"
    ran = pipeline.sluice("run", "files", "--input", missing, "--json", status=FAILED)
    outcome = json.loads(ran.stdout)
    assert outcome["status"] == "failed"
    assert missing in outcome["reason"]
    plain = pipeline.sluice("run", "files", "--input", missing, status=FAILED)
    assert missing in plain.stdout
    assert "Traceback" not in plain.stdout + plain.stderr


def test_a_relative_path_is_that_of_the_caller(pipeline, declare, table, tmp_path):
    declare(table, '{"id": 1}', IDS)
    ran = subprocess.run(
        [sys.executable, "-m", "cli", "run", "files", "--input", f"{table}.toml", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SLUICE_HOME": str(pipeline.home)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["inserted"] == 1


def test_a_wrong_command_line_exits_with_2(pipeline):
    assert "No such option" in pipeline.sluice("run", "weather", "--frm", "2012-01-01", status=USAGE).stderr
    assert "Missing argument" in pipeline.sluice("run", status=USAGE).stderr


def test_an_unknown_source_is_told_with_those_there_are(pipeline):
    ran = pipeline.sluice("run", "wether", status=DOWN)
    assert "'wether'" in ran.stderr
    assert "weather" in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command", [("run", "weather"), ("runs", "list"), ("runs", "show", "x"), ("graph", "x"), ("env",)]
)
def test_without_a_stack_every_command_says_how_to_start_one(at_home, command):
    ran = at_home(*command)
    assert ran.returncode == DOWN
    assert "sluice up" in ran.stderr
    assert ran.stdout == ""


def test_runs_are_listed_and_shown(pipeline, declare, table):
    run = pipeline.run("files", input=declare(table, '{"id": 1}\n{"id": "x"}\n{"id": 1}', IDS))
    assert run.status == "FAILED"  # a third of the rows is more quarantine than is tolerated
    listing = pipeline.sluice("runs", "list", "--limit", "1000").stdout
    [line] = [line for line in listing.splitlines() if run.run_id in line]
    assert "rejected" in line
    assert run.run_id in {row["run_id"] for row in json.loads(pipeline.sluice("runs", "list", "--json").stdout)}
    shown = pipeline.sluice("runs", "show", run.run_id).stdout
    assert '{"id": "x"}' in shown
    assert "rejected" in shown


def test_a_run_that_never_was_is_told(pipeline):
    for command in (("runs", "show", "nothing"), ("graph", "nothing")):
        assert "'nothing'" in pipeline.sluice(*command, status=DOWN).stderr


def test_graph_writes_a_well_formed_svg_with_the_states_of_the_run(pipeline, declare, table, tmp_path):
    run = pipeline.run("files", input=declare(table, '{"id": 1}', IDS))
    path = tmp_path / "run.svg"
    assert pipeline.sluice("graph", run.run_id, "--out", str(path)).stdout == f"{path}\n"
    root = ElementTree.parse(path).getroot()
    words = " ".join("".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text"))
    for state in ("Plan", "Process", "QualityGate", "Publish", "Complete"):
        assert state in words


CLIENT = """
import boto3, os, psycopg2
cursor = psycopg2.connect(os.environ["DATABASE_URL"]).cursor()
cursor.execute("SELECT 'postgres answers'")
print(cursor.fetchone()[0])
boto3.client("s3").head_bucket(Bucket=os.environ["SLUICE_BUCKET"])
arn = os.environ["SLUICE_STATE_MACHINE_ARN"]
print(boto3.client("stepfunctions").describe_state_machine(stateMachineArn=arn)["status"])
"""


def test_env_is_what_a_shell_needs_to_talk_to_postgres_and_aws(pipeline):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SLUICE_"))}
    ran = subprocess.run(
        ["bash", "-euc", 'eval "$("$0" -m cli env)"; "$0" -c "$1"', sys.executable, CLIENT],
        cwd=ROOT,
        env={**kept, "SLUICE_HOME": str(pipeline.home)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.stdout.splitlines() == ["postgres answers", "ACTIVE"], ran.stderr


def test_up_and_down_can_be_said_twice(at_home):
    try:
        first, second = at_home("up"), at_home("up")
        assert (first.returncode, second.returncode) == (0, 0), first.stderr
        assert "The stack is up." in first.stdout
        assert "was running already" in second.stdout
    finally:
        downs = [at_home("down"), at_home("down")]
    assert [down.returncode for down in downs] == [0, 0]
    assert "The stack is down." in downs[0].stdout
    assert "was not running" in downs[1].stdout
