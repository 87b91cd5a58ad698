"""The record of what was deployed: never overwritten by who has not read it, nor by two at once."""

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from chalicelib.errors import ConfigurationError, DeploymentError
from deploy import record
from deploy.kinds import Aws
from deploy.record import Made

REGION = "eu-west-1"


@pytest.fixture
def aws(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        location = {"LocationConstraint": REGION}
        boto3.client("s3", region_name=REGION).create_bucket(Bucket="lake", CreateBucketConfiguration=location)
        yield Aws("123456789012", REGION, "aws", "dev", "sluice-dev", bucket="lake")


def with_topic(known, name):
    known.resources[name] = Made("AWS::SNS::Topic", name)
    return known


def test_what_was_saved_is_loaded_again_and_saved_again(aws):
    known = with_topic(record.load(aws), "one")
    record.save(aws, known)
    record.save(aws, with_topic(known, "two"))
    assert record.load(aws) == known


def test_a_record_that_may_not_be_read_is_not_taken_for_none(aws):
    with Stubber(aws.client("s3")) as s3:
        s3.add_client_error("get_object", "AccessDenied", "Access Denied", 403)
        with pytest.raises(ConfigurationError, match=r"s3://lake/deployment/record.json may not be read.*s3:GetObject"):
            record.load(aws)


@pytest.mark.parametrize("is_first", [True, False])
def test_of_two_deployments_at_once_the_later_one_to_save_is_refused(aws, is_first):
    if not is_first:
        record.save(aws, record.load(aws))
    mine, theirs = record.load(aws), record.load(aws)
    record.save(aws, with_topic(theirs, "theirs"))
    with pytest.raises(DeploymentError, match="another deployment of stage dev is under way, or was meanwhile"):
        record.save(aws, with_topic(mine, "mine"))
    assert record.load(aws) == theirs


def test_a_record_whose_answer_was_lost_is_known_as_ones_own(aws):
    known = record.load(aws)
    before = known.etag
    record.save(aws, known)
    known.etag = before  # as boto3 sends it again
    record.save(aws, known)
    assert known.etag == record.load(aws).etag


def test_another_refusal_stays_what_it_is(aws):
    with Stubber(aws.client("s3")) as s3:
        s3.add_client_error("put_object", "AccessDenied", "Access Denied", 403)
        with pytest.raises(ClientError, match="AccessDenied"):
            record.save(aws, record.Record())
