"""`sluice redrive`: whom it asks before it starts many runs, and what it says where AWS does not answer."""

import json
import uuid
from types import SimpleNamespace

import moto_server
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from chalicelib.redriving.starting import Redriven, Settled
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


class Letters:
    """The queue of dead letters, and what settled their runs."""

    def __init__(self, session, monkeypatch):
        self.client = session.client("sqs")
        self.queue = self.client.get_queue_url(QueueName=f"{session.prefix}-dead-letters")["QueueUrl"]
        self.settled = {}
        monkeypatch.setattr(command.starting, "settled", lambda run_id, given: self.settled.get(run_id))

    def send(self, *names):
        for name in names:
            body = json.dumps({"run_id": name, "input": {"source": "posts"}})
            self.client.send_message(QueueUrl=self.queue, MessageBody=body)

    def left(self):
        """The runs whose letters are in the queue."""
        found = self.client.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", ())
        return sorted(json.loads(message["Body"])["run_id"] for message in found)


@pytest.fixture
def queue(session, monkeypatch):
    return Letters(session, monkeypatch)


def test_what_is_settled_is_not_asked_about_and_starts_nothing(failures, queue):
    names = failures(command.FEW + 2)
    queue.send(*names)
    queue.settled = {name: Settled(name, "posts-since", "posts-since did it") for name in names[:2]}
    ended = sluice("redrive", "--from-dead-letters", given="")
    assert ended.exit_code == 0 and "Redrive" not in ended.stderr and sorted(failures.begun) == names[2:]
    assert all(f"settled  {name}: posts-since did it\n" in ended.stderr for name in names[:2])
    assert queue.left() == []


@pytest.mark.parametrize("options", [(), ("--yes",), ("--dry-run",)], ids=["asking", "--yes", "--dry-run"])
def test_who_settled_a_run_is_a_run_or_nobody_with_the_reason_and_a_letter_that_is_kept_stays(failures, queue, options):
    names = failures(3)
    queue.send(*names)
    queue.settled = {
        names[0]: Settled(names[0], f"{names[0]}-2", "it tried the same"),
        names[1]: Settled(names[1], None, "no row is open"),
        names[2]: Settled(names[2], "posts-since", "the letter stays", keeps_letter=True),
    }
    ended = sluice("redrive", "--from-dead-letters", "--json", *options)
    assert ended.exit_code == 0 and failures.begun == []
    told = json.loads(ended.stdout)
    assert (told["runs"], told["left"]) == ([], [])
    assert sorted(told["settled"], key=lambda each: each["run_id"]) == [
        {"run_id": names[0], "by": f"{names[0]}-2", "reason": "it tried the same"},
        {"run_id": names[1], "by": None, "reason": "no row is open"},
        {"run_id": names[2], "by": "posts-since", "reason": "the letter stays"},
    ]
    assert queue.left() == (names if "--dry-run" in options else names[2:])


def test_a_run_that_was_settled_when_the_others_were_asked_about_is_not_begun_afterwards(failures, queue, monkeypatch):
    """Its later attempt was under way then, and failed while the question stood."""
    names = failures(command.FEW + 2)
    queue.send(*names)
    queue.settled = {names[0]: Settled(names[0], f"{names[0]}-2", "under way")}

    def confirm(*told, **options):
        queue.settled.clear()

    monkeypatch.setattr(command.click, "confirm", confirm)
    ended = sluice("redrive", "--from-dead-letters")
    assert sorted(failures.begun) == names[1:] and ended.exit_code == 1
    assert f"failed   {names[0]}\n" not in ended.stderr and f"failed   {names[1]}\n" in ended.stderr
    assert f"left     {names[0]}: it was settled a moment ago, and is not any more" in ended.stderr
    assert queue.left() == names[:1]


def test_a_run_that_was_settled_while_the_question_stood_starts_nothing(failures, queue, monkeypatch):
    names = failures(command.FEW + 1)
    queue.send(*names)

    def confirm(*told, **options):
        queue.settled[names[0]] = Settled(names[0], f"{names[0]}-2", "somebody else was faster")

    monkeypatch.setattr(command.click, "confirm", confirm)
    ended = sluice("redrive", "--from-dead-letters")
    assert sorted(failures.begun) == names[1:] and ended.exit_code == 0
    assert f"settled  {names[0]}: somebody else was faster\n" in ended.stderr and queue.left() == []


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
