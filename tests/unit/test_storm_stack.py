"""What the storm kills is its own stack's, whatever else has the pid by then."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import psutil
import pytest
from botocore.exceptions import ClientError

from local import processes
from storm.stack import StormStack
from storm.waiting import Waits

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


HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n"
BODY = '{"status": "RUNNING"}'


@pytest.mark.parametrize("said", ["", BODY[:9]], ids=["its headers", "half of it"])
def test_an_answer_of_which_a_killed_stack_said_a_part_is_asked_for_again(said):
    """botocore takes it for an answer without anything in it: `KeyError: 'status'` of a run that was under way."""
    answers = [HEAD.format(len(BODY)) + said, HEAD.format(len(BODY)) + BODY]
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def answer() -> None:
            for each in answers:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(each.encode())

        thread = threading.Thread(target=answer)
        thread.start()
        stack = StormStack.__new__(StormStack)
        stack.waits, stack._turning, stack._clients = Waits(), threading.Lock(), {}
        stack.env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{listening.getsockname()[1]}"}
        arn = "arn:aws:states:us-east-1:123456789012:execution:sluice:a"
        assert stack.call("stepfunctions", "describe_execution", executionArn=arn)["status"] == "RUNNING"
        thread.join()


def test_a_sweep_that_lambda_itself_fails_comes_again(monkeypatch):
    """As the message would of which it is: the workers of a stack that is being stopped go before the stack does."""
    away = ClientError({"Error": {"Code": "ServiceException", "Message": "the workers are gone"}}, "Invoke")
    answers = [away, {"Payload": io.BytesIO(json.dumps({"batchItemFailures": []}).encode())}]

    def call(service, operation, **given):
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    stack = StormStack.__new__(StormStack)
    stack.waits, stack._sweeping = Waits(), threading.Lock()
    stack.database = SimpleNamespace(query=lambda statement, **values: [])
    monkeypatch.setattr(stack, "call", call)
    stack.sweep()
    assert not answers
