"""No secret reaches a message, and what is no secret stays readable."""

from __future__ import annotations

import pytest

from chalicelib import redaction


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://x.org/a?key=1", "https://x.org/a?key=***"),
        ("https://x.org/a?city=Oslo&api_key=abc&day=1", "https://x.org/a?city=Oslo&api_key=***&day=1"),
        ("https://x.org/a?X-Amz-Signature=abc&X-Amz-Date=1", "https://x.org/a?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://x.org/a?access%5Ftoken=abc#top", "https://x.org/a?access%5Ftoken=***#top"),
        ("https://me:pass@x.org/a", "https://***@x.org/a"),
        ("https://x.org/monkey/token", "https://x.org/monkey/token"),
        ("https://[not a url?password=abc", "https://[not a url?password=***"),
        ("https://x.org/a?token=", "https://x.org/a?token="),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, shown):
    assert redaction.url(url) == shown


def test_every_string_of_a_json_value_is_shown_without_its_secrets():
    given = {
        "source": "files",
        "input": "https://x.org/a.toml?api_key=SECRET",
        "more": ["https://x.org/?sig=S", 1, None],
    }
    assert redaction.strings(given) == {
        "source": "files",
        "input": "https://x.org/a.toml?api_key=***",
        "more": ["https://x.org/?sig=***", 1, None],
    }


def test_what_was_sent_secretly_is_masked_where_it_comes_back():
    withheld = redaction.secrets(
        "https://x.org/?token=s%2Fcret1&city=Lisbon", {"Authorization": "Bearer qwertz", "Accept": "application/json"}
    )
    assert redaction.text("s%2Fcret1 s/cret1 qwertz Lisbon application/json", withheld) == (
        "*** *** *** Lisbon application/json"
    )


def test_short_values_are_left_alone():
    assert redaction.text("1 of 10", redaction.secrets("https://x.org/?key=1", {})) == "1 of 10"
