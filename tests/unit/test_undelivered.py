"""What is in the queue `undelivered` is told apart by its form, stays there when it is read, and knows its way back."""

import json
import uuid

import boto3
import moto_server
import pytest

from chalicelib.errors import ContractError, NotFound, TerminalError
from chalicelib.triggers import undelivered
from chalicelib.triggers.undelivered import CHANGE, MESSAGE, OBJECT, SCHEDULE, WEBHOOK, chosen, taken

QUEUE_ARN = "arn:aws:sqs:us-east-1:123456789012:sluice-local-triggers"
FUNCTION_ARN = "arn:aws:lambda:us-east-1:123456789012:function:simulate_sensors"


def notice(key):
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key}}}]})


def from_scheduler(target):
    return {
        "ERROR_CODE": "AccessDenied",
        "ERROR_MESSAGE": "the role may not",
        "SCHEDULE_ARN": "arn:aws:scheduler:us-east-1:123456789012:schedule/sluice-local/sluice-local-x",
        "TARGET_ARN": target,
    }


REFUSED = {"error": "UnknownSource", "reason": "no source is called 'nobody'"}
SCHEDULED = json.dumps({"source": "weather", "scheduled": "2026-11-21T13:00:00Z"})
BATCH = {
    "requestContext": {"condition": "RetryAttemptsExhausted"},
    "KinesisBatchInfo": {"shardId": "s", "batchSize": 3},
}
RECORD = {"kind": "change record", "stream": "s", "shard": "0", "sequence": "7", "reason": "no JSON"}
# its body, its attributes; the kind, why it is here, where it goes back to
FORMS = {
    "a message that was refused": (json.dumps({"source": "nobody"}), REFUSED, MESSAGE, "UnknownSource", "x-triggers"),
    "what is no JSON": ("{", {"error": "ContractError"}, MESSAGE, "ContractError", "x-triggers"),
    "what is no object": ("[1]", {}, MESSAGE, "given up", "x-triggers"),
    "an object of the inbox": (notice("inbox/posts/a.csv"), {}, OBJECT, "given up", "x-triggers"),
    "a schedule's message that was refused": (SCHEDULED, REFUSED, SCHEDULE, "UnknownSource", "x-triggers"),
    "what the scheduler could not send to the queue": (
        SCHEDULED,
        from_scheduler(QUEUE_ARN),
        SCHEDULE,
        "AccessDenied",
        "sluice-local-triggers",
    ),
    "what the scheduler could not send to a function": (
        "{}",
        from_scheduler(FUNCTION_ARN),
        SCHEDULE,
        "AccessDenied",
        FUNCTION_ARN,
    ),
    "a batch of the stream": (json.dumps(BATCH), {}, CHANGE, "given up", None),
    "a record of the stream": (json.dumps(RECORD), {}, CHANGE, "ChangeError", None),
}


@pytest.fixture(scope="module")
def sqs():
    with moto_server.running() as url:
        yield boto3.client("sqs", endpoint_url=url)


@pytest.fixture
def queue(sqs):
    return sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]


def put(sqs, queue, body, attributes=None):
    given = {name: {"DataType": "String", "StringValue": value} for name, value in (attributes or {}).items()}
    return sqs.send_message(QueueUrl=queue, MessageBody=body, MessageAttributes=given)["MessageId"]


@pytest.mark.parametrize(("body", "attributes", "kind", "error", "to"), FORMS.values(), ids=FORMS)
def test_a_message_is_known_by_its_form(sqs, queue, body, attributes, kind, error, to):
    identity = put(sqs, queue, body, attributes)
    with taken(sqs, queue) as [message]:
        assert (message.id, message.kind, message.error, message.body) == (identity, kind, error, body)
        if to is None:
            with pytest.raises(TerminalError, match=f"sluice undelivered discard {identity}"):
                message.target("x")
        else:
            assert message.target("x") == to


def test_a_notice_of_a_webhook_goes_back_to_the_queue_that_it_was_moved_from(sqs, queue):
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})}
    name = f"{uuid.uuid4().hex[:8]}-webhook-events"
    origin = sqs.create_queue(QueueName=name, Attributes={**redrive, "VisibilityTimeout": "0"})["QueueUrl"]
    put(sqs, origin, notice("webhooks/orders/1.json"))
    for _ in range(3):
        sqs.receive_message(QueueUrl=origin)
    with taken(sqs, queue) as [message]:
        back = message.target("sluice-dev")
    assert (message.kind, message.error, back) == (WEBHOOK, "given up", "sluice-dev-webhook-events")
    assert "collect_events" in message.reason


def test_reading_leaves_every_message_where_it_was_and_gives_each_once(sqs, queue):
    ids = [put(sqs, queue, json.dumps({"source": "posts", "id": str(number)})) for number in range(23)]
    for _ in range(2):
        with taken(sqs, queue) as found:
            assert sorted(message.id for message in found) == sorted(ids)


def test_what_was_deleted_meanwhile_is_gone_and_the_others_are_not(sqs, queue):
    gone, stays = put(sqs, queue, "1"), put(sqs, queue, "2")
    with taken(sqs, queue) as found:
        [message] = chosen(found, (gone,), None)
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message.receipt)
    with taken(sqs, queue) as found:
        assert [message.id for message in found] == [stays]


def test_a_failure_while_messages_are_held_puts_them_back(sqs, queue):
    put(sqs, queue, "1")
    with pytest.raises(ZeroDivisionError), taken(sqs, queue):
        raise ZeroDivisionError
    with taken(sqs, queue) as found:
        assert len(found) == 1


def test_messages_are_chosen_by_the_beginning_of_their_ids_and_by_kind(sqs, queue):
    one, other = put(sqs, queue, "{"), put(sqs, queue, SCHEDULED)
    with taken(sqs, queue) as found:
        assert [message.id for message in chosen(found, (), SCHEDULE)] == [other]
        assert [message.id for message in chosen(found, (one[:13], one), None)] == [one]
        assert chosen(found, (one,), SCHEDULE) == []
        with pytest.raises(NotFound, match="no message nothing-like-it"):
            chosen(found, ("nothing-like-it",), None)
        with pytest.raises(ContractError, match="2 messages"):
            chosen(found, ("",), None)


def test_a_message_without_an_id_keeps_the_one_that_it_has_here(sqs, queue):
    identity = put(sqs, queue, json.dumps({"source": "posts"}), REFUSED)
    with taken(sqs, queue) as [message]:
        assert json.loads(message.again()) == {"source": "posts", "id": identity}


AS_THEY_CAME = {
    "with an id": '{"source": "posts", "id": "7"}',
    "a schedule": SCHEDULED,
    "a notice": notice("inbox/a/b.csv"),
    "no JSON": "{",
    "an array": "[]",
}


@pytest.mark.parametrize("body", AS_THEY_CAME.values(), ids=AS_THEY_CAME)
def test_any_other_goes_back_as_it_came(sqs, queue, body):
    put(sqs, queue, body)
    with taken(sqs, queue) as [message]:
        assert message.again() == body


def test_what_the_scheduler_cut_is_not_sent_back(sqs, queue):
    put(sqs, queue, SCHEDULED, {**from_scheduler(QUEUE_ARN), "IS_PAYLOAD_TRUNCATED": "true"})
    with taken(sqs, queue) as [message], pytest.raises(TerminalError, match="has cut"):
        message.target("x")
    assert set(undelivered.KINDS) == {MESSAGE, OBJECT, SCHEDULE, WEBHOOK, CHANGE}
