"""What was deployed to the local stack runs there as it was deployed: its zip, its layers, its limits, its role."""

import io
import json
import sys
import time
import uuid
import zipfile

import pytest

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
ECHO = "def handler(event, context): return event\n"


def packed(**modules) -> bytes:
    """A zip with these files; `__` in a name stands for a slash."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        for name, code in modules.items():
            package.writestr(name.replace("__", "/") + ".py", code)
    return buffer.getvalue()


def layered(**modules) -> bytes:
    return packed(**{f"python__lib__{PYTHON}__site-packages__{name}": code for name, code in modules.items()})


@pytest.fixture
def role(pipeline):
    """role(action, …) is the ARN of a role that may do these on the stack's bucket."""
    client = pipeline.client("iam")

    def make(*actions, name=None):
        name = name or f"role-{uuid.uuid4().hex[:8]}"
        try:
            arn = client.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        except client.exceptions.EntityAlreadyExistsException:
            arn = client.get_role(RoleName=name)["Role"]["Arn"]
        bucket = f"arn:aws:s3:::{pipeline.env['SLUICE_BUCKET']}"
        statement = {"Sid": "A", "Effect": "Allow", "Action": list(actions), "Resource": [bucket, f"{bucket}/*"]}
        document = {"Version": "2012-10-17", "Statement": [statement]}
        client.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(document))
        return arn

    return make


@pytest.fixture
def function(pipeline, role):
    """function(code, …) deploys it and gives its name; the rest is CreateFunction's."""
    client, made = pipeline.client("lambda"), []

    def make(code, **more):
        name = f"deployed-{uuid.uuid4().hex[:8]}"
        settings = {"Runtime": PYTHON, "Handler": "module.handler", "Timeout": 20, "MemorySize": 256, **more}
        settings.setdefault("Role", None) or settings.update(Role=role("s3:GetObject"))
        client.create_function(FunctionName=name, Code={"ZipFile": packed(module=code)}, **settings)
        made.append(name)
        return name

    yield make
    for name in made:
        client.delete_function(FunctionName=name)


def call(pipeline, name, event=None):
    """(the function's error or None, what it answered)"""
    answer = pipeline.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event or {}).encode())
    return answer.get("FunctionError"), json.loads(answer["Payload"].read())


def test_a_function_runs_its_zip_with_its_configuration(pipeline, function):
    name = function(
        "import os\n"
        "def handler(event, context):\n"
        "    names = ('MINE', 'SLUICE_DATABASE_URL', 'AWS_LAMBDA_FUNCTION_NAME', 'AWS_LAMBDA_FUNCTION_MEMORY_SIZE')\n"
        "    return [event, *map(os.environ.get, names), context.get_remaining_time_in_millis() <= 7000]\n",
        Environment={"Variables": {"MINE": "yes"}},
        Timeout=7,
    )
    assert call(pipeline, name, {"a": 1}) == (None, [{"a": 1}, "yes", None, name, "256", True])


def test_an_update_of_code_or_configuration_is_what_runs_next(pipeline, function):
    client, name = (
        pipeline.client("lambda"),
        function("import os\ndef handler(e, c): return [1, os.environ.get('X')]\n"),
    )
    assert call(pipeline, name) == (None, [1, None])
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"X": "2"}})
    assert call(pipeline, name) == (None, [1, "2"])
    before = client.get_function_configuration(FunctionName=name)
    client.update_function_code(
        FunctionName=name, ZipFile=packed(module="import os\ndef handler(e, c): return [3, os.environ.get('X')]\n")
    )
    after = client.get_function_configuration(FunctionName=name)
    assert call(pipeline, name) == (None, [3, "2"])
    assert before["CodeSha256"] != after["CodeSha256"]
    assert before["LastModified"] != after["LastModified"]
    client.update_function_configuration(FunctionName=name, TracingConfig={"Mode": "Active"})
    assert client.get_function_configuration(FunctionName=name)["TracingConfig"] == {"Mode": "Active"}


def test_its_layers_are_those_it_was_given_in_their_order(pipeline, function):
    client = pipeline.client("lambda")
    bucket = pipeline.env["SLUICE_BUCKET"]
    key = f"inbox/{uuid.uuid4().hex}.zip"
    pipeline.client("s3").put_object(Bucket=bucket, Key=key, Body=layered(one="V = 1", both="V = 1"))
    arns = [
        client.publish_layer_version(LayerName=f"layer-{uuid.uuid4().hex[:8]}", Content=content)["LayerVersionArn"]
        for content in ({"S3Bucket": bucket, "S3Key": key}, {"ZipFile": layered(both="V = 2", two="V = 2")})
    ]
    code = "def handler(event, context):\n    import one, both\n    return [one.V, both.V]\n"
    name = function(code, Layers=arns)
    assert call(pipeline, name) == (None, [1, 2])
    client.update_function_configuration(FunctionName=name, Layers=arns[::-1])
    assert call(pipeline, name) == (None, [1, 1])
    client.update_function_configuration(FunctionName=name, Layers=arns[1:])
    error, body = call(pipeline, name)
    assert (error, body["errorType"]) == ("Unhandled", "ModuleNotFoundError")
    assert client.get_layer_version_by_arn(Arn=arns[0])["LayerVersionArn"] == arns[0]
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_layer_version_by_arn(Arn=arns[0][:-1] + "2")


def test_a_function_keeps_a_layer_whose_version_is_deleted(pipeline, function):
    client, layer = pipeline.client("lambda"), f"layer-{uuid.uuid4().hex[:8]}"
    arn = client.publish_layer_version(LayerName=layer, Content={"ZipFile": layered(one="V = 1")})["LayerVersionArn"]
    name = function("def handler(event, context):\n    import one\n    return one.V\n", Layers=[arn])
    client.delete_layer_version(LayerName=layer, VersionNumber=1)
    assert call(pipeline, name) == (None, 1)
    client.update_function_code(FunctionName=name, ZipFile=packed(module="import one\ndef handler(e, c): return 2\n"))
    assert call(pipeline, name) == (None, 2)


def test_its_role_is_enforced_as_it_is_at_that_moment(pipeline, function, role):
    bucket = pipeline.env["SLUICE_BUCKET"]
    named = f"role-{uuid.uuid4().hex[:8]}"
    name = function(
        "import boto3\n"
        "def handler(event, context):\n"
        f"    boto3.client('s3').put_object(Bucket='{bucket}', Key='inbox/by-role', Body=b'x')\n",
        Role=role("s3:GetObject", name=named),
    )
    error, body = call(pipeline, name)
    assert (error, body["errorType"]) == ("Unhandled", "ClientError")
    assert "AccessDenied" in body["errorMessage"]
    assert f"s3:PutObject on resource: arn:aws:s3:::{bucket}/inbox/by-role" in body["errorMessage"]
    role("s3:PutObject", name=named)
    assert call(pipeline, name) == (None, None)


def test_its_time_and_memory_are_limited_as_on_aws(pipeline, function):
    code = (
        "import time\n"
        "def handler(event, context):\n"
        "    kept = b'x' * event.get('bytes', 0); time.sleep(event.get('sleep', 0)); return len(kept)\n"
    )
    name = function(code, Timeout=1, MemorySize=128)
    assert call(pipeline, name, {"sleep": 30})[1]["errorType"] == "Sandbox.Timedout"
    assert call(pipeline, name, {"bytes": 300 * 2**20, "sleep": 0.5})[1]["errorType"] == "Runtime.ExitError"
    assert call(pipeline, name) == (None, 0)


def test_a_reserved_concurrency_is_a_limit(pipeline, function):
    client, name = pipeline.client("lambda"), function(ECHO)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(client.exceptions.TooManyRequestsException):
        client.invoke(FunctionName=name, Payload=b"{}")
    client.delete_function_concurrency(FunctionName=name)
    assert call(pipeline, name) == (None, {})


def test_what_is_too_large_for_lambda_is_refused(pipeline, function):
    client = pipeline.client("lambda")
    half = io.BytesIO()
    with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("zeros", bytes(140_000_000))
    layers = [
        client.publish_layer_version(LayerName=f"large-{n}", Content={"ZipFile": half.getvalue()})["LayerVersionArn"]
        for n in "ab"
    ]
    name = function(ECHO, Layers=layers[:1])
    for attempt in (
        lambda: function(ECHO, Layers=layers),
        lambda: client.update_function_configuration(FunctionName=name, Layers=layers),
        lambda: client.update_function_code(FunctionName=name, ZipFile=half.getvalue()),
    ):
        with pytest.raises(client.exceptions.InvalidParameterValueException, match="Unzipped size must be smaller"):
            attempt()
    assert call(pipeline, name, {"still": "there"}) == (None, {"still": "there"})


def test_a_function_that_is_not_there_is_named(pipeline):
    client = pipeline.client("lambda")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="absent"):
        client.invoke(FunctionName="absent", Payload=b"{}")


def _object(pipeline, bucket, key):
    client = pipeline.client("s3")
    try:
        return client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except client.exceptions.NoSuchKey:
        return None


def _within(seconds, ask):
    deadline = time.monotonic() + seconds
    while (found := ask()) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
