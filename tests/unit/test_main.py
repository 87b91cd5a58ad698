"""The command line as a whole: how a command ends that is stopped in the middle."""

import os
import subprocess
import sys

from click.testing import CliRunner

from cli import main, runs


def test_ctrl_c_ends_any_command_with_the_status_that_shells_know(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "connect", interrupted)
    ended = CliRunner().invoke(main.main, ["runs", "list"])
    assert (ended.exit_code, ended.stderr) == (130, "Interrupted.\n")


def test_ctrl_c_while_the_commands_are_imported_prints_no_traceback(tmp_path):
    # stands in for click: the signal comes while it is being imported
    # the shell that started the tests may have the signal ignored
    stub = "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler); os.kill(os.getpid(), 2)"
    (tmp_path / "click.py").write_text(stub)
    path = os.pathsep.join([str(tmp_path), os.getcwd()])
    started = [sys.executable, "-m", "cli", "runs", "list"]
    ended = subprocess.run(started, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (main.INTERRUPTED, "Interrupted.\n")
