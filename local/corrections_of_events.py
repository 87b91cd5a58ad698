"""What moto 5.2.5 gets wrong of queues, streams, what is invoked by them, and S3's notifications.

Each correction is a function that says what and why. `apply` is called once, before moto serves.
Deliveries themselves are `local.event_sources`' part.
"""

from __future__ import annotations

import bisect
import functools
import threading
import time
from collections.abc import Callable
from urllib.parse import quote_plus

from moto.awslambda.exceptions import InvalidParameterValueException
from moto.awslambda.models import LambdaBackend, LambdaFunction
from moto.core.exceptions import JsonRESTError
from moto.kinesis.models import Record, Shard, Stream, kinesis_backends
from moto.s3 import notifications
from moto.s3.models import S3Backend
from moto.sqs.models import Queue, SQSBackend, sqs_backends

from local import iam, roles, signals

# moto's shards are plain dictionaries; who reads one must not meet who writes
RECORDS = threading.RLock()

# as long as AWS' sequence numbers, and beginning with the same digits
_FIRST_NUMBER = 49 * 10**54

# what the role of a function needs for its mapping, as AWS asks when the mapping is made:
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions
# https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html#events-kinesis-permissions
_NEEDED = {
    "sqs": ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    "kinesis": ("kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:DescribeStream"),
}

_changed: list[Callable[[], None]] = []


def on_changed_mappings(call: Callable[[], None]) -> None:
    """`call` is called whenever a mapping was made, changed or deleted through the API."""
    _changed[:] = [call]


@functools.cache
def apply() -> None:
    """Make every correction, once per process."""
    for correct in (
        lost_messages,
        readers_of_queues,
        records_that_meet,
        readers_of_streams,
        deliveries,
        twice_the_same_mapping,
        uploads_in_parts,
        notifications_of_objects,
    ):
        correct()


def lost_messages() -> None:
    """A message sent while another one is deleted can be lost: the list is written anew without a lock.

    Messages past their retention stay, and hide the ones behind them; AWS deletes them.
    """
    deleting, receiving, moving = Queue.delete_message, SQSBackend.receive_message, SQSBackend.change_message_visibility

    @functools.wraps(deleting)
    def delete_message(self, receipt_handle):
        with self._messages_lock:
            return deleting(self, receipt_handle)

    @functools.wraps(receiving)
    def receive_message(self, queue_name, *args, **kwargs):
        queue = self.get_queue(queue_name)
        # a receive that waits for messages lets go of the lock
        with queue._messages_lock:
            oldest = (time.time() - int(queue.message_retention_period)) * 1000
            if any(message.sent_timestamp < oldest for message in queue._messages):
                queue._messages = [message for message in queue._messages if message.sent_timestamp >= oldest]
            return receiving(self, queue_name, *args, **kwargs)

    @functools.wraps(moving)
    def change_message_visibility(self, queue_name, *args, **kwargs):
        queue = self.get_queue(queue_name)
        with queue._messages_lock:
            moving(self, queue_name, *args, **kwargs)
        signals.give(queue.queue_arn)

    Queue.delete_message = delete_message
    SQSBackend.receive_message = receive_message
    SQSBackend.change_message_visibility = change_message_visibility


def readers_of_queues() -> None:
    """Whoever reads a queue here is told of a message, instead of asking again and again."""
    original = Queue.add_message

    @functools.wraps(original)
    def add_message(self, message):
        original(self, message)
        signals.give(self.queue_arn)

    Queue.add_message = add_message


def records_that_meet() -> None:
    """Two records put at the same time get the same sequence number, and one is lost.

    Each put also copies all numbers of the shard, and each read walks the shard from its beginning.
    Numbers begin at 1 in every stream that is made; on AWS a number never comes again, and whoever
    remembers those it has seen may rely on that, over a restart of the stack too.
    """

    def put_record(self, partition_key, data, explicit_hash_key):
        with RECORDS:
            number = next(reversed(self.records)) + 1 if self.records else _first_number(self)
            self.records[number] = Record(partition_key, data, number, explicit_hash_key)
        return str(number)

    def get_records(self, last_sequence_id, limit):
        last = int(last_sequence_id)
        with RECORDS:
            numbers = list(self.records)
            begin = bisect.bisect_right(numbers, last)
            wanted = numbers[begin : begin + limit if limit else None]
            records = [self.records[number] for number in wanted]
            newest = self.records[numbers[-1]] if records else None
        behind = int((newest.created_at - records[-1].created_at) * 1000) if records else 0
        return records, wanted[-1] if wanted else last, behind

    Shard.put_record = put_record
    Shard.get_records = get_records


def _first_number(shard: Shard) -> int:
    return _FIRST_NUMBER + time.time_ns() * 10**24 + shard._shard_id * 10**18


def readers_of_streams() -> None:
    """Whoever reads a stream here is told of a record, instead of asking again and again."""
    original = Stream.put_record

    @functools.wraps(original)
    def put_record(self, partition_key, explicit_hash_key, data):
        answer = original(self, partition_key, explicit_hash_key, data)
        signals.give(self.arn)
        return answer

    Stream.put_record = put_record


def deliveries() -> None:
    """moto invokes a mapping's function in the middle of the sender's request, message by message.

    It knows no batches, no windows, no partial failures, no retries and no order. There is one way here:
    that of `local.event_sources`, to which mappings that are made through the API are left. What AWS
    asks of the function's role is asked here too.
    """
    creating = LambdaBackend.create_event_source_mapping
    updating = LambdaBackend.update_event_source_mapping
    deleting = LambdaBackend.delete_event_source_mapping

    def delivered_by_us(original):
        @functools.wraps(original)
        def followed(self, *args, **kwargs):
            answer = original(self, *args, **kwargs)
            for call in _changed:
                call()
            return answer

        return followed

    @functools.wraps(creating)
    def create_event_source_mapping(self, spec):
        if spec.get("FunctionName") and spec.get("EventSourceArn"):
            _may_read(self.get_function(spec["FunctionName"]), spec["EventSourceArn"])
        created = creating(self, spec)
        _forget(self, created)
        return created

    LambdaBackend.create_event_source_mapping = delivered_by_us(create_event_source_mapping)
    LambdaBackend.update_event_source_mapping = delivered_by_us(updating)
    LambdaBackend.delete_event_source_mapping = delivered_by_us(deleting)


def _forget(backend: LambdaBackend, created) -> None:
    """Take the mapping away from what would deliver to it."""
    for queue in sqs_backends[backend.account_id][backend.region_name].queues.values():
        if queue.queue_arn == created.event_source_arn:
            queue.lambda_event_source_mappings = {}
    for stream in kinesis_backends[backend.account_id][backend.region_name].streams.values():
        if stream.arn == created.event_source_arn:
            stream.lambda_event_source_mappings = {}


def _may_read(function: LambdaFunction, source: str) -> None:
    documents = roles.policies(function.role) or []
    for action in _NEEDED.get(source.split(":")[2], ()):
        if not iam.allows(documents, action, source):
            raise InvalidParameterValueException(
                f"The provided execution role does not have permissions to call {action} on {source}"
            )


def twice_the_same_mapping() -> None:
    """A second mapping of the same function and source is accepted; AWS refuses it."""
    original = LambdaBackend.create_event_source_mapping

    @functools.wraps(original)
    def create_event_source_mapping(self, spec):
        if spec.get("FunctionName") and spec.get("EventSourceArn"):
            arn = self.get_function(spec["FunctionName"]).function_arn
            for each in self._event_source_mappings.values():
                if (each.event_source_arn, each.function_arn) == (spec["EventSourceArn"], arn):
                    raise JsonRESTError(
                        "ResourceConflictException",
                        f'The event source arn (" {spec["EventSourceArn"]} ") and function (" {arn} ") provided '
                        f"mapping already exists. Please update or delete the existing mapping with UUID {each.uuid}",
                    )
        return original(self, spec)

    LambdaBackend.create_event_source_mapping = create_event_source_mapping


def uploads_in_parts() -> None:
    """An upload in parts is told twice, as ObjectCreated:Put too; S3 tells it as CompleteMultipartUpload alone."""
    completing, putting = S3Backend.complete_multipart_upload, S3Backend.put_object
    state = threading.local()

    @functools.wraps(completing)
    def complete_multipart_upload(self, *args, **kwargs):
        state.completing = True
        try:
            return completing(self, *args, **kwargs)
        finally:
            state.completing = False

    @functools.wraps(putting)
    def put_object(self, *args, **kwargs):
        if getattr(state, "completing", False):
            kwargs["disable_notification"] = True
        return putting(self, *args, **kwargs)

    S3Backend.complete_multipart_upload = complete_multipart_upload
    S3Backend.put_object = put_object


def notifications_of_objects() -> None:
    """The event lacks what S3 sends in it, and encodes the slashes of the key, which S3 leaves as they are.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    There is no `sequencer`, by which events of one key are put in order, no `versionId`, no requester;
    what removes an object tells its size; the test event has no request's id.
    """
    event_of, test_event = notifications._get_s3_event, notifications._get_test_event

    @functools.wraps(event_of)
    def _get_s3_event(event_name, bucket, key, notification_id):
        made = event_of(event_name, bucket, key, notification_id)
        for record in made["Records"]:
            record |= {
                "userIdentity": {"principalId": "AWS:local"},
                "requestParameters": {"sourceIPAddress": "127.0.0.1"},
                "responseElements": {"x-amz-request-id": _sequencer(), "x-amz-id-2": "local"},
            }
            record["s3"]["bucket"]["ownerIdentity"] = {"principalId": "local"}
            about = record["s3"]["object"] | {"key": quote_plus(key.name, safe="/"), "sequencer": _sequencer()}
            if bucket.is_versioned:
                about["versionId"] = key.version_id
            if "ObjectRemoved" in event_name:  # what is gone has neither
                del about["size"], about["eTag"]
            record["s3"]["object"] = about
        return made

    @functools.wraps(test_event)
    def _get_test_event(bucket_name):
        return test_event(bucket_name) | {"RequestId": _sequencer(), "HostId": "local"}

    notifications._get_s3_event = _get_s3_event
    notifications._get_test_event = _get_test_event


def _sequencer() -> str:
    """Hexadecimal, of one length, greater each time."""
    return f"{time.time_ns():016X}"
