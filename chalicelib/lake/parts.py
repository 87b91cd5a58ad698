"""Write an object of unknown length, block by block, while its bytes go elsewhere too."""

from __future__ import annotations

import contextlib

from chalicelib.lake.store import Lake, named

# S3 takes at most 10,000 parts: 80 GB in parts of this size
PART_BYTES = 8 * 1024 * 1024


class PartWriter:
    """A stream into one object: a multipart upload once it outgrows a part, else one PUT.

    A context manager; nothing appears under `key` if the block raises.
    """

    def __init__(self, lake: Lake, key: str):
        self.lake, self.key = lake, key
        self._where = {"Bucket": lake.bucket, "Key": key}
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

    def write(self, block: bytes) -> None:
        self._buffer += block
        while len(self._buffer) >= PART_BYTES:
            self._send(bytes(self._buffer[:PART_BYTES]))
            del self._buffer[:PART_BYTES]

    def _send(self, part: bytes) -> None:
        with named(self.lake.bucket, self.key):
            if not self._upload:
                self._upload = self.lake.client.create_multipart_upload(**self._where)["UploadId"]
            number = len(self._parts) + 1
            answer = self.lake.client.upload_part(UploadId=self._upload, PartNumber=number, Body=part, **self._where)
            self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})

    def _finish(self) -> None:
        if not self._upload:
            self.lake.put(self.key, bytes(self._buffer))
            return
        if self._buffer:
            self._send(bytes(self._buffer))
        with named(self.lake.bucket, self.key):
            self.lake.client.complete_multipart_upload(
                UploadId=self._upload, MultipartUpload={"Parts": self._parts}, **self._where
            )
