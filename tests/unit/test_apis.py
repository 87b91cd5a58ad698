"""The REST API that Chalice makes: found by its permission, limited, and gone with the stage."""

import json

import boto3
import pytest
from moto import mock_aws

from chalicelib.errors import DeploymentError
from deploy.kinds import KINDS, Aws
from deploy.kinds.base import differences
from local import corrections_of_chalice

REGION, ACCOUNT = "eu-west-1", "123456789012"
KIND = KINDS["Sluice::RestApi"]
WANTED = {"FunctionName": "sluice-dev", "StageName": "api", "RateLimit": 50, "BurstLimit": 100}


@pytest.fixture
def aws(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    corrections_of_chalice.apply()
    with mock_aws():
        yield Aws(ACCOUNT, REGION, "aws", "dev", "sluice-dev")


def made(aws):
    """What Chalice does; the API's id."""
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": "arn:of:nothing"}
    method = {"responses": {"200": {}}, "x-amazon-apigateway-integration": integration}
    document = {"swagger": "2.0", "info": {"title": "sluice", "version": "1"}, "paths": {"/": {"get": method}}}
    api = aws.client("apigateway").import_rest_api(body=json.dumps(document))["id"]
    aws.client("apigateway").create_deployment(restApiId=api, stageName="api")
    return api


def function(aws, api):
    role = boto3.client("iam", region_name=REGION).create_role(RoleName="any", AssumeRolePolicyDocument="{}")
    client = aws.client("lambda")
    client.create_function(
        FunctionName="sluice-dev",
        Runtime="python3.11",
        Handler="app.app",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": b""},
    )
    client.add_permission(
        FunctionName="sluice-dev",
        StatementId="api",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/*",
    )


def test_without_its_function_there_is_none_and_nothing_can_be_set(aws):
    assert KIND.find(aws, WANTED) is None
    with pytest.raises(DeploymentError, match="made no REST API"):
        KIND.create(aws, WANTED)


def test_it_is_found_among_others_of_its_name_and_limited_and_stays_so_over_a_deployment(aws):
    made(aws)
    mine = made(aws)
    function(aws, mine)
    assert KIND.find(aws, WANTED) == KIND.create(aws, WANTED) == mine
    assert differences(KIND, KIND.read(aws, mine), WANTED) == []
    aws.client("apigateway").create_deployment(restApiId=mine, stageName="api")
    assert differences(KIND, KIND.read(aws, mine), WANTED) == []


def test_limits_that_were_changed_by_hand_are_seen_and_set_back(aws):
    mine = made(aws)
    function(aws, mine)
    assert {each.name for each in differences(KIND, KIND.read(aws, mine), WANTED)} == {"RateLimit", "BurstLimit"}
    KIND.update(aws, mine, KIND.read(aws, mine), WANTED)
    assert differences(KIND, KIND.read(aws, mine), WANTED) == []


def test_one_that_is_gone_is_not_found_by_a_permission_that_stayed(aws):
    mine = made(aws)
    function(aws, mine)
    for _ in range(2):
        KIND.delete(aws, mine)
    assert KIND.find(aws, WANTED) is None
    assert KIND.read(aws, mine) is None
