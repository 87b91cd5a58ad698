"""What Lambda hands over of a Kinesis stream: one event, the records of one shard, in their order.

The shape: https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html#services-kinesis-event-example
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from dataclasses import dataclass

from chalicelib.errors import ContractError


@dataclass(frozen=True)
class Arrival:
    """One record of a stream, not yet looked into. `payload` is None where its base64 is damaged."""

    stream: str  # the stream's name
    shard: str
    sequence: int
    arrived: dt.datetime
    payload: bytes | None


def read_event(event: dict) -> list[Arrival]:
    """The records of an event, by rising sequence number; raises ContractError where it is none of Kinesis."""
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list) or not records:
        raise ContractError("the event has no Records; apply_changes is invoked by a Kinesis stream alone")
    try:
        found = sorted((_arrival(record) for record in records), key=lambda arrival: arrival.sequence)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ContractError(
            f"the event is none of Kinesis: {type(error).__name__}: {error}",
            next_step="connect the function with the stream by an event source mapping",
        ) from None
    if len({(arrival.stream, arrival.shard) for arrival in found}) > 1:
        raise ContractError("the event has records of more than one shard")
    return found


def _arrival(record: dict) -> Arrival:
    kinesis = record["kinesis"]
    try:
        payload = base64.b64decode(kinesis["data"], validate=True)
    except (binascii.Error, TypeError, ValueError):
        payload = None
    return Arrival(
        stream=record["eventSourceARN"].rpartition("/")[2],
        shard=record["eventID"].partition(":")[0],
        sequence=int(kinesis["sequenceNumber"]),
        arrived=dt.datetime.fromtimestamp(float(kinesis["approximateArrivalTimestamp"]), dt.UTC),
        payload=payload,
    )
