"""Pass, warn and fail: what becomes of the rows, who is told, and what stays as it was."""

import json
import re

import pytest

COLUMNS = {"id": "bigint not null", "amount": "integer", "name": "text"}

PLANNED = ["Plan", "FetchRunsOn", "Fetch", "FetchPartition", "PartitionFetched", "WriteManifest"]
PLANNED += ["ProcessRunsOn", "Process", "ReviewNeeded", "QualityGate", "Verdict"]
PUBLISHED = ["Publish", "EmbedNeeded", "Complete"]
STATES = {
    "pass": [*PLANNED, *PUBLISHED],
    "warn": [*PLANNED, "AlertQualityWarning", *PUBLISHED],
    "fail": [*PLANNED, "AlertQualityFailure", "Reject", "DeadLetterQuality", "QualityFailed"],
}

POSITIVE = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "min_value": 0}}
LOWER_CASE = {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "name", "regex": "^[a-z]+$"}}
NAMED = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "name"}}
UNIQUE_NAMES = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "name"}}

# lines 21 to 24 of a file whose first 20 lines are clean
FAULTS = [
    '{"id": 21, "amount": -5, "name": "UPPER 1"}',
    '{"id": 22, "amount": -6, "name": "x"}',
    '{"id": 23, "amount": "many", "name": "x"}',
    '{"id": 24, "amount": 1, "name"',
]


def records(first: int, count: int, **fields) -> str:
    return "".join(
        json.dumps({"id": i, "amount": i, "name": "x", **fields}) + "\n" for i in range(first, first + count)
    )


def suite(*expectations, warn=0.0, fail=0.05) -> dict:
    return {"expectations": list(expectations), "meta": {"sluice": {"quarantine": {"warn": warn, "fail": fail}}}}


def mostly(expectation: dict, share: float, severity="critical") -> dict:
    return {**expectation, "kwargs": {**expectation["kwargs"], "mostly": share}, "severity": severity}


@pytest.fixture
def judged(pipeline, declare, table):
    """judged(verdict) runs a file that gets it: 20 clean rows, but for pass with 4 faults after them."""

    def run(verdict: str):
        content = records(1, 20) + ("" if verdict == "pass" else "\n".join(FAULTS) + "\n")
        limit = 0.05 if verdict == "fail" else 0.5
        declaration = declare(table, content, COLUMNS, suite=suite(POSITIVE, LOWER_CASE, NAMED, fail=limit))
        return pipeline.run("files", input=declaration)

    return run


def link(email: dict, name: str) -> str:
    return re.search(rf"^{name}: (\S+)$", email["message"], re.MULTILINE)[1]


# --- the path, the account, the table ----------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "status", "entry", "account"),
    [
        ("pass", "SUCCEEDED", "succeeded", (20, 20, 0, 0, 0, 0)),
        ("warn", "SUCCEEDED", "succeeded", (24, 20, 0, 0, 0, 4)),
        ("fail", "FAILED", "rejected", (24, None, None, None, None, 4)),
    ],
)
def test_the_verdict_decides_the_path_and_the_ledger_tells_it(pipeline, judged, table, verdict, status, entry, account):
    run = judged(verdict)
    assert (run.status, run.row["status"], run.row["verdict"]) == (status, entry, verdict)
    assert run.error == ("QualityFailed" if verdict == "fail" else None)
    assert pipeline.states(run) == STATES[verdict]
    assert run.account == account
    assert (run.row["published_at"] is not None) == (verdict != "fail")
    assert run.row["finished_at"] is not None
    assert len(pipeline.rows(table)) == (0 if verdict == "fail" else 20)
    assert pipeline.staging_tables(run.run_id) == []


def test_a_run_that_fails_leaves_the_table_exactly_as_it_was(pipeline, declare, table):
    def load(content):
        return pipeline.run("files", input=declare(table, content, COLUMNS, suite=suite(POSITIVE)))

    assert load(records(1, 20)).status == "SUCCEEDED"
    before = pipeline.rows(table)
    cursors = pipeline.query("SELECT * FROM pipeline.cursors")
    # every row changed, new ones, and one in three is refused
    refused = load(records(1, 20, name="y") + records(21, 20, amount=-1) + records(41, 20))
    assert refused.row["verdict"] == "fail"
    assert pipeline.rows(table) == before
    assert pipeline.query("SELECT * FROM pipeline.cursors") == cursors
    assert pipeline.staging_tables(refused.run_id) == []


def test_a_run_after_a_failed_one_loads_what_was_corrected(pipeline, declare, table):
    def declaration(content):
        return declare(table, content, COLUMNS, suite=suite(POSITIVE))

    failed = pipeline.run("files", input=declaration(records(1, 20, amount=-1)))
    assert failed.row["verdict"] == "fail"
    declaration(records(1, 20))
    [letter] = pipeline.dead_letters(failed.run_id)
    again = pipeline.run(**letter["input"])
    assert again.account == (20, 20, 0, 0, 0, 0)


# --- the quarantine ----------------------------------------------------------------------------


def test_a_quarantined_row_keeps_all_its_reasons_and_its_raw_line(pipeline, judged):
    found = pipeline.quarantine(judged("warn"))
    assert [(line, record) for line, record, _ in found] == list(zip(range(21, 25), FAULTS, strict=True))
    reasons = [why for _, _, why in found]
    assert reasons[0] == ["amount is -5, expected at least 0", "name is 'UPPER 1', expected matching ^[a-z]+$"]
    assert reasons[1] == ["amount is -6, expected at least 0"]
    assert reasons[2] == ["amount is 'many', expected integer"]
    assert len(reasons[3]) == 1 and reasons[3][0].startswith("not valid JSON")


def test_a_failed_run_keeps_its_quarantine_to_be_looked_at(pipeline, judged):
    assert [line for line, _, _ in pipeline.quarantine(judged("fail"))] == [21, 22, 23, 24]


def test_a_warning_is_counted_and_its_rows_are_kept(pipeline, declare, table):
    content = records(1, 18) + records(19, 2, amount=-1)
    run = pipeline.run(
        "files", input=declare(table, content, COLUMNS, suite=suite({**POSITIVE, "severity": "warning"}))
    )
    assert run.row["verdict"] == "warn"
    assert run.account == (20, 20, 0, 0, 0, 0)
    assert pipeline.quarantine(run) == []
    counted = "SELECT evaluated, unexpected FROM pipeline.quality_results WHERE run_id = %s"
    assert pipeline.query(counted, run.run_id) == [(20, 2)]


def test_an_information_changes_no_verdict(pipeline, declare, table):
    suite_ = suite({**POSITIVE, "severity": "info"})
    run = pipeline.run("files", input=declare(table, records(1, 20, amount=-1), COLUMNS, suite=suite_))
    assert (run.row["verdict"], run.account) == ("pass", (20, 20, 0, 0, 0, 0))
    assert pipeline.emails(run.run_id) == []


# --- over the run, not over a chunk ------------------------------------------------------------


@pytest.fixture
def chunks(pipeline, declare, table, tmp_path):
    """chunks(suite, *contents) runs a file of each content, each of them a chunk of the run."""

    def run(suite: dict, *contents: str):
        for number, content in enumerate(contents):
            (tmp_path / f"part-{number}.ndjson").write_text(content)
        done = pipeline.run("files", input=declare(table, None, COLUMNS, suite=suite, location="part-*.ndjson"))
        numbers = "SELECT array_agg(chunk ORDER BY chunk) FROM pipeline.chunks WHERE run_id = %s"
        assert pipeline.query(numbers, done.run_id) == [(list(range(len(contents))),)]
        return done

    return run


@pytest.mark.parametrize(("severity", "failing"), [("critical", "fail"), ("warning", "warn")])
def test_mostly_is_judged_over_the_run_not_over_a_chunk(chunks, severity, failing):
    """A chunk of nothing but bad rows is 10% of the run."""
    contents = records(1, 90), records(91, 10, amount=-1)
    for share, verdict in ((0.9, "pass"), (0.91, failing)):
        run = chunks(suite(mostly(POSITIVE, share, severity), warn=0.5, fail=0.5), *contents)
        assert run.row["verdict"] == verdict, share
        assert run.row["quarantined"] == (10 if severity == "critical" else 0)


def test_the_tolerance_is_judged_over_the_run_not_over_a_chunk(chunks):
    contents = records(1, 90), records(91, 10, amount=-1)
    for limit, verdict in ((0.1, "pass"), (0.09, "fail")):
        assert chunks(suite(POSITIVE, warn=limit, fail=limit), *contents).row["verdict"] == verdict, limit


@pytest.mark.parametrize(("severity", "verdict", "kept"), [("critical", "fail", 0), ("warning", "warn", 4)])
def test_uniqueness_holds_over_the_run_not_over_a_chunk(pipeline, chunks, table, severity, verdict, kept):
    contents = (records(1, 1, name="a") + records(2, 1, name="b"), records(3, 1, name="b") + records(4, 1, name="c"))
    run = chunks(suite({**UNIQUE_NAMES, "severity": severity}), *contents)
    assert run.row["verdict"] == verdict
    assert len(pipeline.rows(table)) == kept
    assert "name" in pipeline.emails(run.run_id)[0]["message"]


def test_of_a_key_that_comes_twice_the_last_row_wins_across_chunks(pipeline, chunks, table):
    run = chunks(suite(POSITIVE), records(1, 3, name="first"), records(2, 2, name="last"))
    assert run.account == (5, 3, 0, 0, 2, 0)
    names = f"SELECT id, name FROM curated.{table} ORDER BY id"
    assert pipeline.query(names) == [(1, "first"), (2, "last"), (3, "last")]


# --- who is told -------------------------------------------------------------------------------


def test_a_run_that_passes_writes_to_nobody(pipeline, judged):
    run = judged("pass")
    assert pipeline.emails(run.run_id) == []
    assert pipeline.dead_letters(run.run_id) == []


@pytest.mark.parametrize(("verdict", "words"), [("warn", "quality passed with warnings"), ("fail", "quality failed")])
def test_one_email_says_what_is_wrong_and_where_to_look(pipeline, judged, verdict, words):
    run = judged(verdict)
    [email] = pipeline.emails(run.run_id)
    assert email["subject"] == f"[sluice] files: {words}, 4 of 24 rows quarantined"
    text = email["message"]
    assert "Rows fetched      24\n" in text
    assert "Rows quarantined  4 (17%;" in text
    worst = text[text.index("Worst reasons") : text.index("Report: ")]
    assert re.findall(r"^  (\d)\. (\d) of", worst, re.MULTILINE) == [("1", "2"), ("2", "1"), ("3", "1")]
    assert len(re.findall(r"e\.g\. \S+.*\n     from raw/\S+ line \d+", worst)) == 3
    assert "e.g. -5\n" in worst
    assert "and 1 more in the report" in worst
    assert f"\n  sluice runs show {run.run_id}\n" in text


@pytest.mark.parametrize("verdict", ["warn", "fail"])
def test_the_links_of_the_email_answer(pipeline, judged, verdict):
    run = judged(verdict)
    [email] = pipeline.emails(run.run_id)
    kind, page = pipeline.get(link(email, "Report"))
    assert kind.startswith("text/html") and run.run_id in page
    kind, graph = pipeline.get(link(email, "Execution"))
    assert kind == "image/svg+xml" and STATES[verdict][-1] in graph


@pytest.mark.parametrize("verdict", ["warn", "fail"])
def test_only_a_failed_run_leaves_a_dead_letter_and_it_holds_the_input(pipeline, judged, verdict):
    run = judged(verdict)
    letters = pipeline.dead_letters(run.run_id)
    if verdict == "warn":
        assert letters == []
    else:
        [letter] = letters
        assert letter["input"] == run.row["input"]
        assert letter["error"]["Error"] == "QualityFailed"
        assert letter["execution"] == run.row["execution"]


def test_the_command_that_the_email_of_a_failed_run_ends_with_runs_it_again(pipeline, judged):
    """It names the input too: without it, it would be another run."""
    run = judged("fail")
    [email] = pipeline.emails(run.run_id)
    assert email["message"].splitlines()[-1] == f"  sluice run files --input {run.row['input']['input']}"


@pytest.mark.parametrize("verdict", ["pass", "warn", "fail"])
def test_the_report_tells_the_same_numbers_as_a_page_and_as_json(pipeline, judged, verdict):
    run = judged(verdict)
    key = run.row["report_key"]
    bucket = pipeline.client("s3")
    stored = bucket.get_object(Bucket=pipeline.env["SLUICE_BUCKET"], Key=key.replace(".html", ".json"))
    report = json.load(stored["Body"])
    _, page = pipeline.get(f"{pipeline.env['SLUICE_LINKS_URL']}/{key}")

    assert report["verdict"] == verdict
    shown = dict((name, int(value)) for value, name in re.findall(r"<b>(\d+)</b><span class=quiet>(\w+)", page))
    assert (
        shown
        == report["account"]
        == {"fetched": run.row["fetched"], "staged": 20, "quarantined": run.row["quarantined"]}
    )
    assert re.findall(r'class="observed">(\d+) of (\d+) rows fail', page) == [
        (str(result["unexpected"]), str(result["evaluated"])) for result in report["results"]
    ]
    ledger = "SELECT expectation, evaluated, unexpected FROM pipeline.quality_results WHERE run_id = %s ORDER BY 1"
    assert pipeline.query(ledger, run.run_id) == sorted(
        (result["id"], result["evaluated"], result["unexpected"]) for result in report["results"]
    )


def test_the_command_line_tells_a_quality_failure_by_its_exit_status(pipeline, declare, table):
    declaration = declare(table, records(1, 20, amount=-1), COLUMNS, suite=suite(POSITIVE))
    ran = pipeline.sluice("run", "files", "--input", declaration, "--json", status=3)
    result = json.loads(ran.stdout)
    assert (result["status"], result["verdict"], result["quarantined"]) == ("rejected", "fail", 20)
    shown = pipeline.sluice("runs", "show", result["run_id"]).stdout
    assert re.search(r"^verdict +fail$", shown, re.MULTILINE)
    why = "20 of 20 rows quarantined, 100%; "
    [line] = re.findall(r"^error +QualityFailed: (.*)$", shown, re.MULTILINE)
    assert line == result["reason"] and line.startswith(why) and "tolerates " in line
    assert "; 20 of 20 rows quarantined: amount" in line
    assert line.endswith(f"`sluice run files --input {declaration}`")
    assert "20  amount is -1, expected at least 0" in shown
