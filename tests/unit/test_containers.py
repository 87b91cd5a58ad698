"""A container does what the Lambdas do, says how it ended, and is a process with a limit on the laptop."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from memory_s3 import MemoryS3

from chalicelib import container, container_result
from chalicelib.columns import Column
from chalicelib.contracts import ContainerTask
from chalicelib.errors import ConfigurationError, ContractError, DeclarationError, LakeUnavailable, SourceError
from chalicelib.failure import plain_cause
from chalicelib.lake import Lake
from chalicelib.settings import Settings
from chalicelib.sources.base import Source
from chalicelib.stages.plan import _check_containers
from local.containers import Containers
from local.faults import Fault

TASK = ContainerTask("run", "orders", "2026-11-21T10:00:00.000Z", chunk=3)
CAUGHT = {"Error": "States.TaskFailed", "Cause": json.dumps({"Containers": [{"ExitCode": 1}]})}


@pytest.fixture
def lake():
    return Lake("lake", MemoryS3())


# --- what it is told ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "SLUICE_TASK is '', expected a JSON object"),
        ("[]", "SLUICE_TASK is list"),
        ('{"run_id": "r", "source": "s", "started_at": "t"}', "a chunk or a partition"),
        ('{"run_id": "r", "source": "s", "started_at": "t", "chunk": 1, "partition": 1}', "a chunk or a partition"),
        ('{"run_id": "r", "source": "s", "started_at": "t", "chunk": "1"}', "SLUICE_TASK.chunk is '1'"),
        ('{"run_id": "r", "source": "s", "started_at": "t", "chonk": 1}', "does not know: chonk"),
    ],
)
def test_a_task_that_is_none_is_refused(text, message):
    with pytest.raises(ContractError) as raised:
        container.read_task(text)
    assert message in str(raised.value)


def test_a_source_that_asks_for_what_there_is_not_is_refused():
    class Heavy(Source):
        name = "heavy"
        key = ("id",)
        columns = (Column("id", "integer"),)
        runs_on = "fargate"

    with pytest.raises(DeclarationError, match="runs_on is 'fargate'"):
        Heavy().check()
    Heavy.runs_on = "container"
    Heavy().check()
    with pytest.raises(ConfigurationError, match="runs_on of heavy ask for containers, and stage dev has none"):
        _check_containers(Heavy(), Settings(stage="dev"))
    _check_containers(Heavy(), Settings(stage="dev", containers="on"))


# --- how it ended ------------------------------------------------------------------------------


def test_the_containers_own_error_stands_for_what_ecs_says(lake):
    container_result.begin(lake, TASK)
    assert container_result.own_error(lake, "run", CAUGHT, chunk=3) == CAUGHT  # it was killed: no words
    container_result.fail(lake, TASK, SourceError("no such file"))
    told = {"Error": "SourceError", "Cause": "no such file"}
    assert container_result.own_error(lake, "run", CAUGHT, chunk=3) == told
    assert container_result.own_error(lake, "run", CAUGHT, chunk=4) == CAUGHT
    assert container_result.own_error(lake, "run", CAUGHT) == CAUGHT  # of partitions
    timeout = {"Error": "States.Timeout", "Cause": ""}
    assert container_result.own_error(lake, "run", timeout, chunk=3) == timeout


def test_an_earlier_attempt_counts_within_one_execution_only(lake):
    assert container_result.earlier(lake, TASK) is None
    container_result.fail(lake, TASK, SourceError("no such file"))
    assert container_result.earlier(lake, TASK).terminal
    another = ContainerTask(**{**vars(TASK), "started_at": "2026-11-22T10:00:00.000Z"})
    assert container_result.earlier(lake, another) is None


@pytest.mark.parametrize(
    ("error", "terminal"),
    [(SourceError("x"), True), (LakeUnavailable("x"), False), (MemoryError(), False), (ZeroDivisionError(), True)],
)
def test_what_may_pass_is_tried_again(lake, error, terminal):
    container_result.fail(lake, TASK, error)
    assert container_result.earlier(lake, TASK).terminal == terminal


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ({"Containers": [{"ExitCode": 137}], "StoppedReason": "Essential container in task exited"}, "killed (exit"),
        ({"Containers": [{"ExitCode": 1}], "StoppedReason": "Essential container in task exited"}, "exit status 1"),
        ({"Containers": [{}], "StoppedReason": "CannotPullContainerError: no such image"}, "CannotPullContainerError"),
        ({"Containers": []}, "it stopped"),
    ],
)
def test_what_ecs_says_of_a_task_is_told_in_words(cause, words):
    assert words in plain_cause(json.dumps(cause))


# --- on the laptop -----------------------------------------------------------------------------


def run(tmp_path, code: str, overrides=None, fault=None, **limits):
    containers = Containers(tmp_path, {}, tmp_path / "log", command=(sys.executable, "-c", code), **limits)
    task = containers.run("arn:cluster/c", "arn:task", overrides or {}, fault)
    assert task.done.wait(60)
    return task, (tmp_path / "log").read_text()


def test_a_process_gets_what_the_state_machine_overrides(tmp_path):
    overrides = {"ContainerOverrides": [{"Name": "stages", "Environment": [{"Name": "A", "Value": "b"}]}]}
    task, log = run(tmp_path, "import os; print(os.environ['A'])", overrides)
    assert (task.exit_code, log) == (0, "b\n")
    assert task.described()["Containers"] == [{"Name": "stages", "LastStatus": "STOPPED", "ExitCode": 0}]


def test_a_process_that_needs_more_than_its_memory_is_killed(tmp_path):
    task, _ = run(tmp_path, "import time; held = bytearray(300 * 2**20); time.sleep(60)", memory_mb=100)
    assert task.exit_code == 137
    assert "memory" in task.described()["Containers"][0]["Reason"]


def test_an_exit_status_and_a_signal_are_told_as_ecs_does(tmp_path):
    assert run(tmp_path, "raise SystemExit(3)")[0].exit_code == 3
    assert run(tmp_path, "import os; os.kill(os.getpid(), 15)")[0].exit_code == 143


@pytest.mark.parametrize(("action", "reason"), [("kill", None), ("memory", "OutOfMemoryError")])
def test_a_task_is_struck_by_a_fault(tmp_path, action, reason):
    task, _ = run(tmp_path, "import time; time.sleep(60)", fault=Fault("f", "ecs", action, [], seconds=0.1))
    assert task.exit_code == 137
    assert (reason or "") in task.described()["Containers"][0].get("Reason", "")


def test_overrides_beyond_the_limit_of_ecs_are_refused(tmp_path):
    overrides = {"containerOverrides": [{"environment": [{"name": "A", "value": "x" * 9000}]}]}
    with pytest.raises(ContractError, match="8192 characters"):
        Containers(tmp_path, {}, tmp_path / "log").run("c", "t", overrides)


# --- the image: nothing here builds it ---------------------------------------------------------

ROOT = Path(__file__).parents[2]


def tasks(states):
    for state in states.values():
        if state.get("Resource") == "arn:aws:states:::ecs:runTask.sync":
            yield state
        yield from tasks(state.get("ItemProcessor", {}).get("States", {}))


def test_a_container_that_ecs_could_not_start_is_tried_again_longer_than_one_that_failed():
    """RunTask's own errors: no capacity is AmazonECSException, the others are named as ECS names them."""
    machine = json.loads((ROOT / "statemachine" / "pipeline.asl.json").read_text())
    found = list(tasks(machine["States"]))
    assert len(found) == 2
    for state in found:
        starting, failed = state["Retry"]
        wanted = {"AmazonECSException", "ServerException", "ThrottlingException", "SdkClientException"}
        assert set(starting["ErrorEquals"]) == {f"ECS.{name}" for name in wanted}
        # the first that matches counts, and this one matches almost everything
        assert failed["ErrorEquals"] == ["States.TaskFailed"]
        assert starting["MaxAttempts"] > failed["MaxAttempts"]


def instructions():
    """(instruction, arguments) of the Dockerfile, its continued lines joined, without comments."""
    text = (ROOT / "infra" / "container" / "Dockerfile").read_text()
    lines = "\n".join(line for line in text.split("\n") if not line.startswith("#")).replace("\\\n", " ").split("\n")
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def of(kind):
    return [arguments for instruction, arguments in instructions() if instruction == kind]


def test_the_image_has_a_pinned_base_of_our_python_and_is_not_root():
    [base] = of("FROM")
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    assert re.fullmatch(r"\S+/python:3\.11\.\d+-slim-\w+", base)
    assert config["lambda_architecture"] == "x86_64"
    assert int(of("USER")[0]) > 0
    known = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "VOLUME", "USER", "ENTRYPOINT"}
    assert {instruction for instruction, _ in instructions()} <= known


def test_the_image_has_what_the_functions_have_and_begins_with_the_entry_point():
    copied = [part for arguments in of("COPY") for part in shlex.split(arguments)[:-1]]
    assert all((ROOT / part).exists() for part in copied)
    assert {"requirements.txt", "requirements-gate.txt", "constraints.txt", "chalicelib"} <= set(copied)
    [install] = [run for run in of("RUN") if "pip install" in run]
    assert "--requirement requirements.txt --requirement requirements-gate.txt boto3" in install
    # Lambda's runtime brings it; the requirements' constraints pin it
    assert re.search(r"^boto3==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert json.loads(of("ENTRYPOINT")[0]) == ["python", "-m", "chalicelib.container"]
    assert 'if __name__ == "__main__":' in Path(container.__file__).read_text()
