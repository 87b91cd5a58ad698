"""Schedules fire when their time comes, once, at a clock that the test moves; moto's Scheduler and SQS, real calls."""

import datetime as dt
import json
import uuid
from types import SimpleNamespace

import pytest
from event_functions import eventually, serving_moto
from werkzeug.test import Client

from chalicelib.errors import NotFound
from local.declared import Declared
from local.gateway import Gateway
from local.provision import Resources

UTC = dt.UTC
NOON = dt.datetime(2026, 7, 1, 12, tzinfo=UTC)  # 08:00 in New York


@pytest.fixture(scope="module")
def client():
    with serving_moto() as client:
        yield client


class Stage:
    """A group of schedules that send to a queue, and another queue for what that does not take."""

    def __init__(self, client):
        self._client, self.group = client, f"g-{uuid.uuid4().hex[:8]}"
        client("scheduler").create_schedule_group(Name=self.group)
        self.queue, self.undelivered = self._queue("q"), self._queue("u")

    def _queue(self, kind):
        return self._client("sqs").create_queue(QueueName=f"{kind}-{self.group}")["QueueUrl"]

    @staticmethod
    def arn(url):
        return f"arn:aws:sqs:us-east-1:123456789012:{url.rsplit('/', 1)[1]}"

    def add(self, source, expression, timezone="UTC", arn=None, **more):
        text = json.dumps({"source": source, "scheduled": "<aws.scheduler.scheduled-time>"})
        target = {
            "Arn": arn or self.arn(self.queue),
            "RoleArn": "arn:aws:iam::123456789012:role/any",
            "Input": text,
            "RetryPolicy": {"MaximumRetryAttempts": 1, "MaximumEventAgeInSeconds": 60},
            "DeadLetterConfig": {"Arn": self.arn(self.undelivered)},
        }
        self._client("scheduler").create_schedule(
            Name=f"{self.group}-{source}",
            GroupName=self.group,
            ScheduleExpression=expression,
            ScheduleExpressionTimezone=timezone,
            FlexibleTimeWindow={"Mode": "OFF"},
            Target=target,
            **more,
        )

    def messages(self, url=None, **more):
        found = self._client("sqs").receive_message(
            QueueUrl=url or self.queue, MaxNumberOfMessages=10, VisibilityTimeout=0, **more
        )
        return found.get("Messages", [])

    def sent(self):
        return sorted((json.loads(message["Body"]) for message in self.messages()), key=json.dumps)


@pytest.fixture
def stage(client):
    return Stage(client)


@pytest.fixture
def schedules(client, stage):
    """schedules(begin, …): those of the stage, at a clock that stands at `begin` until a test moves its hands."""
    from local.schedules import Clock, Schedules

    made = []

    def of(begin=NOON - dt.timedelta(seconds=30), **settings):
        hands = [begin.timestamp()]
        each = Schedules(client.endpoint, stage.group, Clock(lambda: hands[0]), **settings)
        each.hands = hands
        made.append(each)
        return each

    yield of
    for each in made:
        each.close()


def pass_to(schedules, moment):
    """Time goes on to `moment`, as if nobody had moved anything."""
    schedules.hands[0] = moment.timestamp()
    schedules._wake.set()


def test_a_schedule_fires_once_when_its_time_comes_with_that_time_in_its_message(stage, schedules):
    stage.add("weather", "cron(0 8 * * ? *)", "America/New_York")
    ticking = schedules()
    pass_to(ticking, NOON - dt.timedelta(seconds=1))
    pass_to(ticking, NOON + dt.timedelta(seconds=2))
    eventually(stage.sent)
    pass_to(ticking, NOON + dt.timedelta(seconds=40))
    eventually(lambda: ticking._seen == NOON + dt.timedelta(seconds=40))
    assert stage.sent() == [{"source": "weather", "scheduled": "2026-07-01T12:00:00Z"}]


def test_what_was_due_while_the_machine_slept_is_not_made_up_for(stage, schedules):
    stage.add("sensors", "rate(5 minutes)")
    ticking = schedules(NOON + dt.timedelta(seconds=30))
    pass_to(ticking, NOON + dt.timedelta(hours=3, minutes=5, seconds=10))
    eventually(stage.sent)
    assert stage.sent() == [{"source": "sensors", "scheduled": "2026-07-01T15:05:00Z"}]


def test_moving_the_clock_fires_what_is_due_at_that_moment_and_nothing_that_lies_between(stage, schedules):
    stage.add("weather", "cron(0 8 * * ? *)", "America/New_York")
    stage.add("sensors", "rate(5 minutes)")
    still = schedules(ticking=False)
    fired = still.move(NOON + dt.timedelta(days=2))
    assert [each.schedule.removeprefix(f"{stage.group}-") for each in fired] == ["weather", "sensors"]
    assert {each.scheduled for each in fired} == {NOON + dt.timedelta(days=2)}
    assert {each["scheduled"] for each in stage.sent()} == {"2026-07-03T12:00:00Z"}
    assert len(stage.sent()) == 2
    assert still.clock.now() == NOON + dt.timedelta(days=2)
    still.move(None)
    assert still.clock.now() == NOON - dt.timedelta(seconds=30)


def test_moving_the_clock_for_one_source_leaves_the_others_alone(stage, schedules):
    stage.add("weather", "cron(0 8 * * ? *)", "America/New_York")
    stage.add("sensors", "rate(5 minutes)")
    schedules(ticking=False).move(NOON, only=["weather"])
    assert [each["source"] for each in stage.sent()] == ["weather"]


def test_a_schedule_that_there_is_not_is_refused_and_the_clock_stays(stage, schedules):
    stage.add("weather", "rate(1 hour)")
    still = schedules(ticking=False)
    with pytest.raises(NotFound, match="wether"):
        still.move(NOON, only=["wether"])
    assert still.clock.ahead == 0


def test_without_ticking_nothing_fires_by_itself(stage, schedules):
    stage.add("sensors", "rate(1 minute)")
    still = schedules(ticking=False)
    pass_to(still, NOON + dt.timedelta(minutes=10))
    still.move(NOON + dt.timedelta(seconds=30))
    assert stage.sent() == []


def test_a_disabled_schedule_and_one_whose_expression_is_wrong_do_not_fire_nor_hold_up_the_others(stage, schedules):
    stage.add("disabled", "rate(1 minute)", State="DISABLED")
    stage.add("wrong", "cron(0 8 * * * *)")
    stage.add("right", "rate(1 minute)")
    schedules(ticking=False).move(NOON)
    assert [each["source"] for each in stage.sent()] == ["right"]


def test_a_schedule_that_is_changed_through_the_api_fires_by_what_it_is_then(client, stage, schedules):
    stage.add("weather", "cron(0 3 * * ? *)")
    still = schedules(ticking=False)
    name = f"{stage.group}-weather"
    found = client("scheduler").get_schedule(Name=name, GroupName=stage.group)
    kept = {key: found[key] for key in ("FlexibleTimeWindow", "Target", "ScheduleExpressionTimezone", "State")}
    client("scheduler").update_schedule(
        Name=name, GroupName=stage.group, ScheduleExpression="cron(0 12 * * ? *)", **kept
    )
    assert [each.scheduled for each in still.move(NOON)] == [NOON]


def test_what_a_target_does_not_take_ends_in_the_schedules_dead_letter_queue_with_the_reason(stage, schedules):
    missing = "arn:aws:sqs:us-east-1:123456789012:no-such-queue"
    stage.add("weather", "rate(1 hour)", arn=missing)
    schedules(ticking=False).move(NOON)
    [message] = eventually(lambda: stage.messages(stage.undelivered, MessageAttributeNames=["All"]))
    assert json.loads(message["Body"]) == {"source": "weather", "scheduled": "2026-07-01T12:00:00Z"}
    about = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert about["TARGET_ARN"] == missing
    assert about["EXHAUSTED_RETRY_CONDITION"] == "MaximumRetryAttempts"
    assert about["RETRY_ATTEMPTS"] == "1"
    assert about["SCHEDULED_TIME"] == "2026-07-01T12:00:00Z"
    assert "NonExistentQueue" in about["ERROR_CODE"]


def test_the_templates_schedules_are_those_of_the_emulated_scheduler(client):
    from local import schedules

    resources = Resources(client.endpoint)
    group = schedules.provision(resources, Declared(resources))
    weather = client("scheduler").get_schedule(Name=f"{group}-weather", GroupName=group)
    assert (weather["ScheduleExpression"], weather["ScheduleExpressionTimezone"], weather["State"]) == (
        "cron(0 8 * * ? *)",
        "America/New_York",
        "ENABLED",
    )


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"time": "2026-07-03T12:00:00Z"}, "`to` is missing"),
        ({"to": "2026-07-03T12:00:00Z", "source": "weather"}, "source is unknown, `to` and `schedules` are known"),
        (["2026-07-03T12:00:00Z"], "`to` is missing"),
        ({"to": "2026-07-03T12:00:00"}, "has no time zone"),
    ],
    ids=["other-key", "one-key-more", "list", "no-zone"],
)
def test_a_request_to_move_the_clock_that_is_none_is_told_by_key(stage, schedules, asked, told):
    still = schedules(ticking=False)
    before = still.clock.now()
    gateway = Client(Gateway(None, SimpleNamespace(invoke=None), {}, list, lambda: still))
    answer = gateway.post("/_sluice/clock", json=asked)
    assert answer.status_code == 400
    assert told in answer.json["error"]
    assert still.clock.now() == before
