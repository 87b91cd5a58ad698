"""The command line as a whole: how a command ends that is stopped in the middle."""

from click.testing import CliRunner

from cli import main, runs


def test_ctrl_c_ends_any_command_with_the_status_that_shells_know(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "connect", interrupted)
    ended = CliRunner().invoke(main.main, ["runs", "list"])
    assert (ended.exit_code, ended.stderr) == (130, "Interrupted.\n")
