"""Causes as Step Functions hands them on, and what they say."""

import pytest

from chalicelib.failure import plain_cause, read_cause


@pytest.mark.parametrize(
    ("cause", "said"),
    [(None, ""), ("plain", "plain"), ('{"errorMessage": "m", "errorType": "E"}', "m"), ("[1]", "[1]"), ("{}", "{}")],
)
def test_the_message_in_a_cause(cause, said):
    assert plain_cause(cause) == said


@pytest.mark.parametrize(
    ("error", "read"),
    [
        ({"Error": "SourceError", "Cause": '{"errorMessage": "no answer"}'}, ("SourceError", "no answer")),
        ({"Error": "States.Timeout"}, ("States.Timeout", "")),
        ({"Error": "States.Runtime", "Cause": "7"}, ("States.Runtime", "7")),
        ({}, ("Unknown", "")),
    ],
)
def test_what_a_catch_was_given_is_a_name_and_a_reason(error, read):
    assert read_cause(error) == read
