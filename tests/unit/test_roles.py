"""The state machine's role is asked for all that a call needs, the key of what is encrypted too."""

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from local import roles
from local.functions import REGION
from local.iam import PolicyError


@pytest.fixture
def aws(monkeypatch):
    """aws(service) is a client of an emulated AWS that is empty."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ak")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sk")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield lambda service: boto3.client(service, region_name=REGION)


@pytest.fixture
def key(aws):
    return aws("kms").create_key()["KeyMetadata"]


def topic(aws, key):
    attributes = {"KmsMasterKeyId": key["KeyId"]} if key else {}
    return {"TopicArn": aws("sns").create_topic(Name="alerts", Attributes=attributes)["TopicArn"], "Message": "x"}


def queue(aws, key):
    attributes = {"KmsMasterKeyId": key["Arn"]} if key else {}
    url = aws("sqs").create_queue(QueueName="letters", Attributes=attributes)["QueueUrl"]
    return {"QueueUrl": url, "MessageBody": "x"}


def stored(aws, key):
    client = aws("s3")
    client.create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    if key:
        rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key["Arn"]}
        client.put_bucket_encryption(
            Bucket="lake",
            ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": rule}]},
        )
    client.put_object(Bucket="lake", Key="runs/a", Body=b"x")
    return {"Bucket": "lake", "Key": "runs/a"}


CALLS = {
    "sns": (topic, "publish", "sns:Publish", ["kms:Decrypt", "kms:GenerateDataKey"]),
    "sqs": (queue, "send_message", "sqs:SendMessage", ["kms:Decrypt", "kms:GenerateDataKey"]),
    "s3": (stored, "get_object", "s3:GetObject", ["kms:Decrypt"]),
    "s3 put": (stored, "put_object", "s3:PutObject", ["kms:GenerateDataKey"]),
}


def called(aws, call, key, actions, via=None):
    """Do the call with a role that may do its own action, and `actions` of the key by way of `via`."""
    service = call.split()[0]
    make, method, action, _ = CALLS[call]
    statements = [{"Sid": "Own", "Effect": "Allow", "Action": [action], "Resource": ["*"]}]
    if actions:
        through = {"StringEquals": {"kms:ViaService": [f"{via or service}.{REGION}.amazonaws.com"]}}
        statements.append(
            {"Sid": "Key", "Effect": "Allow", "Action": actions, "Resource": [key["Arn"]], "Condition": through}
        )
    document = {"Version": "2012-10-17", "Statement": statements}
    getattr(roles.Restricted(aws(service), service, [document]), method)(**make(aws, key))


@pytest.mark.parametrize("call", CALLS)
def test_what_is_encrypted_needs_its_key_through_the_service(call, aws, key):
    *_, needed = CALLS[call]
    called(aws, call, key, needed)


@pytest.mark.parametrize(("call", "lost"), [(call, lost) for call, (*_, needed) in CALLS.items() for lost in needed])
def test_each_right_to_the_key_is_missed(call, lost, aws, key):
    *_, needed = CALLS[call]
    with pytest.raises(ClientError, match=f"{lost} on resource: {key['Arn']}"):
        called(aws, call, key, [action for action in needed if action != lost])


@pytest.mark.parametrize("call", CALLS)
def test_a_key_for_another_service_is_none(call, aws, key):
    *_, needed = CALLS[call]
    with pytest.raises(ClientError, match="kms:"):
        called(aws, call, key, needed, via="dynamodb")


@pytest.mark.parametrize("call", CALLS)
def test_what_is_not_encrypted_needs_no_key(call, aws):
    called(aws, call, None, [])


def test_a_call_that_is_not_known_is_an_error_and_not_allowed(aws):
    everything = {"Sid": "All", "Effect": "Allow", "Action": ["s3:*"], "Resource": ["*"]}
    client = roles.Restricted(aws("s3"), "s3", [{"Version": "2012-10-17", "Statement": [everything]}])
    with pytest.raises(PolicyError, match="s3 list_buckets"):
        client.list_buckets()
