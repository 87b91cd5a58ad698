"""What S3 tells a queue, and what mappings that are made through the API do: as AWS documents it, on moto."""

import io
import json
import uuid
import zipfile
from urllib.parse import unquote_plus

import pytest
from botocore.exceptions import ClientError
from event_functions import eventually, serving_moto

from local.runtime import Result

ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def client():
    with serving_moto() as client:
        yield client


@pytest.fixture
def queue(client):
    """The URL and the ARN of a new queue."""
    url = client("sqs").create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    return url, f"arn:aws:sqs:us-east-1:{ACCOUNT}:{url.rsplit('/', 1)[1]}"


def received(client, url):
    messages = []
    while found := client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        messages += found
    return [json.loads(message["Body"]) for message in messages]


# --- S3 --------------------------------------------------------------------------------------


@pytest.fixture
def bucket(client, queue):
    """A bucket that tells the queue of what is created under inbox/; the test event was taken."""
    url, arn = queue
    name = f"b-{uuid.uuid4().hex[:8]}"
    client("s3").create_bucket(Bucket=name)
    client("s3").put_bucket_notification_configuration(
        Bucket=name,
        NotificationConfiguration={
            "QueueConfigurations": [
                {
                    "Id": "inbox",
                    "QueueArn": arn,
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "inbox/"}]}},
                }
            ]
        },
    )
    [test] = received(client, url)
    assert (test["Event"], test["Service"], test["Bucket"]) == ("s3:TestEvent", "Amazon S3", name)
    assert test["RequestId"]
    return name


def told(client, queue):
    """The records of all that S3 has said so far."""
    return [record for body in received(client, queue[0]) for record in body["Records"]]


def test_an_object_put_under_the_prefix_is_told_once_with_key_size_and_etag(client, bucket, queue):
    put = client("s3").put_object(Bucket=bucket, Key="inbox/weather/a b+ü%.csv", Body=b"12345")
    client("s3").put_object(Bucket=bucket, Key="outbox/weather/x.csv", Body=b"12345")
    [record] = told(client, queue)
    assert (record["eventName"], record["eventSource"]) == ("ObjectCreated:Put", "aws:s3")
    about = record["s3"]["object"]
    assert about["key"] == "inbox/weather/a+b%2B%C3%BC%25.csv"
    assert unquote_plus(about["key"]) == "inbox/weather/a b+ü%.csv"
    assert (about["size"], about["eTag"]) == (5, put["ETag"].strip('"'))
    assert record["s3"]["bucket"]["name"] == bucket
    assert record["s3"]["configurationId"] == "inbox"


def test_an_upload_in_parts_is_told_once_as_complete(client, bucket, queue):
    s3 = client("s3")
    begun = s3.create_multipart_upload(Bucket=bucket, Key="inbox/weather/big")
    parts = []
    for number, body in ((1, b"x" * 5 * 2**20), (2, b"y")):
        made = s3.upload_part(
            Bucket=bucket, Key="inbox/weather/big", UploadId=begun["UploadId"], PartNumber=number, Body=body
        )
        parts.append({"PartNumber": number, "ETag": made["ETag"]})
    done = s3.complete_multipart_upload(
        Bucket=bucket, Key="inbox/weather/big", UploadId=begun["UploadId"], MultipartUpload={"Parts": parts}
    )
    [record] = told(client, queue)
    assert record["eventName"] == "ObjectCreated:CompleteMultipartUpload"
    assert record["s3"]["object"]["size"] == 5 * 2**20 + 1
    assert record["s3"]["object"]["eTag"] == done["ETag"].strip('"')


def test_a_copy_is_told_once_as_a_copy(client, bucket, queue):
    client("s3").put_object(Bucket=bucket, Key="raw/x.csv", Body=b"12345")
    client("s3").copy_object(
        Bucket=bucket, Key="inbox/weather/x.csv", CopySource={"Bucket": bucket, "Key": "raw/x.csv"}
    )
    [record] = told(client, queue)
    assert (record["eventName"], record["s3"]["object"]["size"]) == ("ObjectCreated:Copy", 5)


def test_sequencers_of_a_key_are_in_the_order_of_what_was_put(client, bucket, queue):
    for body in (b"1", b"22", b"333"):
        client("s3").put_object(Bucket=bucket, Key="inbox/weather/x.csv", Body=body)
    objects = [record["s3"]["object"] for record in told(client, queue)]
    assert [each["size"] for each in sorted(objects, key=lambda each: each["sequencer"])] == [1, 2, 3]


# --- mappings that are made through the API -----------------------------------------------------


@pytest.fixture
def role(client):
    """role(*actions) is the ARN of a role that may do them on all queues."""

    def made(*actions):
        name = f"r-{uuid.uuid4().hex[:8]}"
        trust = {"Version": "2012-10-17", "Statement": []}
        arn = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        statement = {
            "Sid": "Reads",
            "Effect": "Allow",
            "Action": list(actions),
            "Resource": [f"arn:aws:sqs:us-east-1:{ACCOUNT}:*"],
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        client("iam").put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
        return arn

    return made


READS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")


def deployed(client, role_arn):
    """The ARN of a new function; what runs it is the test's."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", "def handler(event, context): pass\n")
    return client("lambda").create_function(
        FunctionName=f"f-{uuid.uuid4().hex[:8]}",
        Runtime="python3.11",
        Role=role_arn,
        Handler="app.handler",
        Code={"ZipFile": package.getvalue()},
    )["FunctionArn"]


@pytest.fixture
def following(client):
    """What functions of mappings made through the API are given while the test runs: (function, event)."""
    from local.event_sources import EventSources

    given = []

    def invoke(function, payload):
        given.append((function, json.loads(payload)))
        return Result(b"null", None, "")

    sources = EventSources(invoke, concurrency=2)
    sources.follow_deployed()
    yield given
    sources.close()


def test_a_mapping_made_through_the_api_is_followed_changed_and_ended_through_it(client, following, queue, role):
    url, arn = queue
    function = deployed(client, role(*READS))
    made = client("lambda").create_event_source_mapping(EventSourceArn=arn, FunctionName=function, BatchSize=2)
    entries = [{"Id": str(n), "MessageBody": str(n)} for n in range(4)]
    client("sqs").send_message_batch(QueueUrl=url, Entries=entries)
    eventually(lambda: sum(len(event["Records"]) for _, event in following) == 4)
    assert {name for name, _ in following} == {function}
    assert max(len(event["Records"]) for _, event in following) <= 2
    client("lambda").update_event_source_mapping(UUID=made["UUID"], Enabled=False)
    following.clear()
    client("sqs").send_message(QueueUrl=url, MessageBody="while disabled")
    client("lambda").update_event_source_mapping(UUID=made["UUID"], Enabled=True)
    eventually(lambda: following)
    assert [record["body"] for _, event in following for record in event["Records"]] == ["while disabled"]
    client("lambda").delete_event_source_mapping(UUID=made["UUID"])
    client("sqs").send_message(QueueUrl=url, MessageBody="nobody reads it")
    assert [message["Body"] for message in client("sqs").receive_message(QueueUrl=url)["Messages"]] == [
        "nobody reads it"
    ]


def test_a_mapping_whose_function_may_not_read_the_queue_is_refused_with_the_action(client, queue, role):
    function = deployed(client, role("sqs:ReceiveMessage"))
    with pytest.raises(ClientError, match=r"does not have permissions to call sqs:DeleteMessage"):
        client("lambda").create_event_source_mapping(EventSourceArn=queue[1], FunctionName=function)


def test_a_second_mapping_of_the_same_function_and_queue_is_refused(client, queue, role):
    function = deployed(client, role(*READS))
    client("lambda").create_event_source_mapping(EventSourceArn=queue[1], FunctionName=function)
    with pytest.raises(ClientError, match="ResourceConflict"):
        client("lambda").create_event_source_mapping(EventSourceArn=queue[1], FunctionName=function)
