"""A deployed function gets its queue and its stream as on AWS: only failures come again, poison is set aside."""

import io
import json
import time
import uuid
import zipfile

import pytest

ACCOUNT = "123456789012"

# notes what it is given, under a name that tells the order; reports what is bad, by message or by record
CODE = """
import base64, json, os, time
import boto3

def handler(event, context):
    failed, seen = [], []
    for record in event["Records"]:
        if "kinesis" in record:
            text, identifier = base64.b64decode(record["kinesis"]["data"]).decode(), record["kinesis"]["sequenceNumber"]
        else:
            text, identifier = record["body"], record["messageId"]
        seen.append(text)
        if text == "bad":
            failed.append({"itemIdentifier": identifier})
    key = f"{os.environ['FOLDER']}/{time.time_ns()}.json"
    boto3.client("s3").put_object(Bucket=os.environ["BUCKET"], Key=key, Body=json.dumps(seen).encode())
    return {"batchItemFailures": failed}
"""


@pytest.fixture
def function(pipeline):
    """The ARN of a new function, and seen(): the batches that it was given, in order."""
    name, bucket = f"f-{uuid.uuid4().hex[:8]}", pipeline.env["SLUICE_BUCKET"]
    reads = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:SendMessage"]
    reads += ["kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:DescribeStream"]
    notes = [f"arn:aws:s3:::{bucket}/{name}/*"]
    statements = [
        {"Sid": "Reads", "Effect": "Allow", "Action": reads, "Resource": ["*"]},
        {"Sid": "Notes", "Effect": "Allow", "Action": ["s3:PutObject"], "Resource": notes},
    ]
    iam = pipeline.client("iam")
    trust = {"Version": "2012-10-17", "Statement": []}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    policy = {"Version": "2012-10-17", "Statement": statements}
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", CODE)
    arn = pipeline.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=role,
        Handler="app.handler",
        Timeout=20,
        MemorySize=256,
        Code={"ZipFile": package.getvalue()},
        Environment={"Variables": {"BUCKET": bucket, "FOLDER": name}},
    )["FunctionArn"]

    def seen():
        s3 = pipeline.client("s3")
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{name}/").get("Contents", [])
        keys = sorted(each["Key"] for each in listed)
        return [json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys]

    yield arn, seen
    client = pipeline.client("lambda")
    for mapping in client.list_event_source_mappings(FunctionName=arn)["EventSourceMappings"]:
        client.delete_event_source_mapping(UUID=mapping["UUID"])
    client.delete_function(FunctionName=name)


def queue(pipeline, **attributes):
    name = f"q-{uuid.uuid4().hex[:8]}"
    url = pipeline.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"


def take(pipeline, url, seconds=30):
    """The first message that comes to a queue."""
    deadline = time.monotonic() + seconds
    while not (found := pipeline.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages")):
        assert time.monotonic() < deadline, "no message came"
    return found[0]


def test_of_a_batch_only_what_failed_comes_again_and_ends_in_the_dead_letter_queue(pipeline, function):
    arn, seen = function
    dead, dead_arn = queue(pipeline)
    url, source = queue(pipeline, RedrivePolicy=json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2}))
    bodies = ["good 1", "bad", "good 2"]
    pipeline.client("sqs").send_message_batch(
        QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
    )
    pipeline.client("lambda").create_event_source_mapping(
        EventSourceArn=source, FunctionName=arn, BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    assert take(pipeline, dead)["Body"] == "bad"
    first, second = seen()
    assert (sorted(first), second) == (sorted(bodies), ["bad"])
    assert "Messages" not in pipeline.client("sqs").receive_message(QueueUrl=url)


def test_a_poison_record_is_set_aside_alone_and_its_shard_goes_on(pipeline, function):
    arn, seen = function
    undelivered, destination = queue(pipeline)
    stream = f"s-{uuid.uuid4().hex[:8]}"
    kinesis = pipeline.client("kinesis")
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    texts = ["1", "2", "bad", "4", "5"]
    kinesis.put_records(StreamName=stream, Records=[{"Data": text.encode(), "PartitionKey": "one"} for text in texts])
    pipeline.client("lambda").create_event_source_mapping(
        EventSourceArn=f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{stream}",
        FunctionName=arn,
        StartingPosition="TRIM_HORIZON",
        BatchSize=100,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=0,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig={"OnFailure": {"Destination": destination}},
    )
    about = json.loads(take(pipeline, undelivered)["Body"])
    assert about["KinesisBatchInfo"]["batchSize"] == 1
    assert about["requestContext"]["functionArn"] == arn
    iterator = kinesis.get_shard_iterator(
        StreamName=stream,
        ShardId=about["KinesisBatchInfo"]["shardId"],
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        StartingSequenceNumber=about["KinesisBatchInfo"]["startSequenceNumber"],
    )["ShardIterator"]
    assert kinesis.get_records(ShardIterator=iterator, Limit=1)["Records"][0]["Data"] == b"bad"
    kinesis.put_record(StreamName=stream, Data=b"6", PartitionKey="one")
    deadline = time.monotonic() + 30
    while not any("6" in batch for batch in seen()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # "1" and "2" were done when the first batch reported "bad"; what came behind it was done once each
    later = [text for batch in seen()[1:] if "bad" not in batch for text in batch]
    assert (seen()[0], later) == (texts, ["4", "5", "6"])
