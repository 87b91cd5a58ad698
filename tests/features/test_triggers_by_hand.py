"""Schedules at a clock that is moved, and `sluice trigger`: a trigger that is fired twice runs once."""

import datetime as dt
import json
import time
import uuid

import pytest

from chalicelib import executions

UTC = dt.UTC


def begun(pipeline, run_id, seconds=60):
    """The ARN of the execution called `run_id`, once there is one."""
    client, deadline = pipeline.client("stepfunctions"), time.monotonic() + seconds
    arn = executions.arn(pipeline.env["SLUICE_STATE_MACHINE_ARN"], run_id)
    while True:
        try:
            return client.describe_execution(executionArn=arn)["executionArn"]
        except client.exceptions.ExecutionDoesNotExist:
            assert time.monotonic() < deadline, f"{run_id} did not begin"
            time.sleep(0.05)


def executions_of(pipeline, run_id):
    """How many executions have that name, or that name and the number of a further attempt."""
    pages = pipeline.client("stepfunctions").get_paginator("list_executions")
    found = pages.paginate(stateMachineArn=pipeline.env["SLUICE_STATE_MACHINE_ARN"])
    return sum(each["name"].startswith(run_id) for page in found for each in page["executions"])


def messages_sent(pipeline):
    """How many invocations of start_run there were: the queue itself keeps no count."""
    return pipeline.stack.usage().get("start_run", {}).get("invocations", 0)


@pytest.fixture
def clock(pipeline):
    """Moves the schedules' clock, and puts it back."""
    yield pipeline.stack.move_clock
    pipeline.stack.move_clock(None)


def test_a_clock_moved_to_eight_in_new_york_runs_weather_once_and_a_second_time_nothing(pipeline, clock):
    due = dt.datetime(2027, 1, 5, 13, tzinfo=UTC)
    fired = clock(due, ["weather"])["fired"]
    assert fired == [{"schedule": "sluice-local-weather", "scheduled_time": due.isoformat()}]
    run = pipeline.wait(begun(pipeline, "weather-s20270105T130000Z"))
    assert run.status == "SUCCEEDED"
    assert run.row["input"]["trigger"] == "schedule 2027-01-05T13:00:00Z"
    # the scheduler delivers at least once
    assert len(clock(due, ["weather"])["fired"]) == 1
    marker = pipeline.sluice("trigger", "queue", "posts", "--input", "post", "--id", uuid.uuid4().hex, "--wait")
    assert "succeeded" in marker.stdout
    assert executions_of(pipeline, run.run_id) == 1


def test_an_hour_earlier_or_later_nothing_is_due(pipeline, clock):
    for hour in (12, 14):
        assert clock(dt.datetime(2027, 1, 5, hour, tzinfo=UTC), ["weather"])["fired"] == []


def test_in_summer_eight_in_new_york_is_an_hour_earlier(pipeline, clock):
    assert clock(dt.datetime(2027, 3, 14, 13, tzinfo=UTC), ["weather"])["fired"] == []
    coming = clock(dt.datetime(2027, 3, 13, 13, 0, 1, tzinfo=UTC), [])["next"]["sluice-local-weather"]
    assert coming == "2027-03-14T12:00:00+00:00"


def test_schedules_of_a_test_stack_do_not_tick(pipeline):
    assert pipeline.stack.clock()["ticking"] is False


def test_a_clock_that_is_moved_to_nonsense_stays_and_says_how_it_is_moved(pipeline):
    for body, status in (("[]", 400), ('{"to": "noon"}', 400), ('{"to": "2027-01-05T13:00:00"}', 400)):
        assert _post(pipeline, body) == status
    assert _post(pipeline, '{"to": "2027-01-05T13:00:00Z", "schedules": ["wether"]}') == 404
    assert pipeline.stack.clock()["ahead_seconds"] == 0


def _post(pipeline, body):
    import urllib.error
    import urllib.request

    request = urllib.request.Request(f"{pipeline.env['AWS_ENDPOINT_URL']}/_sluice/clock", body.encode(), method="POST")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def test_trigger_schedule_runs_the_source_as_if_it_were_due_and_once(pipeline):
    first = pipeline.sluice("trigger", "schedule", "posts", "--at", "2027-02-01T06:00", "--wait")
    assert "fired    schedule sluice-local-posts for 2027-02-01T06:00:00Z" in first.stdout
    assert "status   succeeded" in first.stdout
    second = pipeline.sluice("trigger", "schedule", "posts", "--at", "2027-02-01T06:00:00+00:00")
    assert "posts-s20270201T060000Z came of the same trigger before" in second.stdout


def test_trigger_queue_sends_what_anybody_may_send_and_the_same_id_once(pipeline):
    name = uuid.uuid4().hex[:8]
    asked = ("--from", "2015-06-01", "--to", "2015-06-03", "--input", "Oslo", "--id", name)
    first = pipeline.sluice("trigger", "queue", "weather", *asked, "--wait")
    assert "account  3 fetched" in first.stdout
    assert (
        f"weather-q{name} came of the same trigger before"
        in pipeline.sluice("trigger", "queue", "weather", *asked).stdout
    )


def test_an_id_that_stands_for_another_run_is_a_conflict_and_nothing_is_sent(pipeline):
    name = uuid.uuid4().hex[:8]
    asked = ("trigger", "queue", "weather", "--input", "Oslo", "--id", name)
    pipeline.sluice(*asked, "--from", "2015-06-01", "--to", "2015-06-01", "--wait")
    before = messages_sent(pipeline)
    refused = pipeline.sluice(*asked, "--from", "2015-06-02", "--to", "2015-06-02", status=2)
    assert f"TriggerConflict: weather-q{name} is a run of" in refused.stderr and "sent" not in refused.stdout
    assert messages_sent(pipeline) == before


def test_trigger_api_says_which_run_it_is_waits_for_it_and_tells_of_a_key_that_came_before(pipeline):
    token = pipeline.sluice("token", "create", uuid.uuid4().hex, "--scope", "run").stdout.split()[-1]
    asked = ("trigger", "api", "posts", "--input", "post", "--no-embed", "--key", uuid.uuid4().hex)
    first = pipeline.sluice(*asked, "--wait", given=token)
    run_id = first.stdout.split()[1]
    assert run_id.startswith("posts-a") and "status   succeeded" in first.stdout
    second = pipeline.sluice(*asked, given=token)
    assert f"run      {run_id} came of the same trigger before" in second.stdout
    assert f"Next: sluice runs show {run_id}" in second.stdout
    other = pipeline.sluice(*asked[:3], "--no-embed", *asked[-2:], status=2, given=token)
    assert "409" in other.stderr
    hopeless = pipeline.sluice("trigger", "api", "posts", "--from", "2024-01-02", status=1, given=token)
    assert "posts has no windows" in hopeless.stderr and "422" in hopeless.stderr


def test_runs_of_a_source_that_there_is_not_are_not_looked_for(pipeline):
    assert "no source is called 'nosuch'" in pipeline.sluice("runs", "list", "--source", "nosuch", status=1).stderr


def test_trigger_inbox_puts_the_file_into_s3_and_the_same_file_runs_once(pipeline, tmp_path):
    reading = {"sensor": uuid.uuid4().hex, "measured_at": "2026-11-01T00:00:00Z"}
    reading |= {"temperature": 21.5, "humidity": 40.0, "pressure": 1013.0, "battery": 99.0}
    file = tmp_path / f"{uuid.uuid4().hex[:8]} a+b.ndjson"
    file.write_text(json.dumps(reading) + "\n")
    first = pipeline.sluice("trigger", "inbox", "sensors", str(file), "--wait", status=None)
    assert f"object   s3://{pipeline.env['SLUICE_BUCKET']}/inbox/sensors/{file.name}" in first.stdout
    assert "account  1 fetched" in first.stdout, first.stdout + first.stderr
    again = pipeline.sluice("trigger", "inbox", "sensors", str(file))
    assert "came of the same trigger before" in again.stdout


def test_trigger_schedule_of_a_simulator_tells_the_run_of_what_it_put_into_the_inbox(pipeline):
    first = pipeline.sluice("trigger", "schedule", "sensors", "--at", "2027-03-01T00:05", "--wait", status=None)
    assert "inbox/sensors/" in first.stdout
    assert "status   " in first.stdout, first.stdout + first.stderr
    again = pipeline.sluice("trigger", "schedule", "sensors", "--at", "2027-03-01T00:05")
    assert "came of the same trigger before" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("schedule", "wether"), "no source is called 'wether'"),
        (("schedule", "files"), "files has no schedule"),
        (("schedule", "weather", "--at", "noon"), "'noon' is no time"),
        (("inbox", "weather", __file__), "weather reads no files"),
        (("inbox", "wether", __file__), "no source is called 'wether'"),
        (("queue", "wether"), "no source is called 'wether'"),
        (("queue", "weather", "--from", "2024-01-02", "--to", "2024-01-01"), "before it starts"),
        (("queue", "posts", "--from", "2024-01-02"), "posts has no windows"),
        (("schedule", "weather", "--at", "2027-03-14T02:30"), "no 02:30 on 2027-03-14 in America/New_York"),
    ],
)
def test_what_cannot_be_fired_is_refused_before_anything_is_sent(pipeline, arguments, said):
    assert said in pipeline.sluice("trigger", *arguments, status=1).stderr
