"""What the functions log and measure: JSON lines that say which run they are about, metrics that keep the account."""

import json

import pytest

DECLARATION = """
location = "part*.ndjson"
table = "telemetry"
key = ["id"]
suite = "suite.json"
[columns]
id = "integer not null"
"""
TOLERANT = {
    "expectations": [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "id", "max_value": 90},
            "severity": "critical",
        }
    ],
    "meta": {"sluice": {"quarantine": {"warn": 0.0, "fail": 1.0}}},
}
# two files, so two chunks: 50 rows of which 1 does not fit its column; 50 of which 10 fail the expectation
FIRST = [{"id": number} for number in range(49)] + [{"id": "many"}]
SECOND = [{"id": number} for number in range(51, 101)]
LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


@pytest.fixture(scope="module")
def run(pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("telemetry")
    for name, rows in (("part0.ndjson", FIRST), ("part1.ndjson", SECOND)):
        (folder / name).write_text("\n".join(map(json.dumps, rows)))
    (folder / "suite.json").write_text(json.dumps({"name": "telemetry", **TOLERANT}))
    (folder / "telemetry.toml").write_text(DECLARATION)
    return pipeline.run("files", input=str(folder / "telemetry.toml"), embed=False)


@pytest.fixture(scope="module")
def lines(pipeline, run):
    """Every line that is about the run; those of other runs are read too, since all have to be JSON."""
    text, decoder, read = (pipeline.home / "logs" / "lambda.log").read_text(), json.JSONDecoder(), []
    while text := text.lstrip():  # workers share the file: two objects may end up on one line
        document, end = decoder.raw_decode(text)
        read.append(document)
        text = text[end:]
    return [line for line in read if line.get("run_id") == run.run_id]


def stage_lines(lines):
    return [line for line in lines if line.get("message") == "stage done"]


def metrics(lines, state, name):
    """What a state's invocations measured, one value each."""
    measured = [line for line in lines if "_aws" in line and line["state"] == state]
    return [sum(line[name]) for line in measured if name in line]


def test_a_line_is_a_log_record_or_metrics(lines):
    assert lines
    for line in lines:
        assert line["service"] == "sluice"
        assert line.get("level") in LEVELS or line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Sluice"


def test_every_state_logs_once_what_it_is_about(lines):
    found = [(line["state"], line.get("partition"), line.get("chunk")) for line in stage_lines(lines)]
    once = [(state, None, None) for state in ("plan", "write_manifest", "quality_gate", "publish", "complete")]
    chunks = [(state, None, chunk) for state in ("transform", "validate", "load") for chunk in (0, 1)]
    partitions = [("fetch_partition", number, None) for number in (0, 1)]
    assert sorted(found, key=str) == sorted(once + chunks + partitions, key=str)
    assert {line["source"] for line in stage_lines(lines)} == {"files"}


def test_metrics_keep_the_runs_account(lines, run):
    fetched, quarantined = run.row["fetched"], run.row["quarantined"]
    assert (fetched, quarantined) == (100, 11)
    for name, of_each_state in {
        "RowsIn": {"transform": fetched, "validate": fetched, "quality_gate": fetched, "publish": fetched},
        "RowsOut": {
            "transform": fetched - 1,
            "validate": fetched - quarantined,
            "load": fetched - quarantined,
            "quality_gate": fetched - quarantined,
            "publish": run.row["inserted"],
        },
        "RowsQuarantined": {
            "transform": 1,
            "validate": quarantined,
            "load": quarantined,
            "quality_gate": quarantined,
            "publish": quarantined,
        },
    }.items():
        assert {state: sum(metrics(lines, state, name)) for state in of_each_state} == of_each_state, name


def test_every_invocation_logs_its_seconds_and_no_state_failed(lines):
    assert all(0 <= line["seconds"] < 300 for line in stage_lines(lines))
    assert sum(len(metrics(lines, state, "Failures")) for state in {line["state"] for line in lines}) == 0


def test_metrics_are_by_state_and_source(lines):
    for line in lines:
        if "_aws" in line:
            assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stage", "state", "source", "service"]]
