"""A report to try things on."""

from chalicelib.contracts import Window
from chalicelib.quality.report import Report, RowAccount
from chalicelib.quality.results import ItemResult
from chalicelib.quality.rows import Example
from chalicelib.quality.suite import Tolerance
from chalicelib.quality.verdict import Finding

HOSTILE = "<script>alert(1)</script> & \"quoted\" 'too' <img src=x onerror=alert(1)>"
EXAMPLE = Example(HOSTILE, 3, "raw/source=weather/part-0.csv", 12)


def report(verdict="fail", quarantined=60, **more):
    values = {
        "run_id": "weather-2024-01-01",
        "source": "weather",
        "table": "curated.weather",
        "verdict": verdict,
        "started": "2024-01-02T06:00:00Z",
        "finished": "2024-01-02T06:00:09Z",
        "account": RowAccount(1000, 1000 - quarantined, quarantined),
        "findings": (
            Finding("fail", "tolerance", "60 of 1,000 rows quarantined, 6%", 60, 0.06, True),
            Finding("fail", "expectation", f"temperature_max is {HOSTILE}", 60, 0.06, True, "a1", (EXAMPLE,)),
        ),
        "results": (
            ItemResult("a1", "expect_column_values_to_be_between", "critical", "row", "temperature_max: at most 60",
                       False, "60 of 1,000 rows", 1000, 60, None, None, (EXAMPLE,)),
            ItemResult("b2", "expect_table_row_count_to_be_between", "critical", "dataset", "row count: at least 1",
                       True, "row count: 940", observed="940"),
        ),
        "tolerance": Tolerance(0.0, 0.05),
        "window": Window("2024-01-01", "2024-01-01"),
        "execution": "arn:aws:states:eu-central-1:123456789012:execution:sluice:weather-2024-01-01",
        "suite": "expectations/weather.json",
        "references": {"raw": "s3://bucket/raw/source=weather/", "manifest": "s3://bucket/runs/x/manifest.json"},
    }  # fmt: skip
    return Report(**{**values, **more})
