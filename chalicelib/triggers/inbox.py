"""The inbox: an object under `inbox/<source>/` is a run of that source."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from botocore.exceptions import ClientError

from chalicelib import boto_errors, sources
from chalicelib.contracts import RunInput
from chalicelib.errors import NotFound, SourceError, TerminalError
from chalicelib.lake import Lake, keys
from chalicelib.sources.base import Source
from chalicelib.sources.files import FileSource
from chalicelib.triggers.trigger import INBOX, Trigger, slug

PREFIX = "inbox/"
_STEM = 30  # characters of the object's name in the run's


@dataclass(frozen=True)
class Arrival:
    """An object that came in. `version` is its version's id, or its ETag in a bucket without versions."""

    bucket: str
    key: str
    version: str
    bytes: int

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def source(self) -> str | None:
        """The folder of inbox/ that it is in; None where it is in none."""
        folder, slash, _ = self.key.removeprefix(PREFIX).partition("/")
        return folder if slash and self.key.startswith(PREFIX) else None

    @property
    def is_folder(self) -> bool:
        """Whether it is the placeholder that consoles make for a folder."""
        return self.key.endswith("/") and not self.bytes


def version(version_id: str | None, etag: str) -> str:
    """What an object is known by: S3 says no version, or "null", in a bucket that keeps none."""
    return version_id if version_id and version_id != "null" else etag


def described(bucket: str, key: str, about: dict) -> Arrival:
    """The object that HeadObject tells `about`."""
    return Arrival(bucket, key, version(about.get("VersionId"), about["ETag"].strip('"')), about["ContentLength"])


def trigger(arrival: Arrival) -> Trigger | None:
    """What an object asks for; None where it asks for nothing.

    A folder's placeholder asks for nothing, nor does an object that is in no source's folder: `sluice run` is
    told of those. Of the source `files` only a declaration does, what it reads lies beside it. Raises
    UnknownSource, and SourceError for a source that reads no files.
    """
    if arrival.is_folder or arrival.source is None:
        return None
    source = sources.get(arrival.source)
    if not isinstance(source, FileSource):
        raise SourceError(f"{source.name} reads no files, so nothing can be put into its inbox", file=arrival.address)
    if arrival.key.endswith("/"):
        raise SourceError("its name ends with a slash, so no source can read it", file=arrival.address)
    if not source.takes(arrival.key):
        return None
    digest = hashlib.sha256("\0".join((arrival.bucket, arrival.key, arrival.version)).encode()).hexdigest()[:16]
    stem = slug(arrival.key.rpartition("/")[2])[:_STEM].strip("-")
    return Trigger(
        INBOX,
        source.name,
        f"-{stem}-{digest}" if stem else f"-{digest}",
        input=arrival.address,
        about=arrival.address,
    )


# what a run fails with where its file is none that its source can read; of its chunks, each with the error of its own
_UNREADABLE = {"RawError", "SourceError"}
_NO_DECLARATION = {"DeclarationError"}  # of a source whose objects only say what to read
_CHUNKS_FAILED = "ChunksFailed"
_OF_CHUNK = re.compile(r"chunk \d+: (\w+): ")


def address(given: RunInput | None, bucket: str) -> str | None:
    """The object that a run of the inbox reads; None where the run has another origin."""
    start = f"s3://{bucket}/{PREFIX}"
    if given is None or not (given.trigger or "").startswith(f"{INBOX} ") or not (given.input or "").startswith(start):
        return None
    return given.input


def unreadable(given: RunInput | None, error: str, reason: str, lake: Lake) -> Arrival | None:
    """The object that a run of the inbox failed on; None where the run has another origin, or the error another cause.

    `error` and `reason` are those of the failed run. An object that is gone is not there to be quarantined.
    """
    if address(given, lake.bucket) is None:
        return None
    causes = set(_OF_CHUNK.findall(reason)) if error == _CHUNKS_FAILED else {error}
    if not causes or not causes <= (_NO_DECLARATION if _declares(given.source) else _UNREADABLE):
        return None
    return _present(given.input, lake)


def rejected(given: RunInput, lake: Lake) -> Arrival | None:
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


def _present(where: str, lake: Lake) -> Arrival | None:
    """What S3 says of an object that is there; None where it is gone."""
    key = where.removeprefix(f"s3://{lake.bucket}/")
    try:
        about = lake.about(key)
    except NotFound:
        return None
    except TerminalError as refused:
        cause = refused.__cause__  # what is not there is refused to whoever may not list the bucket
        if isinstance(cause, ClientError) and boto_errors.code(cause) in ("403", "AccessDenied"):
            return None
        raise
    return described(lake.bucket, key, about)


def _declares(source: str) -> bool:
    """Whether the source's objects are declarations: what cannot be read may then be another object."""
    return type(sources.get(source)).declare is not Source.declare
