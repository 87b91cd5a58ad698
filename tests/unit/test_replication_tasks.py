"""Why a replication task cannot start is said in one line, whatever it said before."""

import pytest

from chalicelib.errors import ConfigurationError, TerminalError
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
