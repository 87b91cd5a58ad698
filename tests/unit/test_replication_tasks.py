"""Why a replication task cannot start is said in one line, whatever it said before."""

import contextlib
import json
import signal
import time
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import ClassVar

import psycopg2
import pytest
from click.testing import CliRunner
from psycopg2.extensions import make_dsn

from chalicelib.errors import ConfigurationError, TerminalError
from cli import changes as commands
from local.dms import __main__ as dms
from local.dms import task as tasks
from local.dms.processes import Folder, Running, Tasks
from local.dms.task import Task
from local.home import Home


@pytest.fixture
def home(tmp_path):
    Home(tmp_path).description.touch()  # a stack is up
    return tmp_path


@pytest.fixture
def other_url(database_url):
    """Another database of the server, which has the table too and no slot."""
    return make_dsn(database_url, dbname="postgres")


@pytest.fixture
def source(database_url, other_url):
    """A table of both databases, as schema.table."""
    with contextlib.ExitStack() as stack:
        for url in (database_url, other_url):
            connection = stack.enter_context(contextlib.closing(psycopg2.connect(url)))
            connection.autocommit = True
            cursor = stack.enter_context(connection.cursor())
            cursor.execute("CREATE TABLE public.replicated (id bigint PRIMARY KEY)")
            stack.callback(cursor.execute, "DROP TABLE public.replicated")
        yield "public.replicated"


@pytest.fixture
def slot(database_url):
    """The slot of the task `local`, taken out in the end."""
    with contextlib.closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SELECT pg_create_logical_replication_slot('sluice_local', 'pgoutput')")
        yield
        cursor.execute("SELECT pg_drop_replication_slot('sluice_local')")


def stopped(home, task):
    """A task that was loaded, and stopped; returns its folder."""
    folder = Folder(home / "replication" / task.name)
    folder.path.mkdir(parents=True)
    folder.task.write_text(json.dumps(asdict(task)))
    folder.state.write_text(json.dumps({"loaded": True, "tables": {}}))
    return folder


def files(folder):
    return {path.name: path.read_bytes() for path in folder.path.iterdir() if path.name != "lock"}


def test_a_task_that_cannot_start_says_its_cause_and_the_next_step_and_leaves_nothing(home, database_url):
    for table in ("public.nothing", "public.neither"):
        task = Task("local", database_url, (table,), "changes")
        with pytest.raises(ConfigurationError) as raised:
            Tasks(home).start(task, {})
        assert str(raised.value) == f"the database has no table {table} Next: name it as schema.table"
        with pytest.raises(ConfigurationError, match="there is no task 'local'"):
            Tasks(home).get("local")


@pytest.mark.parametrize(
    ("given", "reload", "said"),
    [
        ({"tables": ("public.missing",)}, False, "replicates public.replicated; with other tables"),
        ({"tables": ("public.replicated", "public.missing")}, False, "replicates public.replicated; with other tables"),
        ({"tables": ("public.missing",)}, True, "has no table public.missing"),
        ({"database_url": "postgresql:///nowhere?host=/nowhere"}, False, "cannot be reached"),
        ({"database_url": "postgresql:///nowhere?host=/nowhere"}, True, "cannot be reached"),
        ({}, False, "the slot sluice_local is gone: postgres has none of that name"),
        ({"before_images": True}, False, "REPLICA IDENTITY FULL"),
    ],
    ids=["table", "one more", "table anew", "host", "host anew", "another database", "images"],
)
def test_a_stopped_task_is_what_it_was_after_a_start_that_is_refused(
    home, database_url, other_url, source, slot, given, reload, said
):
    task = Task("local", database_url, (source,), "changes")
    folder = stopped(home, task)
    before = files(folder)
    if not given:
        given = {"database_url": other_url}
    with pytest.raises(ConfigurationError, match=said):
        Tasks(home).start(replace(task, **given), {}, reload)
    assert files(folder) == before and Tasks(home).get("local").task == task


@pytest.mark.parametrize(
    ("known", "options", "warned"),
    [(True, ["--reload"], True), (False, ["--reload"], False), (True, [], False)],
    ids=["anew", "for the first time", "going on"],
)
def test_who_loads_a_task_anew_is_told_that_a_load_deletes_nothing(home, monkeypatch, known, options, warned):
    task = Task("local", "postgresql:///x", ("public.x",), commands.CHANGE_STREAM)
    if known:
        stopped(home, task)
    monkeypatch.setattr(commands, "connect", lambda: SimpleNamespace(settings=SimpleNamespace(stage=commands.LOCAL)))
    monkeypatch.setattr(commands, "home", lambda: home)
    monkeypatch.setattr(commands, "Stack", lambda home: SimpleNamespace(env=dict))
    monkeypatch.setattr(Tasks, "start", lambda self, given, env, reload: Running(given, 1, "following", 0, None))
    given = ["start", "--database", task.database_url, "--table", "public.x", *options]
    ran = CliRunner().invoke(commands.changes, given)
    assert ran.exit_code == 0 and "replicates public.x" in ran.output
    assert ("A load deletes nothing" in ran.output) == warned


def test_why_a_task_ended_is_said_and_nothing_that_was_logged(home, database_url, source):
    task = Task("local", database_url, (source,), "changes")
    folder = stopped(home, task)
    with pytest.raises(ConfigurationError) as raised:
        Tasks(home).start(task, {})
    assert str(raised.value).startswith("the slot sluice_local is gone: ") and "replicating" not in str(raised.value)
    assert str(raised.value).endswith(" Next: `sluice changes start --reload` loads the tables anew")
    assert f"replicating {source}" in folder.log.read_text()
    assert Tasks(home).get("local").error.startswith("ConfigurationError: the slot sluice_local is gone")
    assert folder.loaded


def test_of_what_nobody_foresaw_the_last_line_of_this_start_is_said(home):
    task = Task("local", "postgresql:///x", ("public.x",), "changes")
    folder = stopped(home, task)
    folder.log.write_text("an earlier start\n")
    with pytest.raises(TerminalError, match=r"^the task local ended: .*broken.* Next: see ") as raised:
        Tasks(home).start(task, {"AWS_DEFAULT_REGION": "", "AWS_CONFIG_FILE": "/broken", "AWS_PROFILE": "broken"})
    assert "an earlier start" not in str(raised.value) and str(folder.log) in str(raised.value)


def test_the_status_goes_on_counting_after_the_database_broke_off(home, monkeypatch):
    class Replicates:
        """The first one's database breaks off after 3 records; the second has put 4 when the task is stopped."""

        made: ClassVar[list] = []

        def __init__(self, task, client, state, stopped):
            self.put, self.state, self.first = 0, "loading", not self.made
            self.made.append(self)

        def run(self):
            self.state, self.put = ("following", 3) if self.first else ("loading", 4)
            if self.first:
                raise psycopg2.OperationalError("server closed the connection")
            deadline = time.monotonic() + 20
            while seen() != (7, "loading") and time.monotonic() < deadline:
                time.sleep(0.01)
            assert seen() == (7, "loading")
            signal.raise_signal(signal.SIGTERM)

    folder = Folder(home / "replication" / "local")
    folder.path.mkdir(parents=True)
    folder.task.write_text(json.dumps(asdict(Task("local", "postgresql:///x", ("public.x",), "changes"))))

    def seen():
        status = json.loads(folder.status.read_text()) if folder.status.exists() else {}
        return status.get("put"), status.get("state")

    monkeypatch.setattr(dms, "Replication", Replicates)
    monkeypatch.setattr(dms, "RETRY_SECONDS", 0)
    monkeypatch.setattr(dms, "STATUS_SECONDS", 0.01)
    monkeypatch.setattr(dms.boto3, "client", lambda service: None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert dms.main(folder) == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert seen() == (7, "stopped")


@pytest.mark.parametrize(
    ("other", "refused"),
    [
        ({}, True),
        ({"stream": "others"}, False),
        ({"tables": ("public.another",)}, False),
        ({"database_url": "postgresql:///mine"}, False),
    ],
    ids=["the same tables", "another stream", "other tables", "the same log"],
)
def test_two_databases_do_not_feed_the_same_table_by_one_stream(home, monkeypatch, other, refused):
    stopped(home, replace(Task("theirs", "postgresql:///theirs", ("public.orders", "public.x"), "changes"), **other))

    def check(task, goes_on):
        raise ConfigurationError("it would start")

    monkeypatch.setattr(tasks, "check", check)
    with pytest.raises(ConfigurationError) as raised:
        Tasks(home).start(Task("mine", "postgresql:///mine", ("public.orders",), "changes"), {})
    assert ("the task theirs replicates public.orders of another database" in raised.value.message) == refused
    assert ("sluice changes stop --name theirs --remove" in str(raised.value)) == refused
    assert not Folder(home / "replication" / "mine").task.exists()
