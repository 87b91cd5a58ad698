"""What the storm kills is its own stack's, whatever else has the pid by then."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from local import processes
from storm.stack import StormStack

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def pids():
    """Of a child of this process, and of a process that is nobody's of ours."""
    child = subprocess.Popen([sys.executable, "-c", SLEEP])
    begin = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}], stdout=2).pid)"
    other = int(subprocess.run([sys.executable, "-c", begin], stdout=subprocess.PIPE, text=True, check=True).stdout)
    yield child, other
    child.kill()
    child.wait()
    psutil.Process(other).kill()


def test_postgres_is_killed_and_nobody_who_has_its_pid_since(pids):
    child, other = pids
    stack = StormStack.__new__(StormStack)  # without anything running
    for pid in (other, child.pid):
        told = SimpleNamespace(pid=os.getpid(), postgres_pid=pid)
        stack._stack = SimpleNamespace(info=lambda told=told: told)
        stack.restart_postgres(signal.SIGKILL)
    assert child.wait(60) == -signal.SIGKILL
    assert processes.runs(psutil.Process(other))
