"""The inbox: an object under `inbox/<source>/` is a run of that source."""

from __future__ import annotations

import hashlib
import re

from chalicelib import sources
from chalicelib.errors import NotFound, SourceError
from chalicelib.lake import Lake, keys
from chalicelib.lake.inbox_object import InboxObject
from chalicelib.run_input import RunInput
from chalicelib.sources.files import FileSource
from chalicelib.triggers.trigger import INBOX, Trigger, slug

_STEM = 30  # characters of the object's name in the run's


def trigger(given: InboxObject) -> Trigger | None:
    """What an object asks for; None where it asks for nothing.

    A folder's placeholder asks for nothing, nor does an object that is in no source's folder: `sluice run` is
    told of those. Of the source `files` only a declaration does, what it reads lies beside it. Raises
    UnknownSource, and SourceError for a source that reads no files.
    """
    if given.is_folder or given.source is None:
        return None
    source = sources.get(given.source)
    if not isinstance(source, FileSource):
        raise SourceError(f"{source.name} reads no files, so nothing can be put into its inbox", file=given.address)
    if given.key.endswith("/"):
        raise SourceError("its name ends with a slash, so no source can read it", file=given.address)
    if not source.takes(given.key):
        return None
    digest = hashlib.sha256("\0".join((given.bucket, given.key, given.version)).encode()).hexdigest()[:16]
    stem = slug(given.key.rpartition("/")[2])[:_STEM].strip("-")
    return Trigger(
        INBOX,
        source.name,
        f"-{stem}-{digest}" if stem else f"-{digest}",
        input=given.address,
        about=given.address,
    )


# what a run fails with where its file is none that its source can read; of its chunks, each with the error of its own
_UNREADABLE = {"RawError", "SourceError"}
_NO_DECLARATION = {"DeclarationError"}  # of a source whose objects only say what to read
_CHUNKS_FAILED = "ChunksFailed"
_OF_CHUNK = re.compile(r"chunk \d+: (\w+): ")


def address(given: RunInput | None, bucket: str) -> str | None:
    """The object that a run of the inbox reads; None where the run has another origin."""
    start = f"s3://{bucket}/{keys.INBOX}"
    if given is None or not (given.trigger or "").startswith(f"{INBOX} ") or not (given.input or "").startswith(start):
        return None
    return given.input


def unreadable(given: RunInput | None, error: str, reason: str, lake: Lake) -> InboxObject | None:
    """The object that a run of the inbox failed on; None where the run has another origin, or the error another cause.

    `error` and `reason` are those of the failed run. An object that is gone is not there to be quarantined.
    """
    if address(given, lake.bucket) is None:
        return None
    causes = set(_OF_CHUNK.findall(reason)) if error == _CHUNKS_FAILED else {error}
    if not causes or not causes <= (_NO_DECLARATION if _declares(given.source) else _UNREADABLE):
        return None
    return _present(given.input, lake)


def rejected(given: RunInput, lake: Lake) -> InboxObject | None:
    """The object of a rejected run of the inbox, of which nothing is in the table; None where the run has another
    origin.
    """
    if address(given, lake.bucket) is None or _declares(given.source):
        return None
    return _present(given.input, lake)


def is_collected(given: RunInput, bucket: str) -> bool:
    """Whether a run, started by whom it may be, reads events that webhooks brought."""
    start = f"s3://{bucket}/"
    return (given.input or "").startswith(start) and keys.is_collected(given.input.removeprefix(start))


def _present(where: str, lake: Lake) -> InboxObject | None:
    """What S3 says of an object that is there; None where it is gone."""
    key = where.removeprefix(f"s3://{lake.bucket}/")
    try:
        about = lake.about(key)
    except NotFound:
        return None
    return InboxObject.described(lake.bucket, key, about)


def _declares(source: str) -> bool:
    """Whether the source's objects are declarations: what cannot be read may then be another object."""
    return sources.get(source).is_declared_by_run
