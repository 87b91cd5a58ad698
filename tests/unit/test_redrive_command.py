"""`sluice redrive`: whom it asks before it starts many runs, and what it says where AWS does not answer."""

import json
import uuid
from types import SimpleNamespace

import moto_server
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from chalicelib.redriving.starting import Redriven
from cli import redrive as command
from cli import undelivered as undelivered_command
from cli.main import main
from cli.outcome import Outcome
from local import provision

COUNTS = dict.fromkeys(("fetched", "inserted", "updated", "unchanged", "duplicates", "quarantined", "embedded"), 1)
MORE = {"verdict": "pass", "seconds": 0.1, "report": None, "graph": None, "error": None, "reason": None}


@pytest.fixture(scope="module")
def endpoint():
    with moto_server.running() as url:
        yield url


@pytest.fixture
def session(endpoint, monkeypatch, database_url):
    """What the commands talk to; a call of AWS that `refused` names by its operation is refused with that code."""
    prefix = f"sluice-{uuid.uuid4().hex[:8]}"
    refused = {}

    def refuse(params, model, **_):
        if code := refused.get(model.name):
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, model.name)

    def client(service):
        made = provision.client(service, endpoint)
        made.meta.events.register("before-call.*.*", refuse)
        return made

    found = SimpleNamespace(prefix=prefix, client=client, refused=refused, database_url=database_url)
    found.settings = SimpleNamespace(bucket="lake")
    for module in (command, undelivered_command):
        monkeypatch.setattr(module, "connect", lambda: found)
    for name in ("dead-letters", "undelivered", "triggers"):
        client("sqs").create_queue(QueueName=f"{prefix}-{name}")
    return found


@pytest.fixture
def failures(monkeypatch):
    """failures(number): so many runs have failed, by name. What `sluice redrive` began is in `begun`."""

    def failed(number):
        names = [f"posts-{n}" for n in range(number)]
        monkeypatch.setattr(
            command.starting, "failures", lambda source: [n for n in names if source in (None, "posts")]
        )
        return names

    def start(run_id, given=None, judge_again=False):
        failed.begun.append(run_id)
        return Redriven(f"{run_id}-2", "arn", "posts", run_id)

    def watched(context, session, run_id, execution, console):
        return Outcome(run_id=run_id, status="succeeded", **COUNTS, **MORE)

    failed.begun = []
    monkeypatch.setattr(command.starting, "start", start)
    monkeypatch.setattr(command, "watched", watched)
    return failed


def sluice(*arguments, given=None):
    return CliRunner().invoke(main, list(arguments), input=given)


@pytest.mark.parametrize("answer", ["n\n", "\n", ""], ids=["no", "nothing", "nobody is there"])
def test_more_than_a_few_runs_are_named_asked_for_and_not_started_without_a_yes(session, failures, answer):
    names = failures(command.FEW + 1)
    ended = sluice("redrive", "--all", given=answer)
    assert ended.exit_code == 1 and failures.begun == []
    assert all(f"failed   {name}" in ended.stderr for name in names)
    assert f"Redrive {len(names)} runs? [y/N]" in ended.stderr


def test_with_a_yes_all_of_them_are_started_and_told(session, failures):
    names = failures(command.FEW + 1)
    ended = sluice("redrive", "--all", given="y\n")
    assert ended.exit_code == 0 and failures.begun == names
    assert ended.stdout.count("succeeded") == len(names)


@pytest.mark.parametrize(("more", "options"), [(1, ["--yes"]), (0, [])], ids=["--yes", "no more than a few"])
def test_nobody_is_asked_about_a_few_or_with_yes(session, failures, more, options):
    names = failures(command.FEW + more)
    ended = sluice("redrive", "--all", *options, "--json")
    assert ended.exit_code == 0 and failures.begun == names and "Redrive" not in ended.stderr
    assert [run["run_id"] for run in json.loads(ended.stdout)["runs"]] == [f"{name}-2" for name in names]


def test_where_nothing_failed_nothing_is_asked(session, failures):
    failures(9)
    ended = sluice("redrive", "--all", "--source", "weather")
    assert (ended.exit_code, failures.begun, ended.stdout) == (0, [], "No run is to be redriven.\n")


def test_what_is_settled_is_not_asked_about_and_starts_nothing(session, failures, monkeypatch):
    names, client = failures(command.FEW + 2), session.client("sqs")
    queue = client.get_queue_url(QueueName=f"{session.prefix}-dead-letters")["QueueUrl"]
    for name in names:
        client.send_message(QueueUrl=queue, MessageBody=json.dumps({"run_id": name, "input": {"source": "posts"}}))
    by = dict.fromkeys(names[:2], "posts-since")
    monkeypatch.setattr(command, "_settled", lambda letter: by.get(letter.run_id))
    ended = sluice("redrive", "--from-dead-letters", given="")
    assert ended.exit_code == 0 and "Redrive" not in ended.stderr and sorted(failures.begun) == names[2:]
    assert all(f"settled  {name}: by posts-since" in ended.stderr for name in by)
    assert "Messages" not in client.receive_message(QueueUrl=queue)


OPERATIONS = ("GetQueueUrl", "ReceiveMessage", "DeleteMessage")


@pytest.mark.parametrize("code", ["AccessDenied", "ThrottlingException"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_runs_that_were_begun_are_watched_also_where_their_dead_letters_cannot_be_deleted(
    session, failures, operation, code
):
    [name] = failures(1)
    client = session.client("sqs")
    queue = client.get_queue_url(QueueName=f"{session.prefix}-dead-letters")["QueueUrl"]
    client.send_message(QueueUrl=queue, MessageBody=json.dumps({"run_id": name, "input": {"source": "posts"}}))
    session.refused[operation] = code
    ended = sluice("redrive", "--all")
    assert ended.exit_code == 0 and failures.begun == [name], ended.output
    assert "the dead letters stay" in ended.stderr and code in ended.stderr and "succeeded" in ended.stdout
    session.refused.clear()
    held = client.receive_message(QueueUrl=queue, WaitTimeSeconds=1)["Messages"]
    assert json.loads(held[0]["Body"])["run_id"] == name


@pytest.mark.parametrize(
    ("code", "error"), [("AccessDenied", "TerminalError"), ("ThrottlingException", "TransientError")]
)
@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("GetQueueUrl", ["undelivered", "list"]),
        ("ReceiveMessage", ["undelivered", "list"]),
        ("GetQueueUrl", ["redrive", "--from-dead-letters"]),
    ],
    ids=lambda given: given if isinstance(given, str) else given[0],
)
def test_a_queue_that_is_refused_is_an_error_of_ours_that_says_what_to_do(
    session, failures, operation, arguments, code, error
):
    session.refused[operation] = code
    ended = sluice(*arguments)
    assert ended.exit_code == 1 and failures.begun == []
    assert f"sluice: {error}: " in ended.stderr and code in ended.stderr and "Next: " in ended.stderr


@pytest.mark.parametrize("operation", ["SendMessage", "DeleteMessage"])
def test_a_message_that_cannot_be_sent_back_stays_and_the_command_says_so(session, operation, monkeypatch):
    client = session.client("sqs")
    queue = client.get_queue_url(QueueName=f"{session.prefix}-undelivered")["QueueUrl"]
    identity = client.send_message(QueueUrl=queue, MessageBody=json.dumps({"source": "posts"}))["MessageId"]
    monkeypatch.setattr(undelivered_command, "_comes_of", lambda *given: ["run posts-1"])
    session.refused[operation] = "AccessDenied"
    ended = sluice("undelivered", "resend", identity)
    assert ended.exit_code == 1 and f"stays    {identity}: TerminalError: " in ended.stderr
    session.refused.clear()
    [message] = client.receive_message(QueueUrl=queue, WaitTimeSeconds=1)["Messages"]
    assert message["MessageId"] == identity
