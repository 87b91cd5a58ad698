"""Two alarms per function: it raises, or it is throttled. The others are in `statemachine/resources.json`."""

from __future__ import annotations

from collections.abc import Iterable

from statemachine import render

# one error may be a hiccup that the state machine's retry has got over, and a run that fails tells so itself
_ERRORS = 3


def of_functions(functions: Iterable[str]) -> dict[str, dict]:
    """The functions' alarms, by logical id."""
    made = {}
    for function in functions:
        name = render.placeholder(function).removesuffix("Arn")
        made[f"{name}ErrorsAlarm"] = _alarm(
            function, "Errors", f"{function} raised {_ERRORS} times within five minutes: see its log.", _ERRORS, 1
        )
        made[f"{name}ThrottlesAlarm"] = _alarm(
            function,
            "Throttles",
            f"{function} was throttled for a quarter of an hour: the account's Lambda concurrency does not suffice.",
            1,
            3,
        )
    return made


def _alarm(function: str, metric: str, description: str, threshold: int, periods: int) -> dict:
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmName": {"Fn::Sub": f"${{App}}-${{Stage}}-{metric.lower()}-{function}"},
            "AlarmDescription": description,
            "Namespace": "AWS/Lambda",
            "MetricName": metric,
            "Dimensions": [
                {"Name": "FunctionName", "Value": {"Fn::Sub": render.full_name("${App}-${Stage}", function)}}
            ],
            "Statistic": "Sum",
            "Period": 300,
            "EvaluationPeriods": periods,
            "Threshold": threshold,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "notBreaching",
            "AlarmActions": [{"Ref": "AlertsTopic"}],
        },
    }
