"""What is killed in the middle of a run: worker, Postgres, the whole stack. Run again, and the table is the same."""

import contextlib
import json
import os
import signal
import time

import psutil
import pytest

from local import processes

FILES, ROWS_PER_FILE = 3, 20_000
COLUMNS = {"id": "integer not null", "city": "text", "total": "double precision", "day": "date"}
NAMES = ", ".join(name.split()[0] for name in COLUMNS)
# 2% of the keys come twice, half a percent of the rows do not fit: 60,000 = 58,500 + 1,200 + 300
ACCOUNT = {"fetched": 60_000, "duplicates": 1_200, "quarantined": 300}


@pytest.fixture(scope="module")
def killable(own_stack):
    """A stack that tests may kill; its chunks are small whenever it is up, so that there is a middle of a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLUICE_CHUNK_BYTES", "100000")
        with own_stack() as pipeline:
            yield pipeline


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("orders")
    for number in range(FILES):
        first = number * ROWS_PER_FILE
        lines = []
        for i in range(first, first + ROWS_PER_FILE):
            bad = i % 200 == 7
            row = {
                "id": i - 1 if i % 50 == 1 else i,
                "city": f"city {i % 97}",
                "total": "much" if bad else i / 8,
                "day": f"2026-{i % 12 + 1:02d}-{i % 28 + 1:02d}",
            }
            lines.append(json.dumps(row))
        (folder / f"orders-{number}.ndjson").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def given(declare, data, table):
    return declare(table, None, COLUMNS, location=str(data / "*.ndjson"))


@pytest.fixture(scope="module")
def undisturbed(killable, data):
    """The table as a run leaves it that nothing happens to."""
    declaration = data / "undisturbed.toml"
    columns = "".join(f'{name} = "{kind}"\n' for name, kind in COLUMNS.items())
    declaration.write_text(f'location = "*.ndjson"\ntable = "undisturbed"\nkey = ["id"]\n[columns]\n{columns}')
    run = killable.run("files", input=str(declaration))
    assert run.status == "SUCCEEDED"
    assert {name: run.row[name] for name in ACCOUNT} == ACCOUNT
    return content(killable, "undisturbed")


def content(pipeline, table):
    """All but the lineage."""
    return pipeline.query(f"SELECT {NAMES} FROM curated.{table} ORDER BY id")


def start_and_reach_the_middle(pipeline, given, name=None):
    """Start a run; returns its ARN when some of its chunks are loaded and some are not."""
    arn = pipeline.start("files", name=name, input=given)
    run_id = arn.rsplit(":", 1)[1]
    deadline = time.monotonic() + 60
    while (loaded := pipeline.query("SELECT count(*) FROM pipeline.chunks WHERE run_id = %s", run_id)[0][0]) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert loaded < 40, "the run was too quick to be disturbed"
    return arn


def family(pipeline):
    server = psutil.Process(pipeline.stack.info().pid)
    return [server, *server.children(recursive=True)]


def workers(pipeline):
    """The server that forks the workers, then they."""
    found = []
    for process in family(pipeline):
        with contextlib.suppress(psutil.Error):  # it may end while we look
            if "local.worker" in process.cmdline():
                found.append(process)
    return found


def kill(victims):
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert not processes.wait(victims, 10)


def kill_everything(pipeline):
    kill(family(pipeline))
    deadline = time.monotonic() + 10
    while pipeline.stack.info():  # a process of many threads is a zombie before the last one has ended
        assert time.monotonic() < deadline
        time.sleep(0.02)


def postgres_processes(pipeline):
    postmaster = psutil.Process(pipeline.stack.info().postgres_pid)
    return [postmaster, *postmaster.children(recursive=True)]


def wait_for_postgres(pipeline, killed):
    deadline = time.monotonic() + 30
    while pipeline.stack.info().postgres_pid == killed:
        assert time.monotonic() < deadline, "Postgres was not started again"
        time.sleep(0.02)


def until_it_answers(ask):
    deadline = time.monotonic() + 30
    while True:
        try:
            return ask()
        except Exception:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def assert_as_undisturbed(pipeline, run, table, undisturbed):
    assert run.status == "SUCCEEDED", run.cause
    assert {name: run.row[name] for name in ACCOUNT} == ACCOUNT
    assert run.row["fetched"] == sum(run.account[1:])
    assert content(pipeline, table) == undisturbed
    assert not [name for name in pipeline.staging_tables() if name.startswith(table)]


def test_a_run_survives_the_kill_of_its_workers(killable, given, table, undisturbed):
    killable.stack.usage(reset=True)
    arn = start_and_reach_the_middle(killable, given)
    _server, *busy = workers(killable)
    assert busy
    kill(busy)
    run = killable.wait(arn)
    assert sum(function["errors"] for function in killable.stack.usage().values()) >= 1
    assert_as_undisturbed(killable, run, table, undisturbed)


def test_a_run_survives_the_kill_of_the_server_that_forks_its_workers(killable, given, table, undisturbed):
    arn = start_and_reach_the_middle(killable, given)
    kill(workers(killable))
    assert_as_undisturbed(killable, killable.wait(arn), table, undisturbed)


def test_a_kill_of_postgres_fails_the_run_and_what_it_says_starts_it_again(killable, given, table, undisturbed):
    arn = start_and_reach_the_middle(killable, given)
    killed = killable.stack.info().postgres_pid
    kill(postgres_processes(killable))
    wait_for_postgres(killable, killed)
    # what was staged is lost with an unlogged table; the gate counts, and says so
    run = killable.wait(arn)
    assert (run.status, run.error) == ("FAILED", "AccountError")
    assert run.row["status"] == "failed"
    assert content(killable, table) == []
    [email] = killable.emails(run.run_id)
    command = f"sluice redrive {run.run_id}"
    assert "Next: start the run again, as `sluice runs show` says" in run.row["error"]["reason"]
    assert command in email["message"]
    assert f"next          {command}\n" in killable.sluice("runs", "show", run.run_id).stdout
    assert killable.dead_letters(run.run_id)
    redriven = json.loads(killable.sluice(*command.split()[1:], "--json").stdout)
    assert {name: redriven[name] for name in ACCOUNT} == ACCOUNT and redriven["kept_partitions"] == FILES
    assert content(killable, table) == undisturbed
    assert not [name for name in killable.staging_tables() if name.startswith(table)]


def test_a_run_that_succeeded_outlives_an_immediate_kill_of_postgres(killable, declare, table):
    given = declare(table, "".join(f'{{"id": {i}}}\n' for i in range(100)), {"id": "integer not null"})
    run = killable.run("files", input=given)
    victims, killed = postgres_processes(killable), killable.stack.info().postgres_pid
    kill(victims)
    assert run.status == "SUCCEEDED"
    wait_for_postgres(killable, killed)
    assert until_it_answers(lambda: killable.query(f"SELECT count(*) FROM curated.{table}")) == [(100,)]
    assert killable.query("SELECT status FROM pipeline.runs WHERE run_id = %s", run.run_id) == [("succeeded",)]


def test_after_a_kill_of_the_whole_stack_another_run_loads_it_all(killable, given, table, undisturbed):
    arn = start_and_reach_the_middle(killable, given)
    kill_everything(killable)
    killable.stack.up()
    assert content(killable, table) == []
    assert_as_undisturbed(killable, killable.run("files", input=given), table, undisturbed)
    lost = arn.rsplit(":", 1)[1]
    [(status, error)] = killable.query("SELECT status, error ->> 'error' FROM pipeline.runs WHERE run_id = %s", lost)
    assert (status, error) == ("failed", "RunLost")
    assert killable.staging_tables() == []


def test_raw_objects_and_the_report_of_a_run_that_ended_just_now_outlive_a_kill_of_the_whole_stack(
    killable, declare, table
):
    run = killable.run("files", input=declare(table, '{"id": 1}\n', {"id": "integer not null"}))
    [(raw,)] = killable.query("SELECT key FROM pipeline.raw_objects WHERE run_id = %s", run.run_id)
    kill_everything(killable)
    killable.stack.up()
    s3, bucket = killable.client("s3"), killable.env["SLUICE_BUCKET"]
    assert s3.get_object(Bucket=bucket, Key=raw)["Body"].read() == b'{"id": 1}\n'
    assert b"<html" in s3.get_object(Bucket=bucket, Key=run.row["report_key"])["Body"].read()


def test_after_a_kill_of_the_whole_stack_the_run_can_be_started_again_by_its_name(killable, given, table, undisturbed):
    arn = start_and_reach_the_middle(killable, given, name=f"nightly-{table}")
    kill_everything(killable)
    killable.stack.up()
    run = killable.wait(killable.start("files", name=arn.rsplit(":", 1)[1], input=given))
    assert_as_undisturbed(killable, run, table, undisturbed)


def test_a_name_whose_run_was_published_is_refused_even_when_the_engine_forgot_it(killable, declare, table):
    given, name = declare(table, '{"id": 1}\n', {"id": "integer not null"}), f"once-{table}"
    assert killable.wait(killable.start("files", name=name, input=given)).status == "SUCCEEDED"
    killable.stack.down()
    killable.stack.up()
    rows = killable.rows(table)
    again = killable.wait(killable.start("files", name=name, input=given))
    assert (again.status, again.error) == ("FAILED", "ContractError")
    assert "published already" in again.cause
    assert again.row["status"] == "succeeded"
    assert killable.rows(table) == rows


def test_nothing_runs_after_down_whatever_was_killed(killable, given):
    start_and_reach_the_middle(killable, given)
    everything = family(killable)
    os.kill(killable.stack.info().pid, signal.SIGKILL)
    killable.stack.down()
    assert not processes.wait(everything, 10)
    killable.stack.up()
