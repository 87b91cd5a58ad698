"""The quality report: the same content as data and as one page that needs nothing else."""

import html.parser
import json
import re

import pytest
from reports import HOSTILE, report

from chalicelib.contracts import Window
from chalicelib.quality.rows import Example
from chalicelib.quality.verdict import Finding


class Page(html.parser.HTMLParser):
    """What a browser would make of the page: its elements, and the text outside of its style."""

    def __init__(self, page: bytes):
        super().__init__()
        self.tags, self.attributes, self.words, self._open = [], [], [], []
        self.feed(page.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self):
        assert not self._open, f"never closed: {self._open}"
        return " ".join(" ".join(self.words).split())


def test_the_page_says_verdict_account_reasons_and_what_to_type():
    text = Page(report().to_html()).text
    for told in (
        "Failed",
        "Nothing is published: the table curated.weather stays exactly as it was.",
        "1,000 fetched",
        "940 staged",
        "60 quarantined",
        "fails above 5%",
        "temperature_max: at most 60",
        "60 of 1,000 rows fail, 6%",
        "row count: at least 1",
        "raw/source=weather/part-0.csv line 12",
        "sluice runs show weather-2024-01-01",
        "sluice graph weather-2024-01-01",
        "sluice run weather",
        "s3://bucket/runs/x/manifest.json",
    ):
        assert told in text, told


@pytest.mark.parametrize("verdict", ["pass", "warn", "fail"])
def test_every_verdict_has_a_page_that_is_well_formed(verdict):
    for made in (report(verdict), report(verdict, 0, findings=(), window=Window(), finished=None, references={})):
        assert Page(made.to_html()).text


def test_values_are_shown_as_text_whatever_they_hold():
    everything = {name: HOSTILE for name in ("run_id", "source", "table", "started", "finished", "execution", "suite")}
    made = report(**everything, references={HOSTILE: HOSTILE}, window=Window(HOSTILE, HOSTILE))
    page = Page(made.to_html())
    assert HOSTILE.replace("  ", " ") in page.text
    assert not {"script", "img"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_the_page_needs_nothing_from_elsewhere():
    page = report().to_html().decode()
    style = page[page.index("<style>") : page.index("</style>")]
    assert not re.search(r"url\(|@import", style)
    parsed = Page(page.encode())
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    assert not {"src", "href"} & {name for name, _ in parsed.attributes}
    assert "default-src 'none'" in page


def test_the_page_is_for_phones_the_dark_and_paper():
    page = report().to_html().decode()
    assert "width=device-width" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_a_huge_example_and_many_findings_keep_the_page_small():
    finding = Finding("warn", "rejection", "broken", 1, 0.001, True, None, (Example("x" * 1_000_000),))
    assert len(report(findings=(finding,) * 1000).to_html()) < 100_000


def test_the_json_has_the_same_content():
    document = json.loads(report().to_json())
    assert document["verdict"] == "fail"
    assert document["account"] == {"fetched": 1000, "staged": 940, "quarantined": 60}
    assert document["findings"][1]["examples"][0]["line"] == 12
    assert [result["share"] for result in document["results"]] == [0.06, None]
    assert document["tolerance"] == {"warn": 0.0, "fail": 0.05}
    assert document["window"]["start"] == "2024-01-01"


def test_why_a_run_is_rejected_names_every_finding_that_fails_it_and_what_to_do():
    noted = Finding("warn", "expectation", "3 of 4 rows: name, expected matching ^[a-z]+$")
    found = report(findings=(*report().findings, noted), command="sluice run weather --from 2024-01-01")
    tolerance, unfit = found.why_rejected.split("; ")
    assert tolerance == "60 of 1,000 rows quarantined, 6%"
    assert unfit.startswith("temperature_max is ") and "name, expected" not in unfit
    assert unfit.endswith(
        " Next: once the source is corrected, or expectations/weather.json where it asks too much, "
        "`sluice run weather --from 2024-01-01`"
    )
    many = tuple(Finding("fail", "expectation", f"column {number}") for number in range(23))
    assert "; column 19; and 3 more, in the report Next: " in report(findings=many).why_rejected


@pytest.mark.parametrize("verdict", ["pass", "warn"])
def test_a_run_that_is_published_has_no_reason_to_be_rejected(verdict):
    assert report(verdict=verdict, findings=()).why_rejected is None


def test_the_reasons_leave_out_the_bare_tolerance():
    assert [finding.kind for finding in report().reasons] == ["expectation"]
