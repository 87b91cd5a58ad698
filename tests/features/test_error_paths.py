"""Errors, wherever they come from: the run ends in `Failed`, says what and where, and the table is as it was.

What can be wrong with an input is given as one. What can be wrong with the database is really
broken for the length of a run, then mended, and the run started again from its dead letter.
"""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.features.conftest import Pipeline, Run

COLUMNS = {"id": "bigint not null", "amount": "integer", "name": "text"}
GOOD = "".join(json.dumps({"id": i, "amount": i, "name": "x"}) + "\n" for i in range(1, 21))
CHANGED = GOOD.replace('"x"', '"y"') + '{"id": 21, "amount": 1, "name": "new"}\n'
ONE_BAD = CHANGED + '{"id": "no number", "amount": 1, "name": "x"}\n'
TOLERANT = {
    "expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}],
    "meta": {"sluice": {"quarantine": {"fail": 0.5}}},
}

FAILURE = ["RecordFailure", "AlertFailure", "DeadLetter", "Failed"]


@dataclass
class Scene:
    """What a case has at hand; the curated table `table` holds the 20 rows of GOOD."""

    pipeline: Pipeline
    declare: Callable
    table: str

    def files(self, content=CHANGED, columns=COLUMNS, **settings) -> dict:
        """The input of a run that would change every row of the table."""
        return {"source": "files", "input": self.declare(self.table, content, columns, **settings)}

    def judged_by(self, *expectations: dict) -> dict:
        return self.files(suite={"expectations": list(expectations)})

    def address(self, path: str) -> str:
        return f"{self.pipeline.env['SLUICE_SOURCES_URL']}/{path}"


@dataclass(frozen=True)
class Case:
    """An input, where the run of it ends, with which error, and words that the error must contain."""

    state: str
    error: str
    words: tuple[str, ...]
    given: Callable[[Scene], dict]


@pytest.fixture
def scene(pipeline, declare, table) -> Scene:
    scene = Scene(pipeline, declare, table)
    assert pipeline.run(**scene.files(GOOD)).status == "SUCCEEDED"
    return scene


@contextlib.contextmanager
def hindrance(pipeline: Pipeline, table: str, action: str = "RAISE 'the disk is on fire'", when: str = "true"):
    """Before a row for which `when` holds is written to `table`, do `action` (PL/pgSQL) instead."""
    pipeline.query(
        f"CREATE FUNCTION public.hinder() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {action}; END$$;"
        f"CREATE TRIGGER hinder BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW WHEN ({when})"
        " EXECUTE FUNCTION public.hinder()"
    )
    try:
        yield
    finally:
        pipeline.query("DROP FUNCTION public.hinder CASCADE")


@contextlib.contextmanager
def no_staging_schema(pipeline: Pipeline):
    pipeline.query("ALTER SCHEMA staging RENAME TO staging_away")
    try:
        yield
    finally:
        pipeline.query("ALTER SCHEMA staging_away RENAME TO staging")


def expect_failure(pipeline: Pipeline, run: Run, given: dict, state: str, error: str, words: tuple[str, ...]) -> dict:
    """The run failed in `state` and everybody says the same of it; returns its dead letter."""
    assert (run.status, run.error) == ("FAILED", error)
    assert pipeline.states(run)[-len(FAILURE) :] == FAILURE
    assert run.row["status"] == "failed"
    assert (run.row["error"]["state"], run.row["error"]["error"]) == (state, error)
    assert run.row["started_at"] < run.row["finished_at"]
    [email] = pipeline.emails(run.run_id)
    assert email["subject"] == f"[sluice] {given['source']}: run failed in {state} ({error})"
    for word in words:
        assert word in json.loads(run.cause)["errorMessage"]
        assert word in run.row["error"]["reason"]
        assert word in email["message"]
    assert f"\n  sluice runs show {run.run_id}\n  sluice graph {run.run_id}\n" in email["message"]
    kind, graph = pipeline.get(f"{pipeline.env['SLUICE_LINKS_URL']}/runs/{run.run_id}/graph.svg")
    assert kind == "image/svg+xml" and state in graph and f"/runs/{run.run_id}/graph.svg" in email["message"]
    [letter] = pipeline.dead_letters(run.run_id)
    assert (letter["input"], letter["error"]["Error"]) == (given, error)
    assert pipeline.staging_tables(run.run_id) == []
    return letter


# --- inputs that cannot work -------------------------------------------------------------------

UNIQUE = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}}

WRONG_INPUTS = {
    "a source that does not exist": Case(
        "Plan",
        "UnknownSource",
        ("no source is called 'nothing'", "files, market, people, posts, sensors, weather"),
        lambda scene: {"source": "nothing"},
    ),
    "a day that does not exist": Case(
        "Plan",
        "ContractError",
        ("from is '2012-02-30'", "YYYY-MM-DD"),
        lambda scene: {"source": "weather", "from": "2012-02-30", "to": "2012-03-01"},
    ),
    "a window that ends before it starts": Case(
        "Plan",
        "ContractError",
        ("ends on 2012-01-01", "starts on 2012-02-01"),
        lambda scene: {"source": "weather", "from": "2012-02-01", "to": "2012-01-01"},
    ),
    "a misspelt field": Case(
        "Plan",
        "ContractError",
        ("does not know: form",),
        lambda scene: {"source": "weather", "form": "2012-02-01"},
    ),
    "a station that does not exist": Case(
        "Plan",
        "NotFound",
        ("'atlantis'", "Seattle"),
        lambda scene: {"source": "weather", "from": "2012-01-01", "to": "2012-01-02", "input": "Atlantis"},
    ),
    "a declaration with faults": Case(
        "Plan",
        "DeclarationError",
        ("money", "'key' is empty", ".toml"),
        lambda scene: scene.files(columns={"id": "bigint", "amount": "money"}, key=[]),
    ),
    "other columns than the table": Case(
        "Plan",
        "SchemaMismatch",
        ("ALTER TABLE curated.orders_", "ADD COLUMN colour text;"),
        lambda scene: scene.files(columns={**COLUMNS, "colour": "text"}),
    ),
    "a file that does not exist": Case(
        "Plan",
        "SourceError",
        ("there is no file at", "missing.ndjson"),
        lambda scene: scene.files(location="missing.ndjson"),
    ),
    "an address that does not exist": Case(
        "Fetch",
        "SourceError",
        ("the source answered 404", "/nowhere/orders.ndjson"),
        lambda scene: scene.files(location=scene.address("nowhere/orders.ndjson")),
    ),
    "a suite without expectations": Case(
        "QualityGate",
        "SuiteError",
        ("the suite of orders_", "there are none"),
        lambda scene: scene.judged_by(),
    ),
    "a suite with an unknown expectation": Case(
        "QualityGate",
        "SuiteError",
        ("expectations[1] (expect_miracles)", "no such expectation"),
        lambda scene: scene.judged_by(UNIQUE, {"type": "expect_miracles", "kwargs": {}}),
    ),
    "a suite with an unknown column": Case(
        "QualityGate",
        "SuiteError",
        ("expectations[0] (expect_column_values_to_be_unique)", "'colour'"),
        lambda scene: scene.judged_by({**UNIQUE, "kwargs": {"column": "colour"}}),
    ),
    "a suite with a bad argument": Case(
        "QualityGate",
        "SuiteError",
        ("expectations[0] (expect_column_values_to_be_unique)", "mostly"),
        lambda scene: scene.judged_by({**UNIQUE, "kwargs": {"column": "id", "mostly": "half"}}),
    ),
}


@pytest.mark.parametrize("case", WRONG_INPUTS.values(), ids=WRONG_INPUTS)
def test_an_input_that_cannot_work_is_told_and_changes_nothing(pipeline, scene, case):
    before = pipeline.rows(scene.table)
    given = case.given(scene)
    run = pipeline.run(**given)
    expect_failure(pipeline, run, given, case.state, case.error, case.words)
    assert pipeline.rows(scene.table) == before


# --- a database that does not play along -------------------------------------------------------

HINDRANCES = {
    "staging cannot be made": (
        lambda scene: no_staging_schema(scene.pipeline),
        Case("WriteManifest", "InvalidSchemaName", ('schema "staging" does not exist',), lambda scene: scene.files()),
    ),
    "the quarantine refuses rows": (
        lambda scene: hindrance(scene.pipeline, "pipeline.quarantine"),
        Case(
            "QualityGate",
            "ChunksFailed",
            ("1 of 1 chunks failed", "chunk 0: RaiseException", "the disk is on fire"),
            lambda scene: scene.files(ONE_BAD, suite=TOLERANT),
        ),
    ),
    "the quarantine loses rows": (
        lambda scene: hindrance(scene.pipeline, "pipeline.quarantine", "RETURN NULL"),
        Case(
            "QualityGate",
            "ChunksFailed",
            ("AccountError", "and 0 quarantined, expected"),
            lambda scene: scene.files(ONE_BAD, suite=TOLERANT),
        ),
    ),
    "the table refuses a row": (
        lambda scene: hindrance(scene.pipeline, f"curated.{scene.table}", when="NEW.id = 21"),
        Case("Publish", "RaiseException", ("the disk is on fire",), lambda scene: scene.files()),
    ),
    "the table loses a row": (
        lambda scene: hindrance(scene.pipeline, f"curated.{scene.table}", "RETURN NULL", when="NEW.id = 7"),
        Case(
            "Publish",
            "AccountError",
            ("21 rows were fetched, 20 are accounted for", "1 inserted + 19 updated"),
            lambda scene: scene.files(),
        ),
    ),
    "the ledger refuses to be closed": (
        lambda scene: hindrance(scene.pipeline, "pipeline.runs", when="NEW.status = 'published'"),
        Case("Publish", "RaiseException", ("the disk is on fire",), lambda scene: scene.files()),
    ),
}


@pytest.mark.parametrize(("hinder", "case"), HINDRANCES.values(), ids=HINDRANCES)
def test_a_run_that_the_database_hinders_changes_nothing_and_succeeds_once_that_is_mended(
    pipeline, scene, hinder, case
):
    before = pipeline.rows(scene.table)
    given = case.given(scene)
    with hinder(scene):
        run = pipeline.run(**given)
    letter = expect_failure(pipeline, run, given, case.state, case.error, case.words)
    assert run.row["published_at"] is None
    assert pipeline.rows(scene.table) == before

    again = pipeline.run(**letter["input"])
    assert again.status == "SUCCEEDED"
    assert again.account[1:4] == (1, 20, 0)


def test_rows_and_cursor_move_together_or_not_at_all(pipeline):
    """The cursor is moved last; where it cannot be, the rows that were merged before are taken back."""

    def cursor():
        return pipeline.query("SELECT position FROM pipeline.cursors WHERE source = 'weather'")

    given = {"source": "weather"}
    pipeline.run("weather", start="1990-01-01", end="1990-01-02", input="Oslo")  # the table exists now
    position, rows = cursor(), pipeline.rows("weather")
    with hindrance(pipeline, "pipeline.cursors"):
        run = pipeline.run(**given)
    expect_failure(pipeline, run, given, "Publish", "RaiseException", ("the disk is on fire",))
    assert (cursor(), pipeline.rows("weather")) == (position, rows)

    again = pipeline.run(**given)
    assert again.status == "SUCCEEDED"
    assert cursor() == [(again.row["window_end"],)] != position


# --- after publishing --------------------------------------------------------------------------


@contextlib.contextmanager
def vectors_hindered(pipeline):
    """None can be stored, and all are wanted, whatever was embedded on this stack before."""
    pipeline.query("DELETE FROM pipeline.embeddings")
    with hindrance(pipeline, "pipeline.embeddings"):
        yield


LATE = {
    "vectors cannot be stored": (
        "Embed",
        vectors_hindered,
        lambda scene: {"source": "posts", "input": "post"},
    ),
    "the run cannot be closed": (
        "Complete",
        lambda pipeline: hindrance(pipeline, "pipeline.runs", when="NEW.status = 'succeeded'"),
        lambda scene: scene.files(),
    ),
}


@pytest.mark.parametrize(("state", "hinder", "given"), LATE.values(), ids=LATE)
def test_an_error_after_publishing_keeps_the_rows_and_says_so(pipeline, scene, state, hinder, given):
    given = given(scene)
    with hinder(pipeline):
        run = pipeline.run(**given)
    letter = expect_failure(pipeline, run, given, state, "RaiseException", ("the disk is on fire",))
    assert run.row["published_at"] is not None
    assert "Its rows had been published before" in pipeline.emails(run.run_id)[0]["message"]

    again = pipeline.run(**letter["input"])
    assert again.status == "SUCCEEDED"
    fetched = run.row["fetched"]
    assert again.account == (fetched, 0, 0, fetched, 0, 0)
    assert again.row["embedded"] == (fetched if state == "Embed" else 0)


@pytest.mark.parametrize("call", ["GET /sluice-local/runs/NAME/manifest.json", "PUT /sluice-local/runs/NAME/map/"])
def test_s3_that_fails_the_state_machine_itself_for_a_moment_fails_no_run(pipeline, scene, call):
    name = f"{scene.table}-map"
    pipeline.stack.arm(
        [{"name": name, "service": "s3", "action": "slow-down", "texts": [call.replace("NAME", name)], "times": 1}]
    )
    run = pipeline.wait(pipeline.start(name=name, **scene.files()))
    [fault] = [fault for fault in pipeline.stack.armed() if fault["name"] == name]
    pipeline.stack.disarm(name)
    assert (run.status, fault["struck"]) == ("SUCCEEDED", 1)


# --- what a failure tells, and what it keeps to itself ------------------------------------------


def test_a_secret_in_the_input_is_in_the_dead_letter_alone(pipeline):
    given = "http://127.0.0.1:9/orders.csv?day=1&api_key=SECRET"
    run = pipeline.run("files", input=given)
    shown = given.replace("SECRET", "***")
    assert (run.status, run.error) == ("FAILED", "SourceError")
    assert run.row["input"] == {"source": "files", "input": shown}
    assert "SECRET" not in json.dumps(run.row, default=str) + run.cause
    [email] = pipeline.emails(run.run_id)
    assert "SECRET" not in email["subject"] + email["message"]
    assert email["message"].splitlines()[-1] == f"  sluice run files --input '{shown}'"
    [letter] = pipeline.dead_letters(run.run_id)
    assert letter["input"]["input"] == given  # so that the run can be started again


@pytest.mark.parametrize("given", [["weather"], "weather", 7, None, {"source": ["weather"]}])
def test_an_input_that_is_no_run_is_told_like_any_other_mistake(pipeline, given):
    arn = pipeline.client("stepfunctions").start_execution(
        stateMachineArn=pipeline.env["SLUICE_STATE_MACHINE_ARN"], input=json.dumps(given)
    )["executionArn"]
    run = pipeline.wait(arn)
    assert (run.status, run.error, run.row["status"]) == ("FAILED", "ContractError", "failed")
    assert run.row["input"] == given
    [email] = pipeline.emails(run.run_id)
    assert "run failed in Plan (ContractError)" in email["subject"]
    assert f"sluice graph {run.run_id}" == email["message"].splitlines()[-1].strip()
    [letter] = pipeline.dead_letters(run.run_id)
    assert letter["input"] == given


# --- when telling fails too --------------------------------------------------------------------


def test_a_failure_that_cannot_be_entered_in_the_ledger_is_still_told(pipeline):
    with hindrance(pipeline, "pipeline.runs"):
        run = pipeline.run("nothing")
    assert (run.status, run.error, run.row) == ("FAILED", "UnknownSource", {})
    assert pipeline.states(run) == ["Plan", "PlanFailed", "RecordFailure", "DescribeFailure", *FAILURE[1:]]
    [email] = pipeline.emails(run.run_id)
    assert email["subject"] == "[sluice] a run failed and the ledger is out of reach"
    for words in ("no source is called 'nothing'", "the disk is on fire", f"sluice graph {run.run_id}"):
        assert words in email["message"]
    [letter] = pipeline.dead_letters(run.run_id)
    assert letter["input"] == {"source": "nothing"}


@contextlib.contextmanager
def nobody_to_tell(pipeline: Pipeline):
    """Neither the alerts' topic nor the queue of dead letters is there."""
    sns, sqs = pipeline.client("sns"), pipeline.client("sqs")
    topic, queue = pipeline.env["SLUICE_TOPIC_ARN"], pipeline.env["SLUICE_DEAD_LETTER_URL"]
    sns.delete_topic(TopicArn=topic)
    sqs.delete_queue(QueueUrl=queue)
    try:
        yield
    finally:
        sns.create_topic(Name=topic.rsplit(":", 1)[1])
        sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="data-team@example.com")
        sqs.create_queue(QueueName=queue.rsplit("/", 1)[1])


def test_a_run_of_which_nobody_can_be_told_still_ends_as_failed_and_publishes_nothing(pipeline, scene):
    """Both at once: telling is tried for up to half a minute."""
    before = pipeline.rows(scene.table)
    with nobody_to_tell(pipeline):
        wrong = pipeline.start("nothing")
        warned = pipeline.start(**scene.files(ONE_BAD, suite=TOLERANT))
        wrong, warned = pipeline.wait(wrong), pipeline.wait(warned)
    assert (wrong.status, wrong.error) == ("FAILED", "UnknownSource")
    assert pipeline.states(wrong) == ["Plan", "PlanFailed", *FAILURE]
    # a warning that nobody gets must not pass for a run without one
    assert (warned.status, warned.row["status"], warned.row["verdict"]) == ("FAILED", "failed", "warn")
    assert warned.row["error"]["state"] == "AlertQualityWarning"
    assert pipeline.states(warned)[-len(FAILURE) - 1 :] == ["AlertQualityWarning", *FAILURE]
    assert pipeline.rows(scene.table) == before
    assert pipeline.staging_tables(wrong.run_id) == pipeline.staging_tables(warned.run_id) == []


def test_the_command_line_shows_a_failed_run(pipeline, scene):
    given = scene.files(columns={**COLUMNS, "colour": "text"})
    ran = pipeline.sluice("run", "files", "--input", given["input"], "--json", status=4)
    result = json.loads(ran.stdout)
    assert (result["status"], result["error"]) == ("failed", "SchemaMismatch")
    shown = json.loads(pipeline.sluice("runs", "show", result["run_id"], "--json").stdout)
    assert shown["error"]["state"] == "Plan"
    assert "colour, declared as text, is not there" in shown["error"]["reason"]
    assert "ADD COLUMN colour text;" in shown["error"]["reason"]
    assert "SchemaMismatch" in pipeline.sluice("runs", "show", result["run_id"]).stdout
