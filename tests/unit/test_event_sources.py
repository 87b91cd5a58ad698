"""Queues and streams invoke functions as AWS' event source mappings do: moto's SQS and Kinesis, real handlers."""

import base64
import json
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from event_functions import eventually, invocations, serving_moto, write_app

from chalicelib.errors import ConfigurationError
from local import mappings
from local.runtime import Runtime

ACCOUNT, REGION = "123456789012", "us-east-1"


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    return tmp_path_factory.mktemp("notes") / "notes.ndjson"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory, notes):
    folder = tmp_path_factory.mktemp("project")
    write_app(folder)
    environment = {"PATH": os.environ["PATH"], "NOTES": str(notes)}
    runtime = Runtime(folder, environment, folder / "lambda.log", workers=2, preload=("decimal",))
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def client():
    with serving_moto() as client:
        yield client


@pytest.fixture
def sources(client, runtime):
    from local.event_sources import EventSources

    sources = EventSources(runtime.invoke, concurrency=2)
    yield sources
    sources.close()


@pytest.fixture
def queue(client):
    """queue(**attributes) makes a queue; its URL and its ARN."""

    def made(**attributes):
        sqs = client("sqs")
        url = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}", Attributes=attributes)["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    return made


@pytest.fixture
def stream(client):
    """A stream of one shard: its name and its ARN."""
    name = f"s-{uuid.uuid4().hex[:8]}"
    client("kinesis").create_stream(StreamName=name, ShardCount=1)
    return name, f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}"


def mapping(source, function, **properties):
    return mappings.of_properties("test", {"EventSourceArn": source, "FunctionName": function, **properties})


def put(client, name, *texts):
    client("kinesis").put_records(
        StreamName=name, Records=[{"Data": text.encode(), "PartitionKey": "k"} for text in texts]
    )


def texts(records):
    return [base64.b64decode(record["kinesis"]["data"]).decode() for record in records]


def bodies(batches):
    return [record["body"] for batch in batches for record in batch]


def in_queue(client, url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


# --- queues ----------------------------------------------------------------------------------


def test_a_message_invokes_the_function_with_sqs_event_and_is_deleted(client, sources, queue, notes):
    url, arn = queue()
    sources.start([mapping(arn, "accept")])
    sent = client("sqs").send_message(
        QueueUrl=url, MessageBody="é", MessageAttributes={"colour": {"DataType": "String", "StringValue": "red"}}
    )
    [record] = eventually(lambda: invocations(notes, arn))[0]
    assert record["messageId"] == sent["MessageId"]
    assert (record["body"], record["md5OfBody"]) == ("é", sent["MD5OfMessageBody"])
    assert record["eventSource"] == "aws:sqs"
    assert record["awsRegion"] == REGION
    assert set(record["attributes"]) == {
        "ApproximateReceiveCount",
        "SentTimestamp",
        "SenderId",
        "ApproximateFirstReceiveTimestamp",
    }
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"]["colour"] == {
        "stringValue": "red",
        "dataType": "String",
        "stringListValues": [],
        "binaryListValues": [],
    }
    eventually(lambda: in_queue(client, url) == 0)


def test_messages_that_wait_already_come_in_batches_of_the_mappings_size(client, sources, queue, notes):
    url, arn = queue()
    for start in range(0, 25, 5):
        client("sqs").send_message_batch(
            QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": str(n)} for n in range(start, start + 5)]
        )
    sources.start([mapping(arn, "accept", BatchSize=20, MaximumBatchingWindowInSeconds=1)])
    eventually(lambda: len(bodies(invocations(notes, arn))) == 25)
    assert sorted(len(batch) for batch in invocations(notes, arn)) == [5, 20]


def test_a_window_gathers_what_comes_meanwhile(client, sources, queue, notes):
    url, arn = queue()
    sources.start([mapping(arn, "accept", MaximumBatchingWindowInSeconds=300)])
    for n in range(5):
        client("sqs").send_message(QueueUrl=url, MessageBody=str(n))
    eventually(lambda: invocations(notes, arn))
    eventually(lambda: in_queue(client, url) == 0)
    assert [sorted(record["body"] for record in batch) for batch in invocations(notes, arn)] == [list("01234")]


def test_a_message_sent_later_with_a_delay_comes_when_it_is_due(client, sources, queue, notes):
    url, arn = queue()
    sources.start([mapping(arn, "accept")])
    before = time.time()
    client("sqs").send_message(QueueUrl=url, MessageBody="later", DelaySeconds=1)
    [record] = eventually(lambda: invocations(notes, arn))[0]
    assert int(record["attributes"]["ApproximateFirstReceiveTimestamp"]) / 1000 >= before + 1


def test_a_failing_functions_message_comes_back_and_ends_in_the_dead_letter_queue(client, sources, queue, notes):
    dead, dead_arn = queue()
    url, arn = queue(RedrivePolicy=json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 3}))
    sources.start([mapping(arn, "refuse")])
    client("sqs").send_message(QueueUrl=url, MessageBody="poison")
    eventually(lambda: in_queue(client, dead) == 1)
    counts = [batch[0]["attributes"]["ApproximateReceiveCount"] for batch in invocations(notes, arn)]
    assert counts == ["1", "2", "3"]
    assert in_queue(client, url) == 0


def test_of_a_batch_with_failures_only_those_come_again(client, sources, queue, notes):
    dead, dead_arn = queue()
    url, arn = queue(RedrivePolicy=json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2}))
    entries = [{"Id": str(n), "MessageBody": "bad" if n == 1 else f"good {n}"} for n in range(3)]
    client("sqs").send_message_batch(QueueUrl=url, Entries=entries)
    sources.start([mapping(arn, "report", FunctionResponseTypes=["ReportBatchItemFailures"])])
    eventually(lambda: in_queue(client, dead) == 1)
    first, second = invocations(notes, arn)
    assert sorted(record["body"] for record in first) == ["bad", "good 0", "good 2"]
    assert [record["body"] for record in second] == ["bad"]


def test_without_report_batch_item_failures_the_functions_answer_counts_for_nothing(client, sources, queue, notes):
    url, arn = queue()
    sources.start([mapping(arn, "report")])
    client("sqs").send_message(QueueUrl=url, MessageBody="bad")
    eventually(lambda: invocations(notes, arn))
    eventually(lambda: in_queue(client, url) == 0)
    assert len(invocations(notes, arn)) == 1


def test_no_message_is_lost_while_many_send_and_many_are_deleted(client, sources, queue, notes):
    url, arn = queue()
    sources.start([mapping(arn, "accept")])
    sqs = client("sqs")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: sqs.send_message(QueueUrl=url, MessageBody=str(n)), range(200)))
    eventually(lambda: in_queue(client, url) == 0)
    eventually(lambda: len(bodies(invocations(notes, arn))) >= 200)
    assert sorted(map(int, bodies(invocations(notes, arn)))) == list(range(200))


def test_a_mapping_that_is_disabled_reads_nothing():
    assert mapping(f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", "accept", Enabled=False) is None


def test_a_mapping_that_the_stack_cannot_follow_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="FilterCriteria"):
        mapping(f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", "accept", FilterCriteria={"Filters": [{"Pattern": "{}"}]})
    with pytest.raises(ConfigurationError, match="dynamodb"):
        mapping(f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t/stream/s", "accept")


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        ("null", ""),
        ("", ""),
        ("{}", ""),
        ('{"batchItemFailures": null}', ""),
        ('{"batchItemFailures": []}', ""),
        ('{"batchItemFailures": [{"itemIdentifier": "b"}]}', "b"),
        ('{"batchItemFailures": [{"itemIdentifier": ""}]}', "abc"),
        ('{"batchItemFailures": [{"itemIdentifier": null}]}', "abc"),
        ('{"batchItemFailures": [{"item": "b"}]}', "abc"),
        ('{"batchItemFailures": [{"itemIdentifier": "of another batch"}]}', "abc"),
        ("no JSON", "abc"),
        ('"a text"', "abc"),
    ],
)
def test_an_answer_that_lambda_does_not_understand_fails_the_whole_batch(answer, failed):
    assert mappings.failed_items(answer.encode(), list("abc")) == set(failed)


# --- streams ---------------------------------------------------------------------------------


def test_records_come_in_order_in_kinesis_event(client, sources, stream, notes):
    name, arn = stream
    sources.start([mapping(arn, "accept", BatchSize=10)])
    for start in range(0, 50, 5):
        put(client, name, *map(str, range(start, start + 5)))
    eventually(lambda: sum(map(len, invocations(notes, arn))) == 50)
    batches = invocations(notes, arn)
    assert [text for batch in batches for text in texts(batch)] == list(map(str, range(50)))
    assert max(map(len, batches)) <= 10
    record = batches[0][0]
    assert set(record) == {
        "kinesis",
        "eventSource",
        "eventVersion",
        "eventID",
        "eventName",
        "invokeIdentityArn",
        "awsRegion",
        "eventSourceARN",
    }
    assert record["eventID"] == f"shardId-000000000000:{record['kinesis']['sequenceNumber']}"
    assert record["kinesis"]["partitionKey"] == "k"
    assert len(record["kinesis"]["sequenceNumber"]) == 56


def test_latest_begins_with_what_comes_after_the_mapping_and_trim_horizon_with_what_is_there(
    client, sources, stream, notes
):
    name, arn = stream
    put(client, name, "before")
    sources.start([mapping(arn, "accept", StartingPosition="LATEST")])
    put(client, name, "after")
    eventually(lambda: invocations(notes, arn))
    assert [texts(batch) for batch in invocations(notes, arn)] == [["after"]]
    sources.start([mapping(arn, "accept", StartingPosition="TRIM_HORIZON")])
    eventually(lambda: len(invocations(notes, arn)) == 2)
    assert texts(invocations(notes, arn)[1]) == ["before", "after"]


def test_a_poison_record_is_isolated_by_bisecting_and_the_shard_goes_on(client, sources, stream, queue, notes):
    name, arn = stream
    url, undelivered = queue()
    put(client, name, "0", "1", "2", "bad", "4", "5", "6")
    sources.start(
        [
            mapping(
                arn,
                "choke",
                BisectBatchOnFunctionError=True,
                MaximumRetryAttempts=1,
                DestinationConfig={"OnFailure": {"Destination": undelivered}},
            )
        ]
    )
    message = eventually(lambda: client("sqs").receive_message(QueueUrl=url).get("Messages"))[0]
    put(client, name, "7")
    eventually(lambda: any("7" in texts(batch) for batch in invocations(notes, arn)))
    succeeded = [batch for batch in invocations(notes, arn) if "bad" not in texts(batch)]
    assert [text for batch in succeeded for text in texts(batch)] == ["0", "1", "2", "4", "5", "6", "7"]
    tried = [batch for batch in invocations(notes, arn) if texts(batch) == ["bad"]]
    assert len(tried) == 2  # once, and one retry: halving takes none of them
    body, poison = json.loads(message["Body"]), tried[0][0]["kinesis"]["sequenceNumber"]
    assert body["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert body["requestContext"]["functionArn"] == "choke"
    assert body["requestContext"]["approximateInvokeCount"] == 2
    assert body["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    about = body["KinesisBatchInfo"]
    assert (about["startSequenceNumber"], about["endSequenceNumber"], about["batchSize"]) == (poison, poison, 1)
    assert (about["shardId"], about["streamArn"]) == ("shardId-000000000000", arn)


def test_a_reported_failure_is_tried_again_with_all_that_comes_behind_it(client, sources, stream, notes):
    name, arn = stream
    put(client, name, "0", "1", "bad", "3")
    sources.start([mapping(arn, "report", MaximumRetryAttempts=1, FunctionResponseTypes=["ReportBatchItemFailures"])])
    put(client, name, "4")
    eventually(lambda: any(texts(batch)[-1] == "4" for batch in invocations(notes, arn)))
    batches = [texts(batch) for batch in invocations(notes, arn)]
    assert batches[0][:4] == ["0", "1", "bad", "3"]
    assert batches[1][0] == "bad"


def test_reported_failures_with_bisecting_give_up_the_poison_record_alone(client, sources, stream, queue, notes):
    name, arn = stream
    url, undelivered = queue()
    put(client, name, "0", "1", "bad", "3", "4")
    sources.start(
        [
            mapping(
                arn,
                "report",
                BisectBatchOnFunctionError=True,
                MaximumRetryAttempts=0,
                FunctionResponseTypes=["ReportBatchItemFailures"],
                DestinationConfig={"OnFailure": {"Destination": undelivered}},
            )
        ]
    )
    message = eventually(lambda: client("sqs").receive_message(QueueUrl=url).get("Messages"))[0]
    eventually(lambda: any("4" in texts(batch) and "bad" not in texts(batch) for batch in invocations(notes, arn)))
    body = json.loads(message["Body"])
    assert body["KinesisBatchInfo"]["batchSize"] == 1
    assert "functionError" not in body["responseContext"]
    done = [texts(batch) for batch in invocations(notes, arn) if "bad" not in texts(batch)]
    assert [text for batch in done for text in batch] == ["3", "4"]


def test_a_record_that_is_too_old_is_given_up_without_an_invocation(client, sources, stream, queue, notes):
    name, arn = stream
    url, undelivered = queue()
    put(client, name, "old")
    time.sleep(0.01)
    destination = {"OnFailure": {"Destination": undelivered}}
    sources.start([mapping(arn, "accept", MaximumRecordAgeInSeconds=0, DestinationConfig=destination)])
    message = eventually(lambda: client("sqs").receive_message(QueueUrl=url).get("Messages"))[0]
    assert json.loads(message["Body"])["requestContext"]["condition"] == "RecordAgeExceeded"
    assert invocations(notes, arn) == []


def test_a_stream_that_is_deleted_and_made_again_is_read_again(client, sources, stream, notes):
    name, arn = stream
    sources.start([mapping(arn, "accept")])
    put(client, name, "of the first")
    eventually(lambda: invocations(notes, arn))
    client("kinesis").delete_stream(StreamName=name)
    client("kinesis").create_stream(StreamName=name, ShardCount=1)
    put(client, name, "of the second")
    eventually(lambda: len(invocations(notes, arn)) == 2)
    assert [texts(batch) for batch in invocations(notes, arn)] == [["of the first"], ["of the second"]]


def test_records_put_at_once_by_many_all_arrive_each_under_a_number_of_its_own(client, sources, stream, notes):
    name, arn = stream
    sources.start([mapping(arn, "accept")])
    kinesis = client("kinesis")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: kinesis.put_record(StreamName=name, Data=str(n), PartitionKey=str(n)), range(200)))
    eventually(lambda: sum(map(len, invocations(notes, arn))) >= 200)
    records = [record for batch in invocations(notes, arn) for record in batch]
    assert sorted(map(int, texts(records))) == list(range(200))
    numbers = [int(record["kinesis"]["sequenceNumber"]) for record in records]
    assert numbers == sorted(set(numbers))


def test_messages_come_again_when_the_runtime_itself_breaks(client, queue, notes):
    from local.event_sources import EventSources
    from local.runtime import Result

    url, arn = queue()
    broken = []

    def invoke(function, payload):
        broken.append(payload)
        if len(broken) == 1:
            raise OSError("no more processes")
        return Result(b"null", None, "")

    sources = EventSources(invoke, concurrency=1)
    try:
        sources.start([mapping(arn, "accept")])
        client("sqs").send_message(QueueUrl=url, MessageBody="kept")
        eventually(lambda: in_queue(client, url) == 0)
    finally:
        sources.close()
    assert [json.loads(payload)["Records"][0]["body"] for payload in broken] == ["kept", "kept"]


def test_messages_of_a_fifo_group_come_in_order_one_batch_at_a_time(client, sources, notes):
    name = f"q-{uuid.uuid4().hex[:8]}.fifo"
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})[
        "QueueUrl"
    ]
    for n in range(12):
        sqs.send_message(QueueUrl=url, MessageBody=str(n), MessageGroupId="g")
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
    sources.start([mapping(arn, "accept", BatchSize=5)])
    eventually(lambda: in_queue(client, url) == 0)
    assert bodies(invocations(notes, arn)) == list(map(str, range(12)))
    assert invocations(notes, arn)[0][0]["attributes"]["MessageGroupId"] == "g"
