"""The stack as a whole: up, twice, down, killed, and up again; nothing is left running, nothing is lost."""

import contextlib
import datetime as dt
import fcntl
import json
import os
import signal
import time
import urllib.error
import urllib.request

import psutil
import psycopg2
import pytest

from chalicelib import settings
from chalicelib.errors import ConfigurationError, TerminalError
from local import processes, provision
from local.home import Home
from local.stack import Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("stack") / "home")
    stack.up()
    yield stack
    stack.down()


def client(stack, service):
    return provision.client(service, stack.env()["AWS_ENDPOINT_URL"])


def query(stack, sql):
    with contextlib.closing(psycopg2.connect(stack.env()["DATABASE_URL"])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else None


def processes_of(stack):
    server = psutil.Process(stack.info().pid)
    return [server, *server.children(recursive=True)]


def test_a_second_start_finds_the_first(stack):
    known = stack.info()
    assert Stack(stack._home.path).up() == known


def test_the_environment_is_made_of_settings(stack):
    loaded = settings.load({name: value for name, value in stack.env().items() if name.startswith("SLUICE_")})
    loaded.require("bucket", "database_url", "topic_arn", "dead_letter_url", "state_machine_arn")
    assert loaded.is_local


def test_what_the_environment_names_exists(stack):
    env = stack.env()
    client(stack, "s3").head_bucket(Bucket=env["SLUICE_BUCKET"])
    client(stack, "stepfunctions").describe_state_machine(stateMachineArn=env["SLUICE_STATE_MACHINE_ARN"])
    client(stack, "sqs").get_queue_attributes(QueueUrl=env["SLUICE_DEAD_LETTER_URL"])
    assert query(stack, "SELECT count(*) FROM pipeline.runs") == [(0,)]


def test_emails_can_be_read(stack):
    client(stack, "sns").publish(TopicArn=stack.env()["SLUICE_TOPIC_ARN"], Subject="Look here", Message="at this")
    (email,) = stack.sent_emails()
    assert (email["subject"], email["message"]) == ("Look here", "at this")
    assert email["to"]


def test_the_links_of_an_alert_lead_to_pages(stack):
    client(stack, "s3").put_object(Bucket="sluice-local", Key="runs/7/report.html", Body=b"<p>the report")
    links = stack.env()["SLUICE_LINKS_URL"]
    with urllib.request.urlopen(f"{links}/runs/7/report.html") as page:
        assert page.headers["Content-Type"].startswith("text/html")
        assert page.read() == b"<p>the report"
    for missing in ("runs/8/report.html", "runs/8/graph.svg"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{links}/{missing}")


def test_a_function_that_does_not_exist_is_refused_as_on_aws(stack):
    functions = client(stack, "lambda")
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.invoke(FunctionName="nothing-of-the-kind", Payload=b"{}")


def test_down_and_up_keep_tables_objects_and_addresses_and_leave_nothing_running(stack):
    before, family = stack.info(), processes_of(stack)
    query(stack, "CREATE TABLE kept AS SELECT 1 AS n")
    client(stack, "s3").put_object(Bucket="sluice-local", Key="runs/1/report.html", Body=b"<p>kept")
    assert stack.down() is True
    assert not processes.wait(family, 0)
    assert stack.info() is None
    assert stack.down() is False
    with pytest.raises(ConfigurationError, match="sluice up"):
        stack.env()
    after = stack.up()
    assert (after.endpoint, after.database_url) == (before.endpoint, before.database_url)
    assert query(stack, "SELECT n FROM kept") == [(1,)]
    found = client(stack, "s3").get_object(Bucket="sluice-local", Key="runs/1/report.html")
    assert found["Body"].read() == b"<p>kept"


def test_a_killed_server_takes_everything_with_it_and_starts_again(stack):
    family = processes_of(stack)
    query(stack, "CREATE TABLE committed AS SELECT 2 AS n")
    os.kill(stack.info().pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while stack.info() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert stack.info() is None
    stack.up()
    assert not processes.wait(family, 10)
    assert query(stack, "SELECT n FROM committed") == [(2,)]


def test_a_stack_that_is_started_with_schedules_fires_what_is_due_by_itself(tmp_path):
    stack = Stack(tmp_path / "home")
    try:
        assert stack.up(schedules=True).schedules
        queue = client(stack, "sqs").create_queue(QueueName="due")["QueueUrl"]
        client(stack, "scheduler").create_schedule(
            Name="once",
            GroupName="sluice-local",
            ScheduleExpression="at(2027-01-05T11:02:31)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": "arn:aws:sqs:us-east-1:123456789012:due",
                "RoleArn": "arn:aws:iam::123456789012:role/any",
                "Input": "<aws.scheduler.scheduled-time>",
            },
        )
        assert stack.move_clock(dt.datetime(2027, 1, 5, 11, 2, 30, tzinfo=dt.UTC))["fired"] == []
        [message] = client(stack, "sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"]
        assert message["Body"] == "2027-01-05T11:02:31Z"
    finally:
        stack.down()


def test_a_stack_that_cannot_start_says_why(tmp_path):
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    (tmp_path / "postgres" / "data" / "PG_VERSION").write_text("9.6\n")
    stack = Stack(tmp_path)
    with pytest.raises(TerminalError, match=r"made by PostgreSQL 9\.6"):
        stack.up()
    assert stack.info() is None


def test_malformed_tokens_are_told_before_anything_is_started(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_TOKENS", '{"webhook:orders": s3cret}')
    with pytest.raises(ConfigurationError, match="SLUICE_TOKENS holds no JSON object") as refused:
        Stack(tmp_path / "home").up()
    assert "s3cret" not in str(refused.value)
    assert not (tmp_path / "home").exists()


def test_what_a_killed_server_left_is_not_taken_for_the_one_that_is_starting(tmp_path):
    home = Home(tmp_path)
    home.create()
    left = dict.fromkeys(("endpoint", "database_url", "sources_url", "logs"), "")
    home.description.write_text(json.dumps({**left, "pid": 1, "postgres_pid": 1, "environment": {}}))
    with home.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(os.getpid()))
        lock.flush()
        assert Stack(tmp_path).info() is None
        home.description.write_text(json.dumps({**left, "pid": os.getpid(), "postgres_pid": 1, "environment": {}}))
        assert Stack(tmp_path).info().pid == os.getpid()
