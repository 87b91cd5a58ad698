"""S3 calls, and what their failures mean to a run."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
from collections.abc import Iterator
from typing import BinaryIO

import boto3
import orjson
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import boto_errors
from chalicelib.errors import ConfigurationError, LakeUnavailable, NotFound, TerminalError

_CONFIG = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"max_attempts": 4, "mode": "standard"},
    # as botocore has it over https, where a body has its CRC-32: over the laptop's http half of what a PUT takes
    s3={"payload_signing_enabled": False},
)

BINARY = "application/octet-stream"

_TRANSIENT_CODES = frozenset(
    {"SlowDown", "RequestTimeout", "ThrottlingException", "InternalError", "ConditionalRequestConflict"}
)


@functools.cache
def _client():
    return boto3.client("s3", config=_CONFIG)


@functools.cache
def impatient_client():
    """For somebody who waits for an answer: one attempt of a few seconds, and no guessing what became of it."""
    return boto3.client("s3", config=Config(connect_timeout=3, read_timeout=8, retries={"total_max_attempts": 1}))


@contextlib.contextmanager
def named(bucket: str, key: str) -> Iterator[None]:
    """S3's exceptions as ours, with the object they are about."""
    where = f"s3://{bucket}/{key}"
    try:
        yield
    except ClientError as error:
        if boto_errors.code(error) in ("NoSuchKey", "NoSuchBucket", "404", "NotFound"):
            raise NotFound(f"{where} does not exist: {error}") from error
        if boto_errors.may_pass(error, _TRANSIENT_CODES):
            raise LakeUnavailable(f"S3 could not serve {where}: {error}") from error
        raise TerminalError(f"S3 refused {where}: {error}") from error
    except BotoCoreError as error:
        if boto_errors.may_pass(error, _TRANSIENT_CODES):
            raise LakeUnavailable(f"S3 could not be reached for {where}: {error}") from error
        raise ConfigurationError(
            f"S3 cannot be called for {where}: {error}",
            next_step="check the name of the bucket, AWS_DEFAULT_REGION and the credentials",
        ) from error


class Lake:
    """One bucket. All keys come from `lake.keys`.

    An object that is not there is NotFound, which S3 says only to those who may list the bucket, all of it: it answers
    others AccessDenied (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html). So whoever may read
    objects here may list them, too.
    """

    def __init__(self, bucket: str, client=None):
        self.bucket = bucket
        self.client = client or _client()

    def put(self, key: str, body: bytes, content_type: str = BINARY) -> str:
        with named(self.bucket, key):
            self.client.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)
        return key

    def put_json(self, key: str, value) -> str:
        return self.put(key, orjson.dumps(value), "application/json")

    def put_new(self, key: str, body: bytes, content_type: str, metadata: dict[str, str]) -> bool:
        """Whether the object was written: not where there is one of that key already.

        Two at once: S3 lets one through and answers the other 412 or, while it decides, 409, which may pass
        (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
        """
        try:
            with named(self.bucket, key):
                self.client.put_object(
                    Bucket=self.bucket, Key=key, Body=body, ContentType=content_type, Metadata=metadata, IfNoneMatch="*"
                )
        except TerminalError as error:
            if isinstance(error.__cause__, ClientError) and boto_errors.code(error.__cause__) == "PreconditionFailed":
                return False
            raise
        return True

    def get_with_metadata(self, key: str) -> tuple[bytes, dict[str, str]]:
        """An object and what its writer noted about it."""
        with named(self.bucket, key):
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
            return answer["Body"].read(), answer["Metadata"]

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes [start, end) of an object."""
        if end is not None and end <= start:
            return b""
        wanted = {} if not start and end is None else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        with named(self.bucket, key):
            return self.client.get_object(Bucket=self.bucket, Key=key, **wanted)["Body"].read()

    def get_json(self, key: str):
        return orjson.loads(self.get(key))

    def open(self, key: str, bucket: str | None = None) -> BinaryIO:
        """An object as a stream; reading it raises what `get` raises."""
        bucket = bucket or self.bucket
        with named(bucket, key):
            return _Body(self.client.get_object(Bucket=bucket, Key=key)["Body"], bucket, key)

    def about(self, key: str, bucket: str | None = None) -> dict:
        """What HeadObject says of an object: ContentLength in bytes, ETag and, in a bucket with versions, VersionId."""
        bucket = bucket or self.bucket
        with named(bucket, key):
            return self.client.head_object(Bucket=bucket, Key=key)

    def has(self, key: str) -> bool:
        try:
            self.about(key)
        except NotFound:
            return False
        return True

    def delete(self, key: str) -> None:
        """Delete an object; no error where there is none."""
        with named(self.bucket, key):
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def keys(self, prefix: str, bucket: str | None = None) -> list[str]:
        """Every key under `prefix`, in order."""
        return list(self.written(prefix, bucket))

    def written(self, prefix: str, bucket: str | None = None) -> dict[str, dt.datetime]:
        """Every key under `prefix`, in order, and when its object was written, to the second."""
        found = {}
        with named(bucket or self.bucket, prefix):
            for page in self.client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket or self.bucket, Prefix=prefix
            ):
                if "KeyCount" not in page:  # botocore takes an answer that broke off before its body for an empty one
                    raise LakeUnavailable(f"S3 broke off its list of s3://{bucket or self.bucket}/{prefix}")
                found |= {item["Key"]: item["LastModified"] for item in page.get("Contents", [])}
        return found


class _Body:
    """The body of an object. S3 may break it off in the middle, long after the call was answered."""

    def __init__(self, body: BinaryIO, bucket: str, key: str):
        self._body, self._bucket, self._key = body, bucket, key

    def read(self, size: int | None = None) -> bytes:
        with named(self._bucket, self._key):
            return self._body.read(size)

    def close(self) -> None:
        self._body.close()
