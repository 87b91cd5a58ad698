"""A contract that is broken is told by field, at once."""

import pytest

from chalicelib import contracts
from chalicelib.contract_reading import read_contract, write_contract
from chalicelib.contracts import Chunk, FetchPartitionRequest, PlanResult, RecordFailureRequest, Slice, Window
from chalicelib.errors import ContractError
from chalicelib.quarantine import starting
from chalicelib.quarantine.claims import Claim
from chalicelib.run_input import RunInput

SLICE = {"part": 0, "key": "k", "raw_key": "k", "start": 0, "end": None, "first_line": 1}
CHUNK = {"chunk": 3, "partition": 0, "request": {}, "format": "ndjson", "slices": [SLICE]}


def test_nested_contracts_are_read_and_written_back():
    chunk = read_contract(Chunk, CHUNK)
    assert chunk.slices == (Slice(part=0, key="k", raw_key="k", start=0, end=None, first_line=1),)
    assert read_contract(Chunk, write_contract(chunk)) == chunk


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk": "3"}, "event.chunk is '3' (str), expected int"),
        ({"chunk": True}, "event.chunk is True"),
        ({"slices": "x"}, "event.slices is str, expected an array"),
        ({"slices": [{**SLICE, "start": None}]}, "event.slices[0].start is None"),
        ({"colour": 1}, "does not know: colour"),
        ({"format": ...}, "event.format is missing"),
    ],
)
def test_what_is_missing_extra_or_mistyped_is_named(change, message):
    event = {name: value for name, value in {**CHUNK, **change}.items() if value is not ...}
    with pytest.raises(ContractError) as error:
        read_contract(Chunk, event)
    assert message in str(error.value)


@pytest.mark.parametrize(("field", "value"), [("from", 20240101), ("to", True)])
def test_a_field_of_a_runs_input_is_named_as_it_was_written(field, value):
    with pytest.raises(ContractError, match=f"input.{field} is {value!r}"):
        RunInput.from_json({"source": "weather", field: value})


def test_an_event_that_is_no_object_is_refused():
    with pytest.raises(ContractError, match="event is list"):
        read_contract(FetchPartitionRequest, [])


def test_a_plan_survives_the_round_trip():
    plan = PlanResult(
        "r", "weather", Window("2024-01-01", None), (contracts.Partition(0, {"a": [1]}),), 1, 2, False, "discard"
    )
    assert read_contract(PlanResult, write_contract(plan)) == plan


@pytest.mark.parametrize("given", [{"source": "posts"}, ["posts"], "posts", 7, None])
def test_a_failure_is_recorded_whatever_the_execution_was_given(given):
    event = {"run_id": "r", "execution": "e", "input": given, "error": {}}
    assert read_contract(RecordFailureRequest, event).input == given


def test_the_input_of_a_run_has_from_and_to():
    given = RunInput.from_json({"source": "weather", "from": "2024-01-01", "to": "2024-01-02", "embed": False})
    assert (given.start, given.end, given.embed) == ("2024-01-01", "2024-01-02", False)


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ({"source": "posts"}, "sluice run posts"),
        (
            {"source": "weather", "from": "2024-01-01", "to": "2024-01-02", "embed": False},
            "sluice run weather --from 2024-01-01 --to 2024-01-02 --no-embed",
        ),
        ({"source": "files", "input": "my orders.toml"}, "sluice run files --input 'my orders.toml'"),
        (
            starting._trigger(Claim("c1a", "bills-1", "posts", None, 3)).run_input(),
            "sluice quarantine replay --run bills-1",
        ),
        ({"source": "posts", "replay": "c1a"}, "sluice quarantine replay --source posts"),
        (
            {"source": "files", "input": "https://me:PASS@x.org/a.toml?api_key=SECRET"},
            "sluice run files --input 'https://***@x.org/a.toml?api_key=***'",
        ),
    ],
)
def test_an_input_tells_the_command_that_runs_it_again(given, command):
    assert RunInput.from_json(given).command() == command


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "input.source is missing"),
        ({"source": "weather", "form": "2024-01-01"}, "does not know: form"),
        ({"source": "weather", "start": "2024-01-01"}, "`from` and `to`"),
        ({"source": 5}, "expected str"),
        ("weather", "expected an object"),
    ],
)
def test_a_wrong_input_of_a_run_is_told_by_name(given, message):
    with pytest.raises(ContractError) as error:
        RunInput.from_json(given)
    assert message in str(error.value)
