"""A load takes over what an earlier one made of unchanged bytes, and ends as if it had made all of it anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chalicelib.lake import keys
from local.stack import Stack
from tests.features.conftest import Pipeline

FILES, ROWS, CHUNK_ROWS = 4, 6, 3
AT_ONCE = 2  # chunks, however many workers there are: a deployment is to find some that are not begun
CHUNKS, BAD = FILES * ROWS // CHUNK_ROWS, 8  # of the second file, in its first chunk
SOURCE = '''"""Prints, by the folder."""

from chalicelib.columns import Column
from chalicelib.sources.files import FileSource

# version 1


class {Name}(FileSource):
    name = "{name}"
    key = ("id",)
    columns = (Column("id", "integer"), Column("title", "text"))
    format = "ndjson"
    default_input = "{folder}/*.ndjson"
'''
SUITE = {
    "expectations": [
        {
            "type": "expect_column_value_lengths_to_be_between",
            "kwargs": {"column": "title", "min_value": 2},
            "severity": "critical",
        }
    ],
    "meta": {"sluice": {"quarantine": {"fail": 0.5}}},
}


class Press(Pipeline):
    """A checkout with sources of its own, each of which reads a folder of files, and its stack."""

    checkout: Path
    folders: Path

    def source(self, name: str, more: str = "") -> str:
        """A source of that name, its files, and one row among them that does not pass."""
        folder = self.folders / name
        folder.mkdir()
        self.module(name).write_text(SOURCE.format(Name=name.capitalize(), name=name, folder=folder) + more)
        suite = self.checkout / "chalicelib" / "expectations" / f"{name}.json"
        suite.write_text(json.dumps({"name": name, **SUITE}))
        for file in range(FILES):
            self.write(name, file, [self.row(file * ROWS + number) for number in range(ROWS)])
        return name

    def row(self, id: int, title: str | None = None) -> dict:
        return {"id": id, "title": title or ("x" if id == BAD else f"print {id}")}

    def write(self, name: str, file: int | str, rows: list[dict]) -> None:
        path = self.folders / name / f"part-{file}.ndjson"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def module(self, name: str) -> Path:
        return self.checkout / "chalicelib" / "sources" / f"{name}.py"

    def sluice(self, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess:
        ran = subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            cwd=self.checkout,
            env={**os.environ, "PYTHONPATH": str(self.checkout), "SLUICE_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert status is None or ran.returncode == status, ran.stdout + ran.stderr
        return ran

    def load(self, name: str, *options: str, status: int = 0) -> dict:
        """What `sluice run` says of it."""
        return json.loads(self.sluice("run", name, *options, "--json", status=status).stdout)

    def titles(self, name: str) -> dict[int, str]:
        return dict(self.query(f"SELECT id, title FROM curated.{name}"))

    def manifest(self, run_id: str) -> list[dict]:
        found = self.client("s3").get_object(Bucket=self.env["SLUICE_BUCKET"], Key=keys.manifest(run_id))
        return json.loads(found["Body"].read())

    def done_by(self, run_id: str) -> list[str | None]:
        return [chunk["done_by"] for chunk in self.manifest(run_id)]

    def chunk_objects(self, run_id: str) -> set[str]:
        """The names of the objects that the run's chunks wrote, such as `00001/rows.copy`."""
        prefix = keys.chunks(run_id)
        found = self.client("s3").list_objects_v2(Bucket=self.env["SLUICE_BUCKET"], Prefix=prefix)
        return {item["Key"].removeprefix(prefix) for item in found.get("Contents", ())}

    def report(self, run_id: str) -> dict:
        key = keys.report(run_id, "json")
        return json.loads(self.client("s3").get_object(Bucket=self.env["SLUICE_BUCKET"], Key=key)["Body"].read())


@pytest.fixture(scope="module")
def press(checkout, tmp_path_factory):
    folder, home = checkout(), tmp_path_factory.mktemp("press")
    environment = {**os.environ, "SLUICE_CHUNK_ROWS": str(CHUNK_ROWS), "PYTHONPATH": str(folder)}
    environment |= {"SLUICE_HOME": str(home), "SLUICE_PROCESS_CONCURRENCY": str(AT_ONCE)}
    subprocess.run(
        [sys.executable, "-m", "cli", "up", "--no-schedules"],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    try:
        press = Press(home, Stack(home))
        press.checkout, press.folders = folder, tmp_path_factory.mktemp("folders")
        yield press
    finally:
        subprocess.run([sys.executable, "-m", "cli", "down"], cwd=folder, env=environment, check=True)


ALL = FILES * ROWS


def expect_account(outcome: dict, **counts: int) -> None:
    names = ("fetched", "inserted", "updated", "unchanged", "duplicates", "quarantined")
    assert {name: outcome[name] for name in names} == dict.fromkeys(names, 0) | {
        "fetched": ALL,
        "quarantined": 1,
    } | counts
    assert outcome["fetched"] == sum(outcome[name] for name in names[1:])


def test_the_same_files_again_are_taken_over_and_the_run_is_as_if_it_had_read_them(press):
    name = press.source("again")
    first = press.load(name)
    expect_account(first, inserted=ALL - 1)
    assert (first["kept_of"], first["kept_chunks"]) == (None, None)
    rows = press.rows(name)

    second = press.load(name)
    expect_account(second, unchanged=ALL - 1)
    assert (second["kept_of"], second["kept_chunks"]) == (first["run_id"], CHUNKS)
    assert press.rows(name) == rows
    # nothing was made anew: of the chunk that has an example, results that name the run's own raw object
    assert press.chunk_objects(second["run_id"]) == {f"{BAD // CHUNK_ROWS:05d}/results.json"}
    aside = "SELECT chunk, part, line, reasons, record FROM pipeline.quarantine WHERE run_id = %s"
    assert press.query(aside, second["run_id"]) == press.query(aside, first["run_id"]) != []
    results = "SELECT chunk, records, staged, quarantined FROM pipeline.chunks WHERE run_id = %s ORDER BY chunk"
    assert press.query(results, second["run_id"]) == press.query(results, first["run_id"])

    reports = [press.report(run["run_id"]) for run in (first, second)]
    for run, report in zip((first, second), reports, strict=True):
        [example] = [example for result in report["results"] for example in result["examples"]]
        assert f"run={run['run_id']}/" in example["raw"] and example["line"] == BAD - ROWS + 1
    assert [report["verdict"] for report in reports] == ["warn", "warn"]

    third = press.load(name)
    assert (third["kept_of"], third["kept_chunks"]) == (second["run_id"], CHUNKS)
    assert press.done_by(third["run_id"]) == [first["run_id"]] * CHUNKS
    told = press.sluice("runs", "show", third["run_id"]).stdout
    assert f"kept_of       {second['run_id']}\n" in told and f"kept_chunks   {CHUNKS}\n" in told
    told = press.sluice("run", name, "--name", third["run_id"]).stdout
    assert f"kept     of {second['run_id']}: {CHUNKS} chunks not transformed again\n" in told


def test_of_the_files_of_which_one_has_changed_its_chunks_alone_are_made_anew(press):
    name = press.source("one")
    first = press.load(name)["run_id"]
    changed = [press.row(2 * ROWS + number, "another" if number == 4 else None) for number in range(ROWS)]
    press.write(name, 2, changed)
    second = press.load(name)
    expect_account(second, updated=1, unchanged=ALL - 2)
    of_the_file = range(2 * ROWS // CHUNK_ROWS, 3 * ROWS // CHUNK_ROWS)
    assert press.done_by(second["run_id"]) == [None if n in of_the_file else first for n in range(CHUNKS)]
    assert second["kept_chunks"] == CHUNKS - len(of_the_file)
    assert press.titles(name)[2 * ROWS + 4] == "another"
    [(run_id, key)] = press.query(
        f"SELECT _run_id, o.key FROM curated.{name}, pipeline.raw_line(_run_id, _raw) AS o WHERE id = %s", 2 * ROWS + 4
    )
    assert run_id == second["run_id"] and f"run={run_id}/" in key
    # and then each is taken over from the run that made it
    third = press.load(name)
    assert set(press.done_by(third["run_id"])) == {first, second["run_id"]}
    expect_account(third, unchanged=ALL - 1)


def test_a_file_before_the_others_moves_their_numbers_and_all_is_made_anew(press):
    name = press.source("before")
    press.load(name)
    press.write(name, "", [press.row(100)])
    second = press.load(name)
    expect_account(second, fetched=ALL + 1, inserted=1, unchanged=ALL - 1)
    assert (second["kept_of"], second["kept_chunks"]) == (None, 0)
    press.write(name, "9", [press.row(101)])  # behind them it moves none
    third = press.load(name)
    expect_account(third, fetched=ALL + 2, inserted=1, unchanged=ALL)
    assert third["kept_chunks"] == CHUNKS + 1


def test_from_scratch_nothing_is_taken_over(press):
    name = press.source("scratch")
    press.load(name)
    second = press.load(name, "--from-scratch")
    expect_account(second, unchanged=ALL - 1)
    assert second["kept_chunks"] is None and press.done_by(second["run_id"]) == [None] * CHUNKS
    assert press.load(name)["kept_of"] == second["run_id"]


def test_of_another_code_or_suite_nothing_is_taken_over(press):
    name = press.source("edited")
    press.load(name)
    module = press.module(name)
    module.write_text(module.read_text().replace("# version 1", "# version 2"))
    assert press.load(name)["kept_chunks"] is None
    suite = press.checkout / "chalicelib" / "expectations" / f"{name}.json"
    mended = {**SUITE, "expectations": [{**SUITE["expectations"][0], "kwargs": {"column": "title", "min_value": 1}}]}
    suite.write_text(json.dumps({"name": name, **mended}))
    last = press.load(name)
    expect_account(last, inserted=1, unchanged=ALL - 1, quarantined=0)
    assert last["kept_chunks"] is None


TRANSFORM = """
    def transform(self, frame):
        return frame.assign(title=frame["title"] + Path("{stamp}").read_text())


from pathlib import Path  # noqa: E402
"""


def test_a_transform_of_its_own_is_asked_again_unless_it_is_said_to_be_repeatable(press, tmp_path):
    stamp = tmp_path / "stamp"
    stamp.write_text(" one")
    name = press.source("stamped", TRANSFORM.format(stamp=stamp))
    press.load(name)
    stamp.write_text(" two")
    expect_account(press.load(name), updated=ALL, quarantined=0)
    assert press.titles(name)[0] == "print 0 two"


DEPLOYING = """
    repeatable = True

    def transform(self, frame):
        stamp, ids = Path("{stamp}"), set(frame["id"])
        if VERSION == "one" and not stamp.exists():
            if 0 in ids:
                self.deploy("second")
            time.sleep(0.6)  # the chunks that are begun after these are of the other version
        if VERSION == "second" and {last} in ids:
            stamp.touch()
            self.deploy("one")
        return frame.assign(title=frame["title"] + " " + VERSION)

    def deploy(self, version):
        new = Path("{stamp}.py")
        new.write_text(Path(__file__).read_text().replace(f'VERSION = "{{VERSION}}"', f'VERSION = "{{version}}"'))
        new.replace(__file__)


import time  # noqa: E402
from pathlib import Path  # noqa: E402

VERSION = "one"
"""


def test_of_a_run_that_met_a_deployment_and_its_rollback_the_chunks_of_the_other_code_are_made_anew(press, tmp_path):
    name = press.source("deployed", DEPLOYING.format(stamp=tmp_path / "stamp", last=ALL - 1))
    before = press.module(name).read_text()
    first = press.load(name)["run_id"]
    assert press.module(name).read_text() == before
    of_one = {id // CHUNK_ROWS for id, title in press.titles(name).items() if title.endswith(" one")}
    assert 0 in of_one and len(of_one) < CHUNKS
    anew = set(range(CHUNKS)) - of_one

    second = press.load(name)["run_id"]
    assert {title.rpartition(" ")[2] for title in press.titles(name).values()} == {"one"}
    made = {int(key.split("/")[0]) for key in press.chunk_objects(second) if key.endswith(ROWS_COPY)}
    # those as well that were begun by a worker of the code before, after its files had been altered
    assert anew <= made and 0 not in made
    # and those are as good as the others to the next
    third = press.load(name)
    expect_account(third, unchanged=ALL, quarantined=0)
    assert press.done_by(third["run_id"]) == [second if number in made else first for number in range(CHUNKS)]
    assert not any(key.endswith(ROWS_COPY) for key in press.chunk_objects(third["run_id"]))


ROWS_COPY = "rows.copy"
NUMBER = BAD // CHUNK_ROWS


def alter(press, run_id: str, object: str) -> None:
    """Other bytes for an object that the run left of the chunk of the row that does not pass."""
    s3, where = press.client("s3"), {"Bucket": press.env["SLUICE_BUCKET"], "Key": keys.chunk(run_id, NUMBER, object)}
    body = s3.get_object(**where)["Body"].read()
    altered = body.replace(b"print 7", b"other 7").replace(b"is 'x'", b"is 'y'").replace(b'"schema"', b'"scheme"')
    s3.put_object(**where, Body=altered)


def expect_as_ever(press, name: str, outcome: dict, rows: list) -> None:
    expect_account(outcome, unchanged=ALL - 1)
    assert press.rows(name) == rows
    assert len(press.query("SELECT id FROM pipeline.quarantine WHERE run_id = %s", outcome["run_id"])) == 1


@pytest.mark.parametrize("object", [ROWS_COPY, "failing.ndjson", "results.json"])
def test_a_chunk_of_which_something_was_altered_is_made_anew_at_once(press, object):
    name = press.source(f"altered_{object.split('.')[0]}")
    first = press.load(name)["run_id"]
    rows = press.rows(name)
    time.sleep(1.1)  # S3 tells seconds
    alter(press, first, object)
    second = press.load(name)
    expect_as_ever(press, name, second, rows)
    assert f"{NUMBER:05d}/{ROWS_COPY}" in press.chunk_objects(second["run_id"])
    assert press.load(name)["kept_chunks"] == CHUNKS


@pytest.mark.parametrize(
    ("object", "error"),
    [(ROWS_COPY, "AccountError"), ("failing.ndjson", "AccountError"), ("failing.ndjson", "NotFound")],
    ids=["rows-altered", "rejected-rows-altered", "rejected-rows-gone"],
)
def test_what_is_altered_unnoticed_or_gone_fails_the_run_and_redriving_it_makes_that_anew(press, object, error):
    name = press.source(f"harmed_{object.split('.')[0]}_{error.lower()}")
    first = press.load(name)["run_id"]
    s3, bucket, rows = press.client("s3"), press.env["SLUICE_BUCKET"], press.rows(name)
    if error == "NotFound":
        s3.delete_object(Bucket=bucket, Key=keys.chunk(first, NUMBER, object))
    else:
        alter(press, first, object)
        results = {"Bucket": bucket, "Key": keys.chunk(first, NUMBER, "results.json")}
        s3.put_object(**results, Body=s3.get_object(**results)["Body"].read())  # they are the newest again
    failed = press.load(name, status=4)
    assert failed["error"] == "ChunksFailed" and f"chunk {NUMBER}: {error}" in failed["reason"]
    assert press.rows(name) == rows
    redriven = json.loads(press.sluice("redrive", failed["run_id"], "--json").stdout)
    expect_as_ever(press, name, redriven, rows)
    assert press.done_by(redriven["run_id"]) == [None if n == NUMBER else first for n in range(CHUNKS)]
    assert press.load(name)["kept_chunks"] == CHUNKS


def test_where_a_schema_evolves_in_the_middle_of_the_run_nothing_is_kept(press):
    name = press.source("grown", '    schema_contract = "evolve"\n')
    press.load(name)
    assert press.load(name)["kept_chunks"] == CHUNKS
    press.write(name, 3, [{**press.row(3 * ROWS + number), "year": 1500} for number in range(ROWS)])
    grown = press.load(name)
    expect_account(grown, updated=ROWS, unchanged=ALL - ROWS - 1)
    assert grown["kept_chunks"] == 0
    assert press.query(f"SELECT count(*) FROM curated.{name} WHERE year = 1500") == [(ROWS,)]
    assert press.load(name)["kept_chunks"] == 0  # the columns of then were others before they evolved
    assert press.load(name)["kept_chunks"] == CHUNKS
