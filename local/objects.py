"""S3 objects as files in the home folder, so that they are neither kept in memory nor lost when the stack goes down.

moto keeps a body in memory up to 5 MB and in an unlinked temporary file, held open, beyond: 1,000
such objects exhaust a process's file descriptors, a ranged GET reads the whole body, and completing
a multipart upload holds the object in memory four times. Here every body is a file that is open
only while it is read, and parts are joined on the disk.

What is in memory alone (keys, types, times) is written by `save`, every few seconds, before an execution is told as
ended, and when the stack goes down, and read by `restore` when it comes up. A kill costs the objects of the last
seconds that no ended execution wrote.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import json
import mmap
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, ClassVar

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3 import exceptions, models, responses
from moto.stepfunctions.parser.backend import execution

INDEX = "index.json"
ETAG_BYTES = 1024 * 1024  # larger objects' ETags are no MD5

# of a body that is received or sent, at once; by 256 KB it is no faster
PIECE_BYTES = 2**20

_request = threading.local()  # `answered`: whether this thread answers a GET of an object


class Body:
    """What moto asks of a key's `_value_buffer`, on a file of its own."""

    folder: Path  # set by `keep_in`
    made: ClassVar[int] = 0  # so far: whether there is anything new to save

    def __init__(self, *args, path: Path | None = None):
        Body.made += 1
        self.path = path or self.folder / uuid.uuid4().hex
        self._position = 0

    def seek(self, position: int) -> None:
        self._position = position

    def truncate(self) -> None:
        """Nothing: moto writes the whole value next."""

    def write(self, value: bytes | Joined | Received) -> None:
        if isinstance(value, Joined | Received):
            value.path.replace(self.path)
        else:
            self.path.write_bytes(value)

    def read(self, size: int = -1) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self._position)
            value = file.read(size)
        self._position += len(value)
        return value

    def close(self) -> None:
        self.path.unlink(missing_ok=True)


class Borrowed(Body):
    """The file of another body, which stays when this one goes."""

    def __init__(self, path: Path):
        self.path = path
        self._position = 0

    def close(self) -> None:
        pass


class Sent:
    """The value of a key that a request is answered with: a part of a file, read piece by piece while it is sent.

    A GET of 13 MB takes 6 ms of CPU so, of which none holds the interpreter's lock for long; in one piece 8 ms, and
    memory for all of it. The file is open from the beginning: who overwrites the object meanwhile takes nothing away.
    """

    def __init__(self, file: BinaryIO, start: int, end: int):
        self._file, self._start, self._end = file, start, end

    def __len__(self) -> int:
        return self._end - self._start

    def __getitem__(self, wanted: slice) -> Sent:
        start, end, _ = wanted.indices(len(self))
        return Sent(self._file, self._start + start, self._start + max(start, end))

    def __iter__(self) -> Iterator[bytes]:
        for start in range(self._start, self._end, PIECE_BYTES):
            yield os.pread(self._file.fileno(), min(PIECE_BYTES, self._end - start), start)

    def close(self) -> None:
        self._file.close()


class Received(mmap.mmap):
    """The body of a request, written to a file as it comes, which a key's value takes over."""

    path: Path

    @classmethod
    def read_from(cls, stream: BinaryIO, length: int) -> Received:
        """`length` bytes of `stream`; raises ConnectionError where it ends before."""
        path = Body.folder / uuid.uuid4().hex
        piece, left = memoryview(bytearray(min(PIECE_BYTES, length))), length
        try:
            with path.open("w+b") as file:
                while left:
                    read = stream.readinto(piece[:left])
                    if not read:
                        raise ConnectionError(f"{left:,} bytes of a body of {length:,} did not come")
                    file.write(piece[:read])
                    left -= read
                file.flush()
                received = cls(file.fileno(), length, access=mmap.ACCESS_READ)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        received.path = path
        return received

    def read(self, size: int = -1) -> Received:
        """All of it, as werkzeug asks for a body."""
        return self

    def discard(self) -> None:
        """Delete the file, where no key took it, and let go of what it holds.

        moto refers to it in a cycle: until the next collection each of 20 bodies that were put stayed open.
        """
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(BufferError):  # somebody still looks at it, and lets go of it in the end
            self.close()


class Joined:
    """The value of a completed multipart upload: a file made of its parts'."""

    def __init__(self, parts: list[models.FakeKey], path: Path):
        self.path = path
        with path.open("wb") as whole:
            for part in parts:
                with part._value_buffer.path.open("rb") as file:
                    shutil.copyfileobj(file, whole, 8 * 2**20)
            self._size = whole.tell()

    def __len__(self) -> int:
        return self._size


def complete(upload: models.FakeMultipart, body: Iterable[tuple[int, str]]) -> tuple[Joined, str, None]:
    """Stands in for `FakeMultipart.complete`; the object gets no checksum but its ETag."""
    parts = []
    for number, etag in body:
        part = upload.parts.get(number)
        if part is None or part.etag.strip('"') != etag.strip('"'):
            raise exceptions.InvalidPart()
        if parts and parts[-1].contentsize < models.S3_UPLOAD_PART_MIN_SIZE:
            raise exceptions.EntityTooSmall()
        parts.append(part)
    if not parts:
        raise exceptions.MalformedXML
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html: the parts' MD5s' MD5
    digest = hashlib.md5(b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts), usedforsecurity=False)
    return Joined(parts, Body().path), f"{digest.hexdigest()}-{len(parts)}", None


class Forgetful(list):
    """moto appends every key to a list of its class, which would keep deleted and overwritten ones for ever."""

    def append(self, item) -> None:
        pass


def keep_in(folder: Path) -> None:
    """Make moto keep the bodies of S3 objects in `folder`."""
    Body.folder = folder
    models.tempfile = _Tempfile
    models.FakeKey.instances_tracked = Forgetful()
    models.FakeMultipart.instances_tracked = Forgetful()
    models.FakeKey.value = property(_value, models.FakeKey.value.fset)
    models.FakeKey.__deepcopy__ = _copied
    models.FakeMultipart.complete = complete
    models.FakeKey.etag = property(functools.partial(_etag, models.FakeKey.etag.fget))

    original = responses.S3Response.get_object

    def get_object(self):
        _request.answered = True
        try:
            return original(self)
        finally:
            _request.answered = False

    responses.S3Response.get_object = get_object


def keep_before_an_end(save: Callable[[], None]) -> None:
    """Call `save` before an execution is told as ended: what a run that succeeded wrote outlives a kill."""
    original = execution.BaseExecutionWorkerCommunication.terminated

    def terminated(self) -> None:
        try:
            save()
        finally:
            original(self)

    execution.BaseExecutionWorkerCommunication.terminated = terminated


class _Tempfile:
    """Stands in for the module `tempfile` in moto's S3."""

    SpooledTemporaryFile = Body


def _value(key: models.FakeKey) -> bytes | Sent:
    with key.lock:
        if getattr(_request, "answered", False):
            return Sent(key._value_buffer.path.open("rb", buffering=0), 0, key.contentsize)
        key._value_buffer.seek(0)
        return key._value_buffer.read()


def _copied(key: models.FakeKey, memo: dict) -> models.FakeKey:
    """To list an object's versions, moto copies them all, bodies included."""
    copied = object.__new__(type(key))
    copied.__dict__.update(key.__dict__)
    copied._value_buffer = Borrowed(key._value_buffer.path)
    copied.multipart = None  # its parts go with the object
    return copied


def _etag(md5, key: models.FakeKey) -> str:
    """The MD5 of a small object; for another, any text will do, as with SSE-KMS on AWS: MD5 takes 24 ms of 16 MB."""
    if key._etag is None and key.contentsize > ETAG_BYTES:
        key._etag = key._value_buffer.path.name
    return md5(key)


def save(bucket: str, folder: Path) -> None:
    """Write down what is known of the bucket's objects."""
    keys = _bucket(bucket).keys
    index = [entry for name in dict(keys) if (entry := _entry(name, keys.get(name)))]
    unfinished = folder / f"{INDEX}.new"
    unfinished.write_text(json.dumps(index))
    unfinished.replace(folder / INDEX)


def _entry(name: str, key: models.FakeKey | None) -> dict | None:
    """What is known of an object; None where it was deleted meanwhile."""
    if not isinstance(key, models.FakeKey):
        return None
    try:
        return {
            "key": name,
            "file": key._value_buffer.path.name,
            "bytes": key.contentsize,
            "etag": key.etag.strip('"'),
            "modified": key.last_modified.isoformat(),
            "metadata": dict(key.metadata),
        }
    except FileNotFoundError:
        return None


def restore(bucket: str, folder: Path) -> int:
    """Put the objects that were saved into the bucket, and delete files that belong to none; how many there are."""
    path = folder / INDEX
    index = json.loads(path.read_text()) if path.exists() else []
    kept = {INDEX}
    target = _bucket(bucket)
    for entry in index:
        file = folder / entry["file"]
        if not file.exists() or file.stat().st_size != entry["bytes"]:
            continue  # overwritten or deleted after the last `save`, by a stack that was killed
        key = models.FakeKey(
            name=entry["key"],
            bucket_name=bucket,
            value=b"",
            account_id=DEFAULT_ACCOUNT_ID,
            region_name=target.region_name,
            etag=entry["etag"],
        )
        key._value_buffer.close()
        key._value_buffer = Body(path=file)
        key.contentsize = entry["bytes"]
        key.last_modified = dt.datetime.fromisoformat(entry["modified"])
        key.set_metadata(entry["metadata"])
        target.keys[entry["key"]] = key
        kept.add(entry["file"])
    for file in folder.iterdir():
        if file.name not in kept:
            file.unlink()
    return len(kept) - 1


def _bucket(name: str) -> models.FakeBucket:
    return models.s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[name]
