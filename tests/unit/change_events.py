"""Change records as DMS writes them, and Kinesis events of them."""

import base64
import datetime as dt
import itertools
import json

STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/changes"
START = dt.datetime(2026, 3, 1, 12, 59, 50, tzinfo=dt.UTC)

_numbers = itertools.count(1)


def iso(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def change(
    operation, data, at=None, *, table="orders", before=None, details=True, transaction=None, record=1, seconds=None
):
    """A data record; `at` is its place in the log (a number), by default the next one."""
    at = next(_numbers) if at is None else at
    moment = START + dt.timedelta(seconds=at if seconds is None else seconds)
    metadata = {
        "timestamp": iso(moment + dt.timedelta(milliseconds=5)),
        "record-type": "data",
        "operation": operation,
        "partition-key-type": "primary-key",
        "schema-name": "public",
        "table-name": table,
    }
    if details and operation != "load":
        metadata |= {
            "transaction-id": transaction or 1000 + at,
            "transaction-record-id": record,
            "commit-timestamp": iso(moment),
            "stream-position": f"00000002/{at:08X}.{record}.00000002/{at:08X}",
        }
    document = {"data": data, "metadata": metadata}
    return document if before is None else {**document, "before-image": before}


def control(operation, table="orders", *, seconds=0, **columns):
    """A control record, as DMS documents it: with a time, and neither a commit nor a position of the log."""
    return {
        "control": {"table-def": {"columns": columns}} if columns else {},
        "metadata": {
            "timestamp": iso(START + dt.timedelta(seconds=seconds)),
            "record-type": "control",
            "operation": operation,
            "partition-key-type": "task-id",
            "partition-key-value": "serv-res-id-1",
            "schema-name": "public",
            "table-name": table,
        },
    }


def event(records, shard="shardId-000000000000", first=1, stream=STREAM):
    """Kinesis's event of `records`: objects, or bytes as they are; sequence numbers from `first`."""
    made = []
    for number, record in enumerate(records, first):
        data = record if isinstance(record, bytes) else json.dumps(record).encode()
        made.append(
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "1",
                    "sequenceNumber": str(4959_0000_0000_0000_0000_0000_0000_0000_0000 + number),
                    "data": base64.b64encode(data).decode(),
                    "approximateArrivalTimestamp": START.timestamp() + number,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"{shard}:{number}",
                "eventName": "aws:kinesis:record",
                "awsRegion": "us-east-1",
                "eventSourceARN": stream,
            }
        )
    return {"Records": made}


def failures(answer):
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]
