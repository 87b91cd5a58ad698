"""The REST API that Chalice makes: found by its permission, limited, and gone with the stage."""

import json
import re

import boto3
import pytest
from moto import mock_aws

from chalicelib.errors import DeploymentError
from deploy.kinds import KINDS, Aws, apis
from deploy.kinds.base import differences
from local import corrections_of_chalice

REGION, ACCOUNT = "eu-west-1", "123456789012"
KIND = KINDS["Sluice::RestApi"]
WANTED = {"FunctionName": "sluice-dev", "Name": "sluice-dev", "StageName": "api", "RateLimit": 50, "BurstLimit": 100}


@pytest.fixture
def aws(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    corrections_of_chalice.apply()
    with mock_aws():
        yield Aws(ACCOUNT, REGION, "aws", "dev", "sluice-dev", api_stage="api")


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
    assert {each.name for each in differences(KIND, KIND.read(aws, mine), WANTED)} == {
        "Name",
        "RateLimit",
        "BurstLimit",
    }
    KIND.update(aws, mine, KIND.read(aws, mine), WANTED)
    assert differences(KIND, KIND.read(aws, mine), WANTED) == []


@pytest.mark.parametrize("other", ["aaa", "zzz"])
def test_of_several_stages_the_one_that_is_meant_is_looked_at(aws, other):
    mine = made(aws)
    function(aws, mine)
    KIND.create(aws, WANTED)
    aws.client("apigateway").create_deployment(restApiId=mine, stageName=other)
    assert differences(KIND, KIND.read(aws, mine), WANTED) == []
    aws.client("apigateway").delete_stage(restApiId=mine, stageName="api")
    assert "StageName" in {each.name for each in differences(KIND, KIND.read(aws, mine), WANTED)}


LOG = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/apigateway/sluice-dev"
LOGGING = {**WANTED, "AccessLog": LOG}


def test_access_logging_is_switched_on_stays_over_a_deployment_and_is_switched_off(aws):
    mine = made(aws)
    function(aws, mine)
    KIND.create(aws, LOGGING)
    aws.client("apigateway").create_deployment(restApiId=mine, stageName="api")
    assert differences(KIND, KIND.read(aws, mine), LOGGING) == []
    settings = aws.client("apigateway").get_stage(restApiId=mine, stageName="api")["accessLogSettings"]
    assert settings == {"destinationArn": LOG, "format": apis.ACCESS_LOG_FORMAT}
    assert [each.name for each in differences(KIND, KIND.read(aws, mine), WANTED)] == ["AccessLog"]
    KIND.update(aws, mine, KIND.read(aws, mine), WANTED)
    assert differences(KIND, KIND.read(aws, mine), WANTED) == []


def test_a_log_in_another_form_or_group_is_seen_and_set_back(aws):
    mine = made(aws)
    function(aws, mine)
    for name, value in (("format", "$context.requestId"), ("destinationArn", f"{LOG}-else:*")):
        KIND.create(aws, LOGGING)
        change = {"op": "replace", "path": f"/accessLogSettings/{name}", "value": value}
        aws.client("apigateway").update_stage(restApiId=mine, stageName="api", patchOperations=[change])
        assert [each.name for each in differences(KIND, KIND.read(aws, mine), LOGGING)] == ["AccessLog"]
        KIND.update(aws, mine, KIND.read(aws, mine), LOGGING)
        assert differences(KIND, KIND.read(aws, mine), LOGGING) == []


def test_a_line_of_the_log_is_one_json_object_with_the_request_and_nothing_that_was_sent():
    line = re.sub(r"\$context(\.\w+)+", "42", apis.ACCESS_LOG_FORMAT)
    assert set(json.loads(line).values()) == {"42"} and "\n" not in line
    assert "$context.requestId" in apis.ACCESS_LOG_FORMAT  # API Gateway asks for it
    for sent in (
        "$context.path",
        "$context.identity.userAgent",
        "$context.authorizer.claims",
        "$input",
        "$context.identity.apiKey",
    ):
        assert sent not in apis.ACCESS_LOG_FORMAT


@pytest.mark.parametrize("role", [None, "arn:aws:iam::123456789012:role/logs"])
def test_whether_the_account_lets_api_gateway_write_logs(aws, role):
    if role:
        change = {"op": "replace", "path": "/cloudwatchRoleArn", "value": role}
        aws.client("apigateway").update_account(patchOperations=[change])
    assert apis.writes_logs(aws) is bool(role)


def test_one_that_is_gone_is_not_found_by_a_permission_that_stayed(aws):
    mine = made(aws)
    function(aws, mine)
    for _ in range(2):
        KIND.delete(aws, mine)
    assert KIND.find(aws, WANTED) is None
    assert KIND.read(aws, mine) is None
