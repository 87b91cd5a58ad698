"""Write an object of unknown length, block by block, while its bytes go elsewhere too."""

from __future__ import annotations

import contextlib
import hashlib
import uuid

from chalicelib.lake.store import BINARY, Lake, named

# S3 takes at most 10,000 parts: 80 GB in parts of this size
PART_BYTES = 8 * 1024 * 1024


class PartWriter:
    """A stream into one object: a multipart upload once it outgrows a part, else one PUT.

    A context manager; nothing appears under `key` if the block raises. With `anew` an object that is there already
    stays as it is: the new one is written beside it, and `key` is afterwards where.
    """

    def __init__(self, lake: Lake, key: str, anew: bool = False):
        self.lake, self.key, self._anew = lake, key, anew
        self._buffer = bytearray()
        self._upload: str | None = None
        self._parts: list[dict] = []

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            self._finish()
        elif self._upload:
            with contextlib.suppress(Exception):  # the first error is the one to report
                self.lake.client.abort_multipart_upload(UploadId=self._upload, **self._where)

    @property
    def _where(self) -> dict[str, str]:
        return {"Bucket": self.lake.bucket, "Key": self.key}

    def write(self, block: bytes) -> None:
        self._buffer += block
        while len(self._buffer) >= PART_BYTES:
            self._send(bytes(self._buffer[:PART_BYTES]))
            del self._buffer[:PART_BYTES]

    def _send(self, part: bytes) -> None:
        if self._anew and not self._upload and self.lake.keys(self.key):
            self.key = beside(self.key, uuid.uuid4().hex)
        with named(self.lake.bucket, self.key):
            if not self._upload:
                self._upload = self.lake.client.create_multipart_upload(**self._where)["UploadId"]
            number = len(self._parts) + 1
            answer = self.lake.client.upload_part(UploadId=self._upload, PartNumber=number, Body=part, **self._where)
            self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})

    def _finish(self) -> None:
        if not self._upload:
            self._put(bytes(self._buffer))
            return
        if self._buffer:
            self._send(bytes(self._buffer))
        # an attempt at the same moment may have taken the name since the upload began
        only_new = {"IfNoneMatch": "*"} if self._anew else {}
        with named(self.lake.bucket, self.key):
            self.lake.client.complete_multipart_upload(
                UploadId=self._upload, MultipartUpload={"Parts": self._parts}, **self._where, **only_new
            )

    def _put(self, body: bytes) -> None:
        if not self._anew:
            self.lake.put(self.key, body)
        elif not self.lake.put_new(self.key, body, BINARY, {}):
            self.key = beside(self.key, hashlib.sha256(body).hexdigest())
            self.lake.put(self.key, body)


def beside(key: str, token: str) -> str:
    """`…/part-00000-00000.csv.gz` -> `…/part-00000-00000-0a1b2c3d.csv.gz`"""
    folder, _, name = key.rpartition("/")
    stem, dot, suffix = name.partition(".")
    return f"{folder}/{stem}-{token[:8]}{dot}{suffix}"
