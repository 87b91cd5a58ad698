"""Which pages may call the API: those of the origins that are set, by name, none by default."""

import pytest

from chalicelib import settings
from chalicelib.api import cors

ONE, OTHER = "https://app.example.org", "https://other.example.org:8443"


@pytest.fixture
def origins(monkeypatch):
    def configured(text):
        monkeypatch.setattr(cors.settings, "current", lambda: settings.load({}, cors_origins=text))

    return configured


def test_by_default_no_page_may(origins):
    origins("")
    assert cors.headers({"Origin": ONE}) == cors.preflight("/runs", {"Origin": ONE}) == {}


@pytest.mark.parametrize("origin", [ONE, OTHER])
def test_an_origin_that_is_set_is_answered_by_its_name(origins, origin):
    origins(f"{ONE} {OTHER}")
    assert cors.headers({"Origin": origin}) == {"Vary": "Origin", "Access-Control-Allow-Origin": origin}
    told = cors.preflight("/runs", {"Origin": origin})
    assert told["Access-Control-Allow-Methods"] == "GET, POST"
    assert "Authorization" in told["Access-Control-Allow-Headers"]
    assert "X-Api-Key" in told["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in told


@pytest.mark.parametrize(
    "origin", [None, "", "null", "*", "https://app.example.org.evil.example", "http://app.example.org", ONE.upper()]
)
def test_any_other_is_not(origins, origin):
    for text in (f"{ONE} {OTHER}", "*", f"* {ONE}"):
        origins(text)
        request = {} if origin is None else {"Origin": origin}
        assert cors.headers(request) == cors.preflight("/runs", request) == {"Vary": "Origin"}
