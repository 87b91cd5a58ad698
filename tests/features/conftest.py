"""The local stack, once for all feature tests, its warehouse anew for each file, and a handle on it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import pytest
from issuer_on_loopback import AUDIENCE, Issuer

from chalicelib import executions
from chalicelib.warehouse import migrations, tables
from chalicelib.warehouse.publishing import COUNTS
from local import provision
from local.stack import Stack

ROOT = Path(__file__).parents[2]
# with which senders sign what they send to the session's stack
WEBHOOK_SECRET = "a-secret-of-the-tests"


@dataclass(frozen=True)
class Run:
    """A finished execution. `row` is its row in the ledger, {} when it never got there."""

    run_id: str
    status: str  # Step Functions' own: SUCCEEDED | FAILED | …
    error: str | None
    cause: str | None
    row: dict

    @property
    def account(self) -> tuple:
        return tuple(self.row[name] for name in COUNTS)


@dataclass
class Pipeline:
    """What a test does with the stack: run, query, read the mail and the dead letters."""

    home: Path
    stack: Stack
    env: dict[str, str] = field(default_factory=dict)
    _clients: dict = field(default_factory=dict, init=False)

    def __post_init__(self):
        self.env = self.stack.env()

    def client(self, service: str):
        """boto3's, made once for each service: 3 to 7 ms."""
        if service not in self._clients:
            self._clients[service] = provision.client(service, self.env["AWS_ENDPOINT_URL"])
        return self._clients[service]

    def start(self, source: str, name: str | None = None, **given) -> str:
        """Start an execution; returns its ARN. `start` and `end` are passed as `from` and `to`."""
        names = {"start": "from", "end": "to"}
        wanted = {"source": source, **{names.get(key, key): value for key, value in given.items()}}
        return self.client("stepfunctions").start_execution(
            stateMachineArn=self.env["SLUICE_STATE_MACHINE_ARN"],
            name=name or f"{source}-{uuid.uuid4().hex[:8]}",
            input=json.dumps(wanted),
        )["executionArn"]

    def wait(self, arn: str, seconds: float = 240) -> Run:
        client = self.client("stepfunctions")
        deadline = time.monotonic() + seconds
        while (found := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
            assert time.monotonic() < deadline, f"{arn} is still running after {seconds} s"
            time.sleep(0.05)
        rows = self.query("SELECT row_to_json(r) FROM pipeline.runs r WHERE run_id = %s", arn.rsplit(":", 1)[1])
        return Run(
            run_id=arn.rsplit(":", 1)[1],
            status=found["status"],
            error=found.get("error"),
            cause=found.get("cause"),
            row=rows[0][0] if rows else {},
        )

    def run(self, source: str, **given) -> Run:
        return self.wait(self.start(source, **given))

    def query(self, statement: str, *values) -> list[tuple]:
        connection = psycopg2.connect(self.env["DATABASE_URL"])
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.commit()
            connection.close()

    def states(self, run: Run) -> list[str]:
        """The states that the execution entered, in order."""
        entered = [
            event["stateEnteredEventDetails"] for event in self._history(run) if "stateEnteredEventDetails" in event
        ]
        return [details["name"] for details in entered]

    def attempts(self, run: Run, state: str) -> int:
        """How often the work of a Task state, entered once, was begun."""
        entered, begun = "", 0
        for event in self._history(run):
            entered = event.get("stateEnteredEventDetails", {}).get("name", entered)
            begun += event["type"] == "TaskScheduled" and entered == state
        return begun

    def _history(self, run: Run) -> list[dict]:
        arn = executions.arn(self.env["SLUICE_STATE_MACHINE_ARN"], run.run_id)
        pages = self.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
        return [event for page in pages for event in page["events"]]

    def quarantine(self, run: Run) -> list[tuple[int, str, list[str]]]:
        """(line, raw record, every reason) of the rows that were set aside, in raw order."""
        return self.query(
            "SELECT line, record, (SELECT array_agg(reason ->> 'message') FROM jsonb_array_elements(reasons) AS reason)"
            " FROM pipeline.quarantine WHERE run_id = %s ORDER BY part, line",
            run.run_id,
        )

    def rows(self, table: str) -> list[tuple]:
        """A curated table with what Postgres knows of each row: a row that was written anew is not equal."""
        return self.query(f"SELECT ctid::text, xmin::text, t.* FROM curated.{table} AS t ORDER BY ctid")

    def staging_tables(self, run_id: str = "") -> list[str]:
        """All of the stack, or those of one run: other tests of the file may have left some."""
        names = self.query("SELECT tablename FROM pg_tables WHERE schemaname = 'staging'")
        suffix = tables.staging_name("", run_id) if run_id else ""
        return [name for (name,) in names if name.endswith(suffix)]

    def get(self, url: str) -> tuple[str, str]:
        """(content type, text) of what a link in an email answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=30) as answer:
            return answer.headers["Content-Type"], answer.read().decode()

    def emails(self, run_id: str) -> list:
        """The emails about a run, each with `subject` and `message`."""
        return [mail for mail in self.stack.sent_emails() if run_id in mail["message"] + mail["subject"]]

    def dead_letters(self, run_id: str) -> list[dict]:
        """The dead letters of a run; others are left in the queue."""
        client, found, after = self.client("sqs"), [], []
        while messages := client.receive_message(
            QueueUrl=self.env["SLUICE_DEAD_LETTER_URL"], MaxNumberOfMessages=10, VisibilityTimeout=20
        ).get("Messages"):
            after += messages
            found += [body for body in (json.loads(m["Body"]) for m in messages) if body["run_id"] == run_id]
        for message in after:
            client.change_message_visibility(
                QueueUrl=self.env["SLUICE_DEAD_LETTER_URL"], ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        return found

    def sluice(
        self, *arguments: str, status: int | None = 0, cwd: Path = ROOT, given: str | None = None
    ) -> subprocess.CompletedProcess:
        """The command line, as a user types it; `status` is the exit status expected, None for any.

        `given` is what it reads from standard input.
        """
        ran = subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SLUICE_HOME": str(self.home)},
            capture_output=True,
            text=True,
            input=given,
            timeout=280,
        )
        assert status is None or ran.returncode == status, ran.stdout + ran.stderr
        return ran


@contextlib.contextmanager
def running(home: Path, **settings: int | str) -> Iterator[Pipeline]:
    """A stack of its own, whose workers have these settings, such as `fetch_seconds=1`."""
    stack = Stack(home)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(f"SLUICE_{name.upper()}", str(value))
        stack.up()
    try:
        yield Pipeline(home, stack)
    finally:
        stack.down()


@pytest.fixture(scope="session")
def issuer():
    """Whose JWTs the API of the stack takes beside tokens of ours."""
    made = Issuer()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory, issuer):
    settings = {
        "tokens": json.dumps({"webhook:sensors": WEBHOOK_SECRET}),
        "oidc_issuer": issuer.url,
        "oidc_audience": AUDIENCE,
    }
    with running(tmp_path_factory.mktemp("stack"), **settings) as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def pipeline(shared_stack):
    """The shared stack, its warehouse as a new one: what a file's tests find there, they loaded.

    A stack of its own would take each file 6 s of CPU, this 0.1.
    """
    shared_stack.query(
        "SET lock_timeout = '60 s'; DROP SCHEMA IF EXISTS pipeline CASCADE;"
        " DROP SCHEMA IF EXISTS curated CASCADE; DROP SCHEMA IF EXISTS staging CASCADE"
    )
    migrations.apply(shared_stack.env["DATABASE_URL"])
    return shared_stack


@pytest.fixture(scope="session")
def own_stack(tmp_path_factory):
    """own_stack(chunk_bytes=…): a stack that a test may kill, or whose settings are its own."""

    def own(**settings):
        return running(tmp_path_factory.mktemp("stack"), **settings)

    return own


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """checkout() is a copy of the project as a user has it: what git tracks; layers that were built once are shared."""

    def copied() -> Path:
        folder = tmp_path_factory.mktemp("checkout")
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            source, target = ROOT / name, folder / name
            if source.is_symlink() or source.exists():  # not what was deleted and is not committed yet
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        cache = ROOT / "build" / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        (folder / "build").mkdir()
        (folder / "build" / "cache").symlink_to(cache)
        return folder

    return copied


@pytest.fixture
def table():
    """The name of a curated table that no other test uses."""
    return f"orders_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def declare(tmp_path):
    """declare(table, content, columns, …) writes a data file and its declaration; gives the declaration's path.

    `content` is None where the file, or what `location` names, is there already. `settings` are the
    declaration's other keys, such as `location`, `format` and `nulls`.
    """

    def declared(
        table: str,
        content: bytes | str | None,
        columns: dict[str, str],
        key=("id",),
        suite=None,
        name="data.ndjson",
        rename=None,
        **settings,
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        settings = {"location": name, "table": table, "key": list(key), **settings}
        if suite is not None:
            settings["suite"] = f"{table}.suite.json"
            (tmp_path / settings["suite"]).write_text(json.dumps({"name": table, **suite}))
        # a JSON string or array is one in TOML too
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        for section, pairs in (("columns", columns), ("rename", rename or {})):
            lines += [f"[{section}]", *(f"{json.dumps(left)} = {json.dumps(right)}" for left, right in pairs.items())]
        path = tmp_path / f"{table}.toml"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return declared
