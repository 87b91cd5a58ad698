"""A failed run is started again by one that fetches and transforms what is missing, and nothing else.

A source of its own asks a server of the test's, which counts; what stands in the way is there or not, so that the code
may stay as it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from werkzeug.wrappers import Request, Response

from chalicelib import executions
from chalicelib.lake import keys
from local.stack import Stack
from tests.features.conftest import Pipeline
from tests.unit.loopback import serving

SHELVES, BOOKS, CHUNK_ROWS = 4, 6, 3  # partitions, rows of each, rows of a chunk
SOURCE = '''"""Books, by the shelf."""

from pathlib import Path

from chalicelib.columns import Column
from chalicelib.sources.base import Page, Source

# version 1


class {Name}(Source):
    name = "{name}"
    key = ("id",)
    columns = (Column("id", "integer"), Column("title", "text"))
    hosts = ("127.0.0.1",)

    def partitions(self, window, given, settings):
        return [{{"shelf": shelf}} for shelf in range({shelves})]

    def pages(self, request, client, settings):
        yield Page(client.get(f"{url}/{name}/{{request['shelf']}}").stream(), "ndjson")

    def transform(self, frame):
        if Path("{obstacle}").exists() and (frame["id"] == 100).any():
            raise RuntimeError("there is something in the way")
        return frame
'''
SUITE = {
    "expectations": [
        {
            "type": "expect_column_value_lengths_to_be_between",
            "kwargs": {"column": "title", "min_value": 2},
            "severity": "critical",
        }
    ],
    "meta": {"sluice": {"quarantine": {"fail": 0.2}}},
}


class Library:
    """The server: the rows of each shelf, those that it does not give out, and who asked for which."""

    def __init__(self):
        self.titles: dict[tuple[str, int], str] = {}  # (source, id) -> title, where it is another one
        self.closed: set[tuple[str, int]] = set()
        self.asked: list[tuple[str, int]] = []
        self.held: dict[tuple[str, int], threading.Event] = {}

    def __call__(self, environ, start_response):
        _, name, shelf = Request(environ).path.split("/")
        asked = (name, int(shelf))
        self.asked.append(asked)
        if event := self.held.get(asked):
            event.wait(60)
        if asked in self.closed:
            return Response("closed", status=404)(environ, start_response)
        ids = [int(shelf) * 100 + book for book in range(BOOKS)]
        rows = [{"id": id_, "title": self.titles.get((name, id_), f"title {id_}")} for id_ in ids]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        return Response(text, content_type="application/x-ndjson")(environ, start_response)

    def of(self, name: str) -> list[int]:
        """Which shelves the source asked for since this was asked last."""
        found = [shelf for asked, shelf in self.asked if asked == name]
        self.asked = [each for each in self.asked if each[0] != name]
        return found


class Shop(Pipeline):
    """A checkout with sources of its own, its stack, and the server that the sources ask."""

    folder: Path
    library: Library
    url: str
    obstacle: Path

    def source(self, name: str) -> str:
        """A source of that name, which nobody has run yet."""
        text = SOURCE.format(
            Name=name.capitalize(), name=name, url=self.url, shelves=SHELVES, obstacle=self.obstacle / name
        )
        self.module(name).write_text(text)
        self.suite(name, SUITE)
        return name

    def module(self, name: str) -> Path:
        return self.folder / "chalicelib" / "sources" / f"{name}.py"

    def suite(self, name: str, suite: dict) -> None:
        (self.folder / "chalicelib" / "expectations" / f"{name}.json").write_text(json.dumps({"name": name, **suite}))

    def edit(self, name: str) -> None:
        path = self.module(name)
        path.write_text(path.read_text().replace("# version 1", "# version 2"))

    def sluice(self, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "SLUICE_HOME": str(self.home)}
        ran = subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert status is None or ran.returncode == status, ran.stdout + ran.stderr
        return ran

    def redrive(self, *arguments: str, status: int = 0) -> dict:
        return json.loads(self.sluice("redrive", *arguments, "--json", status=status).stdout)

    def refused(self, *arguments: str) -> str:
        return self.sluice("redrive", *arguments, status=1).stderr

    def row(self, run_id: str) -> dict:
        [(row,)] = self.query("SELECT row_to_json(r) FROM pipeline.runs r WHERE run_id = %s", run_id)
        return row

    def chunk_objects(self, run_id: str) -> set[str]:
        """The names of the objects that the run's chunks wrote, such as `00001/rows.copy`."""
        prefix = keys.chunks(run_id)
        pages = (
            self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.env["SLUICE_BUCKET"], Prefix=prefix)
        )
        return {item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", ())}

    def titles(self, name: str) -> dict[int, str]:
        return dict(self.query(f"SELECT id, title FROM curated.{name}"))

    def failed_at_a_shelf(self, name: str, shelf: int = 2) -> str:
        """A run that fetched the shelves before this one, and failed."""
        self.library.closed.add((name, shelf))
        run = self.run(self.source(name))
        assert (run.status, run.error) == ("FAILED", "SourceError")
        self.library.closed.discard((name, shelf))
        assert self.library.of(name) == list(range(shelf + 1))
        return run.run_id

    def failed_at_a_chunk(self, name: str) -> str:
        """A run that fetched all and failed to transform one chunk, the first one of shelf 1, for an outward reason."""
        (self.obstacle / name).touch()
        run = self.run(self.source(name))
        assert (run.status, run.error) == ("FAILED", "ChunksFailed")
        (self.obstacle / name).unlink()
        assert self.library.of(name) == list(range(SHELVES))
        return run.run_id


ALL = SHELVES * BOOKS
CHUNKS = ALL // CHUNK_ROWS
FAILED_CHUNK = BOOKS // CHUNK_ROWS  # the first one of shelf 1


@pytest.fixture(scope="module")
def shop(checkout, tmp_path_factory):
    folder, home, library = checkout(), tmp_path_factory.mktemp("shop"), Library()
    settings = {"SLUICE_CHUNK_ROWS": str(CHUNK_ROWS), "SLUICE_FETCH_CONCURRENCY": "1"}
    environment = {**os.environ, **settings, "PYTHONPATH": str(folder), "SLUICE_HOME": str(home)}
    with serving(library) as url:
        command = [sys.executable, "-m", "cli", "up", "--no-schedules"]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        try:
            shop = Shop(home, Stack(home))
            shop.folder, shop.library, shop.url = folder, library, url
            shop.obstacle = tmp_path_factory.mktemp("obstacles")
            yield shop
        finally:
            subprocess.run([sys.executable, "-m", "cli", "down"], cwd=folder, env=environment, check=True)


def expect_account(outcome: dict, **counts: int) -> None:
    names = ("fetched", "inserted", "updated", "unchanged", "duplicates", "quarantined")
    assert {name: outcome[name] for name in names} == dict.fromkeys(names, 0) | {"fetched": ALL} | counts
    assert outcome["fetched"] == sum(outcome[name] for name in names[1:])


def test_what_was_fetched_is_not_fetched_again(shop):
    failed = shop.failed_at_a_shelf("shelves")
    found = shop.redrive(failed)
    assert (found["run_id"], found["status"]) == (f"{failed}-2", "succeeded")
    assert shop.library.of("shelves") == [2, 3]
    expect_account(found, inserted=ALL)
    row = shop.row(found["run_id"])
    assert (row["redrive_of"], row["kept_partitions"], row["kept_chunks"]) == (failed, 2, 0)
    assert shop.row(failed)["status"] == "failed"
    keys_of = shop.query("SELECT DISTINCT key FROM pipeline.raw_objects WHERE run_id = %s", found["run_id"])
    assert sorted(f"run={failed}/" in key for (key,) in keys_of) == [False, False, True, True]


def test_what_was_transformed_is_not_transformed_again_and_the_account_balances(shop):
    shop.library.titles["chunks", 3] = "x"  # too short: it is in quarantine, of a chunk that is kept
    failed = shop.failed_at_a_chunk("chunks")
    found = shop.redrive(failed)
    assert (found["run_id"], found["verdict"]) == (f"{failed}-2", "warn")
    assert shop.library.of("chunks") == []
    expect_account(found, inserted=ALL - 1, quarantined=1)
    assert {name.split("/")[0] for name in shop.chunk_objects(found["run_id"])} == {f"{FAILED_CHUNK:05d}"}
    assert shop.row(found["run_id"])["kept_chunks"] == CHUNKS - 1
    assert len(shop.titles("chunks")) == ALL - 1
    [(line, record)] = shop.query("SELECT line, record FROM pipeline.quarantine WHERE run_id = %s", found["run_id"])
    assert (line, json.loads(record)["id"]) == (4, 3)
    lineage = "SELECT DISTINCT o.key FROM curated.chunks AS t, pipeline.raw_line(t._run_id, t._raw) AS o"
    assert len(shop.query(lineage)) == SHELVES


def test_a_redriven_run_that_fails_is_redriven_from_where_it_came(shop):
    first = shop.failed_at_a_shelf("twice", 1)
    shop.library.closed.add(("twice", 3))
    second = shop.redrive(first, status=4)
    assert (second["run_id"], shop.library.of("twice")) == (f"{first}-2", [1, 2, 3])
    shop.library.closed.discard(("twice", 3))
    (shop.obstacle / "twice").touch()
    third = shop.redrive(first, status=4)  # any of the attempts may be named
    assert (third["run_id"], shop.library.of("twice")) == (f"{first}-3", [3])
    (shop.obstacle / "twice").unlink()
    fourth = shop.redrive(f"{first}-3")
    assert (fourth["run_id"], shop.library.of("twice")) == (f"{first}-4", [])
    expect_account(fourth, inserted=ALL)
    assert shop.row(fourth["run_id"])["kept_chunks"] == CHUNKS - 1


def test_what_was_altered_of_a_chunk_that_the_failed_run_made_itself_is_made_anew_at_once(shop):
    failed = shop.failed_at_a_chunk("altered")
    time.sleep(1.1)  # S3 tells seconds
    where = {"Bucket": shop.env["SLUICE_BUCKET"], "Key": keys.chunk(failed, 0, "rows.copy")}
    shop.client("s3").put_object(**where, Body=b"")
    found = shop.redrive(failed)
    expect_account(found, inserted=ALL)
    assert shop.row(found["run_id"])["kept_chunks"] == CHUNKS - 2


def test_with_another_code_the_raw_objects_are_kept_and_the_chunks_made_anew(shop):
    failed = shop.failed_at_a_chunk("mended")
    shop.edit("mended")
    found = shop.redrive(failed)
    expect_account(found, inserted=ALL)
    row = shop.row(found["run_id"])
    assert (row["kept_partitions"], row["kept_chunks"], shop.library.of("mended")) == (SHELVES, 0, [])


def test_rows_that_came_since_are_not_overwritten_by_older_ones(shop):
    failed = shop.failed_at_a_chunk("older")
    for book in range(BOOKS):
        shop.library.titles["older", book] = f"newer {book}"
    shop.edit("older")  # the failed run's chunks are made anew: its raw objects alone are old
    assert shop.run("older").status == "SUCCEEDED"
    found = shop.redrive(failed)
    expect_account(found, unchanged=ALL - BOOKS, duplicates=BOOKS)
    assert shop.titles("older")[0] == "newer 0"


def test_a_run_whose_execution_ended_without_a_word_is_redriven_too(shop):
    name, event = shop.source("aborted"), threading.Event()
    shop.library.held[name, 2] = event
    arn = shop.start(name)
    deadline = time.monotonic() + 60
    while ("aborted", 2) not in shop.library.asked:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run_id = arn.rsplit(":", 1)[1]
    assert f"{run_id} is under way" in shop.refused(run_id)
    shop.client("stepfunctions").stop_execution(executionArn=arn)
    event.set()
    assert shop.row(run_id)["status"] == "running"
    told = shop.sluice("runs", "show", run_id).stdout
    assert "ended         without a word; its execution is ABORTED" in told
    assert f"next          sluice redrive {run_id}" in told
    shop.library.of(name)
    found = shop.redrive(run_id)
    assert found["status"] == "succeeded" and 0 not in shop.library.of(name)


def test_a_run_that_failed_or_was_stopped_ends_with_the_command_that_starts_it_again(shop):
    name = shop.source("advised")
    shop.library.closed.add((name, 1))
    told = shop.sluice("run", name, "--name", "advised", status=4).stdout
    assert "error    SourceError: " in told and told.endswith("next     sluice redrive advised\n")
    assert "next          sluice redrive advised\n" in shop.sluice("runs", "show", "advised").stdout
    shop.library.closed.discard((name, 1))
    assert shop.redrive("advised")["next"] is None
    assert json.loads(shop.sluice("runs", "show", "advised", "--json").stdout)["next"] is None, "advised-2 settled it"

    event = threading.Event()
    shop.library.held[name, 2] = event
    shop.library.of(name)
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(shop.sluice, "run", name, "--name", "stopped", "--json", status=4)
        deadline = time.monotonic() + 60
        while (name, 2) not in shop.library.asked:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        arn = executions.arn(shop.env["SLUICE_STATE_MACHINE_ARN"], "stopped")
        shop.client("stepfunctions").stop_execution(executionArn=arn)
        found = json.loads(watching.result().stdout)
        event.set()
    assert (found["status"], found["error"], found["next"]) == ("failed", "ABORTED", "sluice redrive stopped")
    assert found["reason"] == "the execution ended without a word"


def test_what_cannot_be_redriven_is_told_with_the_way_on(shop):
    name = shop.source("fine")
    succeeded = shop.run(name).run_id
    assert f"{succeeded} succeeded; nothing is left to redrive Next: to load it once more: `sluice run fine`" in (
        shop.refused(succeeded)
    )
    assert "no run is called 'nobody'" in shop.refused("nobody")
    failed = shop.failed_at_a_shelf("followed")
    assert shop.redrive(failed)["status"] == "succeeded"
    assert f"{failed}-2, which tried the same after {failed}, succeeded" in shop.refused(failed)


def test_a_rejected_run_is_judged_again_where_its_suite_was_mended(shop):
    name = shop.source("judged")
    for book in range(BOOKS):
        shop.library.titles[name, book] = "x"
    run = shop.run(name)
    assert (run.error, shop.library.of(name)) == ("QualityFailed", list(range(SHELVES)))
    told = shop.refused(run.run_id)
    assert "rejected by its quality gate" in told and f"sluice redrive {run.run_id} --judge-again" in told
    same = shop.redrive(run.run_id, "--judge-again", status=4)
    assert same["error"] == "ContractError" and "neither its suite nor the code was changed" in same["reason"]
    shop.suite(name, {**SUITE, "meta": {"sluice": {"quarantine": {"fail": 0.5}}}})
    found = shop.redrive(run.run_id, "--judge-again")
    expect_account(found, inserted=ALL - BOOKS, quarantined=BOOKS)
    assert shop.library.of(name) == []


def test_raw_objects_that_have_expired_are_told_and_nothing_is_started(shop):
    failed = shop.failed_at_a_chunk("expired")
    [(gone,)] = shop.query("SELECT key FROM pipeline.raw_objects WHERE run_id = %s AND part = 1", failed)
    shop.client("s3").delete_object(Bucket=shop.env["SLUICE_BUCKET"], Key=gone)
    told = shop.refused(failed)
    assert f"1 of {SHELVES} raw objects of {failed} are gone, such as {gone}" in told
    assert "Next: `sluice run expired` fetches all of it anew" in told
    assert shop.query("SELECT count(*) FROM pipeline.runs WHERE source = 'expired'") == [(1,)]


def test_dead_letters_go_when_their_runs_have_begun_and_those_of_others_stay(shop):
    failed = shop.failed_at_a_shelf("letters")
    name = shop.source("unfit")
    for book in range(BOOKS):
        shop.library.titles[name, book] = "x"
    rejected = shop.run(name).run_id
    shop.client("sqs").send_message(QueueUrl=shop.env["SLUICE_DEAD_LETTER_URL"], MessageBody='{"run_id": null}')
    shop.redrive("--from-dead-letters", "--yes", "--dry-run", status=1)
    assert shop.dead_letters(failed) and shop.library.of("letters") == []
    found = shop.redrive("--from-dead-letters", "--yes", status=1)
    assert f"{failed}-2" in [run["run_id"] for run in found["runs"]]
    left = {each["run_id"]: each["reason"] for each in found["left"]}
    assert "rejected by its quality gate" in left[rejected]
    assert "it is no dead letter of a run" in left.values()
    assert shop.dead_letters(failed) == [] and len(shop.dead_letters(rejected)) == 1
    assert shop.redrive(rejected, "--discard", "--yes") == {"discarded": [rejected]}
    assert shop.dead_letters(rejected) == []
    assert f"no dead letter of {rejected} is in the queue" in shop.refused(rejected, "--discard", "--yes")
    shop.redrive("--from-dead-letters", "--discard", "--yes")
    assert shop.redrive("--from-dead-letters", "--yes") == {"runs": [], "left": [], "settled": []}


def test_a_dead_letter_that_a_later_success_has_settled_starts_nothing_and_goes_if_that_was_an_attempt(shop):
    """Another run of the same need not hold the same rows. The letter of who is redriven by name is put back."""
    attempted, other = shop.failed_at_a_shelf("attempted"), shop.failed_at_a_shelf("other")
    letters = [shop.dead_letters(run) for run in (attempted, other)]
    assert shop.redrive(attempted)["run_id"] == f"{attempted}-2"
    since = shop.run("other").run_id
    assert shop.dead_letters(attempted) == []
    [letter] = letters[0]
    shop.client("sqs").send_message(QueueUrl=shop.env["SLUICE_DEAD_LETTER_URL"], MessageBody=json.dumps(letter))
    succeeded = f"{attempted}-2, which tried the same after {attempted}, succeeded"
    for options, still in ((("--dry-run",), True), ((), True), ((), False)):
        found = shop.redrive("--from-dead-letters", "--yes", *options)
        assert (found["runs"], found["left"]) == ([], [])
        settled = {each["run_id"]: (each["by"], each["reason"]) for each in found["settled"]}
        assert settled.pop(attempted, None) == ((f"{attempted}-2", succeeded) if still else None)
        by, reason = settled.pop(other)
        assert by == since and reason.startswith(f"{since} asked for the same since and succeeded.")
        assert f"`sluice redrive {other}` redrives the run" in reason
        assert f"`sluice redrive {other} --discard` deletes the letter" in reason
        assert settled == {}
    assert shop.dead_letters(attempted) == [] and shop.dead_letters(other) == letters[1]
    for name, runs in (("attempted", 2), ("other", 2)):
        assert shop.query("SELECT count(*) FROM pipeline.runs WHERE source = %s", name) == [(runs,)]
    listed = json.loads(shop.sluice("runs", "list", "--json").stdout)
    settled = {row["run_id"]: row["settled_by"] for row in listed if row["source"] in ("attempted", "other")}
    assert settled == {attempted: f"{attempted}-2", f"{attempted}-2": None, other: since, since: None}
    told = shop.sluice("runs", "list", "--source", "other").stdout.splitlines()
    assert told[0].split()[-2:] == ["settled", "by"] and told[2].split()[-1] == since
    assert f"settled_by    {since}" in shop.sluice("runs", "show", other).stdout
    assert shop.redrive(other)["redrive_of"] == other
    assert shop.dead_letters(other) == []


def test_a_replay_says_what_is_open_and_leaves_no_letter_once_its_rows_are_settled(shop):
    name = shop.source("settled")
    shop.library.titles[name, 0] = "x"
    run = shop.run(name).run_id
    [(key,)] = shop.query("SELECT key FROM pipeline.raw_objects WHERE run_id = %s AND part = 0", run)
    shop.client("s3").delete_object(Bucket=shop.env["SLUICE_BUCKET"], Key=key)
    [failed] = json.loads(shop.sluice("quarantine", "replay", "--run", run, "--json", status=4).stdout)
    replay = failed["run_id"]
    told = shop.refused(replay)
    assert f"rows of {run} again; of that run there is 1 open row (run_id={replay})" in told
    assert f"Next: `sluice quarantine replay --run {run}`" in told
    shop.sluice("redrive", "--from-dead-letters", "--yes", "--json", status=None)
    assert len(shop.dead_letters(replay)) == 1
    shop.sluice("quarantine", "discard", "--run", run, "--why", "a test")
    told = shop.refused(replay)
    assert "none of these is open any more" in told and f"`sluice redrive {replay} --discard`" in told
    shop.sluice("redrive", "--from-dead-letters", "--yes", "--json", status=None)
    assert shop.dead_letters(replay) == []
    assert shop.query("SELECT count(*) FROM pipeline.runs WHERE source = 'settled'") == [(2,)]


def test_the_letter_of_a_run_that_is_redriven_by_name_goes_too(shop):
    failed = shop.failed_at_a_shelf("named")
    assert shop.dead_letters(failed)
    shop.redrive(failed)
    assert shop.dead_letters(failed) == []


def test_all_means_what_failed_last_of_each_thing_that_was_asked_for(shop):
    names = [f"every{number}" for number in range(2)]
    older = [shop.failed_at_a_shelf(name) for name in names]
    newest = shop.failed_at_a_shelf(names[0])
    assert shop.run(names[1]).status == "SUCCEEDED"
    shop.library.of(names[0]), shop.library.of(names[1])
    assert [run["redrive_of"] for run in shop.redrive("--all", "--source", names[0], "--dry-run")["runs"]] == [newest]
    assert shop.redrive("--all", "--source", names[1])["runs"] == []
    found = shop.redrive("--all", "--source", names[0])
    assert [run["run_id"] for run in found["runs"]] == [f"{newest}-2"] and older[0] != newest
    assert shop.library.of(names[0]) == [2, 3]
    assert shop.redrive("--all", "--source", names[0])["runs"] == []
