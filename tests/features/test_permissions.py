"""What the functions really call is what their policies allow: runs of every kind, on a stack that writes calls down.

The database they work in grants them what infra/database.sql does, and no more.

Tokens, the database's secret and Bedrock do not occur here, for the local stack needs none of them:
tests/unit/test_policies.py holds those against the code.
"""

import copy
import gzip
import json
import re
import time
from pathlib import Path

import pytest
from conftest import WEBHOOK_SECRET
from http_api import call, token

from chalicelib import executions
from chalicelib.api import tokens
from chalicelib.lake import keys
from chalicelib.warehouse import connection
from local import calls, functions, iam
from local.iam import Need, Place
from local.provision import CHANGE_STREAM
from statemachine import render
from tests.features.test_webhooks_http import post, readings, signed

POLICIES = Path(__file__).parents[2] / "statemachine" / "policies"
COLUMNS = {"id": "bigint not null", "name": "text"}
MEGABYTE = 2**20

# what no run here is sure to use, and why it is granted all the same
NOT_SEEN = {
    "s3:GetObject on declarations/*.json": "once a process, which on AWS has one function, here all",
    "s3:ListBucket on arn:aws:s3:::sluice-local": "where an object is missing, for S3 to say so",
    "s3:AbortMultipartUpload on runs/*/chunks/*/malformed.ndjson": "when S3 breaks off in 8 MB of rejected rows",
    "s3:AbortMultipartUpload on runs/*/chunks/*/failing.ndjson": "the same",
    "s3:DeleteObject on cdc/*": "what a batch of changes that was broken off has left",
    # what only runs in containers do: those are processes of the stack, whose calls are not written down
    "s3:PutObject on runs/*/partitions.json": "for partitions that containers fetch",
    "s3:GetObject on runs/*/containers/*": "what ended a container",
}


@pytest.fixture(scope="module")
def recorded(own_stack, tmp_path_factory):
    """(pipeline, calls): a stack on which runs of every kind have ended, and what their functions called."""
    path = tmp_path_factory.mktemp("calls") / "calls.ndjson"
    secret = json.dumps({"webhook:sensors": WEBHOOK_SECRET})
    with own_stack(calls=path, chunk_rows=20_000, tokens=secret) as pipeline:
        as_login(pipeline)
        runs = {name: case(pipeline) for name, case in CASES.items()}
        runs["replayed"] = replayed(pipeline, runs["warned"])
        runs["redriven"] = redriven(pipeline, runs["half_failed"])
        events(pipeline)
        yield pipeline, runs, [{**call, "function": functions.name_of(call["function"])} for call in calls.read(path)]


def as_login(pipeline):
    """Let all work in the database be done with the rights of infra/database.sql's login, from an empty database on.

    The stack connects as a superuser; its sessions take on the other role at once.
    """
    pipeline.query(
        "DROP SCHEMA pipeline, curated, staging CASCADE;"
        "CREATE ROLE sluice LOGIN;"
        "REVOKE ALL ON DATABASE sluice FROM PUBLIC;"
        "GRANT CONNECT, CREATE, TEMPORARY ON DATABASE sluice TO sluice;"
        "ALTER ROLE postgres IN DATABASE sluice SET role = 'sluice';"
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = 'sluice' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )


# --- the runs --------------------------------------------------------------------------------


def put(pipeline, name: str, content: bytes, suite: dict | None = None, **settings) -> str:
    """A file and its declaration in the bucket's inbox; the declaration's address."""
    settings = {"location": name, "key": ["id"], **settings, **({"suite": f"{name}.json"} if suite else {})}
    declaration = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    declaration += ["[columns]", *(f"{column} = {json.dumps(kind)}" for column, kind in COLUMNS.items())]
    objects = {name: content, f"{name}.toml": "\n".join(declaration).encode()}
    if suite:
        objects[f"{name}.json"] = json.dumps(suite).encode()
    bucket = pipeline.env["SLUICE_BUCKET"]
    for key, body in objects.items():
        pipeline.client("s3").put_object(Bucket=bucket, Key=f"inbox/{key}", Body=body)
    return f"s3://{bucket}/inbox/{name}.toml"


def arrived(pipeline, name: str, content: bytes):
    """The run that an object in the inbox of `sensors` starts, after a message and a folder that were refused."""
    bucket, triggers = pipeline.env["SLUICE_BUCKET"], pipeline.env["SLUICE_TRIGGERS_URL"]
    pipeline.client("sqs").send_message(QueueUrl=triggers, MessageBody="no message")
    for folder in ("nobody", "sensors"):
        pipeline.client("s3").put_object(Bucket=bucket, Key=f"inbox/{folder}/{name}.ndjson", Body=content)
    started = "SELECT execution FROM pipeline.runs WHERE input ->> 'input' = %s"
    end = time.monotonic() + 120
    while not (found := pipeline.query(started, f"s3://{bucket}/inbox/sensors/{name}.ndjson")):
        assert time.monotonic() < end, f"no run of {name}"
        time.sleep(0.2)
    return pipeline.wait(found[0][0])


def replayed(pipeline, run):
    """The replay of a run's quarantined rows, all of which fail again."""
    found = json.loads(pipeline.sluice("quarantine", "replay", "--run", run.run_id, "--json").stdout)
    return pipeline.wait(executions.arn(pipeline.env["SLUICE_STATE_MACHINE_ARN"], found[0]["run_id"]))


def half_failed(pipeline):
    """A run of two packed files, one of which has a column too few: the other one's chunk is finished."""
    other, content = "inbox/half_failed.2.csv.gz", gzip.compress(b"id,other\n3,x\n")
    pipeline.client("s3").put_object(Bucket=pipeline.env["SLUICE_BUCKET"], Key=other, Body=content)
    content = gzip.compress(b"id,name\n1,ada\n2,grace\n")
    return files(pipeline, "half_failed.1.csv.gz", content, location="half_failed.*.csv.gz")


def redriven(pipeline, run):
    """The run that goes on from a failed one, and fails as that one did."""
    found = json.loads(pipeline.sluice("redrive", run.run_id, "--json", status=4).stdout)
    return pipeline.wait(executions.arn(pipeline.env["SLUICE_STATE_MACHINE_ARN"], found["run_id"]))


def events(pipeline) -> None:
    """A simulated reading, a webhook, a run by the API and what it tells of it, a change record; when all is done."""
    bucket, s3 = pipeline.env["SLUICE_BUCKET"], pipeline.client("s3")
    pipeline.sluice("trigger", "schedule", "sensors", "--at", "2027-03-01T06:05")
    body = readings("permissions")
    assert post(pipeline, "/webhooks/sensors", body, signed(body).items())[0] == 202
    with connection.transaction(pipeline.env["DATABASE_URL"]) as opened:
        runner = tokens.create(opened, "permissions", ("run",))
    wanted = json.dumps({"source": "weather", "from": "2024-02-01", "to": "2024-02-02", "input": "Oslo"}).encode()
    status, started = post(pipeline, "/runs", wanted, {"Authorization": f"Bearer {runner}"}.items())
    assert status == 202
    pipeline.client("kinesis").put_records(
        StreamName=CHANGE_STREAM, Records=[{"Data": json.dumps(CHANGE).encode(), "PartitionKey": "1"}]
    )
    run = pipeline.wait(started["execution"])
    assert run.status == "SUCCEEDED"
    reading = token(pipeline.env["DATABASE_URL"], "read")
    for path in ("", "/states/Plan", "/report", "/report?format=json"):
        assert call(pipeline.env["SLUICE_API_URL"], "GET", f"/runs/{run.run_id}{path}", reading).status == 200
    s3.delete_object(Bucket=bucket, Key=keys.report(run.run_id, "html"))  # as it expires
    assert call(pipeline.env["SLUICE_API_URL"], "GET", f"/runs/{run.run_id}/report", reading).status == 404
    end = time.monotonic() + 120
    for prefix in ("inbox/sensors/webhook-", "inbox/sensors/date=", "cdc/"):
        while not s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents"):
            assert time.monotonic() < end, f"nothing came to {prefix}"
            time.sleep(0.2)


CHANGE = {
    "data": {"id": 1},
    "metadata": {
        "timestamp": "2027-03-01T06:00:00.000000Z",
        "record-type": "data",
        "operation": "load",
        "partition-key-type": "primary-key",
        "schema-name": "public",
        "table-name": "permissions",
    },
}


def files(pipeline, name: str, content: bytes, **settings):
    return pipeline.run("files", input=put(pipeline, name, content, table=re.sub(r"\W.*", "", name), **settings))


def rows(count: int, start: int = 0) -> bytes:
    return b"".join(b'{"id": %d, "name": "%s"}\n' % (i, b"n" * 80) for i in range(start, start + count))


# one value that does not fit, one line that is no record, one row that an expectation sets aside
SOME_BAD = rows(200) + b'{"id": "x"}\nnot json\n{"id": 5000, "name": "too short"}\n'
LONG_NAMES = {
    "name": "long_names",
    "expectations": [
        {
            "type": "expect_column_value_lengths_to_be_between",
            "kwargs": {"column": "name", "min_value": 20},
            "severity": "critical",
        }
    ],
    "meta": {"sluice": {"quarantine": {"fail": 0.5}}},
}

CASES = {
    "weather": lambda pipeline: pipeline.run("weather", start="2024-01-01", end="2024-01-07"),
    "embedded": lambda pipeline: pipeline.run("posts", input="post"),
    # raw and working copy are each more than one part of a multipart upload
    "large": lambda pipeline: files(pipeline, "large.ndjson.gz", gzip.compress(rows(100_000), 0)),
    "plain": lambda pipeline: files(pipeline, "plain.csv", b"id,name\n1,ada\n2,grace\n"),
    "warned": lambda pipeline: files(pipeline, "warned.ndjson", SOME_BAD, suite=LONG_NAMES),
    "warned_packed": lambda pipeline: files(
        pipeline, "warned_packed.ndjson.gz", gzip.compress(SOME_BAD), suite=LONG_NAMES
    ),
    # its table is altered, too
    "evolved": lambda pipeline: files(
        pipeline, "evolved.ndjson", rows(3) + b'{"id": 9, "name": 5, "tip": 1}\n', schema_contract="evolve"
    ),
    "rejected": lambda pipeline: files(pipeline, "rejected.ndjson", b'{"id": 1}\n{"id": "two"}\n'),
    # a declared column is missing: Transform fails, so the gate misses the chunk
    "chunk_failed": lambda pipeline: files(pipeline, "chunk_failed.csv", b"id,other\n1,x\n"),
    "half_failed": half_failed,
    "broken_upload": lambda pipeline: files(
        pipeline, "broken_upload.ndjson.gz", gzip.compress(rows(100_000), 0)[: 9 * MEGABYTE]
    ),
    "no_such_file": lambda pipeline: pipeline.run(
        "files", input=f"s3://{pipeline.env['SLUICE_BUCKET']}/inbox/absent.toml"
    ),
    "unreadable_arrival": lambda pipeline: arrived(pipeline, "unreadable", '{"sensor": "x"}'.encode("utf-16")),
    "unusable_arrival": lambda pipeline: arrived(pipeline, "unusable", b"nothing of this is JSON\n"),
}


def test_the_runs_ended_as_they_were_meant_to(recorded):
    _, runs, _ = recorded
    assert {
        name: (run.status, run.row.get("status"), run.row.get("verdict"), run.error) for name, run in runs.items()
    } == {
        "weather": ("SUCCEEDED", "succeeded", "pass", None),
        "embedded": ("SUCCEEDED", "succeeded", "pass", None),
        "large": ("SUCCEEDED", "succeeded", "pass", None),
        "plain": ("SUCCEEDED", "succeeded", "pass", None),
        "warned": ("SUCCEEDED", "succeeded", "warn", None),
        "warned_packed": ("SUCCEEDED", "succeeded", "warn", None),
        "evolved": ("SUCCEEDED", "succeeded", "warn", None),
        "rejected": ("FAILED", "rejected", "fail", "QualityFailed"),
        "chunk_failed": ("FAILED", "failed", None, "ChunksFailed"),
        "half_failed": ("FAILED", "failed", None, "ChunksFailed"),
        "broken_upload": ("FAILED", "failed", None, "RawError"),
        "no_such_file": ("FAILED", "failed", None, "SourceError"),
        "unreadable_arrival": ("FAILED", "failed", None, "RawError"),
        "unusable_arrival": ("FAILED", "rejected", "fail", "QualityFailed"),
        "replayed": ("SUCCEEDED", "succeeded", "warn", None),
        "redriven": ("FAILED", "failed", None, "ChunksFailed"),
    }
    assert (runs["redriven"].row["kept_partitions"], runs["redriven"].row["kept_chunks"]) == (2, 1)
    assert runs["embedded"].row["embedded"] == 100


def test_the_databases_login_did_it_all(recorded):
    pipeline = recorded[0]
    assert pipeline.query("SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user") == [
        ("sluice", False)
    ]
    assert pipeline.query("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('pipeline', 'curated')") == [
        ("sluice",)
    ]


# --- the calls -------------------------------------------------------------------------------


def policy(pipeline, function: str) -> dict:
    machine = pipeline.env["SLUICE_STATE_MACHINE_ARN"]
    names = {
        "BucketArn": f"arn:aws:s3:::{pipeline.env['SLUICE_BUCKET']}",
        "ExecutionsArn": executions.arn(machine, "*"),
        "StateMachineArn": machine,
        "AlertsTopicArn": pipeline.env["SLUICE_TOPIC_ARN"],
        "UndeliveredArn": f"arn:aws:sqs:{functions.REGION}:{functions.ACCOUNT}:sluice-local-undelivered",
        "Partition": "aws",
        "Region": functions.REGION,
        "Account": functions.ACCOUNT,
        "Prefix": machine.rpartition(":")[2],
        "KeyArn": KEY,
    }
    text = (POLICIES / f"{function}.json").read_text()
    return json.loads(re.sub(r"\$\{(\w+)\}", lambda found: names.get(found[1], "arn:aws:none:::" + found[1]), text))


KEY = f"arn:aws:kms:{functions.REGION}:{functions.ACCOUNT}:key/0"
PLACE = Place(functions.REGION, functions.ACCOUNT, key=KEY)


def refused(document: dict, made: list[dict]) -> list[str]:
    found = [iam.refused(document, one["service"], one["operation"], one["parameters"], PLACE) for one in made]
    for bucket in sorted({f"arn:aws:s3:::{one['parameters']['Bucket']}" for one in made if one.get("missing")}):
        if not iam.allows(document, "s3:ListBucket", bucket):
            found.append(Need("s3:ListBucket", bucket))
    return [str(need) for need in found if need]


def made_by(recorded, function: str) -> list[dict]:
    return [call for call in recorded[2] if call["function"] == function]


@pytest.fixture(params=render.lambda_functions())
def function(request):
    return request.param


def test_nothing_is_called_outside_the_policy(recorded, function):
    assert refused(policy(recorded[0], function), made_by(recorded, function)) == []


def test_every_resource_that_is_taken_out_of_a_policy_is_missed(recorded, function):
    document, made = policy(recorded[0], function), made_by(recorded, function)
    bucket = f"arn:aws:s3:::{recorded[0].env['SLUICE_BUCKET']}"
    idle = []
    for number, statement in enumerate(document["Statement"]):
        for action in statement["Action"]:
            for resource in statement["Resource"]:
                if not action.startswith(("s3:", "states:")):
                    continue
                less = copy.deepcopy(document)
                # the other actions keep the resource: one permission goes at a time
                kept = [other for other in statement["Resource"] if other != resource]
                rest = [other for other in statement["Action"] if other != action]
                less["Statement"][number : number + 1] = [
                    {**statement, "Sid": f"{name}{number}", "Action": actions, "Resource": resources}
                    for name, actions, resources in (("Kept", [action], kept), ("Rest", rest, statement["Resource"]))
                    if actions and resources
                ]
                shown = resource.removeprefix(bucket + "/")
                found = f"{action} on {shown}"
                if found not in NOT_SEEN and not refused(less, made):
                    idle.append(found)
    assert idle == []


@pytest.mark.parametrize("function", ["api_handler", "collect_events"])
def test_who_asks_for_what_is_not_there_is_told_so_and_would_else_be_refused(recorded, function):
    """As S3 answers 403 for a missing object to whoever may not list the bucket, or only a part of it."""
    document, made = policy(recorded[0], function), made_by(recorded, function)
    assert [call for call in made if call.get("missing")]
    listing = next(each for each in document["Statement"] if each["Action"] == ["s3:ListBucket"])
    listing["Condition"] = {"StringLike": {"s3:prefix": ["*"]}}
    assert f"s3:ListBucket on {listing['Resource'][0]}" in refused(document, made)


def test_a_call_that_no_policy_foresees_is_refused(recorded):
    document = policy(recorded[0], "transform")
    for operation, key in (
        ("PutObject", "raw/source=x/part"),
        ("GetObject", "runs/r/report.json"),
        ("DeleteObject", "raw/x"),
    ):
        call = {
            "service": "s3",
            "operation": operation,
            "parameters": {"Bucket": recorded[0].env["SLUICE_BUCKET"], "Key": key},
        }
        assert refused(document, [call])
