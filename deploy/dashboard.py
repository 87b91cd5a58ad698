"""The CloudWatch dashboard: runs, durations, rows by source, errors, dead letters."""

from __future__ import annotations

import json
from collections.abc import Iterable

from chalicelib.telemetry import NAMESPACE
from statemachine import render

_HOUR = 3600
_WIDTH, _HEIGHT = 12, 6  # two widgets in a row of 24 columns

_PREFIX = "${App}-${Stage}"
_STATE_MACHINE = "${StateMachine}"


def body(functions: Iterable[str]) -> dict:
    """`DashboardBody` as CloudFormation has it
    (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html)."""
    functions = list(functions)
    graphs = [
        _graph(
            "Runs",
            [["AWS/States", metric, "StateMachineArn", _STATE_MACHINE] for metric in _RUNS],
            "Sum",
        ),
        _graph(
            "Milliseconds per run",
            [
                [
                    "AWS/States",
                    "ExecutionTime",
                    "StateMachineArn",
                    _STATE_MACHINE,
                    {"stat": statistic, "label": statistic},
                ]
                for statistic in ("p50", "p90", "Maximum")
            ],
            "p50",
        ),
        # the gate counts a whole run, once
        _graph("Rows in, by source", [_search("RowsIn", "quality_gate")], "Sum"),
        _graph("Rows out, by source", [_search("RowsOut", "quality_gate")], "Sum"),
        _graph("Rows quarantined, by source", [_search("RowsQuarantined", "quality_gate")], "Sum"),
        _graph("Failures, by state and source", [_search("Failures")], "Sum"),
        _graph("Lambda errors", [_of_function("Errors", name) for name in functions], "Sum"),
        _graph("Lambda throttles", [_of_function("Throttles", name) for name in functions], "Sum"),
        _graph("Milliseconds per call, p90", [_of_function("Duration", name) for name in functions], "p90"),
        _graph(
            "Messages that wait",
            [
                ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", f"{_PREFIX}-{queue}"]
                for queue in ("dead-letters", "triggers", "undelivered")
            ],
            "Maximum",
        ),
        _graph("API: requests and errors", [_of_api(name) for name in ("Count", "4XXError", "5XXError")], "Sum"),
        _graph(
            "Milliseconds per answer of the API",
            [
                [*_of_api("Latency"), {"stat": statistic, "label": f"Latency {statistic}"}]
                for statistic in ("p50", "p95", "Maximum")
            ],
            "p50",
        ),
    ]
    for number, graph in enumerate(graphs):
        graph |= {"x": number % 2 * _WIDTH, "y": number // 2 * _HEIGHT, "width": _WIDTH, "height": _HEIGHT}
    return {"Fn::Sub": json.dumps({"widgets": graphs})}


_RUNS = ("ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted")


def _graph(title: str, metrics: list, statistic: str) -> dict:
    return {
        "type": "metric",
        "properties": {
            "title": title,
            "region": "${AWS::Region}",
            "view": "timeSeries",
            "stat": statistic,
            "period": _HOUR,
            "metrics": metrics,
        },
    }


def _of_function(metric: str, function: str) -> list:
    return ["AWS/Lambda", metric, "FunctionName", render.full_name(_PREFIX, function), {"label": function}]


def _of_api(metric: str) -> list:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html"""
    return ["AWS/ApiGateway", metric, "ApiName", _PREFIX]


def _search(metric: str, state: str | None = None) -> list:
    """All series of one of our metrics, whatever sources there are (see chalicelib/telemetry.py)."""
    condition = f' state="{state}"' if state else ""
    what = f'{{{NAMESPACE},service,source,stage,state}} MetricName="{metric}" stage="${{Stage}}"{condition}'
    return [{"expression": f"SEARCH('{what}', 'Sum', {_HOUR})", "id": metric.lower(), "label": ""}]
