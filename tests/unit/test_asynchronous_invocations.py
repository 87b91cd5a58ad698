"""An event is handed over at once, and a function that fails on it gets it twice more, as on AWS."""

import json
import os
import uuid

import pytest
from event_functions import eventually, write_app

from local.gateway import Gateway
from local.runtime import Runtime


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    write_app(folder)
    return folder


@pytest.fixture(scope="module")
def post(folder):
    """post(function, event) hands an event over; the answer's status."""
    from werkzeug.test import Client

    environment = {"PATH": os.environ["PATH"], "NOTES": str(folder / "notes.ndjson")}
    runtime = Runtime(folder, environment, folder / "lambda.log", workers=1, preload=("decimal",))
    client = Client(Gateway(None, runtime, {}, list))

    def post(function, event):
        return client.post(
            f"/2015-03-31/functions/{function}/invocations",
            data=json.dumps(event),
            headers={"X-Amz-Invocation-Type": "Event"},
        ).status_code

    yield post
    runtime.close()


def given(folder, name):
    """How often a function got the event of that name."""
    notes = folder / "notes.ndjson"
    lines = notes.read_text().split("\n")[:-1] if notes.exists() else []
    return sum(json.loads(line)["event"].get("name") == name for line in lines)


def test_a_function_that_fails_gets_the_event_twice_more(post, folder):
    name = uuid.uuid4().hex
    assert post("refuse", {"name": name}) == 202
    eventually(lambda: given(folder, name) == 3)


def test_a_function_that_succeeds_gets_it_once(post, folder):
    name = uuid.uuid4().hex
    assert post("accept", {"name": name}) == 202
    eventually(lambda: given(folder, name) == 1)
    # one that fails meanwhile has had all of its tries by the time that this one would have had another
    other = uuid.uuid4().hex
    post("refuse", {"name": other})
    eventually(lambda: given(folder, other) == 3)
    assert given(folder, name) == 1
