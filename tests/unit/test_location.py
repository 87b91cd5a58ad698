"""Where a stage on AWS may read files, and what it says of a file elsewhere."""

import dataclasses

import pytest
from botocore.exceptions import ClientError
from loopback import serving
from werkzeug.wrappers import Response

from chalicelib import settings
from chalicelib.errors import SourceError, TerminalError
from chalicelib.lake import store
from chalicelib.sources import location


class Refusing:
    """An S3 client that answers everything with one error."""

    def __init__(self, code: str):
        self._code = code

    def get_object(self, **_):
        raise ClientError({"Error": {"Code": self._code, "Message": "no"}, "ResponseMetadata": {}}, "GetObject")

    def get_paginator(self, _):
        return self

    def paginate(self, **_):
        self.get_object()


@pytest.fixture
def deployed():
    return dataclasses.replace(settings.load({}), stage="dev", bucket="lake")


@pytest.mark.parametrize("reading", [location.find, location.open_file])
def test_a_bucket_that_the_policy_does_not_name_is_said_with_what_to_do(monkeypatch, deployed, reading):
    monkeypatch.setattr(store, "_client", lambda: Refusing("AccessDenied"))
    with pytest.raises(SourceError) as raised:
        reading("s3://theirs/orders.csv", deployed)
    assert "may not read s3://theirs/orders.csv" in str(raised.value)
    assert "inbox/" in raised.value.next_step
    assert "deployment.read_buckets" in raised.value.next_step


@pytest.mark.parametrize("reading", [location.find, location.open_file])
def test_another_refusal_stays_what_it_is(monkeypatch, deployed, reading):
    monkeypatch.setattr(store, "_client", lambda: Refusing("InvalidObjectState"))
    with pytest.raises(TerminalError, match=r"S3 refused s3://theirs/orders\.csv") as raised:
        reading("s3://theirs/orders.csv", deployed)
    assert not isinstance(raised.value, SourceError)


def test_a_source_that_declares_hosts_is_redirected_to_these_alone(deployed):
    with serving(Response("x\n1\n")) as elsewhere:
        other = elsewhere.removeprefix("http://")
        away = Response(status=302, headers={"Location": f"{elsewhere}/a.csv"})
        with serving(away) as url:
            assert location.open_file(f"{url}/a.csv", deployed, {other}).read() == b"x\n1\n"
            for declared in ({"files.example.com"}, ()):
                with pytest.raises(SourceError, match=r"redirects to .* none of the hosts"):
                    location.open_file(f"{url}/a.csv", deployed, declared)
