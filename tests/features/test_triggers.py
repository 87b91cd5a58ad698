"""Every way in starts the run that it asks for once: fired once, twice, at once, and after a run that failed.

What asks for no run that there is ends where docs/triggers.md says, and keeps nothing else waiting.
"""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass

import pytest
from test_error_paths import hindrance

from local.stack import Stack
from tests.features.conftest import Pipeline

SECONDS = 240


def until(found, seconds=SECONDS):
    """What `found()` gives once it is something."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.1)
    return value


@dataclass
class Ways:
    """The ways in, and what came of them."""

    pipeline: Pipeline

    def put(self, key: str, body: bytes | str) -> str:
        """An object of the bucket; its address."""
        bucket = self.pipeline.env["SLUICE_BUCKET"]
        body = body if isinstance(body, bytes) else body.encode()
        self.pipeline.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
        return f"s3://{bucket}/{key}"

    def notice(self, address: str) -> dict:
        """What S3 says of an object: what it said when it came in, once more."""
        bucket, _, key = address.removeprefix("s3://").partition("/")
        about = self.pipeline.client("s3").head_object(Bucket=bucket, Key=key)
        version = {"eTag": about["ETag"].strip('"'), **({"versionId": v} if (v := about.get("VersionId")) else {})}
        shown = {"key": key, "size": about["ContentLength"], **version}
        return {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": shown}}]}

    def send(self, *messages: dict | str) -> None:
        """All in one batch, where there are several."""
        bodies = [m if isinstance(m, str) else json.dumps(m) for m in messages]
        entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
        self.pipeline.client("sqs").send_message_batch(
            QueueUrl=self.pipeline.env["SLUICE_TRIGGERS_URL"], Entries=entries
        )

    def runs(self, trigger: str) -> list[tuple[str, str]]:
        """(name, status) of the executions with this trigger in their input, in the order of their names."""
        client, found = self.pipeline.client("stepfunctions"), []
        machine = self.pipeline.env["SLUICE_STATE_MACHINE_ARN"]
        for page in client.get_paginator("list_executions").paginate(stateMachineArn=machine):
            for execution in page["executions"]:
                about = client.describe_execution(executionArn=execution["executionArn"])
                given = json.loads(about["input"])
                # on this stack other tests start executions whose input is no object
                if isinstance(given, dict) and given.get("trigger") == trigger:
                    found.append((about["name"], about["status"]))
        return sorted(found)

    def ended(self, trigger: str, count: int = 1) -> list[tuple[str, str]]:
        """The runs of this trigger, once there are as many as expected and none is under way."""

        def found():
            runs = self.runs(trigger)
            return runs if len(runs) >= count and all(status != "RUNNING" for _, status in runs) else None

        return until(found)

    def is_idle(self) -> bool:
        """Whether every message of the queue of triggers has been dealt with."""
        wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        left = self.pipeline.client("sqs").get_queue_attributes(
            QueueUrl=self.pipeline.env["SLUICE_TRIGGERS_URL"], AttributeNames=wanted
        )["Attributes"]
        return not any(int(value) for value in left.values())

    def settle(self) -> None:
        until(self.is_idle)

    def undelivered(self, word: str) -> list[tuple[str, str, str]]:
        """(body, error, reason) of the messages that hold a word; they stay in the queue."""
        client, url = self.pipeline.client("sqs"), self.pipeline.env["SLUICE_UNDELIVERED_URL"]
        seen = []
        while messages := client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=20, MessageAttributeNames=["All"]
        ).get("Messages"):
            seen += messages
        for message in seen:
            client.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
        said = [(m["Body"], {n: v["StringValue"] for n, v in m.get("MessageAttributes", {}).items()}) for m in seen]
        return [(body, about.get("error", ""), about.get("reason", "")) for body, about in said if word in body]

    def mails(self, word: str) -> list[dict]:
        return [mail for mail in self.pipeline.stack.sent_emails() if word in mail["message"] + mail["subject"]]

    def invoke(self, *bodies: dict | str) -> dict:
        """What the function answers to a batch."""
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        event = {"Records": [{"messageId": f"m-{n}", "body": body} for n, body in enumerate(texts)]}
        answer = self.pipeline.client("lambda").invoke(FunctionName="start_run", Payload=json.dumps(event))
        return json.loads(answer["Payload"].read())


@pytest.fixture
def ways(pipeline):
    return Ways(pipeline)


@pytest.fixture
def sensor():
    """The name of a sensor that no other test reads."""
    return f"sensor-{uuid.uuid4().hex[:8]}"


def readings(sensor: str, count: int = 20) -> str:
    return "".join(
        json.dumps(
            {
                "sensor": sensor,
                "measured_at": f"2026-01-01T00:{minute:02}:00Z",
                "temperature": 20.5,
                "humidity": 45.0,
                "pressure": 1013.0,
                "battery": 90.0,
            }
        )
        + "\n"
        for minute in range(count)
    )


def account(pipeline: Pipeline, trigger: str) -> list[tuple[str, int | None]]:
    """(status, rows fetched) of each run with this trigger that the ledger knows, in the order of their names."""
    asked = "SELECT status, fetched FROM pipeline.runs WHERE input ->> 'trigger' = %s ORDER BY run_id"
    return pipeline.query(asked, trigger)


def rows(pipeline: Pipeline, sensor: str) -> int:
    return pipeline.query("SELECT count(*) FROM curated.sensors WHERE sensor = %s", sensor)[0][0]


# --- the inbox ---------------------------------------------------------------------------------


def test_an_object_in_the_inbox_is_loaded_once_however_often_s3_tells_of_it(ways, sensor):
    address = ways.put(f"inbox/sensors/2026/{sensor}.ndjson", readings(sensor))
    [(run_id, status)] = ways.ended(f"inbox {address}")
    assert status == "SUCCEEDED"
    ways.send(ways.notice(address))
    ways.send(*[ways.notice(address)] * 5)
    ways.settle()
    assert ways.runs(f"inbox {address}") == [(run_id, "SUCCEEDED")]
    assert account(ways.pipeline, f"inbox {address}") == [("succeeded", 20)]
    assert rows(ways.pipeline, sensor) == 20
    shown = ways.pipeline.sluice("runs", "show", run_id).stdout
    assert f"inbox {address}" in shown.splitlines()[0]


def test_what_is_put_in_its_place_is_a_run_of_its_own(ways, sensor):
    address = ways.put(f"inbox/sensors/{sensor}.ndjson", readings(sensor, 5))
    ways.ended(f"inbox {address}")
    ways.put(f"inbox/sensors/{sensor}.ndjson", readings(sensor, 7))
    assert [status for _, status in ways.ended(f"inbox {address}", 2)] == ["SUCCEEDED"] * 2
    assert sorted(account(ways.pipeline, f"inbox {address}")) == [("succeeded", 5), ("succeeded", 7)]
    assert rows(ways.pipeline, sensor) == 7


@pytest.mark.parametrize("name", ["two words + a sign.ndjson", "çà et là [1].ndjson", "a%20b*?.ndjson"])
def test_an_object_may_be_called_as_it_likes(ways, sensor, name):
    address = ways.put(f"inbox/sensors/{sensor}/{name}", readings(sensor))
    assert [status for _, status in ways.ended(f"inbox {address}")] == ["SUCCEEDED"]
    assert rows(ways.pipeline, sensor) == 20


def test_a_declaration_in_the_inbox_of_files_is_a_run_and_what_lies_beside_it_is_none(ways, table):
    beside = ways.put(f"inbox/files/{table}.csv", "id\n1\n2\n")
    lines = [f'location = "{table}.csv"', f'table = "{table}"', 'key = ["id"]', "[columns]", 'id = "bigint not null"']
    address = ways.put(f"inbox/files/{table}.toml", "\n".join(lines))
    assert [status for _, status in ways.ended(f"inbox {address}")] == ["SUCCEEDED"]
    assert ways.runs(f"inbox {beside}") == []
    assert ways.pipeline.query(f"SELECT count(*) FROM curated.{table}") == [(2,)]


def test_s3s_test_message_folders_and_objects_of_no_source_start_nothing_and_are_nobodys_fault(ways):
    name = uuid.uuid4().hex
    tested = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": name}
    folder = ways.notice(ways.put(f"inbox/sensors/{name}/", ""))
    loose = ways.notice(ways.put(f"inbox/{name}.csv", "id\n1\n"))
    assert ways.invoke(tested, folder, loose) == {"batchItemFailures": []}
    ways.settle()
    assert ways.undelivered(name) == [] and ways.mails(name) == []
    assert ways.pipeline.query("SELECT key FROM pipeline.quarantined_objects WHERE key LIKE %s", f"%{name}%") == []


@pytest.mark.parametrize("folder", ["nobody", "posts"])
def test_an_object_for_no_source_or_for_one_that_reads_no_files_is_quarantined_and_stays(ways, folder):
    folder = f"{folder}_{uuid.uuid4().hex[:8]}" if folder == "nobody" else folder
    names = [uuid.uuid4().hex for _ in range(2)]
    addresses = [ways.put(f"inbox/{folder}/{name}.csv", "id\n1\n") for name in names]
    # an email that is owed would be sent by the notice that comes again, too: it is sent at least once
    listed = (
        "SELECT key, bytes, run_id FROM pipeline.quarantined_objects"
        " WHERE source = %s AND key LIKE ANY(%s) AND email IS DISTINCT FROM 'owed'"
    )
    found = until(
        lambda: len(found := ways.pipeline.query(listed, folder, [f"%{name}%" for name in names])) == 2 and found
    )
    assert sorted(found) == sorted((f"inbox/{folder}/{name}.csv", 5, None) for name in names)
    ways.send(ways.notice(addresses[0]))
    ways.settle()
    for address in addresses:
        assert ways.runs(f"inbox {address}") == []
        assert ways.notice(address)  # it is there
    assert len(ways.mails(f"inbox/{folder}/")) <= 1  # of a folder full of them one is told of, an hour long
    assert ways.mails(f"quarantine objects --source {folder}")
    said = ways.pipeline.sluice("quarantine", "objects", "--source", folder).stdout
    assert all(address in said for address in addresses)


# --- the queue ---------------------------------------------------------------------------------


def test_a_message_runs_once_by_its_id(ways, sensor):
    address = ways.put(f"elsewhere/{sensor}.ndjson", readings(sensor))
    message = {"source": "sensors", "input": address, "id": sensor}
    ways.send(message)
    [run] = ways.ended(f"queue {sensor}")
    ways.send(*[message] * 3)
    ways.send(message)
    ways.settle()
    assert ways.runs(f"queue {sensor}") == [run] == [(f"sensors-q{sensor}", "SUCCEEDED")]
    assert account(ways.pipeline, f"queue {sensor}") == [("succeeded", 20)]
    assert rows(ways.pipeline, sensor) == 20


def test_deliveries_at_the_same_moment_start_one_run(ways, sensor):
    address = ways.put(f"elsewhere/{sensor}.ndjson", readings(sensor))
    message, answers, barrier = {"source": "sensors", "input": address, "id": sensor}, [], threading.Barrier(4)

    def deliver():
        barrier.wait()
        answers.append(ways.invoke(message, message))

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [{"batchItemFailures": []}] * 4
    assert [status for _, status in ways.ended(f"queue {sensor}")] == ["SUCCEEDED"]
    assert account(ways.pipeline, f"queue {sensor}") == [("succeeded", 20)]
    assert rows(ways.pipeline, sensor) == 20


def test_messages_without_an_id_are_each_their_own(ways, sensor):
    address = ways.put(f"elsewhere/{sensor}.ndjson", readings(sensor))
    before = ways.pipeline.query("SELECT count(*) FROM pipeline.runs WHERE input ->> 'input' = %s", address)
    assert before == [(0,)]
    ways.send({"source": "sensors", "input": address}, {"source": "sensors", "input": address})
    done = "SELECT count(*) FROM pipeline.runs WHERE input ->> 'input' = %s AND status = 'succeeded'"
    until(lambda: ways.pipeline.query(done, address) == [(2,)])
    assert rows(ways.pipeline, sensor) == 20


REFUSED = {
    "no JSON": ("ContractError", '{{"source": "sensors", "id": "{name}"'),
    "no source": ("ContractError", '{{"id": "{name}"}}'),
    "an unknown source": ("UnknownSource", '{{"source": "nobody", "id": "{name}"}}'),
    "an unknown field": ("ContractError", '{{"source": "sensors", "id": "{name}", "form": "2026-01-01"}}'),
    "a wrong type": ("ContractError", '{{"source": "sensors", "id": "{name}", "embed": "yes"}}'),
    "an unknown source's schedule": ("UnknownSource", '{{"source": "{name}", "scheduled": "2026-01-01T00:00:00Z"}}'),
    "a schedule of no time": ("ContractError", '{{"source": "sensors", "scheduled": "{name}"}}'),
    "an object of another bucket": (
        "ContractError",
        '{{"Records": [{{"eventName": "ObjectCreated:Put", "s3": {{"bucket": {{"name": "theirs"}}, '
        '"object": {{"key": "inbox/sensors/{name}", "size": 1, "eTag": "e"}}}}}}]}}',
    ),
}


def test_what_no_run_can_be_started_for_is_set_aside_with_the_reason_and_keeps_nobody_waiting(ways, sensor):
    names = {kind: uuid.uuid4().hex for kind in REFUSED}
    address = ways.put(f"elsewhere/{sensor}.ndjson", readings(sensor))
    before = len(ways.mails("refused"))
    bodies = {kind: form.format(name=names[kind]) for kind, (_, form) in REFUSED.items()}
    ways.send(*bodies.values(), {"source": "sensors", "input": address, "id": sensor})
    assert [status for _, status in ways.ended(f"queue {sensor}")] == ["SUCCEEDED"]
    ways.settle()
    for kind, (error, _) in REFUSED.items():
        [(body, found, reason)] = ways.undelivered(names[kind])
        assert (body, found) == (bodies[kind], error), kind
        assert reason, kind
        assert not [name for name, _ in ways.runs(f"queue {names[kind]}")]
    assert len(ways.mails("refused")) > before


def test_an_id_with_another_input_is_refused(ways, sensor):
    address = ways.put(f"elsewhere/{sensor}.ndjson", readings(sensor))
    ways.send({"source": "sensors", "input": address, "id": sensor})
    [run] = ways.ended(f"queue {sensor}")
    ways.send({"source": "sensors", "input": f"{address}.other", "id": sensor})
    ways.settle()
    assert [error for _, error, _ in ways.undelivered(f"{address}.other")] == ["TriggerConflict"]
    assert ways.runs(f"queue {sensor}") == [run]


# --- schedules ---------------------------------------------------------------------------------


def test_a_schedule_that_fires_twice_for_one_time_runs_once_and_a_late_one_runs(ways):
    day = 1 + uuid.uuid4().int % 27
    late, due = (f"20{10 + uuid.uuid4().int % 10}-0{month}-{day:02}T13:00:00Z" for month in (1, 2))
    for time_ in (late, due, due):
        ways.send({"source": "sensors", "scheduled": time_})
    for time_ in (late, due):
        [(name, status)] = ways.ended(f"schedule {time_}")
        assert name == f"sensors-s{time_.replace('-', '').replace(':', '')}"
        assert status == "SUCCEEDED"


# --- the pipeline fails the first time ---------------------------------------------------------


def test_a_trigger_whose_run_failed_is_fired_again_and_its_rows_are_there_once(ways, sensor):
    ways.ended(f"inbox {ways.put(f'inbox/sensors/{sensor}-before.ndjson', readings(f'{sensor}-before'))}")
    with hindrance(ways.pipeline, "curated.sensors", when=f"new.sensor = '{sensor}'"):
        address = ways.put(f"inbox/sensors/{sensor}.ndjson", readings(sensor))
        [(run_id, status)] = ways.ended(f"inbox {address}")
        assert status == "FAILED"
        [mail] = [mail for mail in ways.pipeline.emails(run_id) if "run failed in" in mail["subject"]]
        assert f"inbox {address}"[:60] in mail["message"]
        assert "quarantined whole" not in mail["message"]  # the object is not at fault
    for _ in range(2):
        ways.send(ways.notice(address))
    found = ways.ended(f"inbox {address}", 2)
    assert found == [(run_id, "FAILED"), (f"{run_id}-2", "SUCCEEDED")]
    ways.settle()
    assert ways.runs(f"inbox {address}") == found
    assert account(ways.pipeline, f"inbox {address}") == [("failed", 20), ("succeeded", 20)]
    assert rows(ways.pipeline, sensor) == 20


def first_attempt(beginning: str) -> str:
    """What holds for a chunk of a run whose name begins so, unless it is a later attempt: those end with -2, -3 …"""
    return f"new.run_id ~ '^{beginning}' AND new.run_id !~ '-[0-9]{{1,2}}$'"


def test_a_schedule_whose_run_failed_is_fired_again_and_its_rows_are_there_once(ways):
    due = f"20{10 + uuid.uuid4().int % 10}-03-{1 + uuid.uuid4().int % 28:02}T06:{uuid.uuid4().int % 60:02}:00Z"
    message, trigger = {"source": "posts", "scheduled": due}, f"schedule {due}"
    with hindrance(ways.pipeline, "pipeline.chunks", when=first_attempt("posts-s")):
        ways.send(message)
        [(run_id, status)] = ways.ended(trigger)
    assert (run_id, status) == (f"posts-s{due.replace('-', '').replace(':', '')}", "FAILED")
    for _ in range(2):
        ways.send(message)
    assert ways.ended(trigger, 2) == [(run_id, "FAILED"), (f"{run_id}-2", "SUCCEEDED")]
    ways.send(message)
    ways.settle()
    assert len(ways.runs(trigger)) == 2
    [(number, keys)] = ways.pipeline.query("SELECT count(*), count(DISTINCT (kind, id)) FROM curated.posts")
    assert account(ways.pipeline, trigger) == [("failed", None), ("succeeded", number)]
    assert number == keys


def test_a_request_whose_run_failed_is_made_again_and_its_rows_are_there_once(ways):
    token = ways.pipeline.sluice("token", "create", uuid.uuid4().hex, "--scope", "run").stdout.split()[-1]
    month = f"20{13 + uuid.uuid4().int % 10}-{1 + uuid.uuid4().int % 12:02}"
    window = ("--from", f"{month}-11", "--to", f"{month}-13", "--input", "Lisbon")
    asked = ("trigger", "api", "weather", *window, "--key", uuid.uuid4().hex)
    with hindrance(ways.pipeline, "pipeline.chunks", when=first_attempt("weather-a")):
        failed = ways.pipeline.sluice(*asked, "--wait", status=4, given=token)
        run_id = failed.stdout.split()[1]
    said = [ways.pipeline.sluice(*asked, "--wait", given=token).stdout for _ in range(2)]
    assert all(f"run      {run_id}-2" in each and "account  3 fetched" in each for each in said)
    assert "came of the same trigger before" not in said[0] and "came of the same trigger before" in said[1]
    [(trigger,)] = ways.pipeline.query("SELECT input ->> 'trigger' FROM pipeline.runs WHERE run_id = %s", run_id)
    assert ways.runs(trigger) == [(run_id, "FAILED"), (f"{run_id}-2", "SUCCEEDED")]
    assert account(ways.pipeline, trigger) == [("failed", None), ("succeeded", 3)]
    there = "SELECT count(*) FROM curated.weather WHERE station = 'Lisbon' AND day BETWEEN %s AND %s"
    assert ways.pipeline.query(there, f"{month}-11", f"{month}-13") == [(3,)]


# --- a source of one's own, whose files are none -----------------------------------------------

COLUMNS = "id,name,weight"
PACKED = gzip.compress(f"{COLUMNS}\n".encode() + b"".join(b"%d,x,1.5\n" % number for number in range(20_000)))
# the object's name, its bytes, words of the reason
UNREADABLE = {
    "binary": ("a.csv", bytes(range(256)) * 40, "RawError"),
    "HTML": ("b.csv", b"<!doctype html><html><body>Sign in</body></html>", "HTML or XML"),
    "a truncated gzip": ("c.csv.gz", PACKED[: len(PACKED) // 2], "gzip data ends early"),
    "no gzip at all": ("d.csv.gz", b"\x1f\x8bnothing", "gzip data"),
    "an array that ends early": ("e.json", b'[{"id": 1}, {"id": 2}', "the JSON array ends early"),
    "one document over several lines": ("f.json", b'{\n"items": [\n{"id": 1}]}', "one JSON document over several"),
    "a CSV without a declared column": ("g.csv", b"id,name\n1,x\n", "no column for weight"),
    "a spreadsheet": ("h.csv", b"PK\x03\x04" + b"\x00" * 100, "a zip archive"),
    "UTF-16": ("i.csv", f"{COLUMNS}\n1,x,1.5\n".encode("utf-16"), "UTF-16"),
    "empty": ("j.csv", b"", "empty"),
    "no record that can be used": ("k.csv", f"{COLUMNS}\nx,a,heavy\ny,b,light\n".encode(), "none of its 2 records"),
}


@pytest.fixture(scope="module")
def parcels(checkout, tmp_path_factory):
    """A stack with a source `parcels` of its own, which reads CSV, NDJSON and arrays."""
    folder, home = checkout(), tmp_path_factory.mktemp("stack")
    sample = folder / "sample.csv"
    sample.write_text(f"{COLUMNS}\n" + "".join(f"{number},name {number},{number}.5\n" for number in range(1, 40)))
    environment = {**os.environ, "PYTHONPATH": str(folder), "SLUICE_HOME": str(home)}

    def sluice(*arguments):
        command = [sys.executable, "-m", "cli", *arguments]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=280)

    sluice("new", "source", "parcels", "--sample", str(sample), "--key", "id")
    sluice("up")
    try:
        yield Ways(Pipeline(home, Stack(home)))
    finally:
        sluice("down")


def test_objects_that_are_none_are_quarantined_whole_and_the_good_one_after_them_is_loaded(parcels):
    name = uuid.uuid4().hex
    addresses = {
        kind: parcels.put(f"inbox/parcels/{name}/{file}", body) for kind, (file, body, _) in UNREADABLE.items()
    }
    good = parcels.put(f"inbox/parcels/{name}/z.csv", f"{COLUMNS}\n1001,good,2.5\n")
    assert [status for _, status in parcels.ended(f"inbox {good}")] == ["SUCCEEDED"]
    for kind, (file, body, words) in UNREADABLE.items():
        [(run_id, status)] = parcels.ended(f"inbox {addresses[kind]}")
        assert status == "FAILED", kind
        recorded = "SELECT key, bytes, reason FROM pipeline.quarantined_objects WHERE run_id = %s"
        [(key, size, reason)] = parcels.pipeline.query(recorded, run_id) or pytest.fail(
            f"{kind}: {parcels.pipeline.query('SELECT error FROM pipeline.runs WHERE run_id = %s', run_id)}"
        )
        assert (key, size) == (f"inbox/parcels/{name}/{file}", len(body)), kind
        assert words in reason, kind
        [mail] = parcels.pipeline.emails(run_id)
        assert "quarantined whole" in " ".join(mail["message"].split()) and file in mail["message"], kind
        assert parcels.notice(addresses[kind])  # it stays where it is
    assert parcels.pipeline.query("SELECT id FROM curated.parcels WHERE name = 'good'") == [(1001,)]


def test_a_corrected_object_in_the_place_of_a_quarantined_one_is_loaded(parcels):
    key = f"inbox/parcels/{uuid.uuid4().hex}.csv"
    address = parcels.put(key, b"")
    parcels.ended(f"inbox {address}")
    parcels.put(key, f"{COLUMNS}\n2001,corrected,2.5\n")
    assert sorted(status for _, status in parcels.ended(f"inbox {address}", 2)) == ["FAILED", "SUCCEEDED"]
    said = parcels.pipeline.sluice("quarantine", "objects", "--source", "parcels").stdout
    assert f"{address}  0 bytes" in said
    assert "since then an object of this address was loaded by" in said


def test_a_trigger_that_comes_while_postgres_is_down_waits_and_runs_once(parcels):
    name = uuid.uuid4().hex
    address = parcels.put(f"elsewhere/{name}.csv", f"{COLUMNS}\n3001,patient,2.5\n")
    os.kill(parcels.pipeline.stack.info().postgres_pid, signal.SIGKILL)
    message = {"source": "parcels", "input": address, "id": name}
    parcels.send(message, message)
    assert parcels.ended(f"queue {name}")[-1][1] == "SUCCEEDED"
    parcels.settle()
    assert [status for _, status in parcels.runs(f"queue {name}")].count("SUCCEEDED") == 1
    assert parcels.pipeline.query("SELECT count(*) FROM curated.parcels WHERE name = 'patient'") == [(1,)]
