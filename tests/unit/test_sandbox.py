"""A sandbox is what Lambda gives a function: its package, its layers, boto3, its time, memory and rights, no more."""

import json
import sys
import threading
import time

import boto3
import moto_server
import psutil
import pytest
from sandboxes import answer, opening

from local.sandbox import PYTHON, Described

SITE_PACKAGES = f"python/lib/{PYTHON}/site-packages"


@pytest.fixture
def sandbox(tmp_path):
    """sandbox(code, …) gives the environment of the function `module.handler` with this code."""
    with opening(tmp_path) as make:
        yield make


def layer(folder, **modules):
    place = folder / SITE_PACKAGES
    place.mkdir(parents=True)
    for name, code in modules.items():
        (place / f"{name}.py").write_text(code)
    return folder


def test_it_sees_its_package_its_layers_boto3_and_the_standard_library_alone(sandbox, tmp_path):
    made = sandbox(
        "import sys, importlib.util\n"
        "def handler(event, context):\n"
        "    found = {n: importlib.util.find_spec(n) is not None for n in event['names']}\n"
        "    return [found, sys.path, sorted(sys.modules)]\n",
        [layer(tmp_path / "layer", layered="")],
    )
    names = ["json", "module", "layered", "boto3", "botocore", "dateutil", "six", "urllib3", "jmespath", "s3transfer"]
    hidden = ["local", "chalicelib", "pandas", "numpy", "chalice", "moto", "pytest", "pip", "psycopg2", "_pytest"]
    succeeded, (found, path, modules) = answer(made, {"names": names + hidden})
    assert succeeded
    assert found == {**dict.fromkeys(names, True), **dict.fromkeys(hidden, False)}
    assert path[:2] == [str(tmp_path / "task"), str(tmp_path / "layer" / SITE_PACKAGES)]
    assert not [entry for entry in path if "site-packages" in entry and str(tmp_path) not in entry]
    assert not [name for name in modules if name.split(".")[0] in ("local", "boto3", "botocore")]


def test_boto3_is_whole(sandbox):
    made = sandbox(
        "import boto3\ndef handler(event, context): return boto3.client('s3', 'us-east-1').meta.endpoint_url\n"
    )
    assert answer(made) == (True, "https://s3.amazonaws.com")


def test_the_package_goes_before_the_layers_and_a_later_layer_before_an_earlier(sandbox, tmp_path):
    first = layer(tmp_path / "first", module="raise ValueError", one="VALUE = 'first'", both="VALUE = 'first'")
    second = layer(tmp_path / "second", both="VALUE = 'second'")
    made = sandbox("import one, both\ndef handler(event, context): return [one.VALUE, both.VALUE]\n", [first, second])
    assert answer(made) == (True, ["first", "second"])
    # the layers themselves stay as they were
    assert (first / SITE_PACKAGES / "both.py").read_text() == "VALUE = 'first'"


def test_it_stays_warm_and_has_its_own_environment(sandbox, monkeypatch):
    monkeypatch.setenv("SLUICE_OF_THE_CALLER", "1")
    made = sandbox(
        "import os\nCOUNT = 0\n"
        "def handler(event, context):\n"
        "    global COUNT; COUNT += 1\n"
        "    return [COUNT, os.environ.get('MINE'), os.environ.get('SLUICE_OF_THE_CALLER'), os.getcwd(),\n"
        "            os.environ['AWS_LAMBDA_FUNCTION_NAME'], context.function_name, context.invoked_function_arn]\n",
        environment={"MINE": "yes"},
        described=Described("sluice-dev-plan", "arn:aws:lambda:us-east-1:123456789012:function:sluice-dev-plan"),
    )
    assert not made.warm
    first, second = answer(made)[1], answer(made)[1]
    assert (first[0], second[0]) == (1, 2)
    assert made.warm
    assert first[1:3] == ["yes", None]
    assert first[3].endswith("/task")
    assert first[4:6] == ["sluice-dev-plan"] * 2
    assert first[6].endswith(":function:sluice-dev-plan")


def test_an_exception_is_reported_as_lambda_does_and_leaves_the_process_warm(sandbox):
    made = sandbox("def handler(event, context): raise KeyError('x')\n")
    succeeded, body = answer(made)
    assert (succeeded, body["errorType"], body["errorMessage"]) == (False, "KeyError", "'x'")
    assert any("raise KeyError" in line for line in body["stackTrace"])
    assert made.warm


@pytest.mark.parametrize(
    ("code", "handler", "kind", "message"),
    [
        ("import pandas", "module.handler", "Runtime.ImportModuleError", "No module named 'pandas'"),
        ("", "absent.handler", "Runtime.ImportModuleError", "Unable to import module 'absent'"),
        ("", "module.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'module'"),
        ("def (", "module.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'module'"),
        ("1 / 0", "module.handler", "ZeroDivisionError", "division by zero"),
        ("", "module", "Runtime.MalformedHandlerName", "Bad handler 'module'"),
    ],
)
def test_a_handler_that_cannot_be_loaded_is_reported_as_lambda_does(sandbox, code, handler, kind, message):
    succeeded, body = answer(sandbox(code, handler=handler))
    assert (succeeded, body["errorType"]) == (False, kind)
    assert message in body["errorMessage"]


def test_a_handler_that_overruns_its_time_is_killed_and_the_next_starts_anew(sandbox, tmp_path):
    made = sandbox(
        "import time\ndef handler(event, context):\n    time.sleep(event.get('sleep', 0)); return 1\n",
        log=tmp_path / "log",
    )
    succeeded, body = answer(made, {"sleep": 60}, timeout=0.3)
    assert (succeeded, body["errorType"]) == (False, "Sandbox.Timedout")
    assert body["errorMessage"].endswith("Task timed out after 0.30 seconds")
    assert not made.warm
    assert answer(made) == (True, 1)
    assert "Task timed out" in (tmp_path / "log").read_text()


def test_a_handler_that_takes_more_memory_than_it_has_is_killed(sandbox, tmp_path):
    made = sandbox(
        "import time\ndef handler(event, context):\n    kept = b'x' * event['bytes']; time.sleep(5); return 1\n",
        memory_mb=64,
        log=tmp_path / "log",
    )
    succeeded, body = answer(made, {"bytes": 200 * 2**20})
    assert (succeeded, body["errorType"]) == (False, "Runtime.ExitError")
    assert body["errorMessage"].endswith("Runtime exited with error: signal: killed")
    assert "MB used of 64 MB" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os; os._exit(3)", "Runtime exited with error: exit status 3"),
        ("import sys; sys.exit(2)", "Runtime exited with error: exit status 2"),
        ("import os; os._exit(0)", "Runtime exited without providing a reason"),
        ("import os; os.kill(os.getpid(), 11)", "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_a_crash_is_reported_as_lambda_does_and_the_next_starts_anew(sandbox, code, how):
    made = sandbox(f"def handler(event, context):\n    if event: {code}\n    return 1\n")
    succeeded, body = answer(made, {"crash": True})
    assert (succeeded, body["errorType"]) == (False, "Runtime.ExitError")
    assert body["errorMessage"].endswith(how)
    assert answer(made) == (True, 1)


def test_what_it_prints_is_in_the_log(sandbox, tmp_path):
    made = sandbox("def handler(event, context): print('hello'); return 1\n", log=tmp_path / "log")
    answer(made)
    assert (tmp_path / "log").read_text() == "hello\n"


@pytest.mark.parametrize("code", ["{work}", "def handler(event, context): {work}"], ids=["import", "call"])
def test_closing_ends_a_handler_that_is_at_work_and_runs_no_other(sandbox, tmp_path, code):
    file = tmp_path / "pid"
    work = f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    made = sandbox(code.format(work=work))
    thread = threading.Thread(target=made.invoke, args=(b"{}", 60))
    thread.start()
    deadline = time.monotonic() + 20
    while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    pid = int(file.read_text())
    made.close()
    thread.join(10)
    assert not thread.is_alive()
    assert not psutil.pid_exists(pid)
    file.unlink()
    succeeded, body = made.invoke(b"{}", 60)
    assert (succeeded, json.loads(body)["errorType"]) == (False, "Runtime.ExitError")
    assert not file.exists()


# --- what its role may do --------------------------------------------------------------------

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "Read", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::lake/raw/*"]}
    ],
}
CALLS = """
import boto3, botocore.exceptions
def handler(event, context):
    try:
        answer = getattr(boto3.client(event["service"], "us-east-1"), event["method"])(**event["parameters"])
        return answer["ResponseMetadata"]["HTTPStatusCode"]
    except botocore.exceptions.ClientError as error:
        return [error.response["Error"]["Code"], str(error)]
"""


@pytest.fixture(scope="module")
def aws():
    with moto_server.running() as endpoint:
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="lake")
        client.put_object(Bucket="lake", Key="raw/a", Body=b"a")
        client.put_object(Bucket="lake", Key="runs/a", Body=b"a")
        yield {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}


def test_what_the_policy_does_not_allow_is_refused_with_the_services_error(sandbox, aws):
    def call(policy, service, method, **parameters):
        made = sandbox(CALLS, environment=aws, policy=policy)
        return answer(made, {"service": service, "method": method, "parameters": parameters})[1]

    assert call(POLICY, "s3", "get_object", Bucket="lake", Key="raw/a") == 200
    code, message = call(POLICY, "s3", "get_object", Bucket="lake", Key="runs/a")
    assert code == "AccessDenied"
    assert "s3:GetObject on resource: arn:aws:s3:::lake/runs/a" in message
    assert call(POLICY, "s3", "head_object", Bucket="lake", Key="runs/a")[0] == "403"
    assert call(POLICY, "secretsmanager", "get_secret_value", SecretId="arn:aws:x")[0] == "AccessDeniedException"
    assert call([], "s3", "get_object", Bucket="lake", Key="raw/a")[0] == "AccessDenied"
    assert call(None, "s3", "get_object", Bucket="lake", Key="runs/a") == 200


def test_that_an_object_is_missing_is_said_only_to_who_may_list_the_bucket(sandbox, aws):
    listing = {"Sid": "List", "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::lake"]}
    asked = {"service": "s3", "method": "get_object", "parameters": {"Bucket": "lake", "Key": "raw/absent"}}
    partly = {**listing, "Condition": {"StringLike": {"s3:prefix": ["raw/*"]}}}  # a request for an object has no prefix
    codes = [
        [answer(made, {**asked, "method": method})[1][0] for method in ("get_object", "head_object")]
        for more in ([], [partly], [listing])
        for made in [sandbox(CALLS, environment=aws, policy={**POLICY, "Statement": [*POLICY["Statement"], *more]})]
    ]
    assert codes == [["AccessDenied", "403"], ["AccessDenied", "403"], ["NoSuchKey", "404"]]


def test_it_runs_the_interpreter_of_the_tests():
    assert f"python{sys.version_info.major}.{sys.version_info.minor}" == PYTHON
