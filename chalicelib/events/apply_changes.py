"""ApplyChanges: records of the change stream go into the lake, and into the tables that are mapped to a source."""

from __future__ import annotations

import time
from collections.abc import Sequence

import psycopg2
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import personal
from chalicelib import settings as settings_module
from chalicelib.changes import batch as batches
from chalicelib.changes import notices, record
from chalicelib.changes.arrival import Arrival, read_event
from chalicelib.changes.mapping import by_table
from chalicelib.errors import ChangeError, SluiceError, TransientError, WithheldError
from chalicelib.settings import Settings
from chalicelib.telemetry import batch, logger, tellable
from chalicelib.warehouse import migrations, upkeep

# what no record is to blame for: to bury records would not mend it
_NOT_THE_RECORD = (SluiceError, BotoCoreError, ClientError, OSError, ImportError, NameError, MemoryError)
_LIMITS = "54"  # Postgres' class "program limit exceeded", such as a key that is too long for an index

# what counts for which metric
_ROWS = {"RowsIn": ("records",), "RowsOut": ("stored",), "RowsQuarantined": ("malformed", "quarantined")}

# of this Lambda's 120 s; the shard waits meanwhile, once in a process' life
_UPKEEP_SECONDS = 45

_ready = False
_kept_up = False


def apply_changes(event: dict) -> dict:
    """`event` is Kinesis's, with records of one shard. Returns {"batchItemFailures": [{"itemIdentifier": sequence}]}.

    A record that cannot be used is quarantined and does not come again. What may pass by itself (the database or S3
    is out of reach) is a failure from the first record on that was not taken; Lambda sends it again from there.
    Raises what trying again would not help and no record is to blame for, such as SchemaMismatch: the shard waits.
    """
    settings = settings_module.current()
    settings.require("bucket", "database_url", "undelivered_url")
    arrivals = read_event(event)
    counts: dict[str, int] = {}
    left = list(arrivals)
    with batch("apply_changes", shard=arrivals[0].shard) as tried:
        while left and not tried.failed:
            with tried(str(left[0].sequence), TransientError):
                taken = _take_some(left, settings, counts)
                left = left[taken:]
        if counts:
            tried.rows = {metric: sum(counts.get(name, 0) for name in names) for metric, names in _ROWS.items()}
        if not tried.failed:
            notices.tell(arrivals[0].stream, settings)
            logger.info("changes applied", **counts)
    if not tried.failed:
        _keep_up()
    return tried.answer


def _keep_up() -> None:
    """Tables that only a stream writes to have no run that would."""
    global _kept_up
    if not _kept_up:
        _kept_up = True
        until = time.monotonic() + _UPKEEP_SECONDS
        for source in by_table().values():
            upkeep.keep_up_and_log(source, max(1.0, until - time.monotonic()))


def _take_some(arrivals: Sequence[Arrival], settings: Settings, counts: dict[str, int]) -> int:
    try:
        _prepare()
        return _take(arrivals, settings, counts)
    except TransientError as error:  # it is logged, and nobody knows what is personal in it
        raise tellable(error, None) from None


def _prepare() -> None:
    """The stream may begin before any run has made the ledger's tables."""
    global _ready
    if not _ready:
        migrations.apply()
        _ready = True


def _take(arrivals: Sequence[Arrival], settings: Settings, counts: dict[str, int]) -> int:
    """Take records from the beginning; returns how many. One that nobody foresaw is found by halving."""
    number = len(arrivals)
    while True:
        try:
            _add(counts, batches.take(arrivals[:number], settings))
            return number
        except Exception as error:
            if not _may_be_the_record(error):
                raise
            if number > 1:
                number //= 2
                continue
            source = _source(arrivals[0])
            # of a table that is not mapped nobody knows what is personal in it
            told = tellable(error, source) if source else WithheldError(personal.told(error))
            reason = f"it cannot be taken: {type(told).__name__}: {told}"
            logger.error("change record cannot be taken", shard=arrivals[0].shard, reason=reason)
            _add(counts, batches.take(arrivals[:1], settings, refused=reason))
            return 1


def _may_be_the_record(error: Exception) -> bool:
    if isinstance(error, psycopg2.Error):
        refused = isinstance(error, psycopg2.DataError | psycopg2.IntegrityError)
        return refused or (error.pgcode or "").startswith(_LIMITS)
    return not isinstance(error, _NOT_THE_RECORD)


def _source(arrival: Arrival) -> str | None:
    """The source that a record's table is mapped to; None where there is none, or the record cannot be read."""
    try:
        found = record.read(arrival.payload)
    except ChangeError:
        return None
    source = by_table().get((found.schema, found.table))
    return source and source.name


def _add(counts: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count
