"""The settings choose the embedding model."""

import json
from pathlib import Path

import pytest

from chalicelib.embeddings import bedrock, provider
from chalicelib.errors import ConfigurationError
from chalicelib.settings import Settings


def test_bedrock_is_named_with_its_dimensions():
    chosen = provider.current(Settings(embeddings="bedrock", bedrock_dimensions=512))
    assert (chosen.model, chosen.dimensions) == ("amazon.titan-embed-text-v2:0/512", 512)


def test_minilm_is_named_with_its_dimensions():
    chosen = provider.current(Settings(embeddings="minilm"))
    assert (chosen.model, chosen.dimensions) == ("all-MiniLM-L6-v2/384", 384)


def test_the_same_settings_give_the_same_provider():
    assert provider.current(Settings(embeddings="minilm")) is provider.current(Settings(embeddings="minilm"))


def test_an_unknown_model_names_the_choices():
    with pytest.raises(ConfigurationError, match=r"'word2vec'.*bedrock.*minilm"):
        provider.current(Settings(embeddings="word2vec"))


def test_who_waits_for_a_question_is_answered_before_the_api_is_cut_off(monkeypatch):
    made = {}
    monkeypatch.setattr(bedrock.boto3, "client", lambda service, config: made.setdefault(service, config))
    chosen = provider.current(Settings(embeddings="bedrock"), at_once=True)
    assert chosen is not provider.current(Settings(embeddings="bedrock"))
    assert chosen._client is made["bedrock-runtime"]
    config = made["bedrock-runtime"]
    longest = config.retries["total_max_attempts"] * (config.connect_timeout + config.read_timeout)
    limits = json.loads((Path(__file__).parents[2] / ".chalice" / "config.json").read_text())["lambda_functions"]
    assert longest < limits["api_handler"]["lambda_timeout"]
