"""StartRun tells of a message that no run was started for, without what its source's records hold."""

import json
import sys

import pytest

from chalicelib import settings, telemetry
from chalicelib.errors import ContractError, SourceUnavailable
from chalicelib.events import start_run as module
from chalicelib.settings import Settings

MARKER = "Marker-4711"


class Recorder:
    """Stands in for the clients of SQS and SNS; `sent` has what they were given."""

    def __init__(self):
        self.sent = []

    def send_message(self, **given):
        self.sent.append(given["MessageAttributes"])

    def publish(self, **given):
        self.sent.append(given["Message"])
        self.mailed = given["Message"]


@pytest.fixture
def started(monkeypatch, capsys):
    """started(source, error): (the messages that come again, what was logged and told) where starting a run raises."""
    names = ("bucket", "database_url", "state_machine_arn", "topic_arn", "undelivered_url")
    monkeypatch.setattr(settings, "current", lambda: Settings(**dict.fromkeys(names, "x")))
    told = Recorder()
    monkeypatch.setattr(module, "_sqs", lambda: told)
    monkeypatch.setattr(module, "_sns", lambda: told)

    def call(source, error):
        for handler in telemetry.logger.handlers:  # it keeps the stream that it was made with
            monkeypatch.setattr(handler, "stream", sys.stdout)

        def fails(trigger):
            raise error

        monkeypatch.setattr(module, "start", fails)
        body = source if source.startswith("{") else json.dumps({"source": source})
        answer = module.start_run({"Records": [{"messageId": "m", "body": body}]})
        return answer["batchItemFailures"], capsys.readouterr().out + json.dumps(told.sent)

    call.told = told
    return call


ERRORS = [
    SourceUnavailable("it did not answer", quote=MARKER),
    ContractError("it is none", quote=MARKER),
    ValueError(f"invalid literal: {MARKER}"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("source", "quoted"), [("people", False), ("posts", True)])
def test_what_is_logged_mailed_and_set_aside_quotes_no_record_of_a_source_with_personal_columns(
    started, error, source, quoted
):
    failed, said = started(source, error)
    assert bool(failed) == (type(error) is not ContractError)  # that is refused, once and for all
    assert type(error).__name__ in said
    assert (MARKER in said) == quoted


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"email": MARKER, "born": "1815-12-10"}, []),
        ({"source": "people", "id": MARKER, "note": MARKER}, []),
        ({"source": "files", "input": f"https://ada:{MARKER}@host/x.csv?day=1&token={MARKER}"}, ["files", "day=1"]),
        ({"source": "weather", "from": "2026-01-01", "id": "it"}, ["weather", "2026-01-01"]),
    ],
    ids=["a record", "a record with a source", "secrets in a URL", "harmless"],
)
def test_an_email_about_a_refused_message_tells_what_was_asked_for_and_nothing_else_of_it(started, body, told):
    started(json.dumps(body), ContractError("it is none"))
    assert MARKER not in started.told.mailed
    assert all(words in started.told.mailed for words in told)


@pytest.mark.parametrize(
    "body",
    [
        {"source": "people", "id": {"email": MARKER}},
        {"source": {"email": MARKER}},
        {"source": "people", "from": [MARKER]},
    ],
    ids=["id", "source", "from"],
)
def test_a_record_in_the_place_of_a_value_is_told_nowhere(started, body):
    failed, said = started(json.dumps(body), ContractError("it is none"))
    assert not failed
    assert "ContractError" in said and MARKER not in said
