"""The settings choose the embedding model."""

import pytest

from chalicelib.embeddings import provider
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
