"""Why a replication task cannot start is said in one line, whatever it said before."""

import json
import signal
import time
from dataclasses import asdict
from typing import ClassVar

import psycopg2
import pytest

from chalicelib.errors import ConfigurationError, TerminalError
from local.dms import __main__ as dms
from local.dms.processes import Folder, Tasks
from local.dms.task import Task
from local.home import Home


@pytest.fixture
def home(tmp_path):
    Home(tmp_path).description.touch()  # a stack is up
    return tmp_path


def test_a_task_that_cannot_start_says_its_cause_and_the_next_step_and_nothing_that_was_logged(home, database_url):
    for table in ("public.nothing", "public.neither"):
        task = Task("local", database_url, (table,), "changes")
        with pytest.raises(ConfigurationError) as raised:
            Tasks(home).start(task, {})
        assert str(raised.value) == f"the database has no table {table} Next: name it as schema.table"
    log = Folder(home / "replication" / "local").log.read_text()
    assert "replicating public.nothing" in log and "replicating public.neither" in log
    assert Tasks(home).get("local").error.startswith("ConfigurationError: the database has no table public.neither")


def test_of_what_nobody_foresaw_the_last_line_of_this_start_is_said(home):
    folder = Folder(home / "replication" / "local")
    folder.path.mkdir(parents=True)
    folder.log.write_text("an earlier start\n")
    task = Task("local", "postgresql:///x", ("public.x",), "changes")
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
