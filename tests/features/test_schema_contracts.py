"""Records that no longer look as declared: what each schema contract makes of them, on the real state machine."""

import json
from pathlib import Path

import pytest

COLUMNS = {"id": "bigint not null", "amount": "integer", "name": "text"}
AGAIN = ["WriteManifest", "Process", "ReviewNeeded", "ReviewSchema", "SchemaChanged"]
LENIENT = {
    "expectations": [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "id"}}],
    "meta": {"sluice": {"quarantine": {"warn": 0.0, "fail": 0.5}}},
}


def records(first: int, count: int, **fields) -> list[dict]:
    return [{"id": i, "amount": i, "name": "x", **fields} for i in range(first, first + count)]


@pytest.fixture
def load(pipeline, declare, table, tmp_path):
    """load(chunk, chunk, …, contract=…): a run of these lists of records, a file and a chunk each."""

    def loaded(*chunks, contract="evolve", columns=COLUMNS, suite=LENIENT, wait=True, **settings):
        for old in tmp_path.glob("part-*.ndjson"):
            old.unlink()
        for number, chunk in enumerate(chunks):
            lines = "".join(json.dumps(record) + "\n" for record in chunk)
            (tmp_path / f"part-{number}.ndjson").write_text(lines)
        declaration = declare(
            table, None, columns, location="part-*.ndjson", schema_contract=contract, suite=suite, **settings
        )
        arn = pipeline.start("files", input=declaration)
        return pipeline.wait(arn) if wait else arn

    return loaded


@pytest.fixture
def columns(pipeline, table):
    """columns(): name -> type of the curated table, without the pipeline's own."""

    def of() -> dict[str, str]:
        return dict(
            pipeline.query(
                "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'curated'"
                " AND table_name = %s AND column_name NOT LIKE '\\_%%'",
                table,
            )
        )

    return of


@pytest.fixture
def values(pipeline, table):
    def of(column: str) -> dict:
        return dict(pipeline.query(f"SELECT id, {column} FROM curated.{table}"))

    return of


def changes(pipeline, run) -> list[tuple]:
    return pipeline.query(
        "SELECT change, column_name, from_type, to_type, records, raw_line FROM pipeline.schema_changes"
        " WHERE run_id = %s ORDER BY column_name",
        run.run_id,
    )


def mailed(pipeline, run) -> str:
    [email] = pipeline.emails(run.run_id)
    return " ".join(email["message"].split())


DECLARED = {"id": "bigint", "amount": "integer", "name": "text"}


# --- evolve ------------------------------------------------------------------------------------


def test_a_new_field_in_one_chunk_of_many_becomes_a_column_and_is_told(pipeline, load, columns, values, table):
    assert load(records(1, 5), records(6, 5)).row["verdict"] == "pass"
    fresh = [{"id": 21, "amount": 1, "name": "y"}, {"id": 22, "amount": 2, "name": "y", "tip": 1.5}]
    run = load(records(1, 5), fresh, records(31, 5))
    assert (run.status, run.row["verdict"]) == ("SUCCEEDED", "warn")
    assert columns() == {**DECLARED, "tip": "double precision"}
    assert values("tip") == {**dict.fromkeys([*range(1, 11), 21, *range(31, 36)]), 22: 1.5}
    assert changes(pipeline, run) == [("add column", "tip", None, "double precision", 1, 2)]
    # rows that were there before and have no such field are what they were
    assert run.account == (12, 7, 0, 5, 0, 0)
    assert pipeline.states(run).count("Process") == 2
    [email] = pipeline.emails(run.run_id)
    assert "new field 'tip': column tip (double precision) is added, 1 record has it" in " ".join(
        email["message"].split()
    )
    shown = json.loads(pipeline.sluice("runs", "show", run.run_id, "--json").stdout)
    assert [change["column_name"] for change in shown["schema_changes"]] == ["tip"]


def test_a_load_that_changes_nothing_goes_through_once_and_finds_every_row_unchanged(pipeline, load, columns):
    chunks = records(1, 5), records(6, 5, extra="x")
    first = load(*chunks)
    again = load(*chunks)
    assert first.account == (10, 10, 0, 0, 0, 0)
    assert again.account == (10, 0, 0, 10, 0, 0)
    assert again.row["verdict"] == "pass"
    assert pipeline.states(again).count("Process") == 1
    assert columns() == {**DECLARED, "extra": "text"}
    assert changes(pipeline, again) == []


def test_without_the_new_field_its_column_is_null_and_other_rows_stay(load, values):
    load(records(1, 4), records(5, 2, extra="x"))
    later = load(records(3, 3))
    assert later.account == (3, 0, 1, 2, 0, 0)  # row 5 had the field, and has it no more
    assert values("extra") == {1: None, 2: None, 3: None, 4: None, 5: None, 6: "x"}


@pytest.mark.parametrize(
    ("declared", "value", "reported", "stored"),
    [
        ("smallint", 70_000, "integer", 70_000),
        ("integer", 3_000_000_000, "bigint", 3_000_000_000),
        ("integer", 2.5, "numeric", 2.5),
        ("bigint", 2**70, "numeric", 2**70),
        ("integer", "many", "text", "many"),
        ("boolean", "perhaps", "text", "perhaps"),
        ("integer", {"a": 1}, "jsonb", {"a": 1}),
    ],
)
def test_a_type_is_widened_for_a_value_in_a_late_chunk_and_no_row_is_set_aside(
    pipeline, load, columns, values, declared, value, reported, stored
):
    wanted = {"id": "bigint not null", "v": declared}
    plain = True if declared == "boolean" else 7
    early = [{"id": i, "v": plain} for i in range(3)]
    assert load(early, columns=wanted).row["verdict"] == "pass"
    run = load(early, [{"id": 8, "v": plain}, {"id": 9, "v": value}], columns=wanted)
    assert (run.status, run.row["quarantined"]) == ("SUCCEEDED", 0)
    assert columns()["v"] == reported
    assert values("v")[9] == stored
    assert str(values("v")[0]).lower() == str(plain).lower()
    assert [(c[0], c[1], c[2], c[3]) for c in changes(pipeline, run)] == [("widen type", "v", declared, reported)]
    assert run.account[:2] == (5, 2)
    rerun = load(early, [{"id": 8, "v": plain}, {"id": 9, "v": value}], columns=wanted)
    assert (rerun.row["verdict"], rerun.row["unchanged"]) == ("pass", 5)


def test_times_are_widened_in_utc(load, columns, values, pipeline, table):
    wanted = {"id": "bigint not null", "at": "date"}
    load([{"id": 1, "at": "2026-01-31"}], columns=wanted)
    run = load([{"id": 2, "at": "2026-02-01T10:00:00+02:00"}], columns=wanted)
    assert run.row["quarantined"] == 0
    assert columns()["at"] == "timestamp with time zone"
    found = pipeline.query(f"SELECT id, at AT TIME ZONE 'UTC' FROM curated.{table} ORDER BY id")
    assert [(key, str(at)) for key, at in found] == [(1, "2026-01-31 00:00:00"), (2, "2026-02-01 08:00:00")]


def test_new_fields_and_wider_types_come_together_and_names_are_made_safe(pipeline, load, columns, values):
    run = load(
        records(1, 3),
        [
            {"id": 4, "amount": 1.25, "Order ID": 7, "order-id": "b", "_run_id": "z", "xmin": 1, "name": "x"},
            {"id": 5, "amount": 2, "nested": {"a": [1]}, "seen": "2026-01-01", "nothing": None, "name": "x"},
        ],
    )
    found = columns()
    [hashed] = [name for name in found if name.startswith("order_id_")]
    assert found == {
        **DECLARED,
        "amount": "numeric",
        "order_id": "bigint",
        hashed: "text",
        "run_id": "text",
        "column_xmin": "bigint",
        "nested": "jsonb",
        "seen": "date",
    }
    assert (values("order_id")[4], values(hashed)[4], values("run_id")[4]) == (7, "b", "z")
    assert values("nested")[5] == {"a": [1]}
    assert run.row["quarantined"] == 0
    told = pipeline.sluice("schema", "files", "--input", run.row["input"]["input"]).stdout
    for part in (
        "schema contract evolve",
        "declared integer",
        "evolved from field 'order-id'",
        "add column nested: jsonb",
    ):
        assert part in told, told


def test_a_rejected_run_leaves_table_and_history_as_they_were(pipeline, load, columns, table):
    load(records(1, 5))
    before = pipeline.rows(table)
    strict = {
        "expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1000}}],
        "meta": LENIENT["meta"],
    }
    run = load(records(1, 5), [*records(6, 4, tip=1), {"id": 10, "amount": 1.5, "name": "x"}], suite=strict)
    assert run.row["status"] == "rejected"
    told = mailed(pipeline, run)
    assert "column tip (bigint) would have been added, 4 records have it" in told
    assert "column amount would have been widened from integer to numeric" in told
    assert "is added" not in told and "is widened" not in told
    assert columns() == DECLARED
    assert pipeline.rows(table) == before
    assert changes(pipeline, run) == []
    assert pipeline.query("SELECT count(*) FROM pipeline.schema_columns WHERE table_name = %s", table) == [(0,)]


def test_two_runs_that_evolve_a_table_at_once_lose_no_column(pipeline, declare, table, columns, values, tmp_path):
    arns = []
    for name, fields in (("a", {"east": 1, "shared": 5}), ("b", {"west": "r", "shared": 2.5})):
        lines = "".join(json.dumps(r) + "\n" for r in records(1 if name == "a" else 100, 50, **fields))
        (tmp_path / f"{name}.ndjson").write_text(lines)
        path = declare(table, None, COLUMNS, location=f"{name}.ndjson", schema_contract="evolve", suite=LENIENT)
        own = tmp_path / f"{name}.toml"
        own.write_text(Path(path).read_text())
        arns.append(pipeline.start("files", input=str(own)))
    runs = [pipeline.wait(arn) for arn in arns]
    assert [run.status for run in runs] == ["SUCCEEDED", "SUCCEEDED"]
    found = columns()
    assert {name: found[name] for name in ("east", "west")} == {"east": "bigint", "west": "text"}
    assert found["shared"] in ("double precision", "numeric")
    assert (values("east")[1], values("west")[100], values("shared")[1], values("shared")[100]) == (1, "r", 5, 2.5)
    assert sorted(c[1] for run in runs for c in changes(pipeline, run) if c[0] == "add column") == [
        "east",
        "shared",
        "west",
    ]


def test_a_document_that_explodes_into_columns_fails_the_run_and_says_so(pipeline, load, columns):
    load(records(1, 2))
    run = load([{"id": 1, **{f"user{i}": i for i in range(150)}}])
    assert (run.status, run.error) == ("FAILED", "SchemaRefused")
    assert "150 new fields came in one run" in run.row["error"]["reason"]
    assert columns() == DECLARED


def test_a_column_that_the_declaration_adds_or_widens_is_altered_and_one_that_it_drops_is_refused(
    pipeline, load, columns
):
    load(records(1, 3, tip=1))
    assert columns() == {**DECLARED, "tip": "bigint"}
    wanted = {**COLUMNS, "amount": "bigint", "note": "text"}
    run = load(records(1, 3, tip=1, note="n"), columns=wanted)
    assert run.status == "SUCCEEDED"
    assert columns() == {"id": "bigint", "amount": "bigint", "name": "text", "tip": "bigint", "note": "text"}
    assert [c[:4] for c in changes(pipeline, run)] == [
        ("widen type", "amount", "integer", "bigint"),
        ("add column", "note", None, "text"),
    ]
    refused = load(records(1, 3), columns={"id": "bigint not null", "name": "integer"})
    assert refused.error == "SchemaMismatch"
    for part in (
        "name is text, declared as integer",
        "amount, bigint, is not declared",
        "ALTER COLUMN name TYPE integer",
        "DROP COLUMN amount",
    ):
        assert part in refused.row["error"]["reason"]
    assert "tip" not in refused.row["error"]["reason"]


def test_an_expectation_keeps_a_column_from_becoming_what_it_cannot_judge(pipeline, load, columns):
    suite = {
        "expectations": [
            {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "min_value": 0}}
        ],
        "meta": LENIENT["meta"],
    }
    run = load([*records(1, 5), {"id": 9, "amount": "many", "name": "x"}], suite=suite)
    assert (run.status, run.row["quarantined"]) == ("SUCCEEDED", 1)
    assert columns() == DECLARED
    told = mailed(pipeline, run)
    assert "column amount keeps its type, since the suite or an anomaly that judges it could not judge text" in told
    assert "which 1 of the quarantined rows needs" in told


def test_a_later_suite_may_judge_a_column_that_evolved(pipeline, load):
    load(records(1, 3, tip=1))
    suite = {
        "expectations": [{"type": "expect_column_values_to_be_between", "kwargs": {"column": "tip", "max_value": 5}}],
        "meta": LENIENT["meta"],
    }
    run = load(records(1, 2, tip=1), records(3, 2, tip=9), records(9, 4), suite=suite)
    assert (run.row["verdict"], run.row["quarantined"]) == ("warn", 2)


def test_a_key_is_widened_among_integers_only(pipeline, load, columns):
    wanted = {"id": "integer not null", "name": "text"}
    run = load([{"id": 1, "name": "x"}, {"id": 2**40, "name": "x"}, {"id": "k", "name": "x"}], columns=wanted)
    assert (run.status, run.row["quarantined"]) == ("SUCCEEDED", 1)
    assert columns()["id"] == "bigint"


# --- freeze ------------------------------------------------------------------------------------


def test_a_frozen_schema_fails_the_run_before_anything_is_published_and_says_what_changed(
    pipeline, load, columns, table
):
    assert load(records(1, 5), contract="freeze").row["verdict"] == "pass"
    before = pipeline.rows(table)
    changed = [{"id": 6, "amount": 2.5, "tip": 1}, {"id": 7, "amount": 3}]
    run = load([{"id": 5, "amount": 1}], changed, contract="freeze")
    assert (run.status, run.error, run.row["status"]) == ("FAILED", "SchemaRefused", "failed")
    reason = run.row["error"]["reason"]
    for part in (
        "field 'tip' is new (integer, 1 record), first in raw/",
        "line 1",
        "column amount is integer, 1 record",
    ):
        assert part in reason
    assert "column name (text) is in no record" in reason
    assert pipeline.rows(table) == before
    [email] = pipeline.emails(run.run_id)
    assert "ReviewSchema" in email["subject"]
    assert "tip" in email["message"]
    assert pipeline.dead_letters(run.run_id)


def test_a_frozen_csv_is_held_to_its_header(pipeline, declare, table):
    def run(content):
        path = declare(table, content, COLUMNS, name="data.csv", schema_contract="freeze", suite=LENIENT)
        return pipeline.run("files", input=path)

    assert run("id,amount,name\n1,2,x\n").status == "SUCCEEDED"
    fewer = run("id,amount\n1,2\n")
    assert (fewer.error, "column name (text) is in no record" in fewer.cause) == ("SchemaRefused", True)
    person = run("id,amount,name,ada@example.com\n1,2,x,\n")
    assert (person.error, "1 field is new whose name may be a value" in person.cause) == ("SchemaRefused", True)
    chunks = pipeline.query("SELECT row_to_json(c)::text FROM pipeline.chunks c WHERE run_id = %s", person.run_id)
    assert "ada@example.com" not in f"{person.row} {person.cause} {mailed(pipeline, person)} {chunks}"
    more = run("id,amount,name,colour\n1,2,x,\n")
    assert (more.error, "field 'colour' is new (always null, 0 records)" in more.cause) == ("SchemaRefused", True)
    assert len(pipeline.rows(table)) == 1


# --- discard -----------------------------------------------------------------------------------


def test_by_default_unknown_fields_stay_in_raw_and_are_counted(pipeline, load, columns):
    run = load(records(1, 3), records(4, 2, tip=1, colour="red"), records(6, 1, tip=2), contract="discard")
    assert (run.status, run.row["verdict"]) == ("SUCCEEDED", "pass")
    assert columns() == DECLARED
    assert "ReviewSchema" not in pipeline.states(run)
    shown = json.loads(pipeline.sluice("runs", "show", run.run_id, "--json").stdout)
    assert shown["raw_only"] == [{"field": "tip", "records": 3}, {"field": "colour", "records": 2}]
    report = json.loads(
        pipeline.client("s3")
        .get_object(Bucket=pipeline.env["SLUICE_BUCKET"], Key=f"runs/{run.run_id}/report.json")["Body"]
        .read()
    )
    assert report["schema"]["raw_only"] == [["tip", 3], ["colour", 2]]


@pytest.mark.parametrize("contract", ["discard", "evolve"])
def test_a_csv_that_lacks_a_declared_column_fails_the_run(pipeline, declare, table, contract):
    path = declare(table, "id,amount\n1,2\n", COLUMNS, name="data.csv", schema_contract=contract, suite=LENIENT)
    run = pipeline.run("files", input=path)
    assert run.error == "ChunksFailed"
    assert "the file has no column for name" in run.cause


def test_what_evolved_stays_when_the_contract_is_discard_again(load, columns, values):
    load(records(1, 3, tip=1))
    run = load([{"id": 3, "amount": 9, "name": "x", "tip": 5}, *records(4, 1, tip=7)], contract="discard")
    assert run.status == "SUCCEEDED"
    assert columns() == {**DECLARED, "tip": "bigint"}
    assert values("tip") == {1: 1, 2: 1, 3: 1, 4: None}
