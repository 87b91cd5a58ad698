"""A batch of messages: one that fails is named and measured, and keeps none of the others from being tried."""

import json
import sys

import pytest

from chalicelib import telemetry
from chalicelib.errors import WarehouseUnavailable


@pytest.fixture
def batch(monkeypatch, capsys):
    """batch() is one, whose log can be captured."""

    def begun():
        for handler in telemetry.logger.handlers:  # it keeps the stream that it was made with
            monkeypatch.setattr(handler, "stream", sys.stdout)
        return telemetry.batch("start_run")

    return begun


def lines(captured) -> list[dict]:
    return [json.loads(line) for line in captured.out.splitlines() if line.startswith("{")]


def test_each_message_is_tried_and_those_that_fail_are_named_logged_and_counted(batch, capsys):
    done = []
    with batch() as tried:
        for name in ("a", "b", "c"):
            with tried(name):
                if name == "b":
                    raise WarehouseUnavailable("Postgres is out of reach", run_id="r")
                done.append(name)
    assert (done, tried.failed, tried.tried) == (["a", "c"], ["b"], 3)
    said = lines(capsys.readouterr())
    [refused] = [line for line in said if line.get("message_id") == "b"]
    assert (refused["level"], refused["error"], refused["details"]) == (
        "ERROR",
        "WarehouseUnavailable",
        {"run_id": "r"},
    )
    [metric] = [line for line in said if "_aws" in line]
    assert (metric["state"], metric["Failures"]) == ("start_run", [1.0])
    [end] = [line for line in said if line.get("message") == telemetry.DONE]
    assert (end["messages"], end["failed"]) == (3, 1)


def test_an_error_that_nobody_foresaw_is_logged_with_its_place(batch, capsys):
    with batch() as tried, tried("a"):
        raise ZeroDivisionError("division by zero")
    [line] = [line for line in lines(capsys.readouterr()) if line.get("message_id") == "a"]
    assert "test_batch.py" in line["exception"]


def test_a_batch_without_failures_reports_no_metric(batch, capsys):
    with batch() as tried, tried("a"):
        pass
    assert not [line for line in lines(capsys.readouterr()) if "_aws" in line]
