"""A small Chalice application whose functions write down what they are given, and fail as they are told to."""

import json
import time
from contextlib import contextmanager

import boto3

APP = '''
import base64, json, os
from chalice import Chalice

app = Chalice(app_name="sluice")

def note(event, what):
    line = json.dumps({"function": what, "event": event}) + "\\n"
    notes = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(notes, line.encode())  # at once: the lines of several workers do not mix
    os.close(notes)

@app.lambda_function(name="accept")
def accept(event, context):
    note(event, "accept")

@app.lambda_function(name="refuse")
def refuse(event, context):
    note(event, "refuse")
    raise ValueError("refused")

@app.lambda_function(name="report")
def report(event, context):
    """Reports as failed what has "bad" in its body or its data."""
    note(event, "report")
    failed = []
    for record in event["Records"]:
        if "kinesis" in record:
            if b"bad" in base64.b64decode(record["kinesis"]["data"]):
                failed.append(record["kinesis"]["sequenceNumber"])
        elif "bad" in record["body"]:
            failed.append(record["messageId"])
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}

@app.lambda_function(name="choke")
def choke(event, context):
    """Fails as a whole where one record is bad."""
    note(event, "choke")
    if any(b"bad" in base64.b64decode(record["kinesis"]["data"]) for record in event["Records"]):
        raise ValueError("a bad record")

@app.lambda_function(name="stumble")
def stumble(event, context):
    """Fails on whatever it gets for the first time."""
    seen = open(os.environ["NOTES"]).read() if os.path.exists(os.environ["NOTES"]) else ""
    first = all(record["messageId"] not in seen for record in event["Records"])
    note(event, "stumble")
    if first:
        raise ValueError("not at the first time")
'''


def write_app(folder) -> None:
    (folder / "app.py").write_text(APP)
    (folder / ".chalice").mkdir()
    (folder / ".chalice" / "config.json").write_text(
        json.dumps({"version": "2.0", "app_name": "sluice", "stages": {"local": {"lambda_memory_size": 256}}})
    )


def invocations(notes, source: str) -> list[list[dict]]:
    """The batches of records that came from the queue or stream `source`, in order."""
    # the last line may be on its way
    lines = notes.read_text().split("\n")[:-1] if notes.exists() else []
    events = [json.loads(line)["event"]["Records"] for line in lines]
    return [records for records in events if records[0]["eventSourceARN"] == source]


def eventually(check, seconds: float = 20):
    """What `check` answers as soon as that is true; AssertionError where it does not become so."""
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return answer


@contextmanager
def serving_moto():
    """moto on loopback in this process, as the stack has it: client(service), whose `endpoint` is its URL."""
    from moto.server import DomainDispatcherApplication, create_backend_app

    from local import corrections_of_events
    from local.http import listen, serve, url

    corrections_of_events.apply()
    listening = listen()
    server = serve(listening, DomainDispatcherApplication(create_backend_app))

    def client(service):
        return boto3.client(
            service,
            endpoint_url=client.endpoint,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="a",
        )

    client.endpoint = url(listening)
    yield client
    server.shutdown()
