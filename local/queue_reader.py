"""A queue's event source mapping: batches of messages are given to a function, and deleted when it succeeded.

As https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html says, but for three things. A message that
failed is visible again sooner than the queue's timeout says, after half a second, one, two, four, five.
A message cannot become visible while its function runs or waits for a free worker: AWS has enough of
them. And a message whose receives are used up goes to the dead-letter queue at once, where AWS would
find that out at the next receive.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator

from moto.sqs.models import Message, Queue, sqs_backends

from local import signals
from local.deployed import Throttled
from local.invocation import REQUEST_BYTES
from local.mappings import Mapping, failed_items
from local.runtime import RequestTooLarge, Result, UnknownFunction

LOG = logging.getLogger("local.server")

FALLBACK_SECONDS = 30  # all that changes a queue wakes its reader; this is for what nobody thought of
_RECEIVED_AT_ONCE = 10  # as SQS allows
_HELD_SECONDS = 12 * 3600  # SQS' longest visibility timeout
_FIRST_RETRY, _LAST_RETRY = 0.5, 5.0


class QueueReader:
    """Polls the mapping's queue in a thread, and invokes its function in up to `concurrency` others."""

    def __init__(self, mapping: Mapping, invoke: Callable[[str, bytes], Result], concurrency: int):
        self.mapping = mapping
        self._invoke = invoke
        self._woken = signals.subscribe(mapping.source)
        self._closed = False
        self._slots = threading.Semaphore(min(mapping.concurrency or concurrency, concurrency))
        threading.Thread(target=self._read, daemon=True, name=f"queue {mapping.source_name}").start()

    def close(self) -> None:
        """Take no more messages; what a function has begun with, it ends."""
        self._closed = True
        self._woken.set()
        signals.unsubscribe(self.mapping.source, self._woken)

    # --- reading -------------------------------------------------------------------------

    def _read(self) -> None:
        while not self._closed:
            self._woken.clear()
            try:
                pause = self._pause()
                if not pause:
                    self._deliver_next()
            except Exception:
                LOG.exception("reading %s failed", self.mapping.source)
                pause = FALLBACK_SECONDS
            if pause:
                self._woken.wait(pause)

    def _queue(self) -> Queue | None:
        return sqs_backends[self.mapping.account][self.mapping.region].queues.get(self.mapping.source_name)

    def _pause(self) -> float:
        """Seconds until there is something to take; 0 for now."""
        queue = self._queue()
        if queue is None:
            return FALLBACK_SECONDS
        due = sorted(_due(queue))
        if not due:
            return FALLBACK_SECONDS
        now = time.time()
        if due[0] >= now:
            return min(FALLBACK_SECONDS, due[0] - now + 0.002)
        full = len(due) >= self.mapping.batch_size and due[self.mapping.batch_size - 1] < now
        waited = now - due[0]
        return 0 if full or waited >= self.mapping.window else self.mapping.window - waited

    def _deliver_next(self) -> None:
        self._slots.acquire()
        messages = [] if self._closed else self._receive()
        if not messages:  # all went to the dead letters, or those before them of their groups are not done
            self._slots.release()
            self._woken.wait(_FIRST_RETRY)
            return
        threading.Thread(target=self._deliver, args=(messages,), daemon=True).start()

    def _receive(self) -> list[Message]:
        backend, wanted = sqs_backends[self.mapping.account][self.mapping.region], self.mapping.batch_size
        messages: list[Message] = []
        while len(messages) < wanted:
            count = min(_RECEIVED_AT_ONCE, wanted - len(messages))
            more = backend.receive_message(self.mapping.source_name, count, 0, _HELD_SECONDS, ["All"])
            messages += more
            if len(more) < count:
                break
        return messages

    # --- delivering ------------------------------------------------------------------------

    def _deliver(self, messages: list[Message]) -> None:
        try:
            for batch in self._batches(messages):
                self._give(batch)
        finally:
            self._slots.release()
            self._woken.set()

    def _batches(self, messages: list[Message]) -> Iterator[dict[str, tuple[Message, dict]]]:
        """By message id, as many as fit into the payload of one invocation."""
        batch: dict[str, tuple[Message, dict]] = {}
        size = 0
        for message in messages:
            record = record_of(message, self.mapping)
            length = len(json.dumps(record)) + 2
            if batch and size + length > REQUEST_BYTES - 64:
                yield batch
                batch, size = {}, 0
            batch[message.id] = (message, record)
            size += length
        if batch:
            yield batch

    def _give(self, batch: dict[str, tuple[Message, dict]]) -> None:
        failed = set(batch)
        try:
            payload = json.dumps({"Records": [record for _, record in batch.values()]}).encode()
            result = self._invoke(self.mapping.function, payload)
            if not result.error:
                failed = failed_items(result.payload, list(batch)) if self.mapping.partial else set()
        except (UnknownFunction, RequestTooLarge, Throttled) as error:
            LOG.warning("%d messages of %s: %s", len(batch), self.mapping.source_name, error)
        except Exception:  # whatever it is, the messages must come again
            LOG.exception("giving messages of %s to %s failed", self.mapping.source, self.mapping.function)
        queue = self._queue()
        if queue is None:  # deleted meanwhile
            return
        for name, (message, _) in batch.items():
            if name in failed:
                _return(queue, message)
            else:
                queue.delete_message(message.receipt_handle)


def _due(queue: Queue) -> list[float]:
    """When each message may be received, in seconds since 1970."""
    with queue._messages_lock:
        messages = list(queue._messages)
    return [max(message.sent_timestamp, message.visible_at, message.delayed_until) / 1000 for message in messages]


def _return(queue: Queue, received: Message) -> None:
    """Make a message visible again, soon."""
    receives = received.approximate_receive_count
    pause = min(_FIRST_RETRY * 2 ** (receives - 1), _LAST_RETRY, float(queue.visibility_timeout))
    if queue.redrive_policy and receives >= int(queue.redrive_policy["maxReceiveCount"]):
        pause = 0.0
    with queue._messages_lock:
        for message in queue._messages:
            if message.receipt_handle == received.receipt_handle:
                message.visible_at = (time.time() + pause) * 1000


# --- the event -----------------------------------------------------------------------------


def record_of(message: Message, mapping: Mapping) -> dict:
    """A message in the form of https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html#example-standard-queue-message-event"""
    attributes = {
        "ApproximateReceiveCount": str(message.approximate_receive_count),
        "SentTimestamp": str(message.sent_timestamp),
        "SenderId": message.sender_id,
        "ApproximateFirstReceiveTimestamp": str(message.approximate_first_receive_timestamp),
    }
    of_fifo = {
        "SequenceNumber": message.sequence_number,
        "MessageGroupId": message.group_id,
        "MessageDeduplicationId": message.deduplication_id,
    }
    attributes |= {name: value for name, value in of_fifo.items() if value is not None}
    trace = message.system_attributes.get("AWSTraceHeader")
    if trace:
        attributes["AWSTraceHeader"] = trace.get("StringValue") or trace.get("string_value")
    record = {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": attributes,
        "messageAttributes": {name: _attribute(value) for name, value in message.message_attributes.items()},
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": mapping.source,
        "awsRegion": mapping.region,
    }
    if message.message_attributes:
        record["md5OfMessageAttributes"] = message.attribute_md5
    return record


def _attribute(value: dict) -> dict:
    made = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if value.get("StringValue") is not None:
        made["stringValue"] = value["StringValue"]
    if (binary := value.get("BinaryValue")) is not None:
        made["binaryValue"] = base64.b64encode(binary).decode() if isinstance(binary, bytes) else binary
    return made
