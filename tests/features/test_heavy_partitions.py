"""A source that runs on containers publishes what it would on Lambda, takes longer, and tells its own errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.stack import Stack
from tests.features.conftest import Pipeline

TRANSFORM_SECONDS = 5
SOURCE = '''"""Numbers."""

import io
import json
import os
import signal
import time
from pathlib import Path

from chalicelib.columns import Column
from chalicelib.errors import SourceError, SourceUnavailable
from chalicelib.sources.base import Page, Source

TRACE = Path({trace!r})


def trace(word):
    with TRACE.open("a") as file:
        file.write(word + "\\n")
    return TRACE.read_text().split().count(word)


class {Name}(Source):
    name = "{name}"
    key = ("id",)
    columns = (Column("id", "integer"), Column("word", "text"))
    runs_on = "{runs_on}"
    fetches_on = "{fetches_on}"

    def partitions(self, window, given, settings):
        return [{{"part": 0}}, {{"part": 1}}]

    def pages(self, request, client, settings):
        count = trace(f"fetch-{{request['part']}}")
        {fetch}
        rows = [{{"id": 100 * request["part"] + n, "word": f"word {{n}}"}} for n in range(50)] + [{{"id": "none"}}]
        yield Page(io.BytesIO("\\n".join(map(json.dumps, rows)).encode()), "ndjson")

    def transform(self, frame):
        count = trace("transform")
        {transform}
        return frame
'''
SUITE = {
    "expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 0}}],
    "meta": {"sluice": {"quarantine": {"fail": 1}}},
}


class Yard(Pipeline):
    """A checkout with sources of its own, whose Transform has few seconds on Lambda, and its stack."""

    folder: Path

    def source(self, name: str, runs_on="container", fetches_on="lambda", fetch="pass", transform="pass") -> str:
        trace = str(self.folder / f"{name}.trace")
        values = {"runs_on": runs_on, "fetches_on": fetches_on, "fetch": fetch, "transform": transform, "trace": trace}
        text = SOURCE.format(Name=name.capitalize(), name=name, **values)
        (self.folder / "chalicelib" / "sources" / f"{name}.py").write_text(text)
        (self.folder / "chalicelib" / "expectations" / f"{name}.json").write_text(json.dumps({"name": name, **SUITE}))
        return name

    def traced(self, name: str, word: str) -> int:
        return (self.folder / f"{name}.trace").read_text().split().count(word)

    def logged(self, run_id: str) -> list[dict]:
        """The lines of the containers of a run."""
        lines = (self.home / "logs" / "container.log").read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line.get("run_id") == run_id]


@pytest.fixture(scope="module")
def yard(checkout, tmp_path_factory):
    folder, home = checkout(), tmp_path_factory.mktemp("yard")
    config = json.loads((folder / ".chalice" / "config.json").read_text())
    config["lambda_functions"]["transform"]["lambda_timeout"] = TRANSFORM_SECONDS
    (folder / ".chalice" / "config.json").write_text(json.dumps(config))
    environment = {**os.environ, "PYTHONPATH": str(folder), "SLUICE_HOME": str(home)}
    command = [sys.executable, "-m", "cli"]
    subprocess.run([*command, "up"], cwd=folder, env=environment, check=True, capture_output=True)
    try:
        made = Yard(home, Stack(home))
        made.folder = folder
        yield made
    finally:
        subprocess.run([*command, "down"], cwd=folder, env=environment, capture_output=True)


def test_a_source_publishes_the_same_table_from_containers_as_from_lambda(yard):
    on_lambda = yard.run(yard.source("light", runs_on="lambda"))
    in_containers = yard.run(yard.source("heavy", fetches_on="container"))
    assert (on_lambda.status, in_containers.status) == ("SUCCEEDED", "SUCCEEDED")
    assert in_containers.account == on_lambda.account == (102, 100, 0, 0, 0, 2)
    rows = "SELECT id, word, _raw, _fingerprint FROM curated.{} ORDER BY id"
    assert yard.query(rows.format("heavy")) == yard.query(rows.format("light"))
    assert yard.quarantine(in_containers) == yard.quarantine(on_lambda)

    assert {"Fetch", "FetchPartition", "Process"} & set(yard.states(in_containers)) == set()
    assert {"FetchInContainers", "ProcessInContainers"} & set(yard.states(on_lambda)) == set()
    # four containers, a minute of each is billed: two partitions, two chunks
    bill = json.loads(yard.sluice("cost", in_containers.run_id, "--json").stdout)["once"]["lines"]
    hours = {line["item"]: line["quantity"] for line in bill if line["service"] == "Fargate"}
    assert hours == pytest.approx({"fargate.vcpu_hour": 4 * 2 / 60, "fargate.gb_hour": 4 * 8 / 60})
    assert {line["how"] for line in bill if line["service"] == "Fargate"} == {"measured"}
    # logs and metrics are those of the Lambdas
    lines = yard.logged(in_containers.run_id)
    done = [line["state"] for line in lines if line.get("message") == "stage done"]
    assert sorted(done) == ["fetch_partition"] * 2 + ["load"] * 2 + ["transform"] * 2 + ["validate"] * 2
    assert sum(line["RowsIn"][0] for line in lines if line.get("state") == "transform" and "_aws" in line) == 102


def test_a_chunk_that_takes_longer_than_a_lambda_may_ends_in_a_container(yard):
    slowly = f"time.sleep({TRANSFORM_SECONDS + 2})"
    on_lambda = yard.start(yard.source("slow", runs_on="lambda", transform=slowly))
    in_containers = yard.start(yard.source("patient", transform=slowly))
    assert yard.wait(in_containers).status == "SUCCEEDED"
    failed = yard.wait(on_lambda)
    assert failed.error == "ChunksFailed"
    assert "Sandbox.Timedout" in failed.cause


def test_a_container_that_is_killed_is_tried_again_and_then_told(yard):
    name = yard.source("killed", transform="os.kill(os.getpid(), signal.SIGKILL)")
    run = yard.run(name)
    assert (run.status, run.error, run.row["published_at"]) == ("FAILED", "ChunksFailed", None)
    assert yard.traced(name, "transform") == 3 * 2  # three times each of two chunks
    [mail] = yard.emails(run.run_id)
    assert "the container was killed (exit status 137)" in mail["message"]
    assert [letter["error"]["Error"] for letter in yard.dead_letters(run.run_id)] == ["ChunksFailed"]
    assert yard.staging_tables(run.run_id) == []


def test_a_container_that_is_killed_once_does_no_harm(yard):
    run = yard.run(yard.source("shaken", transform="count == 1 and os.kill(os.getpid(), signal.SIGKILL)"))
    assert run.status == "SUCCEEDED"
    assert run.account == (102, 100, 0, 0, 0, 2)


def test_the_alert_tells_the_stages_own_error_and_the_stage_is_not_tried_again(yard):
    name = yard.source("wrong", transform="raise ValueError('the columns are mixed up')")
    run = yard.run(name)
    assert run.error == "ChunksFailed"
    [mail] = yard.emails(run.run_id)
    assert "TransformError: transform() raised ValueError: the columns are mixed up" in mail["message"]
    assert "ssential container" not in mail["message"]
    assert yard.traced(name, "transform") == 2  # once for each chunk
    assert {line["error"] for line in yard.logged(run.run_id) if line.get("message") == "stage failed"} == {
        "TransformError"
    }


def test_a_partition_that_a_container_cannot_fetch_is_told_in_its_own_words(yard):
    name = yard.source("lost", fetches_on="container", fetch="raise SourceError('the archive is empty')")
    run = yard.run(name)
    assert run.status == "FAILED"
    assert (run.row["error"]["error"], run.row["error"]["reason"]) == ("SourceError", "the archive is empty")
    [mail] = yard.emails(run.run_id)
    assert "the archive is empty" in mail["message"]
    assert yard.traced(name, "fetch-0") == 1


def test_what_may_pass_by_itself_is_tried_again_in_the_same_container(yard):
    fetch = "if count == 1: raise SourceUnavailable('asleep')"
    run = yard.run(yard.source("sleepy", fetches_on="container", runs_on="lambda", fetch=fetch))
    assert run.status == "SUCCEEDED"
    assert {"FetchInContainers", "Process"} <= set(yard.states(run))
    assert yard.attempts(run, "FetchPartitionInContainer") in (0, 2)  # inside a Map the history may not tell
