"""What `sluice cost` says of real runs is what they did: their states, their functions, their requests to S3."""

import json

import pytest

from benchmarks import cost_table
from statemachine import render

USAGE, DOWN = 2, 1
COLUMNS = {"id": "bigint not null", "name": "text"}
PUTS = {"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "ListObjectsV2"}
# the distributed Map's own, which no function makes: it reads the manifest and writes what came of it, on AWS twice
PUTS_OF_THE_MAP, GETS_OF_THE_MAP = 1, 1


@pytest.fixture(scope="module")
def stack(own_stack, tmp_path_factory):
    """(pipeline, calls): a stack with chunks of 40 rows that writes down what its functions call."""
    path = tmp_path_factory.mktemp("calls") / "calls.ndjson"
    with own_stack(calls=path, chunk_rows=40) as pipeline:
        yield pipeline, path


@pytest.fixture(scope="module")
def weather(stack):
    """Six stations of 100 days: 6 partitions of one chunk."""
    pipeline, path = stack
    before = len(path.read_text().splitlines()) if path.exists() else 0
    run = pipeline.run("weather", start="2015-01-01", end="2015-04-10")
    assert run.status == "SUCCEEDED"
    made = [json.loads(line) for line in path.read_text().splitlines()[before:]]
    return run, [call for call in made if call["service"] == "s3"]


def priced(pipeline, run, *options):
    return json.loads(pipeline.sluice("cost", run.run_id, "--json", *options).stdout)


def lines(found, item):
    return [line for line in found["once"]["lines"] if line["item"] == item]


def amount(found, item):
    return sum(line["quantity"] for line in lines(found, item))


def test_transitions_are_those_that_the_definition_predicts_and_the_history_has(stack, weather, declare, table):
    pipeline, _ = stack
    content = "".join(json.dumps({"id": number}) + "\n" for number in range(100))
    in_chunks = pipeline.run("files", input=declare(table, content, COLUMNS))
    for run, partitions, chunks in ((weather[0], 6, 6), (in_chunks, 1, 3)):
        found = priced(pipeline, run)
        predicted = cost_table.entered(render.definition(), partitions, chunks)
        inside = [predicted.pop(state) for state in ("Transform", "Validate", "Load")]
        own, children = lines(found, "states.transition")
        assert own["quantity"] == sum(predicted.values()) == len(pipeline.states(run)) == 12 + 2 * partitions
        assert children["quantity"] == chunks + sum(inside) == 4 * chunks
        assert (own["how"], children["how"]) == ("counted", "measured")
        assert amount(found, "lambda.request") == 5 + partitions + 3 * chunks


def test_every_invocation_was_measured_and_its_time_is_less_than_the_run_took(stack, weather):
    pipeline, _ = stack
    run, _ = weather
    [line] = lines(priced(pipeline, run), "lambda.gb_second.x86_64")
    assert line["how"] == "measured"
    assert "left no measurement" not in line["note"]
    assert line["quantity"] > 0


def test_requests_to_s3_are_those_that_the_functions_made(stack, weather):
    pipeline, _ = stack
    run, made = weather
    found = priced(pipeline, run)
    operations = [call["operation"] for call in made]
    assert amount(found, "s3.put") == sum(name in PUTS for name in operations) + PUTS_OF_THE_MAP
    assert amount(found, "s3.get") == operations.count("GetObject") + GETS_OF_THE_MAP


def test_the_sum_is_that_of_the_lines_and_a_million_rows_cost_in_proportion(stack, weather):
    pipeline, _ = stack
    run, _ = weather
    found = priced(pipeline, run)
    assert found["once"]["complete"]
    assert found["once"]["usd"] == pytest.approx(sum(line["usd"] for line in found["once"]["lines"]))
    assert found["rows"] == 600
    assert found["per_million_rows"] == pytest.approx(found["once"]["usd"] / 600 * 1e6)
    stored = pipeline.query("SELECT sum(bytes)::bigint FROM pipeline.raw_objects WHERE run_id = %s", run.run_id)
    assert found["monthly"]["raw"]["lines"][0]["quantity"] == pytest.approx(stored[0][0] / 2**30)


def test_a_run_that_was_rejected_pays_its_email_and_its_dead_letter(stack, declare, table):
    pipeline, _ = stack
    run = pipeline.run("files", input=declare(table, '{"id": 1}\n{"id": "two"}\n', COLUMNS))
    assert run.row["status"] == "rejected"
    found = priced(pipeline, run)
    assert (amount(found, "sns.publish"), amount(found, "sns.email"), amount(found, "sqs.request")) == (1, 1, 1)
    assert found["status"] == "rejected"


def test_a_chunk_that_failed_pays_the_state_that_recorded_it(stack, declare, table):
    pipeline, _ = stack
    given = declare(table, "id,title\n1,a\n", COLUMNS, name="data.csv")  # a declared column is missing
    run = pipeline.run("files", input=given)
    assert run.error == "ChunksFailed"
    _, children = lines(priced(pipeline, run), "states.transition")
    assert children["quantity"] == 1 + 2  # the child, Transform, RecordChunkFailure


def test_embedded_texts_pay_tokens(stack):
    pipeline, _ = stack
    run = pipeline.run("posts", input="post")
    [line] = lines(priced(pipeline, run), "bedrock.titan_v2_token")
    characters = pipeline.query("SELECT sum(length(btrim(title || E'\\n\\n' || body))) FROM curated.posts")[0][0]
    assert line["quantity"] == pytest.approx(float(characters) / 4.7, rel=0.05)


def test_a_run_that_the_engine_forgot_costs_what_it_did(stack, weather):
    pipeline, _ = stack
    run, _ = weather
    before = priced(pipeline, run)
    pipeline.sluice("graph", run.run_id)  # keeps the history
    kept = pipeline.home / "runs" / run.run_id / "execution.json"
    forgotten = kept.parent.with_name("forgotten")
    forgotten.mkdir()
    (forgotten / kept.name).write_text(kept.read_text())
    found = json.loads(pipeline.sluice("cost", "forgotten", "--json").stdout)
    # its name is in no log: what the children did is derived from the definition, to the same number
    assert amount(found, "states.transition") == amount(before, "states.transition")
    assert [line["how"] for line in lines(found, "states.transition")] == ["counted", "derived"]
    assert not found["once"]["complete"]


def test_it_is_told_as_a_table_with_what_is_not_in_it(stack, weather):
    pipeline, _ = stack
    run, _ = weather
    told = pipeline.sluice("cost", run.run_id).stdout
    assert f"run      {run.run_id}, succeeded, 600 rows" in told
    for words in ("Step Functions", "Lambda", "S3", "CloudWatch", "total", "a million rows", "not in it"):
        assert words in told


def test_another_regions_prices_are_asked_for_and_an_unknown_one_is_told(stack, weather):
    pipeline, _ = stack
    run, _ = weather
    here, there = priced(pipeline, run), priced(pipeline, run, "--region", "eu-west-1")
    [ours], [theirs] = lines(here, "logs.gb"), lines(there, "logs.gb")
    assert (ours["price"], theirs["price"]) == (0.50, 0.57)
    refused = pipeline.sluice("cost", run.run_id, "--region", "mars-1", status=DOWN).stderr
    assert "no prices of the region mars-1" in refused
    assert "eu-west-1 or us-east-1" in refused


def test_a_run_that_never_was_and_one_that_is_still_going_have_no_price(stack):
    pipeline, _ = stack
    assert "'nothing'" in pipeline.sluice("cost", "nothing", status=DOWN).stderr
    assert "Missing argument" in pipeline.sluice("cost", status=USAGE).stderr
    arn = pipeline.start("weather", name="still-going", start="2010-01-01", end="2014-12-31")
    refused = pipeline.sluice("cost", "still-going", status=None)
    going = refused.returncode == DOWN
    pipeline.wait(arn)
    assert going, "the run was over before it was asked for"
    assert "still-going is still going" in refused.stderr
    assert pipeline.sluice("cost", "still-going").returncode == 0
