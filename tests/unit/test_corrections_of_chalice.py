"""What `chalice deploy` asks of S3 and API Gateway is taken as AWS takes it: shown on a moto of its own."""

import json

import boto3
import pytest

LAMBDA = "arn:aws:lambda:us-east-1:123456789012:function:any"


@pytest.fixture(scope="module")
def client():
    from moto.server import DomainDispatcherApplication, create_backend_app

    from local import corrections_of_chalice
    from local.http import listen, serve, url

    corrections_of_chalice.apply()
    listening = listen()
    server = serve(listening, DomainDispatcherApplication(create_backend_app))

    def of(service):
        return boto3.client(
            service,
            endpoint_url=url(listening),
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    yield of
    server.shutdown()
    server.server_close()
    listening.close()


@pytest.mark.parametrize("capital", [True, False])
def test_a_filter_of_a_notification_may_be_named_with_a_capital(client, capital):
    s3 = client("s3")
    s3.create_bucket(Bucket="filtered")
    names = ["Prefix", "Suffix"] if capital else ["prefix", "suffix"]
    rules = [{"Name": name, "Value": value} for name, value in zip(names, ["inbox/", ".csv"], strict=True)]
    notification = {
        "LambdaFunctionArn": LAMBDA,
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": rules}},
    }
    s3.put_bucket_notification_configuration(
        Bucket="filtered", NotificationConfiguration={"LambdaFunctionConfigurations": [notification]}
    )
    [found] = s3.get_bucket_notification_configuration(Bucket="filtered")["LambdaFunctionConfigurations"]
    assert [(rule["Name"], rule["Value"]) for rule in found["Filter"]["Key"]["FilterRules"]] == [
        ("prefix", "inbox/"),
        ("suffix", ".csv"),
    ]


def document(*paths):
    """Swagger as Chalice writes it: chalice/deploy/swagger.py."""
    integration = {
        "responses": {"default": {"statusCode": "200"}},
        "uri": f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{LAMBDA}/invocations",
        "passthroughBehavior": "when_no_match",
        "httpMethod": "POST",
        "contentHandling": "CONVERT_TO_TEXT",
        "type": "aws_proxy",
    }
    method = {
        "produces": ["application/json"],
        "responses": {"200": {}},
        "x-amazon-apigateway-integration": integration,
    }
    return {
        "swagger": "2.0",
        "info": {"version": "1.0", "title": "pages"},
        "schemes": ["https"],
        "paths": {path: {"get": method, "parameters": [{"name": "run", "in": "path"}]} for path in paths},
        "x-amazon-apigateway-binary-media-types": ["application/octet-stream"],
    }


def routes(api, rest_api):
    found = api.get_resources(restApiId=rest_api)["items"]
    return {
        (resource["path"], method): about["methodIntegration"]["uri"]
        for resource in found
        for method, about in resource.get("resourceMethods", {}).items()
    }


def test_a_swagger_document_makes_a_rest_api_and_replaces_what_it_was(client):
    api = client("apigateway")
    made = api.import_rest_api(
        body=json.dumps(document("/", "/runs/{run}")), parameters={"endpointConfigurationTypes": "EDGE"}
    )["id"]
    integration = document("/")["paths"]["/"]["get"]["x-amazon-apigateway-integration"]["uri"]
    assert routes(api, made) == {("/", "GET"): integration, ("/runs/{run}", "GET"): integration}
    api.put_rest_api(restApiId=made, mode="overwrite", body=json.dumps(document("/", "/costs")))
    assert routes(api, made) == {("/", "GET"): integration, ("/costs", "GET"): integration}
    assert api.create_deployment(restApiId=made, stageName="api")["id"]
