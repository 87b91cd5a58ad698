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
        ('{"webhook:b": "s3cret", "webhook:a": " "}', "less than 16 characters for webhook:a, webhook:b"),
        ('{"webhook:orders": "0123456789abcdef s3cret"}', "less than 16 characters for webhook:orders"),
    ],
    ids=["text", "array", "broken", "other types", "short secrets of webhooks", "a short secret beside a long one"],
)
def test_tokens_that_are_none_are_found_when_settings_are_loaded_and_never_quoted(tokens, said):
    with pytest.raises(ConfigurationError, match=said) as refused:
        settings.load({"SLUICE_TOKENS": tokens})
    assert "s3cret" not in str(refused.value)
    for accepted in ("", '{"shop": "s3cret", "webhook:orders": "0123456789abcdef fedcba9876543210"}'):
        assert settings.load({"SLUICE_TOKENS": accepted}).tokens == accepted


def test_what_is_required_and_missing_is_named_with_the_remedy():
    with pytest.raises(ConfigurationError, match=r"SLUICE_BUCKET, SLUICE_TOPIC_ARN.*sluice up"):
        settings.load({}).require("bucket", "topic_arn", "stage")
