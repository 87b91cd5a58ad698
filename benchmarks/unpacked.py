"""The functions as Lambda unpacks them, each call in a process of its own: a cold start every time.

`/var/task` and `/opt` are folders; on the import path are they, the standard library, and boto3 with
what it needs, as in Lambda's runtime. Nothing else of this environment can be imported.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3

from chalicelib import cold_start
from chalicelib.lake import Lake
from deploy import artefacts
from deploy.artefacts import Artefacts
from statemachine import render

# what Lambda's runtime has besides Python: boto3 and what it requires
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")

SOURCE = "posts"  # it has texts to embed
FRAMES = {"source": "weather", "from": "2026-11-01", "to": "2026-11-02", "input": "Seattle"}
SNAP_START = ", SnapStart"  # after a function's name: of a process that begins with what initializing left
STARTED = "2026-11-21T00:00:00.000Z"

_BOOTSTRAP = """
import json, os, sys, time
sys.path[:0] = json.loads(os.environ.pop("SLUICE_PATHS"))
sys.path += json.loads(os.environ.pop("SLUICE_RUNTIME"))
function, event = os.environ["_HANDLER"].split(".")[1], json.loads(sys.stdin.buffer.read())

class Context:
    function_name = memory_limit_in_mb = aws_request_id = invoked_function_arn = function
    def get_remaining_time_in_millis(self):
        return 890_000

print("== init", file=sys.stderr, flush=True)
started = time.perf_counter()
import app
initialized = time.perf_counter()
print("== event", file=sys.stderr, flush=True)
try:
    answer = {"result": getattr(app, function)(event, Context())}
except Exception as error:
    answer = {"error": type(error).__name__, "message": str(error)}
ended = time.perf_counter()
print("== end", file=sys.stderr, flush=True)
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
answer |= {"init": initialized - started, "event": ended - initialized, "modules": sorted(sys.modules)}
answer["files"] = sorted(file for file in files if file)
print("\\n" + json.dumps(answer))
"""
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|")


# as on AWS, and emulated; the laptop's model is no part of the artefacts
BEDROCK = {"SLUICE_EMBEDDINGS": "bedrock"}


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """What a function is given of a running stack's `env`: the variables that are its own, and AWS's."""
    return {name: value for name, value in env.items() if name.startswith(("AWS_", "SLUICE_"))}


@dataclass(frozen=True)
class Call:
    """What became of a call, and what it took, in seconds."""

    result: dict | None
    error: str  # its kind, "" for none
    message: str
    init_seconds: float
    event_seconds: float
    import_seconds: float  # of both, all imports together
    event_import_seconds: float
    modules: frozenset[str]
    files: tuple[str, ...]


class Unpacked:
    """Artefacts in `folder`, ready to be called."""

    def __init__(self, made: Artefacts, folder: Path):
        self._made = made
        self._folder = folder
        self._unpack("task", made.code)
        self._unpack("opt", made.dependencies)
        for name in artefacts.ABOVE:
            self._unpack(f"opt-{name}", made.dependencies, made.above(name))
        installed = Path(sysconfig.get_path("purelib"))
        for name in RUNTIME:
            source, target = installed / name, folder / "runtime" / name
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)

    def _unpack(self, name: str, *artefacts) -> None:
        for artefact in artefacts:
            with zipfile.ZipFile(artefact.path) as packed:
                packed.extractall(self._folder / name)

    @property
    def runtime(self) -> str:
        """Where boto3 and what it requires are."""
        return str(self._folder / "runtime")

    def paths(self, function: str) -> list[str]:
        """What Lambda puts before the standard library."""
        opt = self._folder / "-".join(["opt", *artefacts.above(function)])
        site_packages = opt / "python" / "lib" / self._made.python / "site-packages"
        return [str(self._folder / "task"), str(site_packages), str(opt / "python")]

    def call(
        self, function: str, event: dict, environment: Mapping[str, str], initialization: str = "on-demand"
    ) -> Call:
        """Call a function in a new process. Its logs are dropped; where it dies, RuntimeError has its last words."""
        variables = {
            **environment,
            "PATH": os.environ["PATH"],
            "TZ": ":UTC",
            "LANG": "en_US.UTF-8",
            "LAMBDA_TASK_ROOT": "/var/task",
            "_HANDLER": render.handler(function),
            "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0",
            "AWS_LAMBDA_FUNCTION_NAME": f"sluice-{self._made.stage}-{function}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": initialization,
            "SLUICE_PATHS": json.dumps(self.paths(function)),
            "SLUICE_RUNTIME": json.dumps([self.runtime]),
        }
        command = [sys.executable, "-I", "-S", "-B", "-X", "importtime", "-c", _BOOTSTRAP]
        ran = subprocess.run(
            command, env=variables, input=json.dumps(event), capture_output=True, text=True, timeout=300, cwd="/"
        )
        if ran.returncode:
            words = [line for line in ran.stderr.splitlines() if not line.startswith("import time:")]
            raise RuntimeError(f"{function} ended with {ran.returncode}: " + "\n".join(words[-20:]))
        answer = json.loads(ran.stdout.splitlines()[-1])
        measured = ran.stderr.split("== init", 1)[1].split("== end", 1)[0]
        return Call(
            result=answer.get("result"),
            error=answer.get("error", ""),
            message=answer.get("message", ""),
            init_seconds=answer["init"],
            event_seconds=answer["event"],
            import_seconds=_imports(measured),
            event_import_seconds=_imports(measured.split("== event", 1)[1]),
            modules=frozenset(answer["modules"]),
            files=tuple(answer["files"]),
        )


def _imports(log: str) -> float:
    return sum(int(own) for own, _ in _IMPORT.findall(log)) / 1e6


_CHANGE = {
    "data": {"id": 1},
    "metadata": {
        "timestamp": "2027-05-01T06:00:00.000000Z",
        "record-type": "data",
        "operation": "load",
        "partition-key-type": "primary-key",
        "schema-name": "public",
        "table-name": "unpacked",
    },
}
# what invokes the functions that are no states: a reading, a change, a batch of nothing, a request
EVENTS = {
    "start_run": {"Records": []},
    "collect_events": {"Records": []},
    "simulate_sensors": {"scheduled": "2027-05-01T06:05:00Z"},
    "apply_changes": {
        "Records": [
            {
                "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/unpacked",
                "eventID": "shardId-000000000000:1",
                "kinesis": {
                    "data": base64.b64encode(json.dumps(_CHANGE).encode()).decode(),
                    "partitionKey": "1",
                    "sequenceNumber": "1",
                    "approximateArrivalTimestamp": 1809151200.0,
                },
            }
        ]
    },
    "authorize": {
        "type": "TOKEN",
        "authorizationToken": "Bearer nobody",
        "methodArn": "arn:aws:execute-api:us-east-1:123456789012:api/api/POST/runs",
    },
    "api_handler": {
        "resource": "/health",
        "path": "/health",
        "httpMethod": "GET",
        "headers": {},
        "multiValueHeaders": {},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "body": None,
        "isBase64Encoded": False,
        "requestContext": {"resourcePath": "/health", "httpMethod": "GET", "stage": "api", "identity": {}},
    },
}


def run(unpacked: Unpacked, environment: Mapping[str, str], run_id: str) -> dict[str, Call]:
    """One call of every function but ReviewSchema, which no run of `SOURCE` needs, by name, with the events it gets.

    A run as the state machine makes it, then one that is rejected and one that breaks off.
    `environment` is that of a running stack. Raises RuntimeError where a function fails.
    """
    calls: dict[str, Call] = {}
    lake = Lake(environment["SLUICE_BUCKET"], boto3.client("s3", **_client(environment)))

    def call(function: str, event: dict, name: str = "", **how) -> dict:
        made = unpacked.call(function, event, environment, **how)
        if made.error:
            raise RuntimeError(f"{function}: {made.error}: {made.message}")
        calls.setdefault(name or function, made)
        return made.result

    def begun(name: str, **given) -> dict:
        """What an execution gives its first and its last state."""
        machine = environment["SLUICE_STATE_MACHINE_ARN"].replace(":stateMachine:", ":execution:")
        return {"run_id": name, "execution": f"{machine}:{name}", "input": {"source": SOURCE, **given}}

    def fetched(name: str, **given) -> tuple[dict, str]:
        """The run's subject and its manifest's key."""
        planned = call("plan", {**begun(name, **given), "started_at": STARTED})
        subject = {"run_id": name, "source": planned["source"]}
        for partition in planned["partitions"]:
            call("fetch_partition", {**subject, "partition": partition})
        indexes = [partition["index"] for partition in planned["partitions"]]
        return subject, call("write_manifest", {**subject, "fetched": indexes})["manifest_key"]

    # the transform of this source works on a frame, those of the others' chunks need none
    subject, manifest_key = fetched(f"{run_id}-frame", **FRAMES)
    call("transform", {**subject, "chunk": lake.get_json(manifest_key)[0]})

    subject, manifest_key = fetched(run_id)
    for chunk in lake.get_json(manifest_key):
        transformed = call("transform", {**subject, "chunk": chunk}, name="transform without a frame")
        validate = {**subject, "chunk": chunk, "transformed": transformed}
        validated = call("validate", validate)
        call("load", {**subject, "validated": validated})
        call("record_chunk_failure", {**subject, "chunk": chunk, "error": {"Error": "TransformError", "Cause": "{}"}})
    gate = {**subject, "execution": begun(run_id)["execution"], "manifest_key": manifest_key}
    judged = call("quality_gate", gate)
    for function, event in (("validate", validate), ("quality_gate", gate)):
        call(function, event, name=f"{function}{SNAP_START}", initialization=cold_start.SNAP_START)
    published = call("publish", {**subject, "verdict": judged["verdict"], "embed": True})
    call("embed_shard", {**subject, "shard": 0, "shards": len(published["embed_shards"])})
    call("complete", subject)
    rejected, failed = f"{run_id}-rejected", f"{run_id}-failed"
    call("plan", {**begun(rejected), "started_at": STARTED})
    call("reject", {"run_id": rejected, "source": SOURCE})
    call("record_failure", {**begun(failed), "error": {"Error": "PlanFailed", "Cause": "{}"}})
    for function, event in EVENTS.items():
        call(function, event)
    return calls


def _client(environment: Mapping[str, str]) -> dict:
    return {
        "endpoint_url": environment["AWS_ENDPOINT_URL"],
        "region_name": environment["AWS_DEFAULT_REGION"],
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
    }
