"""An S3 client that keeps objects in memory, with as much of boto3's interface as `Lake` uses."""

from __future__ import annotations

import datetime as dt
import io
import re

from botocore.exceptions import ClientError

_BEGINNING = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class MemoryS3:
    def __init__(self):
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, list[bytes]] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        self.written: dict[str, dt.datetime] = {}  # where it is not the beginning of time
        self.expirations: dict[str, str] = {}  # as HeadObject tells them, by key

    def put_object(self, Bucket, Key, Body, Metadata=None, IfNoneMatch=None, **_):
        if IfNoneMatch == "*" and Key in self.objects:
            raise ClientError({"Error": {"Code": "PreconditionFailed", "Message": Key}}, "PutObject")
        self.objects[Key] = bytes(Body)
        self.metadata[Key] = Metadata or {}

    def get_object(self, Bucket, Key, Range=None):
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": Key}}, "GetObject")
        body = self.objects[Key]
        if Range:
            start, end = re.fullmatch(r"bytes=(\d+)-(\d*)", Range).groups()
            body = body[int(start) : int(end) + 1 if end else None]
        return {"Body": io.BytesIO(body), "Metadata": self.metadata.get(Key, {})}

    def head_object(self, Bucket, Key):
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadObject")
        told = {"Expiration": self.expirations[Key]} if Key in self.expirations else {}
        return {"ContentLength": len(self.objects[Key]), **told}

    def delete_object(self, Bucket, Key):
        self.objects.pop(Key, None)

    def get_paginator(self, operation):
        assert operation == "list_objects_v2"
        return self

    def paginate(self, Bucket, Prefix):
        found = [key for key in sorted(self.objects) if key.startswith(Prefix)]
        yield {
            "KeyCount": len(found),
            "Contents": [{"Key": key, "LastModified": self.written.get(key, _BEGINNING)} for key in found],
        }

    def create_multipart_upload(self, Bucket, Key):
        self.uploads[Key] = []
        return {"UploadId": Key}

    def upload_part(self, UploadId, PartNumber, Body, **_):
        assert PartNumber == len(self.uploads[UploadId]) + 1
        self.uploads[UploadId].append(Body)
        return {"ETag": str(PartNumber)}

    def complete_multipart_upload(self, UploadId, MultipartUpload, Bucket, Key, IfNoneMatch=None):
        if IfNoneMatch == "*" and Key in self.objects:
            raise ClientError({"Error": {"Code": "PreconditionFailed", "Message": Key}}, "CompleteMultipartUpload")
        self.objects[Key] = b"".join(self.uploads.pop(UploadId))

    def abort_multipart_upload(self, UploadId, **_):
        del self.uploads[UploadId]
