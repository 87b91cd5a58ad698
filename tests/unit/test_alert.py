"""Emails that a person can act on, whatever the values in them are."""

import dataclasses

import pytest
from reports import HOSTILE, report

from chalicelib.links import Links
from chalicelib.quality.alert import failure_alert, quality_alert
from chalicelib.quality.rows import Example
from chalicelib.quality.verdict import Finding
from chalicelib.settings import Settings

ARN = "arn:aws:states:eu-central-1:123456789012:execution:sluice:weather-2024-01-01"
AWS = Settings(bucket="my-bucket", state_machine_arn="arn:aws:states:eu-central-1:123456789012:stateMachine:sluice")
LINKS = Links(Settings(links_url="http://127.0.0.1:9000"))


def check_limits(alert):
    assert 0 < len(alert.subject) <= 100
    assert alert.subject.isascii() and alert.subject.isprintable()
    assert len(alert.message.encode()) < 8_192


def failure(**more):
    values = {"run_id": "r-1", "source": "weather", "state": "Fetch", "error": "SourceError", "cause": "no answer"}
    values |= {"links": LINKS, "execution": ARN, "published": False, "command": "sluice run weather --from 2024-01-01"}
    return failure_alert(**{**values, **more})


def test_a_quality_alert_tells_what_how_many_why_where_and_what_next():
    reason = Finding("fail", "expectation", "60 of 1,000 rows quarantined: temperature_max, expected at most 60",
                     60, 0.06, True, "a1", (Example("99", 3, "raw/part-0.csv", 12),))  # fmt: skip
    alert = quality_alert(report(findings=(report().findings[0], *[reason] * 4)), LINKS)
    check_limits(alert)
    assert alert.subject == "[sluice] weather: quality failed, 60 of 1000 rows quarantined"
    for told in (
        "Nothing is published",
        "1,000",
        "  1. 60 of 1,000 rows quarantined: temperature_max",
        "e.g. 99",
        "raw/part-0.csv line 12",
        "  3. ",
        "... and 1 more in the report",
        "Report: http://127.0.0.1:9000/runs/weather-2024-01-01/report.html",
        "Execution: http://127.0.0.1:9000/runs/weather-2024-01-01/graph.svg",
        "sluice runs show weather-2024-01-01",
        "sluice graph weather-2024-01-01",
    ):
        assert told in alert.message, told
    assert "  4. " not in alert.message


@pytest.mark.parametrize(
    ("verdict", "word"), [("fail", "failed"), ("warn", "passed with warnings"), ("pass", "passed")]
)
def test_the_subject_names_the_verdict(verdict, word):
    assert f"quality {word}," in quality_alert(report(verdict), LINKS).subject


def test_a_failure_alert_tells_state_error_cause_and_what_next():
    alert = failure()
    check_limits(alert)
    assert alert.subject == "[sluice] weather: run failed in Fetch (SourceError)"
    for told in (
        "the state Fetch",
        "SourceError",
        "no answer",
        "Nothing was published",
        "graph.svg",
        "sluice runs show r-1",
    ):
        assert told in alert.message, told
    assert alert.message.splitlines()[-1] == "  sluice run weather --from 2024-01-01"
    assert failure(command=None).message.splitlines()[-1] == "  sluice graph r-1"


def test_a_failure_after_publishing_does_not_claim_that_nothing_happened():
    assert "had been published" in failure(published=True).message


@pytest.mark.parametrize("value", [HOSTILE, "x" * 100_000, "ä€😀" * 20_000, "two\nlines\r\nand\ttabs\x00\x1b[31m", ""])
def test_no_value_breaks_an_email(value):
    finding = Finding("fail", "rejection", value, 1, 0.1, True, None, (Example(value, 1, value, 1),))
    hostile = report(findings=(finding,) * 10, run_id=value, source=value, table=value, suite=value, execution=value)
    for links in (LINKS, Links(AWS)):
        check_limits(quality_alert(hostile, links))
        names = ("run_id", "source", "state", "error", "cause", "execution")
        check_limits(failure(**dict.fromkeys(names, value), links=links, command=value))


def test_addresses_and_commands_survive_a_long_message():
    reasons = [Finding("fail", "rejection", "long " * 1000, 1, 0.1, True)] * 3
    alert = quality_alert(dataclasses.replace(report(), table="t" * 20_000, findings=tuple(reasons)), LINKS)
    check_limits(alert)
    assert "Report: http" in alert.message and "sluice graph weather-2024-01-01" in alert.message


def test_on_aws_links_lead_into_the_consoles():
    links = Links(AWS)
    assert links.report("runs/r-1/report.html") == (
        "https://eu-central-1.console.aws.amazon.com/s3/object/my-bucket"
        "?region=eu-central-1&prefix=runs%2Fr-1%2Freport.html"
    )
    assert links.execution(ARN) == (
        f"https://eu-central-1.console.aws.amazon.com/states/home?region=eu-central-1#/v2/executions/details/{ARN}"
    )
    china = ARN.replace("arn:aws:", "arn:aws-cn:").replace("eu-central-1", "cn-north-1")
    assert links.execution(china).startswith("https://cn-north-1.console.amazonaws.cn/")


def test_links_can_lead_to_the_local_stack():
    links = Links(Settings(links_url="http://127.0.0.1:9000/"))
    assert links.report("runs/r 1/report.html") == "http://127.0.0.1:9000/runs/r%201/report.html"
    assert links.execution("") == "http://127.0.0.1:9000/runs//graph.svg"
