"""Records into a Kinesis stream, in order within a key and none left out.

PutRecords may take some records of a call and refuse others, so a call holds no two records about the same row: what
was refused is sent again alone, and what comes after it waits.
https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
"""

from __future__ import annotations

import time
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import boto_errors
from chalicelib.errors import TerminalError
from local.dms.shaping import Shaped

RECORDS = 500  # of a call
BYTES = 5 * 1024 * 1024  # of a call
RECORD_BYTES = 1024 * 1024

_FIRST_PAUSE, _LAST_PAUSE = 0.05, 5.0


class Putter:
    """`add` records, `flush` them; what `flush` returned from is in the stream."""

    def __init__(self, client, stream: str, stopped: Callable[[], bool] = lambda: False):
        """`stopped` is asked between two tries; where it says so, TerminalError is raised."""
        self._client, self._stream, self._stopped = client, stream, stopped
        self._waiting: list[Shaped] = []
        self._keys: set[str] = set()
        self._bytes = 0
        self.put = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def add(self, record: Shaped) -> None:
        size = len(record.data) + len(record.partition_key)
        if size > RECORD_BYTES:
            raise TerminalError(
                f"a record has {size:,} bytes, a stream takes {RECORD_BYTES:,}",
                key=record.partition_key,
                next_step="leave the table, or its large column, out of the publication",
            )
        if len(self._waiting) == RECORDS or self._bytes + size > BYTES or not self._keys.isdisjoint(record.keys):
            self.flush()
        self._waiting.append(record)
        self._keys.update(record.keys)
        self._bytes += size

    def flush(self) -> None:
        """Send what waits, until the stream has all of it."""
        pause = _FIRST_PAUSE
        while self._waiting:
            refused = self._send(self._waiting)
            self.put += len(self._waiting) - len(refused)
            self._waiting = refused
            if refused:
                if self._stopped():
                    raise TerminalError("the task was stopped before the stream took all its records")
                time.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)
        self._keys, self._bytes = set(), 0

    def _send(self, records: list[Shaped]) -> list[Shaped]:
        """The records that the stream refused."""
        entries = [{"Data": record.data, "PartitionKey": record.partition_key} for record in records]
        try:
            answers = self._client.put_records(StreamName=self._stream, Records=entries)["Records"]
        except (ClientError, BotoCoreError) as error:
            if boto_errors.may_pass(error, ("ProvisionedThroughputExceededException", "KMSThrottlingException")):
                return records
            raise TerminalError(f"Kinesis refused {self._stream}: {error}", stream=self._stream) from error
        return [record for record, answer in zip(records, answers, strict=True) if answer.get("ErrorCode")]
