"""What runs published is read over HTTP and by `sluice records`: pages, lineage, masks, totals."""

import csv
import hashlib
import io
import json

import pytest
from http_api import call, token

COLUMNS = {"id": "integer not null", "name": "text", "price": "numeric(8,2)", "sold": "date"}


@pytest.fixture
def get(pipeline):
    """get(path, scope) gives (status, JSON) of what the API answers."""
    held = {}

    def got(path, scope="read"):
        if scope not in held:
            held[scope] = token(pipeline.env["DATABASE_URL"], scope)
        answer = call(pipeline.env["SLUICE_API_URL"], "GET", path, held[scope])
        return answer.status, answer.json

    return got


@pytest.fixture
def published(pipeline, declare, table):
    """The name of a table of seven rows that a run has published."""
    lines = [
        {"id": n, "name": f"n{n}", "price": None if n == 4 else n / 2, "sold": f"2026-01-0{1 + n % 2}"}
        for n in range(1, 8)
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    given = declare(table, content, COLUMNS, personal=["name"], day="sold", indexes=["price"])
    run = pipeline.run("files", input=given)
    assert run.row["status"] == "succeeded"
    return table


def test_the_links_lead_through_a_table_and_a_record_to_the_line_that_it_came_from(pipeline, get, published):
    path, found = f"/records?source=files&table={published}&sort=-price&limit=3", []
    while path:
        status, document = get(path)
        assert status == 200, document
        found += document["records"]
        path = document["next"]
    assert [record["values"]["id"] for record in found] == [4, 7, 6, 5, 3, 2, 1]
    assert found[1]["values"] == {"id": 7, "name": "***", "price": "3.50", "sold": "2026-01-02"}
    status, alone = get(f"/records/{found[1]['id']}")
    assert (status, alone["raw"]["line"], alone["run_id"]) == (200, 7, found[1]["run_id"])
    body = pipeline.client("s3").get_object(Bucket=pipeline.env["SLUICE_BUCKET"], Key=alone["raw"]["object"])["Body"]
    assert json.loads(body.read().splitlines()[6])["id"] == 7
    assert get(f"/records/{found[1]['id']}", "admin")[1]["values"]["name"] == "n7"


def test_a_scope_that_may_not_read_is_refused(get, published):
    assert get(f"/records?source=files&table={published}", "run")[0] == 403


def test_totals_follow_what_runs_publish(pipeline, get, declare, published):
    def total():
        _, document = get("/analytics?source=files")
        [found] = [found for found in document["sources"] if found["table"] == published]
        days = {row["day"]: row["rows"] for row in document["rows_by_day"] if row["table"] == published}
        return found["rows"], days

    assert total() == (7, {"2026-01-01": 3, "2026-01-02": 4})
    moved = '{"id": 1, "sold": "2026-01-05"}\n{"id": 9, "sold": "2026-01-05"}'
    pipeline.run("files", input=declare(published, moved, COLUMNS, personal=["name"], day="sold"))
    assert total() == (8, {"2026-01-01": 3, "2026-01-02": 3, "2026-01-05": 2})
    pipeline.query(f"DELETE FROM curated.{published} WHERE id < 4")
    assert total() == (5, {"2026-01-01": 2, "2026-01-02": 2, "2026-01-05": 1})


def test_a_day_and_an_index_that_are_declared_later_are_made_by_the_next_run_and_what_cannot_be_fails_none(
    pipeline, get, declare, table
):
    # of a text that Postgres cannot make shorter: no index of `name` takes it
    long = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(100))
    rows = [{"id": n, "name": long if n == 2 else f"n{n}", "price": n, "sold": "2026-01-01"} for n in range(1, 4)]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    assert pipeline.run("files", input=declare(table, content, COLUMNS)).row["status"] == "succeeded"
    content = json.dumps({"id": 4, "name": "n4", "price": 1, "sold": "2026-01-02"})
    later = declare(table, content, COLUMNS, day="sold", indexes=["name", "price"])
    told = json.loads(pipeline.sluice("run", "files", "--input", later, "--json").stdout)
    assert (told["status"], told["inserted"]) == ("succeeded", 1)
    [left] = told["left"]
    assert left.startswith(f"the index (name, id) of curated.{table}: a value in the table is longer than an index ")
    assert left.endswith(f"Next: sluice upkeep files --table {table}")
    definitions = pipeline.query("SELECT indexdef FROM pg_indexes WHERE tablename = %s", table)
    made = sorted(definition.rpartition("USING ")[2] for (definition,) in definitions)
    assert made == ["btree (id)", "btree (price, id)", "btree (sold, id)"]
    _, document = get("/analytics?source=files")
    days = {row["day"]: row["rows"] for row in document["rows_by_day"] if row["table"] == table}
    assert days == {"2026-01-01": 3, "2026-01-02": 1}

    of_table = ("upkeep", "files", "--table", table)
    assert "longer than an index takes" in pipeline.sluice(*of_table, status=1).stderr
    pipeline.query(f"UPDATE curated.{table} SET name = 'short'")
    assert pipeline.sluice(*of_table).stdout == "made the index (name, id)\n"
    assert "lacks nothing" in pipeline.sluice(*of_table).stdout

    # one of forty: more than a twentieth would fail the run
    rows = [{"id": n, "name": long if n == 10 else f"n{n}", "price": n, "sold": "2026-01-03"} for n in range(5, 45)]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    again = declare(table, content, COLUMNS, day="sold", indexes=["name", "price"])
    told = json.loads(pipeline.sluice("run", "files", "--input", again, "--json").stdout)
    assert (told["status"], told["inserted"], told["quarantined"], told["left"]) == ("succeeded", 39, 1, [])


def test_the_command_shows_the_same_as_a_table_csv_and_json(pipeline, published):
    of_table = ("records", "files", "--table", published, "--where", "price:ge:2", "--sort", "-price", "--limit", "2")
    shown = pipeline.sluice(*of_table).stdout.splitlines()
    assert shown[0].split() == ["id", "name", "price", "sold"]
    assert [line.split()[0] for line in shown[1:3]] == ["7", "6"]
    following = shown[-1].partition("The first 2 of more. Next: ")[2].split()
    assert following == ["sluice", *of_table[:-1], "20"]
    assert pipeline.sluice(*following[1:]).stdout.splitlines()[1:3] == shown[1:3]
    rows = list(csv.DictReader(io.StringIO(pipeline.sluice(*of_table, "--csv").stdout)))
    assert rows[0] == {"id": "7", "name": "***", "price": "3.50", "sold": "2026-01-02"}
    found = json.loads(pipeline.sluice(*of_table, "--json").stdout)
    assert [record["values"]["id"] for record in found] == [7, 6]
    days = ("records", "files", "--table", published, "--from", "2026-01-02", "--to", "2026-01-02", "--csv")
    assert len(pipeline.sluice(*days).stdout.splitlines()) == 5
    refused = pipeline.sluice("records", "files", "--table", published, "--sort", "name", status=1)
    assert "personal" in refused.stderr
    assert "No record is like that." in pipeline.sluice(*of_table[:4], "--where", "id:eq:99").stdout
    pipeline.sluice(*of_table, "--csv", "--json", status=2)


def test_a_runs_working_objects_may_expire_before_its_rows_do(pipeline, declare, table):
    lines = [{"id": 1, "name": "ada", "price": 1}, {"id": "x", "name": "grace", "price": 2}]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    filled = {"column": "id"}
    expectations = [{"type": "expect_column_values_to_not_be_null", "kwargs": filled, "severity": "warning"}]
    suite = {"expectations": expectations, "meta": {"sluice": {"quarantine": {"fail": 0.9}}}}
    run = pipeline.run("files", input=declare(table, content, COLUMNS, suite=suite, personal=["name"]))
    assert run.row["verdict"] == "warn"
    s3, bucket = pipeline.client("s3"), pipeline.env["SLUICE_BUCKET"]
    kept = s3.list_objects_v2(Bucket=bucket, Prefix=f"runs/{run.run_id}/")["Contents"]
    for each in kept:
        s3.delete_object(Bucket=bucket, Key=each["Key"])
    records = json.loads(pipeline.sluice("records", "files", "--table", table, "--json").stdout)
    assert [record["values"] for record in records] == [{"id": 1, "name": "***", "price": "1.00", "sold": None}]
    [row] = json.loads(pipeline.sluice("quarantine", "list", "--run", run.run_id, "--json").stdout)["rows"]
    # without what the run declared, nothing of the record could be shown
    assert json.loads(row["record"]) == {"id": "x", "name": "***", "price": 2}
    assert "id is 'x', expected integer" in pipeline.sluice("runs", "show", run.run_id).stdout


def test_a_table_whose_declaration_is_gone_says_what_to_do(pipeline, declare, table):
    run = pipeline.run("files", input=declare(table, '{"id": 1}\n', COLUMNS))
    s3, bucket = pipeline.client("s3"), pipeline.env["SLUICE_BUCKET"]
    s3.delete_object(Bucket=bucket, Key=f"declarations/{run.run_id}.json")
    refused = pipeline.sluice("records", "files", "--table", table, status=1).stderr
    assert f"what run {run.run_id} declared {table} to be is gone" in refused
