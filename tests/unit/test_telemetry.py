"""What `run_stage` logs and measures of a stage that succeeds, one that raises, and one that is called wrongly."""

import json
import sys
from dataclasses import dataclass

import pytest

from chalicelib import telemetry
from chalicelib.errors import ContractError, SourceUnavailable


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
    monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", "true")

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
