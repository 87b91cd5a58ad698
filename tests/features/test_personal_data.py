"""Values of personal columns are in the tables and the raw layer, and nowhere else that anybody reads.

A marker is planted wherever a value can go wrong; then everything that a run leaves is searched for it.
"""

import contextlib
import gzip
import json
import uuid

import pytest

from chalicelib import executions
from tests.features.conftest import Run

MARKER = f"Zweistein{uuid.uuid4().hex[:6]}"
COLUMNS = {
    "id": "bigint not null",
    "name": "text",
    "email": "text",
    "age": "integer",
    "city": "text",
}
PERSONAL = ["name", "email", "age"]
RECORDS = [
    *(
        {"id": n, "name": f"{MARKER} {n}", "email": f"{MARKER}@example.com", "age": 30, "city": "Oslo"}
        for n in range(9)
    ),
    {"id": 10, "name": {"first": MARKER}, "email": "a@example.com", "age": 1, "city": "Oslo"},  # of the wrong type
    {"id": 11, "name": "x", "email": "a@example.com", "age": MARKER, "city": "Oslo"},
    {"id": 12, "name": "x", "email": MARKER, "age": 1, "city": "Oslo"},  # fails a critical expectation
    {"id": 13, "name": MARKER * 20, "email": "b@example.com", "age": 1, "city": "Oslo"},  # fails a warning
    {"id": None, "name": MARKER, "email": "c@example.com", "age": 1, "city": "Oslo", "friend": MARKER},  # has no key
]
BROKEN = '{"id": 14, "name": "' + MARKER + '", "email": '
LINES = "\n".join([*map(json.dumps, RECORDS), BROKEN, f'["{MARKER}"]']) + "\n"
EXPECTATIONS = [
    ("expect_column_values_to_match_regex", {"column": "email", "regex": "@"}, "critical"),
    ("expect_column_value_lengths_to_be_between", {"column": "name", "max_value": 60}, "warning"),
    ("expect_column_values_to_be_unique", {"column": "email"}, "warning"),
    ("expect_column_most_common_value_to_be_in_set", {"column": "email", "value_set": ["nobody"]}, "warning"),
    ("expect_column_distinct_values_to_be_in_set", {"column": "name", "value_set": ["nobody"]}, "warning"),
]


def suite(fail):
    expectations = [{"type": t, "kwargs": k, "severity": s} for t, k, s in EXPECTATIONS]
    return {"expectations": expectations, "meta": {"sluice": {"quarantine": {"fail": fail}}}}


@pytest.fixture(scope="module")
def left(pipeline):
    """left(run): all that a run leaves for people to read, as {where: text}."""

    def read(run):
        machine = pipeline.env["SLUICE_STATE_MACHINE_ARN"]
        arn = executions.arn(machine, run.run_id)
        history = pipeline.client("stepfunctions").get_execution_history(executionArn=arn, maxResults=1000)
        s3, bucket = pipeline.client("s3"), pipeline.env["SLUICE_BUCKET"]
        found = {
            "history": json.dumps(history, default=str),
            "ledger": json.dumps(run.row, default=str),
            "emails": json.dumps(pipeline.emails(run.run_id)),
            "dead letters": json.dumps(pipeline.dead_letters(run.run_id)),
            "runs show": pipeline.sluice("runs", "show", run.run_id).stdout,
            "runs show --json": pipeline.sluice("runs", "show", run.run_id, "--json").stdout,
            "reasons": json.dumps(
                pipeline.query("SELECT reasons FROM pipeline.quarantine WHERE run_id = %s", run.run_id)
            ),
            "quality results": json.dumps(
                pipeline.query("SELECT row_to_json(q) FROM pipeline.quality_results q WHERE run_id = %s", run.run_id)
            ),
        }
        for kind in ("html", "json"):
            with contextlib.suppress(s3.exceptions.NoSuchKey):
                key = f"runs/{run.run_id}/report.{kind}"
                found[kind] = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        for log in (pipeline.home / "logs").glob("*.log"):
            if log.name != "postgres.log":  # which is the database's own, as are its tables
                found[log.name] = log.read_text(errors="replace")
        return found

    return read


def telling(found):
    return {where for where, text in found.items() if MARKER in text}


def test_a_run_says_what_is_wrong_with_personal_values_and_not_what_they_are(pipeline, declare, table, left):
    run = pipeline.run("files", input=declare(table, LINES, COLUMNS, suite=suite(1.0), personal=PERSONAL))
    assert (run.status, run.row["verdict"]) == ("SUCCEEDED", "warn")
    assert run.account == (16, 10, 0, 0, 0, 6)
    found = left(run)
    assert telling(found) == set()
    for text in (found["runs show"], found["html"], found["emails"]):
        assert "***" in text
    assert "email is ***, expected matching" in found["runs show"]
    assert "age is ***, expected integer" in found["reasons"]
    # what is whole: the table, and the quarantine's records, from which rows can be loaded once more
    assert pipeline.query(f"SELECT count(*) FROM curated.{table} WHERE name LIKE %s", f"{MARKER}%") == [(10,)]
    assert sum(MARKER in record for _, record, _ in pipeline.quarantine(run)) == 6


def test_a_rejected_run_keeps_them_to_itself_too(pipeline, declare, table, left):
    declared = declare(table, LINES, COLUMNS, suite=suite(0.01), personal=PERSONAL)
    said = pipeline.sluice("run", "files", "--input", declared, "--name", table, status=3)
    [row] = pipeline.query("SELECT row_to_json(r) FROM pipeline.runs r WHERE run_id = %s", table)
    found = left(Run(table, "FAILED", None, None, row[0]))
    assert telling({**found, "run": said.stdout + said.stderr}) == set()
    assert (pipeline.home / "runs" / table / "report.html").exists()
    for path in (pipeline.home / "runs" / table).iterdir():
        assert MARKER not in path.read_text(), path


def test_an_error_of_the_database_is_withheld_with_what_it_quotes(pipeline, declare, table, left):
    given = declare(table, LINES, COLUMNS, suite=suite(1.0), personal=PERSONAL)
    pipeline.query(
        "CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'cannot take %%', NEW.record;"
        " END$$; CREATE TRIGGER tell BEFORE INSERT ON pipeline.quarantine FOR EACH ROW"
        f" WHEN (NEW.record LIKE '%%{MARKER}%%') EXECUTE FUNCTION public.tell()"
    )
    try:
        run = pipeline.run("files", input=given)
    finally:
        pipeline.query("DROP FUNCTION public.tell CASCADE")
    assert (run.status, run.error) == ("FAILED", "ChunksFailed")
    found = left(run)
    assert "WithheldError: RaiseException at chalicelib/stages/load.py" in run.row["error"]["reason"]
    assert telling({**found, "cause": run.cause}) == set()


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (
            f"1,{MARKER},a@example.com,30,Oslo\n2,x,b@example.com,30,Oslo\n",
            "data.csv",
            "the header row seems to be missing",
        ),
        (f"{MARKER},{MARKER}\n1,2\n", "data.csv", "the header row seems to be missing"),
        (f"id,{MARKER},{MARKER}\n1,2,3\n", "data.csv", "the header names columns twice"),
        (f"<html>{MARKER}</html>", "data.ndjson", "HTML or XML where"),
        (f'[{{"id": 1}}] {MARKER}', "data.json", "something follows the JSON array"),
    ],
    ids=["a row as header", "a row as header twice", "a name twice", "HTML", "more behind an array"],
)
def test_a_file_of_another_form_is_refused_without_being_quoted(pipeline, declare, table, left, content, name, words):
    run = pipeline.run("files", input=declare(table, content, COLUMNS, name=name, personal=PERSONAL))
    assert run.status == "FAILED"
    assert words in run.row["error"]["reason"]
    assert telling({**left(run), "cause": run.cause}) == set()


def test_people_load_flat_and_without_their_logins(pipeline, left):
    run = pipeline.run("people")
    assert (run.status, run.row["verdict"], run.row["fetched"]) == ("SUCCEEDED", "pass", 200)
    assert pipeline.run("people").account == (200, 0, 0, 200, 0, 0)
    [(people, postcodes, documents)] = pipeline.query(
        "SELECT count(*), count(*) FILTER (WHERE postcode ~ '[A-Z]'), count(id_value) FROM curated.people"
    )
    assert people == 200
    assert 0 < postcodes < 200
    assert 0 < documents < 200
    s3, bucket = pipeline.client("s3"), pipeline.env["SLUICE_BUCKET"]
    [key, *_] = [key for (key,) in pipeline.query("SELECT key FROM pipeline.raw_objects WHERE run_id = %s", run.run_id)]
    raw = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    assert b'"uuid"' in raw
    assert b"password" not in raw and b"sha256" not in raw
