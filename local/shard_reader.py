"""A stream's event source mapping: the records of a shard are given to a function, in order, a batch at a time.

As https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html and kinesis-on-failure-destination.html
say: a batch that fails is tried again, is halved where the mapping bisects, and goes to the destination
for failures when its retries or its age are used up; then the shard goes on. AWS does not say how long
it pauses between two tries; here it is 0.2 seconds, doubled up to 5. Not done: several batches of a
shard at once (ParallelizationFactor), which changes no order within a key.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from moto.awslambda.models import lambda_backends
from moto.kinesis.models import Record, Shard, Stream, kinesis_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from chalicelib.settings import LOCAL
from local import signals
from local.corrections_of_events import RECORDS
from local.deployed import Throttled
from local.functions import APP
from local.invocation import REQUEST_BYTES
from local.mappings import Mapping, failed_items
from local.runtime import RequestTooLarge, Result, UnknownFunction

LOG = logging.getLogger("local.server")

FALLBACK_SECONDS = 30  # every record wakes the reader; this is for what nobody thought of
_FIRST_RETRY, _LAST_RETRY = 0.2, 5.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Attempt:
    """What became of a batch: the first `done` records are dealt with; `error` as Lambda reports it, if any."""

    done: int
    error: str | None = None
    request_id: str = ""


class StreamReader:
    """A thread per shard of the mapping's stream; shards that come later are read from their beginning."""

    def __init__(self, mapping: Mapping, invoke: Callable[[str, bytes], Result]):
        self.mapping = mapping
        self._shards: dict[str, ShardReader] = {}
        self._invoke = invoke
        self._woken, self._closed = signals.subscribe(mapping.source), threading.Event()
        self._open(_start(mapping))
        threading.Thread(target=self._watch, daemon=True, name=f"stream {mapping.source_name}").start()

    def close(self) -> None:
        self._closed.set()
        self._woken.set()
        signals.unsubscribe(self.mapping.source, self._woken)
        for reader in list(self._shards.values()):
            reader.close()

    def _watch(self) -> None:
        """Look for other shards where something came, twice a second at most."""
        while not self._closed.wait(_LOOK_SECONDS):
            self._woken.wait(FALLBACK_SECONDS)
            self._woken.clear()
            if not self._closed.is_set():
                self._open(lambda shard: 0)

    def _open(self, start: Callable[[Shard], int]) -> None:
        stream = stream_of(self.mapping)
        for name, shard in list(stream.shards.items()) if stream else ():
            known = self._shards.get(name)
            if known is not None and known.shard is shard:
                continue
            if known is not None:  # the stream was deleted, and made again
                known.close()
            self._shards[name] = ShardReader(self.mapping, shard, start(shard), self._invoke)


def stream_of(mapping: Mapping) -> Stream | None:
    return kinesis_backends[mapping.account][mapping.region].streams.get(mapping.source_name)


def _start(mapping: Mapping) -> Callable[[Shard], int]:
    """After which sequence number reading begins."""

    def start(shard: Shard) -> int:
        if mapping.starting_position == "LATEST":
            return shard.get_max_sequence_number()
        if mapping.starting_position == "AT_TIMESTAMP":
            return int(shard.get_sequence_number_at(mapping.starting_timestamp or 0))
        return 0

    return start


class ShardReader:
    """Reads a shard from behind the sequence number `position`."""

    def __init__(self, mapping: Mapping, shard: Shard, position: int, invoke: Callable[[str, bytes], Result]):
        self.mapping, self.shard = mapping, shard
        self.checkpoint = self._read_up_to = position
        self._invoke = invoke
        self._woken = signals.subscribe(mapping.source)
        self._closed = threading.Event()
        self._waiting: deque[Record] = deque()
        threading.Thread(target=self._read, daemon=True, name=f"shard {shard.shard_id}").start()

    def close(self) -> None:
        self._closed.set()
        self._woken.set()
        signals.unsubscribe(self.mapping.source, self._woken)

    # --- reading -------------------------------------------------------------------------

    def _read(self) -> None:
        while not self._closed.is_set():
            self._woken.clear()
            self._fetch()
            if not self._waiting:
                self._woken.wait(FALLBACK_SECONDS)
                continue
            pause = self._waiting[0].created_at + self.mapping.window - time.time()
            if len(self._waiting) < self.mapping.batch_size and pause > 0:
                self._woken.wait(min(pause, self.mapping.window))
                continue
            self._deliver(self._next_batch())

    def _fetch(self) -> None:
        new: list[Record] = []
        with RECORDS:
            for number in reversed(self.shard.records):
                if number <= self._read_up_to:
                    break
                new.append(self.shard.records[number])
        if new:
            self._read_up_to = int(new[0].sequence_number)
            self._waiting.extend(reversed(new))

    def _next_batch(self) -> list[Record]:
        """As many as the mapping takes and fit into the payload of one invocation."""
        batch, size = [], 0
        while self._waiting and len(batch) < self.mapping.batch_size:
            size += len(self._waiting[0].data) + 600  # what is around the data of a record
            if batch and size > REQUEST_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    # --- delivering ------------------------------------------------------------------------

    def _deliver(self, batch: list[Record]) -> None:
        """Give the batch to the function, in parts if need be, until each record is dealt with or given up."""
        parts: deque[tuple[list[Record], int]] = deque([(batch, 0)])
        while parts and not self._closed.is_set():
            records, failures = parts.popleft()
            records = self._young_enough(records, failures)
            if not records:
                continue
            attempt = self._attempt(records)
            rest = records[attempt.done :]
            if attempt.done:
                self.checkpoint = int(records[attempt.done - 1].sequence_number)
            if not rest:
                continue
            if self.mapping.bisect and (attempt.done or len(rest) > 1):
                # splitting takes nothing of the retries: at what the function reported, else in the middle
                parts.extendleft([(rest, 0)] if attempt.done else _halves(rest, failures))
                continue
            failures = 1 if attempt.done else failures + 1
            if self.mapping.retries is not None and failures > self.mapping.retries:
                self._give_up(rest, "RetryAttemptsExhausted", failures, attempt)
                continue
            parts.appendleft((rest, failures))
            self._closed.wait(min(_FIRST_RETRY * 2 ** (failures - 1), _LAST_RETRY))

    def _attempt(self, records: list[Record]) -> Attempt:
        role = _role(self.mapping)
        event = {"Records": [record_of(record, self.shard, self.mapping, role) for record in records]}
        try:
            result = self._invoke(self.mapping.function, json.dumps(event).encode())
        except (UnknownFunction, RequestTooLarge, Throttled) as error:
            LOG.warning("%d records of %s: %s", len(records), self.mapping.source_name, error)
            return Attempt(0, "Unhandled")
        except Exception:  # whatever it is, the records must come again
            LOG.exception("giving records of %s to %s failed", self.mapping.source, self.mapping.function)
            return Attempt(0, "Unhandled")
        if result.error:
            return Attempt(0, result.error, result.request_id)
        if not self.mapping.partial:
            return Attempt(len(records))
        numbers = [str(record.sequence_number) for record in records]
        failed = failed_items(result.payload, numbers)
        # what comes behind the first that failed is given again, whatever the function says of it
        first = next((index for index, number in enumerate(numbers) if number in failed), len(numbers))
        return Attempt(first, None, result.request_id)

    def _young_enough(self, records: list[Record], failures: int) -> list[Record]:
        if self.mapping.record_age is None:
            return records
        oldest = time.time() - self.mapping.record_age
        aged = [record for record in records if record.created_at < oldest]
        if aged:
            self._give_up(aged, "RecordAgeExceeded", failures, None)
        return records[len(aged) :]

    def _give_up(self, records: list[Record], condition: str, count: int, attempt: Attempt | None) -> None:
        self.checkpoint = int(records[-1].sequence_number)
        LOG.warning("%d records of %s are given up: %s", len(records), self.mapping.source_name, condition)
        if self.mapping.on_failure:
            message = failure_of(records, self.shard, self.mapping, condition, count, attempt)
            _send(self.mapping.on_failure, json.dumps(message))


def _halves(records: list[Record], failures: int) -> list[tuple[list[Record], int]]:
    """The later half first, as `extendleft` wants them."""
    half = len(records) // 2
    return [(records[half:], failures), (records[:half], failures)]


def _role(mapping: Mapping) -> str:
    """The role whose rights the function has: of a deployed one its own, of the stack's the stage's."""
    try:
        return lambda_backends[mapping.account][mapping.region].get_function(mapping.function).role
    except Exception:  # moto has several for what it does not find
        return f"arn:aws:iam::{mapping.account}:role/{APP}-{LOCAL}"


def _send(arn: str, body: str) -> None:
    """To a queue or a topic, https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html"""
    _, _, service, region, account, name = arn.split(":", 5)
    try:
        if service == "sqs":
            sqs_backends[account][region].send_message(name, body)
        elif service == "sns":
            sns_backends[account][region].publish(body, arn=arn)
        else:
            LOG.error("records that were given up are lost: %s is neither a queue nor a topic", arn)
    except Exception:
        LOG.exception("records that were given up are lost: %s does not take them", arn)


# --- the event -----------------------------------------------------------------------------


def record_of(record: Record, shard: Shard, mapping: Mapping, role: str) -> dict:
    """A record in the form of https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html#services-kinesis-event-example"""
    data = record.data.decode() if isinstance(record.data, bytes) else record.data
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record.partition_key,
            "sequenceNumber": str(record.sequence_number),
            "data": data,
            "approximateArrivalTimestamp": round(record.created_at, 3),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard.shard_id}:{record.sequence_number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": role,
        "awsRegion": mapping.region,
        "eventSourceARN": mapping.source,
    }


def failure_of(
    records: list[Record], shard: Shard, mapping: Mapping, condition: str, count: int, attempt: Attempt | None
) -> dict:
    """What the destination for failures gets, which names the records and does not hold them."""
    message = {
        "requestContext": {
            "requestId": (attempt and attempt.request_id) or str(uuid.uuid4()),
            "functionArn": mapping.function,
            "condition": condition,
            "approximateInvokeCount": count,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "version": "1.0",
        "timestamp": _text(time.time()),
        "KinesisBatchInfo": {
            "shardId": shard.shard_id,
            "startSequenceNumber": str(records[0].sequence_number),
            "endSequenceNumber": str(records[-1].sequence_number),
            "approximateArrivalOfFirstRecord": _text(records[0].created_at),
            "approximateArrivalOfLastRecord": _text(records[-1].created_at),
            "batchSize": len(records),
            "streamArn": mapping.source,
        },
    }
    if attempt and attempt.error:
        message["responseContext"]["functionError"] = attempt.error
    return message


def _text(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
