"""Bedrock's part in the emulated AWS: the stack's Titan is as strict as Bedrock's, and its vectors mean something."""

import json
import re

import boto3
import numpy as np
import pytest
from botocore.exceptions import ClientError

from chalicelib.embeddings.bedrock import Titan
from chalicelib.errors import EmbeddingsError
from chalicelib.settings import Settings

MODEL = Settings().bedrock_model


@pytest.fixture(scope="module")
def client():
    from moto.server import DomainDispatcherApplication, create_backend_app

    from local import titan
    from local.http import listen, serve, url

    titan.answer_as_titan()
    listening = listen()
    server = serve(listening, DomainDispatcherApplication(create_backend_app))
    yield boto3.client(
        "bedrock-runtime",
        endpoint_url=url(listening),
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    server.shutdown()
    server.server_close()
    listening.close()


def ask(client, model=MODEL, **body):
    answer = client.invoke_model(modelId=model, body=json.dumps(body))
    return json.loads(answer["body"].read())


@pytest.mark.parametrize("dimensions", [256, 512, 1024])
def test_texts_that_mean_the_same_are_near_each_other(client, dimensions):
    provider = Titan(MODEL, dimensions, client)
    cat, kitten, bond = provider.embed(["the cat sleeps", "a sleeping kitten", "yields of government bonds"])
    assert cat.shape == (dimensions,)
    assert np.linalg.norm(cat) == pytest.approx(1, abs=1e-5)
    assert cat @ kitten > cat @ bond + 0.2


def test_without_dimensions_there_are_1024(client):
    assert len(ask(client, inputText="a text")["embedding"]) == 1024


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"inputText": " "}, "minLength"),
        ({}, "minLength"),
        ({"inputText": "x" * 50_001}, "maxLength: 50000, actual: 50001"),
        ({"inputText": "a text", "dimensions": 384}, "384 is not a valid enum value"),
        ({"inputText": "a text", "model": "anthropic.claude"}, "model identifier is invalid"),
    ],
)
def test_what_titan_refuses_is_refused(client, body, says):
    with pytest.raises(ClientError) as caught:
        ask(client, **body)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert says in str(caught.value)


def test_a_refusal_is_an_error_of_ours_that_names_the_model(client):
    provider = Titan("amazon.titan-embed-text-v1", 1024, client)
    with pytest.raises(EmbeddingsError, match=re.escape("amazon.titan-embed-text-v1/1024")):
        provider.embed(["a text"])
