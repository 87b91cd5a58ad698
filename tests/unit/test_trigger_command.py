"""`sluice trigger schedule` of what is no source's: the hourly sweep."""

import json
import uuid
from types import SimpleNamespace

import moto_server
import pytest
from click.testing import CliRunner

from chalicelib.triggers import messages
from cli import trigger as command
from cli.main import main
from deploy import schedules
from local import provision


@pytest.fixture
def queue(monkeypatch):
    """The queue of triggers of a stage that has the sweep's schedule, as the template makes it."""
    prefix = f"sluice-{uuid.uuid4().hex[:8]}"
    with moto_server.running() as url:
        session = SimpleNamespace(prefix=prefix, client=lambda service: provision.client(service, url))
        monkeypatch.setattr(command, "connect", lambda: session)
        client = session.client("sqs")
        client.create_queue(QueueName=f"{prefix}-triggers")
        scheduler = session.client("scheduler")
        scheduler.create_schedule_group(Name=prefix)
        [declared] = schedules.of_the_sweep().values()
        scheduler.create_schedule(
            Name=f"{prefix}-{command.HOUSEKEEPING}",
            GroupName=prefix,
            ScheduleExpression=declared["Properties"]["ScheduleExpression"],
            ScheduleExpressionTimezone=declared["Properties"]["ScheduleExpressionTimezone"],
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": f"arn:aws:sqs:us-east-1:123456789012:{prefix}-triggers",
                "RoleArn": "arn:aws:iam::123456789012:role/r",
                "Input": declared["Properties"]["Target"]["Input"],
            },
        )
        yield lambda: client.receive_message(QueueUrl=client.get_queue_url(QueueName=f"{prefix}-triggers")["QueueUrl"])


def test_the_sweep_is_asked_for_as_its_schedule_asks_and_no_run_is_told(queue):
    ended = CliRunner().invoke(main, ["trigger", "schedule", "housekeeping", "--at", "2026-11-21T08:17"])
    assert ended.exit_code == 0 and "the message for a sweep" in ended.stdout and "run  " not in ended.stdout
    [message] = queue()["Messages"]
    assert json.loads(message["Body"]) == {"sweep": True, "scheduled": "2026-11-21T08:17:00Z"}
    assert messages.read(message["Body"], "m", "lake") == [messages.Sweep()]


def test_no_run_of_a_sweep_is_waited_for(queue):
    ended = CliRunner().invoke(main, ["trigger", "schedule", "housekeeping", "--wait"])
    assert ended.exit_code == 2 and "no run comes of a sweep" in ended.output and "Messages" not in queue()


def test_another_name_is_no_source(queue):
    ended = CliRunner().invoke(main, ["trigger", "schedule", "sweeping"])
    assert ended.exit_code == 1 and "no source is called 'sweeping'" in ended.output
