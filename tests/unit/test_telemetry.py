"""What `run_stage` logs and measures of a stage that succeeds, one that raises, and one that is called wrongly."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from chalicelib import telemetry
from chalicelib.errors import ContractError, SourceUnavailable

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Request:
    run_id: str
    source: str
    chunk: dict


@dataclass(frozen=True)
class Result:
    records: int
    rows: int
    rejected: int


EVENT = {"run_id": "june", "source": "weather", "chunk": {"chunk": 3}}


@pytest.fixture
def called(monkeypatch, capsys):
    """called(stage, event): (what came of it, its log record, its metrics)."""

    def call(stage, event=EVENT):
        for handler in telemetry.logger.handlers:  # it keeps the stream that it was made with
            monkeypatch.setattr(handler, "stream", sys.stdout)
        try:
            answer = telemetry.run_stage(stage, Request, event)
        except Exception as error:
            answer = error
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        [record] = [line for line in lines if "level" in line]
        [metrics] = [line for line in lines if "_aws" in line]
        return answer, record, metrics

    return call


def transform(request):
    return Result(records=10, rows=8, rejected=2)


def test_a_stage_that_succeeds_is_logged_and_measured_with_what_it_is_about(called):
    answer, record, metrics = called(transform)
    assert answer == {"records": 10, "rows": 8, "rejected": 2}
    about = {"state": "transform", "run_id": "june", "source": "weather", "chunk": 3}
    assert record.items() >= {"level": "INFO", "message": "stage done", **about}.items()
    rows = {"RowsIn": 10, "RowsOut": 8, "RowsQuarantined": 2}
    assert record.items() >= rows.items()
    assert {name: sum(metrics[name]) for name in rows} == rows
    assert metrics["run_id"] == "june"
    assert "Failures" not in metrics
    [directive] = metrics["_aws"]["CloudWatchMetrics"]
    assert [sorted(names) for names in directive["Dimensions"]] == [["service", "source", "stage", "state"]]
    assert [metrics[name] for name in ("stage", "state", "source")] == ["local", "transform", "weather"]


def test_an_error_is_logged_with_its_name_and_reason_counted_and_raised_on(called):
    def transform(request):
        raise SourceUnavailable("it did not answer", source="weather", status=503)

    raised, record, metrics = called(transform)
    assert isinstance(raised, SourceUnavailable)
    assert (
        record.items()
        >= {
            "level": "ERROR",
            "message": "stage failed",
            "error": "SourceUnavailable",
            "reason": "it did not answer (source=weather, status=503)",
            "details": {"source": "weather", "status": 503},
            "run_id": "june",
            "chunk": 3,
        }.items()
    )
    assert metrics["Failures"] == [1.0]
    assert record["seconds"] >= 0
    assert metrics["source"] == "weather"
    assert "RowsIn" not in metrics


@pytest.mark.parametrize("event", [{"run_id": "june"}, {**EVENT, "more": 1}, {**EVENT, "source": 7}, [], None, "june"])
def test_an_event_that_is_not_the_contract_is_a_contract_error_and_never_reaches_the_stage(called, event):
    def transform(request):
        raise AssertionError("it was called")

    raised, record, metrics = called(transform, event)
    assert isinstance(raised, ContractError)
    assert (record["error"], metrics["Failures"]) == ("ContractError", [1.0])


def test_a_line_is_about_its_own_event_whatever_the_process_did_before(called):
    called(transform)
    _, record, _ = called(transform, None)
    assert not record.keys() & {"run_id", "source", "chunk", "partition", "shard"}


def test_before_the_input_is_read_its_source_is_named(called):
    _, record, metrics = called(transform, {"run_id": "june", "input": {"source": "weather"}})
    assert (record["source"], metrics["source"]) == ("weather", "weather")


# --- traces ------------------------------------------------------------------------------------

TRACED = """
import sys
from dataclasses import dataclass
from chalicelib import telemetry

@dataclass(frozen=True)
class Nothing:
    pass

def transform(request):
    return Nothing()

telemetry.run_stage(transform, Nothing, {})
print("aws_xray_sdk.core" in sys.modules)
"""


@pytest.mark.parametrize(
    ("of_lambda", "sampled"),
    [({"LAMBDA_TASK_ROOT": "/var/task"}, "1"), ({"LAMBDA_TASK_ROOT": "/var/task"}, "0"), ({}, None)],
    ids=["sampled", "not sampled", "elsewhere"],
)
def test_a_stage_is_a_subsegment_of_the_trace_that_is_taken_and_else_nothing_of_x_ray_is_imported(of_lambda, sampled):
    taken = sampled == "1"
    header = f"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled={sampled};Lineage=1:a:0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.setblocking(False)
        variables = {**of_lambda, "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{daemon.getsockname()[1]}"}
        if sampled:
            variables["_X_AMZN_TRACE_ID"] = header
        ran = subprocess.run(
            [sys.executable, "-c", TRACED], cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.splitlines()[-1] == str(taken)
        if taken:
            _, _, segment = daemon.recv(65536).partition(b"\n")
            assert json.loads(segment)["name"] == "## transform"
        else:
            with pytest.raises(BlockingIOError):
                daemon.recv(65536)
