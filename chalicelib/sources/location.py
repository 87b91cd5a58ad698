"""Where files are: local paths, http(s) URLs, S3. A location is a string that names one file."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

from botocore.exceptions import ClientError

from chalicelib import boto_errors, redaction
from chalicelib.errors import NotFound, SourceError, TerminalError
from chalicelib.http import Client
from chalicelib.lake import keys
from chalicelib.lake.store import Lake
from chalicelib.settings import Settings

_WEB = ("http://", "https://")
_S3 = "s3://"
_WILDCARD = re.compile(r"[*?\[]")


def find(given: str, settings: Settings) -> list[str]:
    """The files that `given` stands for, in order of name.

    `given` is a path, a glob, a directory (its files, not those in folders below), a URL, or an
    `s3://bucket/key`, prefix or glob. Raises SourceError where there is none.
    """
    if given.startswith(_WEB):
        return [given]
    found = _in_s3(given, settings) if given.startswith(_S3) else _on_disk(given, settings)
    if not found:
        raise SourceError(f"there is no file at {given}", next_step="check the path, the glob or the prefix")
    return found


def open_file(location: str, settings: Settings, hosts: Collection[str] = ()) -> BinaryIO:
    """One file as a stream of bytes, as they are stored.

    An address is asked for at its own host. A source that declares `hosts` is redirected to these alone.
    """
    if location.startswith(_WEB):
        client = Client({urlsplit(location).netloc, *hosts}, settings, named_by_user=not hosts)
        return client.get(location, json=False).stream()
    if location.startswith(_S3):
        bucket, key = _bucket_and_key(location)
        try:
            with _refusal_explained(location):
                return Lake(settings.bucket).open(key, bucket)
        except NotFound as error:
            raise _gone(location) from error
    _expect_local(location, settings)
    try:
        return open(location, "rb")
    except FileNotFoundError:
        raise _gone(location) from None
    except OSError as error:
        raise SourceError(f"{location} cannot be read: {error.strerror}") from None


def beside(location: str, relative: str) -> str:
    """`relative` as seen from the file `location`; what is absolute stays as it is."""
    if relative.startswith((*_WEB, _S3)) or os.path.isabs(relative):
        return relative
    if location.startswith(_WEB):
        return urljoin(location, relative)
    if location.startswith(_S3):
        bucket, key = _bucket_and_key(location)
        return f"{_S3}{bucket}/{os.path.normpath(os.path.join(os.path.dirname(key), relative))}"
    return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(location)), relative))


def path(location: str) -> str:
    """A location without what may follow the path in a URL, such as a signature."""
    return urlsplit(location).path if location.startswith(_WEB) else location


def shown(location: str) -> str:
    """A location as messages may show it: without the secrets that a URL can carry."""
    return redaction.url(location) if location.startswith(_WEB) else location


def _on_disk(given: str, settings: Settings) -> list[str]:
    _expect_local(given, settings)
    path = Path(given).expanduser()
    if path.is_dir():
        return sorted(str(f.absolute()) for f in path.iterdir() if f.is_file() and not f.name.startswith("."))
    if path.exists():
        return [str(path.absolute())]
    return sorted(os.path.abspath(found) for found in glob.glob(str(path), recursive=True) if os.path.isfile(found))


def _in_s3(given: str, settings: Settings) -> list[str]:
    bucket, key = _bucket_and_key(given)
    wildcard = _WILDCARD.search(key)
    prefix = key[: wildcard.start()] if wildcard else key
    with _refusal_explained(given):
        keys = [found for found in Lake(settings.bucket).keys(prefix, bucket) if not found.endswith("/")]
    if key in keys:  # also one whose name has a bracket in it
        keys = [key]
    elif wildcard:
        keys = [found for found in keys if fnmatch.fnmatchcase(found, key)]
    return [f"{_S3}{bucket}/{found}" for found in sorted(keys)]


@contextlib.contextmanager
def _refusal_explained(location: str) -> Iterator[None]:
    """Say where files may be where S3 refuses one; the functions' policies allow no other place."""
    try:
        yield
    except TerminalError as error:
        cause = error.__cause__
        if not isinstance(cause, ClientError) or boto_errors.code(cause) not in ("AccessDenied", "403"):
            raise
        raise SourceError(
            f"the pipeline may not read {location}: {cause}",
            next_step=f"copy the file to {keys.INBOX} in the stage's bucket, or add its bucket to "
            "`deployment.read_buckets` in .chalice/config.json and deploy",
        ) from error


def _bucket_and_key(location: str) -> tuple[str, str]:
    bucket, _, key = location.removeprefix(_S3).partition("/")
    if not bucket:
        raise SourceError(f"{location} names no bucket", next_step="write s3://bucket/key")
    return bucket, key


def _expect_local(given: str, settings: Settings) -> None:
    if not settings.is_local:
        raise SourceError(
            f"{given} is a path on somebody's computer, which stage {settings.stage} cannot see",
            next_step="copy the file to S3 and give its s3:// address",
        )


def _gone(location: str) -> SourceError:
    return SourceError(f"there is no file at {location}", next_step="check the path; was it moved since the run began?")
