"""The Lambda runtime: AWS' limits and errors, in worker processes that never outlive their server."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from local import processes
from local.functions import name_of, read
from local.home import REPOSITORY
from local.runtime import NoWorker, RequestTooLarge, Runtime, UnknownFunction

APP = """
import os, sys, time
from chalice import Chalice

app = Chalice(app_name="sluice")

@app.lambda_function(name="echo")
def echo(event, context):
    return {"event": event, "pid": os.getpid()}

@app.lambda_function(name="describe")
def describe(event, context):
    print("a line for the log")
    return {
        "name": context.function_name, "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb,
        "remaining": context.get_remaining_time_in_millis(), "request_id": context.aws_request_id,
        "variable": os.environ["AWS_LAMBDA_FUNCTION_NAME"], "own": os.environ.get("OWN"),
        "stack": os.environ["FROM_THE_STACK"],
    }

class Refused(Exception):
    pass

@app.lambda_function(name="fail")
def fail(event, context):
    raise Refused("no such day")

@app.lambda_function(name="nap")
def nap(event, context):
    time.sleep(event["seconds"])
    return os.getpid()

@app.lambda_function(name="crash")
def crash(event, context):
    os.kill(os.getpid(), event["signal"])

@app.lambda_function(name="leave")
def leave(event, context):
    sys.exit(3)

@app.lambda_function(name="hoard")
def hoard(event, context):
    kept = bytearray(event["mb"] * 1024 * 1024)
    time.sleep(event["seconds"])
    return len(kept)

@app.lambda_function(name="keep")
def keep(event, context):
    app.kept = bytearray(os.urandom(1024)) * (event["mb"] * 1024)
    return os.getpid()

@app.lambda_function(name="imported")
def imported(event, context):
    return event["module"] in sys.modules

@app.lambda_function(name="unspeakable")
def unspeakable(event, context):
    return {1, 2}

@app.lambda_function(name="talkative")
def talkative(event, context):
    return "x" * (7 * 1024 * 1024)
"""

CONFIG = {
    "version": "2.0",
    "app_name": "sluice",
    "lambda_timeout": 20,
    "stages": {
        "local": {
            "lambda_memory_size": 256,
            "environment_variables": {"OWN": "configured", "FROM_THE_STACK": "hidden"},
            "lambda_functions": {"nap": {"lambda_timeout": 1}, "keep": {"lambda_memory_size": 1024}},
        }
    },
}


def write_app(folder):
    (folder / "app.py").write_text(APP)
    (folder / ".chalice").mkdir()
    (folder / ".chalice" / "config.json").write_text(json.dumps(CONFIG))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    write_app(folder)
    return folder


@pytest.fixture(scope="module")
def runtime(folder):
    environment = {"PATH": os.environ["PATH"], "FROM_THE_STACK": "given"}
    runtime = Runtime(folder, environment, folder / "lambda.log", workers=2, preload=("decimal",))
    yield runtime
    runtime.close()
    assert not [p for p in psutil.process_iter() if str(folder) in _cwd(p)]


def _cwd(process):
    try:
        return process.cwd()
    except psutil.Error:
        return ""


def invoke(runtime, name, **event):
    result = runtime.invoke(name, json.dumps(event).encode())
    return result.error, json.loads(result.payload)


def test_the_payload_and_the_answer_are_json(runtime):
    error, answer = invoke(runtime, "echo", when="2024-02-30", many=[1, None, "é"])
    assert error is None
    assert answer["event"] == {"when": "2024-02-30", "many": [1, None, "é"]}
    assert answer["pid"] != os.getpid()


def test_a_function_is_found_by_arn_qualified_name_and_plain_name(runtime):
    for reference in ("arn:aws:lambda:us-east-1:123456789012:function:sluice-local-echo:$LATEST", "sluice-local-echo"):
        assert runtime.invoke(reference, b"{}").error is None
        assert name_of(reference) == "echo"


def test_a_function_that_the_application_does_not_have_is_refused(runtime):
    with pytest.raises(UnknownFunction, match="nothing-of-the-kind"):
        runtime.invoke("nothing-of-the-kind")


def test_the_handler_sees_its_limits_and_its_environment(runtime):
    _, answer = invoke(runtime, "describe")
    assert answer["name"] == answer["variable"] == "sluice-local-describe"
    assert answer["arn"].endswith(":function:sluice-local-describe")
    assert answer["memory"] == "256"
    assert 0 < answer["remaining"] <= 20_000
    assert answer["own"] == "configured"
    assert answer["stack"] == "given"


def test_limits_come_from_the_function_then_the_stage_then_the_top_level_then_the_default(folder, tmp_path):
    assert read(folder, "nap").timeout == 1
    assert read(folder, "echo").timeout == 20
    assert read(folder, "echo").memory_size == 256
    assert (read(tmp_path, "echo").timeout, read(tmp_path, "echo").memory_size) == (60, 128)


def test_what_a_handler_prints_is_in_the_log(runtime, folder):
    invoke(runtime, "describe")
    assert "a line for the log" in (folder / "lambda.log").read_text()


def test_an_exception_is_reported_as_lambda_reports_it(runtime):
    error, answer = invoke(runtime, "fail")
    assert error == "Unhandled"
    assert (answer["errorType"], answer["errorMessage"]) == ("Refused", "no such day")
    assert "no such day" in answer["stackTrace"][-1]


def test_an_answer_that_is_not_json_is_an_error(runtime):
    error, answer = invoke(runtime, "unspeakable")
    assert (error, answer["errorType"]) == ("Unhandled", "Runtime.MarshalError")


def test_six_megabytes_are_the_limit_both_ways(runtime):
    error, answer = invoke(runtime, "talkative")
    assert (error, answer["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")
    with pytest.raises(RequestTooLarge, match="6291456"):
        runtime.invoke("echo", json.dumps("x" * (6 * 1024 * 1024)).encode())


def test_a_handler_that_overruns_its_time_is_killed(runtime, folder):
    invoke(runtime, "echo")
    before = workers(folder)
    error, answer = invoke(runtime, "nap", seconds=30)
    assert error == "Unhandled"
    assert answer["errorType"] == "Sandbox.Timedout"
    assert answer["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert len(workers(folder) & before) < len(before)
    assert invoke(runtime, "echo")[0] is None


def workers(folder):
    """The pids of the workers: children of a pre-fork server, itself one of what has the libraries; all run there."""
    there = [process for process in psutil.process_iter() if _cwd(process) == str(folder)]
    servers = {process.pid for process in there if process.ppid() in {one.pid for one in there}}
    return {process.pid for process in there if process.ppid() in servers}


def test_a_crash_and_an_exit_are_seen(runtime):
    for name, event, how in (
        ("crash", {"signal": signal.SIGSEGV}, "signal: segmentation fault"),
        ("crash", {"signal": signal.SIGKILL}, "signal: killed"),
        ("leave", {}, "exit status 3"),
    ):
        error, answer = invoke(runtime, name, **event)
        assert (error, answer["errorType"]) == ("Unhandled", "Runtime.ExitError")
        assert answer["errorMessage"].endswith(f"Error: Runtime exited with error: {how}")
    assert invoke(runtime, "echo")[0] is None


def test_a_handler_that_outgrows_its_memory_is_killed(runtime, folder):
    error, answer = invoke(runtime, "hoard", mb=400, seconds=10)
    assert (error, answer["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert answer["errorMessage"].endswith("signal: killed")
    assert "of 256 MB" in (folder / "lambda.log").read_text()
    assert invoke(runtime, "hoard", mb=100, seconds=0) == (None, 100 * 1024 * 1024)


def test_as_many_run_at_once_as_there_are_workers_and_the_rest_queue(runtime):
    pids = []
    threads = [threading.Thread(target=lambda: pids.append(invoke(runtime, "nap", seconds=0.1)[1])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 6
    assert 1 <= len(set(pids)) <= 2


def test_memory_that_another_function_left_in_the_process_is_not_counted(tmp_path):
    write_app(tmp_path)
    runtime = Runtime(
        tmp_path, {"PATH": os.environ["PATH"], "FROM_THE_STACK": "given"}, tmp_path / "log", 1, preload=()
    )
    try:
        pid = invoke(runtime, "keep", mb=400)[1]
        assert invoke(runtime, "hoard", mb=0, seconds=0.5) == (None, 0)
        assert invoke(runtime, "echo")[1]["pid"] == pid
        assert "Runtime.ExitError" in str(invoke(runtime, "hoard", mb=300, seconds=5))
    finally:
        runtime.close()


def test_usage_counts_invocations_errors_and_the_peak_of_memory(runtime):
    runtime.usages.reset()
    invoke(runtime, "hoard", mb=150, seconds=0)
    invoke(runtime, "echo")
    invoke(runtime, "fail")
    usage = runtime.usages.by_name()
    assert usage["hoard"]["peak_rss_mb"] > 150
    assert usage["echo"]["peak_rss_mb"] < usage["hoard"]["peak_rss_mb"]
    assert (usage["fail"]["invocations"], usage["fail"]["errors"]) == (1, 1)


def test_a_change_of_the_code_takes_effect_at_the_next_invocation(tmp_path):
    write_app(tmp_path)
    environment = {"PATH": os.environ["PATH"], "FROM_THE_STACK": "given"}
    runtime = Runtime(tmp_path, environment, tmp_path / "lambda.log", workers=1, preload=())
    try:
        assert "event" in invoke(runtime, "echo")[1]
        (tmp_path / "app.py").write_text(APP.replace('{"event": event,', '{"edited": event,'))
        time.sleep(0.25)  # scans are rarer than that
        assert "edited" in invoke(runtime, "echo")[1]
        (tmp_path / "app.py").write_text("import nothing_of_the_kind")
        time.sleep(0.25)
        error, answer = invoke(runtime, "echo")
        assert (error, answer["errorType"]) == ("Unhandled", "Runtime.ImportModuleError")
        assert "nothing_of_the_kind" in answer["errorMessage"]
    finally:
        runtime.close()


@pytest.fixture
def preloading(tmp_path):
    """A runtime with a library, `imports` tells by which processes it was imported."""
    write_app(tmp_path)
    imports = tmp_path / "imports"
    (tmp_path / "library.py").write_text(f"import os\nopen({str(imports)!r}, 'a').write(f'{{os.getpid()}}\\n')\n")
    environment = {"PATH": os.environ["PATH"], "FROM_THE_STACK": "given"}
    runtime = Runtime(tmp_path, environment, tmp_path / "lambda.log", workers=1, preload=("library",))
    runtime.imports = lambda: imports.read_text().split()
    settle(runtime)
    yield runtime
    runtime.close()
    assert not [process for process in psutil.process_iter() if _cwd(process) == str(tmp_path)]


def settle(runtime):
    deadline = time.monotonic() + 60
    while not runtime.preloaded:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def edit(folder, text=APP):
    (folder / "app.py").write_text(f"{text}\n# {time.monotonic_ns()}\n")
    time.sleep(0.25)  # scans are rarer than that


def test_a_worker_that_comes_back_while_the_code_changes_is_not_used_again(preloading, tmp_path, monkeypatch):
    assert "event" in invoke(preloading, "echo")[1]
    monkeypatch.setattr(preloading, "_drop_outdated", lambda: None)  # which has looked just before it came back
    edit(tmp_path, APP.replace('{"event": event,', '{"edited": event,'))
    assert "edited" in invoke(preloading, "echo")[1]


def test_an_edited_application_finds_the_libraries_there_already(preloading, tmp_path):
    assert invoke(preloading, "imported", module="library") == (None, True)
    edit(tmp_path, APP.replace('{"event": event,', '{"edited": event,'))
    assert "edited" in invoke(preloading, "echo")[1]
    assert invoke(preloading, "imported", module="library") == (None, True)
    assert preloading.preloaded and len(preloading.imports()) == 1


def test_an_edit_of_what_the_workers_own_code_imports_takes_effect(tmp_path):
    write_app(tmp_path)
    shutil.copytree(REPOSITORY / "chalicelib", tmp_path / "chalicelib", ignore=shutil.ignore_patterns("__pycache__"))
    app = "from chalicelib import errors\n" + APP.replace('{"event": event,', '{"said": errors.SluiceError.__doc__,')
    (tmp_path / "app.py").write_text(app)
    environment = {"PATH": os.environ["PATH"], "FROM_THE_STACK": "given"}
    runtime = Runtime(tmp_path, environment, tmp_path / "lambda.log", workers=1, preload=())
    try:
        assert "edited" not in invoke(runtime, "echo")[1]["said"]
        with (tmp_path / "chalicelib" / "errors.py").open("a") as errors:
            errors.write("\n\nSluiceError.__doc__ = 'edited'\n")
        time.sleep(0.25)  # scans are rarer than that
        assert invoke(runtime, "echo")[1]["said"] == "edited"
    finally:
        runtime.close()


def test_an_application_that_is_edited_while_libraries_are_imported_gets_them_too(tmp_path):
    write_app(tmp_path)
    (tmp_path / "first.py").write_text("import time; time.sleep(0.6)")
    (tmp_path / "second.py").write_text("import time; time.sleep(0.6)")
    environment = {"PATH": os.environ["PATH"], "FROM_THE_STACK": "given"}
    runtime = Runtime(tmp_path, environment, tmp_path / "lambda.log", workers=1, preload=("first", "second"))
    try:
        assert "event" in invoke(runtime, "echo")[1]
        edit(tmp_path, APP.replace('{"event": event,', '{"edited": event,'))
        assert "edited" in invoke(runtime, "echo")[1]
        settle(runtime)
        assert invoke(runtime, "imported", module="second") == (None, True)
        assert "edited" in invoke(runtime, "echo")[1]
    finally:
        runtime.close()


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2, 0.3])
def test_no_invocation_is_disturbed_when_the_workers_with_libraries_take_over(tmp_path, delay):
    write_app(tmp_path)
    (tmp_path / "slow.py").write_text(f"import time; time.sleep({delay})")
    environment = {"PATH": os.environ["PATH"], "FROM_THE_STACK": "given"}
    runtime = Runtime(tmp_path, environment, tmp_path / "lambda.log", workers=3, preload=("slow",))
    errors, done = [], threading.Event()

    def invoking():
        while not done.is_set():
            try:
                errors.append(invoke(runtime, "echo")[0])
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=invoking) for _ in range(6)]
    try:
        for thread in threads:
            thread.start()
        settle(runtime)
        for _ in range(3):
            edit(tmp_path)
    finally:
        done.set()
        for thread in threads:
            thread.join()
        runtime.close()
    assert errors and set(errors) == {None}


def test_what_an_edited_application_holds_by_itself_counts_as_its_memory(preloading, tmp_path):
    assert invoke(preloading, "hoard", mb=100, seconds=0.2) == (None, 100 * 1024 * 1024)
    edit(tmp_path, APP + "\napp.held = bytearray(os.urandom(1024)) * (200 * 1024)\n")
    assert "Runtime.ExitError" in str(invoke(preloading, "hoard", mb=100, seconds=5))
    assert "of 256 MB" in (tmp_path / "lambda.log").read_text()


@pytest.mark.parametrize("victims", ["prefork", "all"])
def test_workers_are_there_again_after_those_that_fork_them_were_killed(preloading, tmp_path, victims):
    invoke(preloading, "echo")
    ours = [process for process in psutil.process_iter() if _cwd(process) == str(tmp_path)]
    [libraries] = [process for process in ours if process.ppid() == os.getpid()]
    killed = libraries.children() + ([libraries] if victims == "all" else [])
    for process in killed:
        process.kill()
    assert not processes.wait(killed, 10)
    assert invoke(preloading, "echo")[0] is None
    settle(preloading)
    assert invoke(preloading, "imported", module="library") == (None, True)
    assert len(preloading.imports()) == (2 if victims == "all" else 1)


def test_who_is_closed_starts_no_workers_anew(tmp_path):
    write_app(tmp_path)
    runtime = Runtime(tmp_path, {"PATH": os.environ["PATH"], "FROM_THE_STACK": "given"}, tmp_path / "log", preload=())
    runtime.close()
    with pytest.raises(NoWorker):
        runtime.invoke("echo")
    assert not [process for process in psutil.process_iter() if _cwd(process) == str(tmp_path)]


def test_workers_die_with_the_server_whatever_kills_it(tmp_path):
    write_app(tmp_path)
    server = f"""
import os, sys, threading, time
from pathlib import Path
from local.runtime import Runtime
folder = Path({str(tmp_path)!r})
runtime = Runtime(folder, {{"FROM_THE_STACK": "x"}}, folder / "lambda.log", workers=2, preload=())
runtime.invoke("echo")
threading.Thread(target=runtime.invoke, args=("hoard", b'{{"mb": 1, "seconds": 600}}'), daemon=True).start()
print("ready", flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", server], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not processes.wait(children, 10)
