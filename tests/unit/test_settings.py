"""Settings have one precedence, and a typo is an error."""

import pytest

from chalicelib import settings
from chalicelib.errors import ConfigurationError


def test_an_argument_wins_over_the_environment_and_that_over_the_default():
    environ = {"SLUICE_BUCKET": "from-environment", "SLUICE_CHUNK_BYTES": "1000", "PATH": "/bin"}
    loaded = settings.load(environ, bucket="from-argument")
    assert (loaded.bucket, loaded.chunk_bytes, loaded.stage) == ("from-argument", 1000, "local")


def test_a_variable_that_no_setting_knows_is_an_error_by_name():
    with pytest.raises(ConfigurationError, match="SLUICE_BUKET"):
        settings.load({"SLUICE_BUKET": "x"})


def test_a_number_that_is_none_is_an_error_by_name():
    with pytest.raises(ConfigurationError, match="SLUICE_CHUNK_BYTES is 'many'"):
        settings.load({"SLUICE_CHUNK_BYTES": "many"})


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ("s3cret", "SLUICE_TOKENS holds no JSON object"),
        ('["s3cret"]', "SLUICE_TOKENS holds no JSON object"),
        ('{"webhook:orders": "s3cret"', "SLUICE_TOKENS holds no JSON object"),
        ('{"shop": 5, "webhook:orders": ["s3cret"]}', "SLUICE_TOKENS has no text for shop, webhook:orders"),
    ],
    ids=["text", "array", "broken", "other types"],
)
def test_tokens_that_are_none_are_found_when_settings_are_loaded_and_never_quoted(tokens, said):
    with pytest.raises(ConfigurationError, match=said) as refused:
        settings.load({"SLUICE_TOKENS": tokens})
    assert "s3cret" not in str(refused.value)
    assert settings.load({"SLUICE_TOKENS": ""}).tokens == ""


def test_what_is_required_and_missing_is_named_with_the_remedy():
    with pytest.raises(ConfigurationError, match=r"SLUICE_BUCKET, SLUICE_TOPIC_ARN.*sluice up"):
        settings.load({}).require("bucket", "topic_arn", "stage")
