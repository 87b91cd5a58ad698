"""A trigger starts one run, however often and however simultaneously it comes; a failed one is tried again."""

import datetime as dt
import json
import threading
import uuid

import boto3
import moto_server
import pytest
from psycopg2.extensions import make_dsn
from psycopg2.extras import Json

from chalicelib import redaction, settings
from chalicelib.errors import ConfigurationError, ContractError, TransientError, TriggerConflict, UnknownSource
from chalicelib.triggers import Trigger, start, starting
from chalicelib.warehouse import connection

ROLE = "arn:aws:iam::123456789012:role/any"
WAIT = {"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 600, "End": True}}}
PASS = {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}


def failing(error):
    return {"StartAt": "A", "States": {"A": {"Type": "Fail", "Error": error, "Cause": "told to"}}}


@pytest.fixture(scope="module")
def endpoint():
    with moto_server.running() as url:
        yield url


@pytest.fixture
def machine(endpoint, database_url, monkeypatch):
    """machine(definition) is the state machine from now on; it gives the client."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    client = boto3.client("stepfunctions")
    starting._client.cache_clear()

    def made(definition):
        arn = client.create_state_machine(
            name=f"m-{uuid.uuid4().hex[:8]}", definition=json.dumps(definition), roleArn=ROLE
        )["stateMachineArn"]
        mine = settings.load({}, state_machine_arn=arn, database_url=database_url)
        monkeypatch.setattr(settings, "current", lambda: mine)
        return client

    yield made
    starting._client.cache_clear()


def trigger(**given):
    return Trigger("queue", "posts", uuid.uuid4().hex, **given)


def finished(client, started):
    while (found := client.describe_execution(executionArn=started.execution))["status"] == "RUNNING":
        pass
    return found


def test_the_run_has_the_triggers_name_and_input(machine):
    client = machine(PASS)
    wanted = trigger(input="post")
    started = start(wanted)
    assert (started.run_id, started.new) == (wanted.name, True)
    assert json.loads(finished(client, started)["input"]) == wanted.run_input()


def test_a_trigger_whose_run_is_under_way_or_succeeded_starts_nothing(machine):
    for definition in (WAIT, PASS):
        client = machine(definition)
        wanted = trigger()
        first = start(wanted)
        if definition is PASS:
            finished(client, first)
        again = start(wanted)
        assert (again.run_id, again.execution, again.new) == (first.run_id, first.execution, False)


def test_a_run_that_its_quality_gate_rejected_is_not_repeated(machine):
    client = machine(failing(starting.REJECTED))
    wanted = trigger()
    finished(client, start(wanted))
    assert not start(wanted).new


def test_a_run_that_failed_is_tried_again_under_the_next_name_each_time_the_trigger_comes(machine):
    client = machine(failing("WarehouseUnavailable"))
    wanted = trigger()
    names = []
    for _ in range(3):
        names.append(started := start(wanted))
        finished(client, started)
    assert [started.run_id for started in names] == [wanted.name, f"{wanted.name}-2", f"{wanted.name}-3"]
    assert all(started.new for started in names)


def test_an_aborted_run_is_tried_again(machine):
    client = machine(WAIT)
    wanted = trigger()
    client.stop_execution(executionArn=start(wanted).execution)
    assert start(wanted).run_id == f"{wanted.name}-2"


@pytest.mark.parametrize(
    ("definition", "aborted", "expected"),
    [
        (WAIT, False, True),
        (WAIT, True, False),
        (PASS, False, True),
        (failing(starting.REJECTED), False, True),
        (failing("WarehouseUnavailable"), False, False),
        ({**WAIT, "TimeoutSeconds": 1}, False, False),
    ],
    ids=["under way", "aborted", "succeeded", "rejected", "failed", "timed out"],
)
def test_a_trigger_stands_unless_every_run_of_it_failed_or_none_began(machine, definition, aborted, expected):
    client = machine(definition)
    wanted = trigger(input="post")
    assert not starting.stands(wanted)
    started = start(wanted)
    if aborted:
        client.stop_execution(executionArn=started.execution)
    elif definition is not WAIT:
        finished(client, started)
    # what it asked for, and whether its source is still there, is not looked at
    assert starting.stands(Trigger(wanted.kind, wanted.source, wanted.identity)) is expected


@pytest.mark.parametrize("error", [starting.REJECTED, "WarehouseUnavailable"])
def test_an_attempt_that_is_named_is_started_once_whatever_became_of_it_and_of_the_one_before(machine, error):
    client = machine(failing(error))
    wanted = trigger()
    for attempt in (1, 2):
        started = start(wanted, attempt)
        assert (started.run_id, started.new) == (wanted.attempt(attempt), True)
        finished(client, started)
        assert not start(wanted, attempt).new
    with pytest.raises(TriggerConflict, match="failed 99 times"):
        start(wanted, starting.ATTEMPTS + 1)


def test_a_trigger_is_not_tried_for_ever(machine, monkeypatch):
    monkeypatch.setattr(starting, "ATTEMPTS", 2)
    client = machine(failing("WarehouseUnavailable"))
    wanted = trigger()
    for _ in range(2):
        finished(client, start(wanted))
    with pytest.raises(TriggerConflict, match=r"failed 2 times.*sluice run posts"):
        start(wanted)


def test_the_same_name_with_another_input_is_told(machine):
    machine(WAIT)
    first = trigger(input="post")
    start(first)
    with pytest.raises(TriggerConflict, match="an id of its own"):
        start(Trigger("queue", "posts", first.identity, input="comment"))


def test_an_unknown_source_never_starts_a_run(machine):
    client = machine(PASS)
    with pytest.raises(UnknownSource):
        start(Trigger("queue", "nobody", "1"))
    assert not client.list_executions(stateMachineArn=settings.current().state_machine_arn)["executions"]


def test_many_deliveries_at_the_same_moment_start_one_run(machine):
    client = machine(WAIT)
    wanted, barrier, started = trigger(), threading.Barrier(8), []

    def deliver():
        barrier.wait()
        started.append(start(wanted))

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.run_id for each in started} == {wanted.name} and len(started) == 8
    found = client.list_executions(stateMachineArn=settings.current().state_machine_arn)["executions"]
    assert [execution["name"] for execution in found] == [wanted.name]


# --- what is foretold --------------------------------------------------------------------------


@pytest.mark.parametrize("definition", [PASS, WAIT, failing(starting.REJECTED), failing("WarehouseUnavailable")])
def test_what_is_expected_of_a_trigger_is_what_starting_it_then_gives(machine, definition):
    client = machine(definition)
    wanted = trigger()
    for _ in range(2):
        foretold = starting.expected(wanted)
        started = start(wanted)
        assert started == foretold
        if definition is not WAIT:
            finished(client, started)


def test_a_run_that_began_since_the_trigger_was_fired_is_its_own(machine):
    client = machine(failing("WarehouseUnavailable"))
    wanted = trigger()
    begun = finished(client, start(wanted))["startDate"]
    assert starting.expected(wanted, since=begun).run_id == wanted.name
    assert starting.expected(wanted, since=begun).new
    assert starting.expected(wanted, since=begun + dt.timedelta(seconds=1)).run_id == f"{wanted.name}-2"


def test_an_id_that_stands_for_another_run_is_foretold_too(machine):
    machine(WAIT)
    first = trigger(input="post")
    start(first)
    with pytest.raises(TriggerConflict, match="an id of its own"):
        starting.expected(Trigger("queue", "posts", first.identity, input="comment"))


HOPELESS = {
    "the window ends before it starts": ("weather", {"start": "2024-02-02", "end": "2024-02-01"}, "before it starts"),
    "an end alone": ("weather", {"end": "2024-02-01"}, "an end but no start"),
    "a day that is none": ("weather", {"start": "2024-02-30"}, "from is '2024-02-30'"),
    "a start to come": ("weather", {"start": "2999-01-01"}, "begins on 2999-01-01"),
    "a window to come": ("weather", {"start": "2999-01-01", "end": "2999-01-02"}, "begins on 2999-01-01"),
    "texts of a source without text": ("weather", {"embed": True}, "weather has no text to embed"),
    "days of a source without windows": ("posts", {"start": "2024-02-01"}, "posts has no windows"),
    "its cursor": ("posts", {"move_cursor": True}, "posts has no windows"),
    "a gap that moves nothing": ("weather", {"allow_gap": True}, "without move_cursor"),
    "a part that moves the cursor": ("weather", {"move_cursor": True, "input": "Oslo"}, "a part of the source"),
    "a day that is not over": (
        "weather",
        {"move_cursor": True, "start": "2024-01-01", "end": "2999-01-01"},
        "is not over",
    ),
}


@pytest.mark.parametrize("kind", ["queue", "api"])
@pytest.mark.parametrize(("source", "fields", "words"), HOPELESS.values(), ids=HOPELESS)
def test_a_run_that_could_only_fail_is_never_started(machine, kind, source, fields, words):
    client = machine(PASS)
    for ask in (start, starting.expected):
        with pytest.raises(ContractError, match=words):
            ask(Trigger(kind, source, "1", **fields))
    assert not client.list_executions(stateMachineArn=settings.current().state_machine_arn)["executions"]


def test_whether_a_declaration_names_text_is_known_when_it_is_read(machine):
    machine(PASS)
    assert start(Trigger("queue", "files", "1", input="https://example.com/orders.toml", embed=True)).new


# --- what Step Functions has forgotten, the ledger knows ---------------------------------------


@pytest.fixture
def ran(database_url):
    """ran(trigger, status) enters a run of it in the ledger alone."""

    def entered(wanted, status):
        with connection.transaction(database_url) as open_connection, open_connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO pipeline.runs (run_id, source, execution, input, status, started_at)"
                " VALUES (%s, %s, 'arn', %s, %s, now())",
                (wanted.name, wanted.source, Json(redaction.strings(wanted.run_input())), status),
            )

    return entered


@pytest.mark.parametrize("status", ["published", "succeeded", "rejected"])
def test_a_run_that_step_functions_forgot_is_not_repeated(machine, ran, status):
    machine(PASS)
    wanted = trigger(input="https://example.com/?api_key=0123456789")
    ran(wanted, status)
    assert not start(wanted).new


@pytest.mark.parametrize(("status", "suffix"), [("failed", "-2"), ("running", "")])
def test_one_that_failed_or_was_lost_is_tried_again(machine, ran, status, suffix):
    machine(PASS)
    wanted = trigger()
    ran(wanted, status)
    started = start(wanted)
    assert (started.run_id, started.new) == (f"{wanted.name}{suffix}", True)


@pytest.mark.parametrize(("status", "new"), [("published", True), ("succeeded", False), ("failed", False)])
def test_an_attempt_that_is_named_is_begun_again_until_its_end_is_known(machine, ran, database_url, status, new):
    machine(PASS)
    wanted = trigger()
    ran(wanted, status)
    if not new:
        with connection.transaction(database_url) as open_connection, open_connection.cursor() as cursor:
            cursor.execute("UPDATE pipeline.runs SET finished_at = now() WHERE run_id = %s", (wanted.name,))
    started = start(wanted, 1)
    assert (started.run_id, started.new) == (wanted.name, new)


def test_the_first_trigger_of_a_stage_comes_before_its_tables(machine, monkeypatch, database_url):
    machine(PASS)
    empty = make_dsn(database_url, dbname="template1")
    new = settings.load({}, state_machine_arn=settings.current().state_machine_arn, database_url=empty)
    monkeypatch.setattr(settings, "current", lambda: new)
    assert start(trigger()).new


# --- what may pass, and what will not ----------------------------------------------------------


def test_step_functions_out_of_reach_may_pass(machine, monkeypatch):
    machine(PASS)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    starting._client.cache_clear()
    with pytest.raises(TransientError):
        start(trigger())


def test_a_machine_that_is_not_there_is_told_with_the_remedy(machine, monkeypatch):
    machine(PASS)
    absent = settings.load(
        {}, state_machine_arn=settings.current().state_machine_arn + "x", database_url=settings.current().database_url
    )
    monkeypatch.setattr(settings, "current", lambda: absent)
    with pytest.raises(ConfigurationError, match="SLUICE_STATE_MACHINE_ARN"):
        start(trigger())
