"""`sluice undelivered`: what could not be delivered is listed, goes back to where it came from, or is discarded."""

import json
import time
import uuid

import pytest

PREFIX = "sluice-local"


@pytest.fixture
def waiting(pipeline):
    """waiting(body, **attributes): the id of such a message in the queue of what could not be delivered."""

    def put(body, **attributes):
        given = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        text = body if isinstance(body, str) else json.dumps(body)
        return pipeline.client("sqs").send_message(
            QueueUrl=pipeline.env["SLUICE_UNDELIVERED_URL"], MessageBody=text, MessageAttributes=given
        )["MessageId"]

    return put


def listed(pipeline, identity):
    found = json.loads(pipeline.sluice("undelivered", "list", "--json").stdout)
    return next((message for message in found if message["id"] == identity), None)


def run_of(pipeline, run_id, seconds=120):
    """How the run ended."""
    deadline = time.monotonic() + seconds
    while True:
        found = pipeline.query("SELECT status, fetched FROM pipeline.runs WHERE run_id = %s", run_id)
        if found and found[0][0] in ("succeeded", "failed", "rejected"):
            return found[0]
        assert time.monotonic() < deadline, f"{run_id} did not end"
        time.sleep(0.2)


def test_a_message_that_failed_is_listed_shown_and_sent_back_and_runs_once(pipeline, waiting):
    asked = {"source": "weather", "from": "2014-05-01", "to": "2014-05-02", "input": "Oslo"}
    identity = waiting(asked)
    assert listed(pipeline, identity)["kind"] == "message"
    run_id = f"weather-q{identity}"
    shown = pipeline.sluice("undelivered", "show", identity[:13]).stdout
    assert f"resend     to {PREFIX}-triggers: run {run_id}" in shown
    told = pipeline.sluice("undelivered", "resend", identity, "--dry-run").stdout
    assert f"would be {identity} to {PREFIX}-triggers: run {run_id}" in told and listed(pipeline, identity)
    sent = pipeline.sluice("undelivered", "resend", identity).stdout
    assert f"sent     {identity} to {PREFIX}-triggers: run {run_id}" in sent
    assert run_of(pipeline, run_id) == ("succeeded", 2)
    assert listed(pipeline, identity) is None
    again = waiting({**asked, "id": identity})
    [told] = json.loads(pipeline.sluice("undelivered", "resend", again, "--json").stdout)
    assert told["sent"] and told["then"] == f"nothing new: run {run_id} came of it before"


def test_a_schedule_goes_back_to_its_target_and_an_object_of_the_inbox_to_its_run(pipeline, waiting):
    due = f"2027-04-{1 + uuid.uuid4().int % 28:02}T05:{uuid.uuid4().int % 60:02}:00Z"
    target = f"arn:aws:sqs:us-east-1:123456789012:{PREFIX}-triggers"
    failed = {"SCHEDULE_ARN": "arn:s", "TARGET_ARN": target, "ERROR_CODE": "AccessDenied", "ERROR_MESSAGE": "no"}
    schedule = waiting({"source": "market", "scheduled": due}, **failed)
    assert (listed(pipeline, schedule)["error"], listed(pipeline, schedule)["kind"]) == ("AccessDenied", "schedule")
    [told] = json.loads(pipeline.sluice("undelivered", "resend", schedule, "--json").stdout)
    assert told["to"] == f"{PREFIX}-triggers"
    assert run_of(pipeline, told["then"].removeprefix("run "))[0] == "succeeded"

    name = uuid.uuid4().hex
    thing = {"key": f"inbox/nobody_{name}/a.csv", "size": 5, "eTag": "e"}
    s3 = {"bucket": {"name": pipeline.env["SLUICE_BUCKET"]}, "object": thing}
    notice = waiting({"Records": [{"eventName": "ObjectCreated:Put", "s3": s3}]})
    assert "the object is quarantined: no source is called" in pipeline.sluice("undelivered", "resend", notice).stdout
    deadline = time.monotonic() + 60
    while name not in pipeline.sluice("quarantine", "objects").stdout:
        assert time.monotonic() < deadline
    assert listed(pipeline, notice) is None


def test_what_would_be_refused_again_or_cannot_go_back_stays_and_is_told(pipeline, waiting):
    nobody = waiting({"source": "nobody"}, error="UnknownSource", reason="no source is called 'nobody'")
    broken, hopeless = waiting('{"source": '), waiting({"source": "posts", "from": "2024-01-01"})
    record = waiting({"kind": "change record", "stream": "s", "shard": "0", "sequence": "7", "reason": "no JSON"})
    tried = pipeline.sluice("undelivered", "resend", nobody, broken, hopeless, record, status=1)
    for identity, words in (
        (nobody, "UnknownSource: no source is called 'nobody'"),
        (broken, "ContractError: the message is not JSON"),
        (hopeless, "ContractError: posts has no windows"),
        (record, "a record of the change stream cannot be sent back"),
    ):
        assert f"stays    {identity}: " in tried.stderr and words in tried.stderr
        assert listed(pipeline, identity)
    assert tried.stdout == ""
    assert "discarded" not in pipeline.sluice("undelivered", "discard", nobody, status=1, given="n\n").stdout
    assert listed(pipeline, nobody)
    gone = pipeline.sluice("undelivered", "discard", nobody, broken, hopeless, record, "--yes").stdout
    assert all(f"discarded {identity}" in gone for identity in (nobody, broken, hopeless, record))
    assert not any(listed(pipeline, identity) for identity in (nobody, broken, hopeless, record))


def test_messages_are_named_by_id_or_kind_and_one_that_is_not_there_is_told(pipeline):
    for command in ("resend", "discard"):
        assert "by their IDs, or by --kind" in pipeline.sluice("undelivered", command, status=2).stderr
        assert "no message nosuch" in pipeline.sluice("undelivered", command, "nosuch", status=1).stderr
    assert "no message nosuch" in pipeline.sluice("undelivered", "show", "nosuch", status=1).stderr
