"""Personal values are masked where they could be shown: reasons, examples, observations, errors, records."""

import json
import pickle
import sys

import pandas as pd
import pytest

from chalicelib import personal, settings, sources, telemetry
from chalicelib.columns import Column
from chalicelib.contracts import TransformRequest
from chalicelib.conversion import encode
from chalicelib.errors import RawError, SourceError, WithheldError
from chalicelib.quality import dataset, engine, rows
from chalicelib.quality import suite as suites
from chalicelib.settings import Settings
from chalicelib.sources.base import Source

MARKER = "Marker-4711"
COLUMNS = (
    Column("id", "integer", nullable=False),
    Column("name", "text", personal=True),
    Column("born", "date", personal=True),
    Column("score", "double precision", personal=True),
    Column("city", "text"),
)


class Friends(Source):
    name = "friends"
    key = ("id",)
    columns = COLUMNS


class Places(Source):
    name = "places"
    key = ("id",)
    columns = (Column("id", "integer"), Column("city", "text"))


def suite_of(*items):
    return suites.parse(json.dumps({"name": "friends", "expectations": list(items)}), "friends.json", COLUMNS, ("id",))


def expect(kind, severity="critical", **kwargs):
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity}


# --- a row, a record -------------------------------------------------------------------------


def test_a_row_keeps_its_other_values_and_its_nulls():
    row = {"id": 1, "name": MARKER, "born": None, "city": "Oslo"}
    assert personal.row(Friends(), row) == {"id": 1, "name": "***", "born": None, "city": "Oslo"}
    assert personal.row(Places(), row) == row


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ('{"id":1,"name":"Marker-4711","city":"Oslo"}', '{"id":1,"name":"***","city":"Oslo"}'),
        ('{"id":1,"nickname":"Marker-4711"}', '{"id":1,"nickname":"***"}'),  # not declared
        ('{"city":{"of":"Marker-4711"}}', '{"city":"***"}'),
        ('["Marker-4711"]', "***"),
        ('{"name":"Marker-4711"', "***"),
        ("1,Marker-4711,Oslo", "***"),
    ],
)
def test_of_a_record_only_what_is_known_not_to_be_personal_is_shown(raw, shown):
    assert personal.record(Friends(), raw) == shown
    assert personal.record(Places(), raw) == raw
    assert MARKER not in personal.record(None, raw)


def test_a_renamed_field_is_known_by_its_column():
    source = Friends()
    source.rename = {"Town": "city", "Who": "name"}
    assert personal.record(source, '{"Town":"Oslo","Who":"Ada"}') == '{"Town":"Oslo","Who":"***"}'


# --- what is said of values ------------------------------------------------------------------


@pytest.mark.parametrize("column", [c for c in COLUMNS if c.personal], ids=lambda c: c.name)
def test_a_value_that_does_not_fit_is_not_quoted(column):
    bad = {"text": {MARKER: 1}, "date": MARKER, "double precision": MARKER}[column.type]
    _, problems = encode([bad, None], column)
    assert problems[0].startswith(f"{column.name} is ***, ")


def test_examples_and_reasons_of_an_expectation_are_masked_column_by_column():
    frame = pd.DataFrame({"name": [MARKER], "city": ["Oslo"]})
    suite = suite_of(
        expect("column_values_to_match_regex", column="name", regex="^x$"),
        expect("column_pair_values_to_be_equal", "warning", column_A="name", column_B="city"),
    )
    check = rows.check(frame, suite)
    [[reason]] = check.failing.values()
    assert (reason.message, reason.value) == ("name is ***, expected matching ^x$", "***")
    assert [c.examples[0].value for c in check.counts] == ["***", "name ***, city 'Oslo'"]


def test_what_a_dataset_wide_expectation_found_is_masked_and_counts_are_not():
    suite = suite_of(
        expect("column_values_to_be_unique", column="name"),
        expect("column_max_to_be_between", column="score", max_value=1),
        expect("column_unique_value_count_to_be_between", column="name", max_value=1),
        expect("column_distinct_values_to_be_in_set", column="city", value_set=["Oslo"]),
    )
    found = [
        {"element_count": 2, "unexpected_count": 2, "partial_unexpected_list": [MARKER, MARKER]},
        {"observed_value": 4711.0},
        {"observed_value": 7},
        {"observed_value": ["Rome"]},
    ]
    results = [
        dataset._result(item, engine.Outcome(False, result), suite, "staging.friends")
        for item, result in zip(suite.items, found, strict=True)
    ]
    assert [e.value for e in results[0].examples] == ["***", "***"]
    assert [r.observed for r in results[1:]] == ["***", "7", "'Rome'"]
    assert "4711" not in repr(results)


# --- errors ----------------------------------------------------------------------------------


def test_the_quote_of_an_error_stands_apart_and_can_be_left_out():
    error = SourceError("it begins badly", quote=repr(MARKER), source="friends", next_step="look")
    assert str(error) == f"it begins badly: {MARKER!r} (source=friends) Next: look"
    assert str(error.without_quote()) == "it begins badly (source=friends) Next: look"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert type(error.without_quote()) is SourceError


@pytest.fixture
def stage_of(monkeypatch, capsys):
    """stage_of(source, stage): the error that comes out of the Lambda of a stage, and all that it logged."""
    monkeypatch.setattr(settings, "current", lambda: Settings(bucket="bucket"))

    def call(source, stage):
        monkeypatch.setattr(sources, "of_process", lambda *_: source)
        for handler in telemetry.logger.handlers:
            monkeypatch.setattr(handler, "stream", sys.stdout)
        event = {
            "run_id": "r",
            "source": source.name,
            "chunk": {"chunk": 0, "partition": 0, "request": {}, "format": "ndjson", "slices": []},
        }
        with pytest.raises(Exception) as raised:
            telemetry.run_stage(stage, TransformRequest, event)
        return raised.value, capsys.readouterr().out

    return call


def unexpected(request):
    int(MARKER)


def quoting(request):
    raise RawError("it begins badly", quote=MARKER)


def test_an_unexpected_error_is_withheld_where_a_source_is_personal_and_says_where_it_was(stage_of):
    error, logged = stage_of(Friends(), unexpected)
    assert type(error) is WithheldError
    assert str(error).startswith("ValueError at ")
    assert MARKER not in str(error) + logged and "WithheldError" in logged
    assert error.__suppress_context__  # a traceback would repeat it


def test_the_quote_of_our_own_error_is_left_out_and_its_name_stays(stage_of):
    error, logged = stage_of(Friends(), quoting)
    assert (type(error), str(error)) == (RawError, "it begins badly")
    assert MARKER not in logged


@pytest.mark.parametrize("stage", [unexpected, quoting])
def test_where_nothing_is_personal_errors_quote_what_they_found(stage_of, stage):
    error, logged = stage_of(Places(), stage)
    assert MARKER in str(error) and MARKER in logged


def test_a_source_that_cannot_be_looked_up_counts_as_personal(monkeypatch):
    def fail(*_):
        raise SyntaxError("somebody is editing it")

    assert not personal.may_hold("nobody-knows-it", "r")
    assert personal.may_hold("people", "r")
    assert not personal.may_hold("files", "r")  # its declaration was not read, so no row of it was
    monkeypatch.setattr(sources, "of_process", fail)
    assert personal.may_hold("friends", "r")
