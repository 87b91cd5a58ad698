"""What a run costs: quantities from history and log, prices from a dated table, arithmetic that was done by hand."""

import dataclasses
import datetime as dt
import json
import re
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from botocore.stub import Stubber

from benchmarks import cost_table
from chalicelib import run_log
from chalicelib.errors import ConfigurationError, TerminalError
from chalicelib.executions import Children, Execution, State, with_failed_children
from chalicelib.lake import keys
from chalicelib.settings import Settings
from cli import cost as cli_cost
from deploy import cost, log_usage, prices, usage
from deploy.cost import COUNTED, DERIVED, MEASURED, Bill, Quantity
from deploy.log_usage import RunLog
from deploy.usage import Size, Stored
from statemachine import render

ROOT = Path(__file__).parents[2]
NOON = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


def execution(definition=None, **states):
    """An execution of the pipeline's machine; `states` gives each that ran its fields, or how often it was entered."""
    definition = definition or render.definition()
    found = {}
    for name, state, _ in usage.asl.placed(definition):
        given = states.get(name, {})
        given = {"entered": given} if isinstance(given, int) else given
        found[name] = State(name, state["Type"], **given)
    return Execution(
        "arn", "run", "SUCCEEDED", NOON, NOON, NOON, None, None, None, None, definition, found, frozenset()
    )


PROCESS = {"entered": 1, "children": Children(total=2, succeeded=2)}
# three files of which two chunks came
PASSED = {
    "Plan": 1,
    "FetchRunsOn": 1,
    "Fetch": 1,
    "FetchPartition": 3,
    "PartitionFetched": 3,
    "WriteManifest": 1,
    "ProcessRunsOn": 1,
    "Process": PROCESS,
    "Transform": 2,
    "Validate": 2,
    "Load": 2,
    "ReviewNeeded": 1,
    "QualityGate": 1,
    "Verdict": 1,
    "Publish": 1,
    "EmbedNeeded": 1,
    "Complete": 1,
}


def log(milliseconds, **fields):
    return RunLog(**{"lines": 1, "milliseconds": milliseconds, **fields})


def of_all(milliseconds=100, **changes):
    """A log with one measurement for each invocation of PASSED."""
    times = {"fetch_partition": 3, "transform": 2, "validate": 2, "load": 2}
    once = ("plan", "write_manifest", "quality_gate", "publish", "complete")
    return log({name: [milliseconds] * times.get(name, 1) for name in (*once, *times)} | changes)


def same(function):
    return Size(512, "x86_64")


def amounts(quantities):
    found = {}
    for quantity in quantities:
        found[quantity.item] = found.get(quantity.item, 0) + quantity.amount
    return found


# --- state transitions ---------------------------------------------------------------------------


def test_transitions_are_states_entered_and_one_for_each_child_of_the_distributed_map():
    own, children = usage.transitions(execution(**PASSED), None)
    # Plan, Fetch, 3 FetchPartition, 3 PartitionFetched, WriteManifest, Process, ReviewNeeded, QualityGate, Verdict,
    # Publish, EmbedNeeded, Complete, the two choices of a place to run: 18; 2 children of 3 states: 2 + 6
    assert (own.amount, own.how) == (18, COUNTED)
    assert (children.amount, children.how) == (8, DERIVED)
    assert "no log" in children.note


def test_every_retry_is_a_transition():
    tried = {**PASSED, "Publish": {"entered": 1, "retries": 2}, "FetchPartition": {"entered": 3, "retries": 1}}
    assert usage.transitions(execution(**tried), None)[0].amount == 21


def test_the_log_knows_of_retries_and_failures_in_the_children():
    # the second chunk: Transform tried three times, then its failure recorded; no Validate, no Load
    known = log({"transform": [1, 1, 1, 1], "validate": [1], "load": [1], "record_chunk_failure": [1]})
    _, children = usage.transitions(execution(**PASSED), known)
    assert (children.amount, children.how) == (2 + 4 + 1 + 1 + 1, MEASURED)


def test_a_child_whose_first_attempt_died_without_a_word_was_started_all_the_same():
    known = log({"transform": [1], "validate": [1], "load": [1]})
    assert usage.transitions(execution(**PASSED), known)[1].amount == 2 + 2 + 1 + 1


def test_a_kept_history_that_knows_of_failed_chunks_counts_the_states_that_recorded_them():
    kept = with_failed_children(execution(**PASSED), "Process", 1)
    # of the failed chunk Transform is certain, and that its failure was recorded
    assert usage.transitions(kept, None)[1].amount == 2 + (2 + 1 + 1) + 1


def test_a_run_that_failed_early_has_no_children_to_pay():
    failed = execution(Plan=1, PlanFailed=1, RecordFailure=1, AlertFailure=1, DeadLetter=1, Failed=1)
    own, children = usage.transitions(failed, None)
    assert (own.amount, children.amount) == (6, 0)


def test_express_children_are_refused_as_their_price_is_another():
    definition = render.definition()
    definition["States"]["Process"]["ItemProcessor"]["ProcessorConfig"]["ExecutionType"] = "EXPRESS"
    with pytest.raises(ConfigurationError, match="Process are Express"):
        usage.transitions(execution(definition, **PASSED), None)


# --- Lambda --------------------------------------------------------------------------------------


def test_requests_are_attempts_and_gb_seconds_are_milliseconds_times_memory():
    requests, gb_seconds = usage.invocations(execution(**PASSED), of_all(), same)
    assert (requests.amount, requests.how) == (14, COUNTED)
    assert gb_seconds.item == "lambda.gb_second.x86_64"
    assert gb_seconds.amount == pytest.approx(14 * 0.1 * 0.5)  # 14 times 100 ms with half a GB
    assert "left no measurement" not in gb_seconds.note


def test_memory_and_architecture_are_those_of_each_function():
    def size(function):
        return Size(1024, "arm64") if function == "transform" else Size(256, "x86_64")

    _, arm, x86 = usage.invocations(execution(**PASSED), of_all(transform=[2000, 1000]), size)
    assert (arm.item, x86.item) == ("lambda.gb_second.arm64", "lambda.gb_second.x86_64")
    assert arm.amount == pytest.approx(3.0)
    assert x86.amount == pytest.approx(12 * 0.1 * 0.25)


def test_an_attempt_that_left_no_measurement_is_told():
    tried = {**PASSED, "Publish": {"entered": 1, "retries": 1, "seconds": 9.0}}
    requests, gb_seconds = usage.invocations(execution(**tried), of_all(), same)
    assert requests.amount == 15
    assert "1 of 15 left no measurement" in gb_seconds.note


def test_without_a_log_the_history_gives_the_time_of_what_it_has():
    tried = {**PASSED, "Plan": {"entered": 1, "seconds": 2.0}, "Publish": {"entered": 1, "seconds": 4.0}}
    requests, gb_seconds = usage.invocations(execution(**tried), None, same)
    assert (requests.amount, requests.how, gb_seconds.how) == (14, DERIVED, DERIVED)
    assert gb_seconds.amount == pytest.approx(6 * 0.5)
    assert "14 of 14 left no measurement" in gb_seconds.note


# --- the log -------------------------------------------------------------------------------------


def done(state, seconds, run="run", message="stage done"):
    return json.dumps({"message": message, "state": state, "run_id": run, "seconds": seconds})


def document(state, names=("RowsOut",), run="run", at=1_795_000_000_000, source="orders"):
    return json.dumps(
        {
            "_aws": {
                "Timestamp": at,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "Sluice",
                        "Dimensions": [["state", "source"]],
                        "Metrics": [{"Name": name, "Unit": "Count"} for name in names],
                    }
                ],
            },
            "state": state,
            "source": source,
            "run_id": run,
        }
    )


def test_milliseconds_are_rounded_up_each_and_no_float_adds_one():
    lines = [done("load", 0.0012), done("load", 0.3, message="stage failed"), done("plan", 0.0001)]
    assert log_usage.read(lines, "run").milliseconds == {"load": [2, 300], "plan": [1]}


def test_only_the_run_is_read_and_lines_may_run_into_each_other():
    plain = json.dumps({"message": "something else", "run_id": "run"})
    other = done("load", 5, run="run-2")
    lines = [done("load", 0.001) + done("load", 0.002) + "\n", "run is not JSON {", plain, other, '{"run": 1}']
    found = log_usage.read(lines, "run")
    assert found.milliseconds == {"load": [1, 2]}
    assert found.lines == 3
    assert found.bytes == len(done("load", 0.001)) + len(done("load", 0.002)) + len(plain)


def test_a_metric_counts_once_an_hour_by_its_name_and_dimensions():
    hour = 3_600_000
    start = 1_795_000_000_000 // hour * hour
    lines = [
        document("load", at=start),
        document("load", at=start + hour - 1),
        document("load", at=start + hour),
        document("load", at=start, names=("RowsOut", "RowsIn")),
        document("transform", at=start),
        document("transform", at=start, source="weather"),
    ]
    assert log_usage.read(lines, "run").metric_hours == 5
    [data, metrics] = usage.logs(log_usage.read(lines, "run"))
    assert metrics.amount == pytest.approx(5 / 730)
    assert data.amount == pytest.approx(sum(map(len, lines)) / 2**30)


def test_the_local_log_that_is_not_there_has_no_lines(tmp_path):
    assert list(run_log.local_lines(tmp_path / "lambda.log")) == []


@pytest.fixture
def cloudwatch():
    client = boto3.client("logs", region_name="eu-west-1")
    with Stubber(client) as stub:
        yield client, stub


def asked(function, **more):
    return {
        "logGroupName": f"/aws/lambda/{function}",
        "startTime": 1,
        "endTime": 2,
        "filterPattern": '{ $.run_id = "run" }',
        **more,
    }


def test_cloudwatch_is_asked_for_the_runs_lines_page_by_page_and_a_function_that_never_ran_has_none(cloudwatch):
    client, stub = cloudwatch
    event = {"message": done("plan", 1)}
    stub.add_response("filter_log_events", {"events": [event], "nextToken": "t"}, asked("sluice-dev-plan"))
    stub.add_response("filter_log_events", {"events": [event]}, asked("sluice-dev-plan", nextToken="t"))
    stub.add_client_error("filter_log_events", "ResourceNotFoundException", expected_params=asked("sluice-dev-load"))
    groups = ["/aws/lambda/sluice-dev-plan", "/aws/lambda/sluice-dev-load"]
    lines = run_log.cloudwatch_lines(client, groups, "run", 1, 2)
    assert log_usage.read(lines, "run").milliseconds == {"plan": [1000, 1000]}
    stub.assert_no_pending_responses()


def test_logs_that_may_not_be_read_are_told_with_the_permission(cloudwatch):
    client, stub = cloudwatch
    stub.add_client_error("filter_log_events", "AccessDeniedException")
    with pytest.raises(TerminalError, match=r"/aws/lambda/sluice-dev-plan.*logs:FilterLogEvents"):
        list(run_log.cloudwatch_lines(client, ["/aws/lambda/sluice-dev-plan"], "run", 1, 2))


class Logs:
    """A client of CloudWatch Logs, of which one function has a line."""

    def __init__(self):
        self.asked = []

    def get_paginator(self, operation):
        assert operation == "filter_log_events"
        return self

    def paginate(self, **asked):
        self.asked.append(asked)
        found = [{"message": done("plan", 0.25)}] if asked["logGroupName"].endswith("-plan") else []
        return [{"events": found}]


def test_the_logs_of_a_deployed_stage_are_those_of_its_functions_around_the_run(tmp_path):
    client = Logs()
    arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:sluice-dev"
    settings = Settings(stage="dev", state_machine_arn=arn)
    session = SimpleNamespace(settings=settings, folder=tmp_path, client={"logs": client}.get)
    found = cli_cost._log(session, "run", execution(**PASSED))
    assert found.milliseconds == {"plan": [250]}
    assert {asked["logGroupName"] for asked in client.asked} == {
        "/aws/lambda/" + render.full_name("sluice-dev", function) for function in render.lambda_functions()
    }
    start, end = NOON.timestamp() * 1000 - 60_000, NOON.timestamp() * 1000 + 60_000
    assert {(asked["startTime"], asked["endTime"]) for asked in client.asked} == {(start, end)}


def test_a_function_costs_by_the_memory_and_architecture_of_its_stage():
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    size = cli_cost.function_size("prod")
    for function, limits in config["lambda_functions"].items():
        assert size(function) == Size(limits["lambda_memory_size"], config["lambda_architecture"])


# --- the lake, messages, texts -------------------------------------------------------------------

MB = 2**20
OBJECTS = [
    Stored("raw/source=orders/date=2026-11-21/run=run/part-00000-00000.ndjson", 20 * MB),
    Stored("raw/source=orders/date=2026-11-21/run=run/part-00001-00000.ndjson", 7 * MB),
    Stored("runs/run/chunks/00000/rows.copy", 30 * MB),
    Stored("runs/run/chunks/00000/malformed.ndjson", 1),
    Stored("runs/run/manifest.json", 1000),
]


def test_s3_requests_follow_from_the_objects_and_from_what_the_stages_read():
    put, get = usage.lake(execution(**PASSED), OBJECTS, None)
    # 20 MB as 3 parts of 8 MB with begin and end: 5; 1 each of the others, however large rows.copy is
    assert put.amount == 5 + 1 + 1 + 1 + 1
    # 2 chunks of 4, 1 rejected, 3 listings, the manifest twice
    assert get.amount == 8 + 1 + 3 + 2
    _, declared = usage.lake(execution(**PASSED), [*OBJECTS, Stored(keys.declaration("run"), 1)], None)
    assert declared.amount == get.amount + 14  # each invocation reads the declaration


def test_what_is_kept_is_told_by_layer_and_in_gb_of_two_to_the_thirty():
    kept = usage.storage(OBJECTS)
    assert set(kept) == {"raw", "runs"}
    assert kept["raw"].amount == pytest.approx(27 / 1024)
    assert kept["runs"].amount == pytest.approx((30 * MB + 1001) / 2**30)


def test_each_alert_is_a_message_and_an_email_to_every_address_and_a_failure_a_dead_letter():
    rejected = {**PASSED, "Publish": 0, "EmbedNeeded": 0, "Complete": 0}
    rejected |= {"AlertQualityFailure": {"entered": 1, "retries": 1}, "Reject": 1, "DeadLetterQuality": 1}
    assert amounts(usage.messages(execution(**rejected), None, addresses=3)) == {
        "sns.publish": 2,
        "sns.email": 6,
        "sqs.request": 1,
    }


def test_tokens_follow_from_characters():
    assert amounts(usage.embeddings(47_000)) == {"bedrock.titan_v2_token": 10_000}


# --- the bill ------------------------------------------------------------------------------------


def test_a_bill_that_was_worked_out_by_hand():
    """us-east-1: 26 transitions at $0.025 per 1,000, 14 requests at $0.20 per million, 14 times 100 ms of 0.5 GB at
    $0.0000166667, 9 PUTs at $0.005 and 14 GETs at $0.0004 per 1,000, 2 GB of logs at $0.50, 23 metrics for an hour of
    730 at $0.30, 10,000 tokens at $0.02 per million."""
    used = usage.of_run(
        execution(**PASSED),
        dataclasses.replace(of_all(), bytes=2 * 2**30, metric_hours=23),
        OBJECTS,
        same,
        characters=47_000,
    )
    bill = cost.bill(used, prices.read("us-east-1"))
    assert bill.services() == pytest.approx(
        {
            "Step Functions": 0.00065,
            "Lambda": 0.0000028 + 0.00001166669,
            "S3": 0.000045 + 0.0000056,
            "CloudWatch": 1.0 + 0.00945205479,
            "Bedrock": 0.0002,
        }
    )
    assert bill.usd == pytest.approx(1.01036712148)
    assert bill.is_complete
    assert bill.per_million_rows(4000) == pytest.approx(1.01036712148 * 250)
    assert bill.per_million_rows(0) is bill.per_million_rows(None) is None


def test_what_has_no_price_or_no_quantity_is_shown_and_makes_the_sum_a_least():
    listed = prices.read("eu-west-1")
    no_price = cost.bill([Quantity("sns.email", 100, COUNTED), Quantity("sns.publish", 2e6, COUNTED)], listed)
    assert (no_price.usd, no_price.is_complete) == (pytest.approx(1.0), False)
    assert [line.usd for line in no_price.lines] == [None, pytest.approx(1.0)]
    no_quantity = cost.bill(usage.logs(None), listed)
    assert [line.quantity for line in no_quantity.lines] == [None, None]
    assert not no_quantity.is_complete
    assert Bill(()).is_complete


def test_nothing_used_is_no_line():
    assert cost.bill([Quantity("sns.publish", 0, COUNTED)], prices.read("us-east-1")).lines == ()


# --- prices --------------------------------------------------------------------------------------


def problems(document):
    """What a table of prices must not be."""
    found = []
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", document["checked"]):
        found.append("no date")
    for name, about in document["items"].items():
        regions = set(about) - {"service", "what", "unit", "per", "page"}
        if not regions <= {"us-east-1", "eu-west-1"} or "us-east-1" not in regions:
            found.append(f"{name}: regions")
        if not about["page"].startswith("https://"):
            found.append(f"{name}: page")
        for region in regions:
            price = about[region]
            if set(price) != {"usd", "source"} or not 0 < price["usd"] < 100:
                found.append(f"{name}: price")
            elif price["source"] not in document["sources"]:
                found.append(f"{name}: source")
    used = {about[r].get("source") for about in document["items"].values() for r in about if isinstance(about[r], dict)}
    found += [f"{name} is used nowhere" for name in set(document["sources"]) - used]
    for name, source in document["sources"].items():
        if set(source) != {"published", "by", "read"} or not source["read"].startswith("https://"):
            found.append(f"{name}: what it is")
    return found


DOCUMENT = json.loads(prices.PATH.read_text())


def test_every_price_has_a_page_a_source_and_a_date():
    assert problems(DOCUMENT) == []


@pytest.mark.parametrize(
    "break_it",
    [
        lambda d: d["items"]["s3.put"]["us-east-1"].pop("source"),
        lambda d: d["items"]["s3.put"]["us-east-1"].update(source="hearsay"),
        lambda d: d["items"]["s3.put"]["us-east-1"].update(usd=0),
        lambda d: d["items"]["s3.put"].pop("us-east-1"),
        lambda d: d["items"]["s3.put"].update(page="somewhere"),
        lambda d: d["sources"]["book-us"].pop("published"),
        lambda d: d["sources"].update(unused=d["sources"]["book-us"]),
        lambda d: d.update(checked="lately"),
    ],
)
def test_a_faulty_table_is_found(break_it):
    document = json.loads(prices.PATH.read_text())
    break_it(document)
    assert problems(document)


def test_a_price_is_that_of_one_unit():
    items = prices.read("us-east-1").items
    assert items["states.transition"].usd == pytest.approx(0.000025)
    assert items["lambda.request"].usd == pytest.approx(0.0000002)
    assert items["sns.email"].usd == pytest.approx(0.00002)
    assert prices.read("eu-west-1").items["logs.gb"].usd == 0.57


def test_a_region_without_prices_is_told_with_those_there_are():
    with pytest.raises(ConfigurationError, match=r"ap-south-1 Next: give --region eu-west-1 or us-east-1, or add"):
        prices.read("ap-south-1")


# --- the page ------------------------------------------------------------------------------------


def test_the_page_has_the_tables_that_the_code_makes():
    page = (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")
    for table in cost_table.tables().strip().split("\n\n"):
        assert table in page, f"docs/costs.md is not what `python -m benchmarks.cost_table` prints:\n{table}"


def test_the_page_speaks_of_the_day_the_prices_were_looked_up():
    page = (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")
    assert set(re.findall(r"looked up on (\S+),", page)) == {DOCUMENT["checked"]}


def test_a_path_through_the_machine_is_entered_as_often_as_partitions_and_chunks_ask():
    assert cost_table.entered(render.definition(), 3, 2) == {
        name: given if isinstance(given, int) else 1 for name, given in PASSED.items()
    }


def test_a_month_is_its_runs_and_what_stands_there():
    user = cost_table.User("one", 1, 1, 1000, "db.t4g.micro", 20)
    month = cost_table.of_month(user)
    run = cost.bill(cost_table.quantities(1000, 1), prices.read("us-east-1"))
    days = 730 / 24
    storage = 1000 * (166.2 * 365 + 122.8 * 90) / 2**30 * 0.023
    standing = cost_table.ALARMS * 0.10 + 3.00 + 2 * 0.40 + 1.00 + 730 * 0.016 + 20 * 0.115
    assert month.usd == pytest.approx(run.usd * days + storage + standing)


def test_what_stands_there_all_month_is_what_the_template_has():
    resources = json.loads((ROOT / "statemachine" / "resources.json").read_text())["Resources"]
    standing = [
        each["Type"] for each in resources.values() if each.get("Condition") not in ("MakesDatabase", "MakesProxy")
    ]
    functions = len(render.lambda_functions())  # errors and throttles of each are added to these
    assert standing.count("AWS::CloudWatch::Alarm") + 2 * functions == cost_table.ALARMS
    assert standing.count("AWS::KMS::Key") == cost_table.KEYS
    assert standing.count("AWS::SecretsManager::Secret") == cost_table.SECRETS
    assert standing.count("AWS::CloudWatch::Dashboard") == 1


def test_elsewhere_is_what_is_listed_there():
    user = cost_table.User("one", 10, 4, 1_000_000, "db.t4g.micro", 20)
    runs, rows = 40 * 730 / 24, 1_000_000 * 730 / 24
    assert cost_table.of_others(user) == pytest.approx(
        {"Airbyte Cloud": rows * 15 / 1e6, "Glue": runs * 2 * 0.44 / 60, "Fargate": runs * (0.08096 + 0.01778) / 60}
    )


def test_the_front_page_has_the_same_months():
    page, front = (read_document(name) for name in ("docs/costs.md", "README.md"))
    for theirs, ours in (
        ("**a month**", "a month, with a Postgres on RDS"),
        ("without the database", "without it"),
        ("a million rows, without the database", "a million rows, without it"),
    ):
        [expected] = [row(line) for line in page if line.startswith(f"| {theirs} |")]
        assert [row(line) for line in front if line.startswith(f"| {ours} |")] == [expected]


def read_document(name):
    return (Path(__file__).parents[2] / name).read_text(encoding="utf-8").splitlines()


def row(line):
    return [cell.strip(" *") for cell in line.split("|")[2:-1]]
