"""An HTTP answer whose body can be trusted: complete, within its limits, decoded.

The limits hold while the body is being read, so neither an endless body nor one that drips a byte
a minute outlasts them.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
import threading
import time
import zlib
from collections.abc import Mapping
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit, urlunsplit

import urllib3

from chalicelib import redaction
from chalicelib.errors import SourceError, SourceUnavailable

# What a broken or silent connection raises, whether urllib3 wraps it or not.
CONNECTION_ERRORS = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)

_BLOCK = 64 * 1024  # bytes; 16 kB to 1 MB all measured at 4 to 5 GB/s on loopback
_GZIP = 16 + zlib.MAX_WBITS
_LINK = re.compile(r"<([^>]*)>\s*((?:;[^,<]*)*)")


class Deadline:
    """A point in time that ends a fetch, wherever it is blocked."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._struck = False

    @property
    def left(self) -> float:
        """Seconds, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        return self._struck or self.left == 0.0

    def guard(self, sock: socket.socket) -> threading.Timer:
        """Shut `sock` down at the deadline; cancel the returned timer when done with it.

        A socket's own timeout bounds one recv. A server that drips a byte now and then, also
        inside the headers, never reaches it, so the end has to come from outside.
        """

        def strike():
            self._struck = True
            with contextlib.suppress(OSError):  # closed already
                # not SSLSocket's own: that drops the TLS state under the reading thread
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

        timer = threading.Timer(self.left, strike)
        timer.daemon = True
        timer.start()
        return timer


class Allowance:
    """The bytes that all answers of one fetch may hold together, decoded."""

    def __init__(self, size: int):
        self.size = self.left = size


class Exchange:
    """One request that was answered: the connection's end of a body."""

    def __init__(self, answer, connection, guard: threading.Timer, deadline: Deadline, withheld: frozenset[str]):
        self.answer = answer
        self.connection = connection
        self.deadline = deadline
        self.withheld = withheld  # secrets that no message may repeat
        self._guard = guard

    def close(self) -> None:
        self._guard.cancel()
        self.answer.close()
        self.connection.close()


class Response:
    """An answer with status 2xx.

    `url` is where it came from in the end, `headers` a case-insensitive mapping. Read the body
    once, by `read` or by `stream`. Reading raises SourceUnavailable for a body that ends early or
    takes too long, SourceError for one that is too large or not in the encoding it claims.
    """

    def __init__(self, url: str, exchange: Exchange, allowance: Allowance):
        self.url = url
        self.status: int = exchange.answer.status
        self.headers: Mapping[str, str] = exchange.answer.headers
        self._withheld = exchange.withheld
        self._body = Body(exchange, redaction.url(url), allowance)

    def start(self, length: int) -> bytes:
        """Up to `length` first bytes of the body, which stay to be read."""
        return self._body.start(length)

    def quote(self, length: int = 200) -> str:
        """The first `length` characters of the body on one line, for a message; empty if there are none."""
        try:
            text = self._body.start(4 * length).decode("utf-8", "replace")
        except (SourceError, SourceUnavailable):
            return ""
        text = " ".join(self.masked(text).split())
        return "".join(c if c.isprintable() else "�" for c in text[:length])

    def masked(self, text: str) -> str:
        """What the server says, without the secrets that the request held."""
        return redaction.text(text, self._withheld)

    def read(self, limit: int | None = None) -> bytes:
        """The whole body; one of more than `limit` bytes (default: the client's limit) is a SourceError."""
        if limit is not None:
            self._body.limit = min(limit, self._body.limit)
        with self._body:
            return self._body.readall()

    def stream(self) -> BinaryIO:
        """The body as a file object; `read(n)` gives n bytes except at the end."""
        return io.BufferedReader(self._body, _BLOCK)

    def close(self) -> None:
        self._body.close()

    @property
    def next_url(self) -> str | None:
        """The page that the Link header (RFC 8288) calls `next`, or None.

        The answer's own scheme is kept: servers behind a TLS proxy write http:// into their links.
        Raises SourceError for a link to another host.
        """
        for target, parameters in _LINK.findall(self.headers.get("Link", "")):
            relations = re.search(r';\s*rel\s*=\s*"?([^";]*)', parameters)
            if relations and "next" in relations[1].lower().split():
                try:
                    here, there = urlsplit(self.url), urlsplit(urljoin(self.url, target))
                except ValueError:
                    raise SourceError(
                        f"the Link header names {target!r}, not a URL", url=redaction.url(self.url)
                    ) from None
                if there.netloc.lower() != here.netloc.lower():
                    raise SourceError(f"the next page is on another host, {there.netloc}", url=redaction.url(self.url))
                return urlunsplit((here.scheme, here.netloc, there.path, there.query, ""))
        return None

    def __repr__(self) -> str:
        return f"<Response {self.status} {redaction.url(self.url)}>"


class Body(io.RawIOBase):
    """The decoded bytes of one answer, checked as they pass."""

    def __init__(self, exchange: Exchange, where: str, allowance: Allowance):
        self.limit = allowance.size
        self._allowance = allowance
        self._exchange = exchange
        self._where = where
        self._head = b""  # read by `start`, still to be handed out
        self._arrived = 0  # bytes from the connection
        self._passed = 0  # bytes after decoding
        self._ended = False
        self._announced = _content_length(exchange.answer.headers)
        self._gzip = None
        self._pending = b""  # compressed bytes that the decoder has not taken yet
        encoding = exchange.answer.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding in ("gzip", "x-gzip"):
            self._gzip = zlib.decompressobj(_GZIP)
        elif encoding not in ("identity", ""):
            self._fail(f"the answer is encoded as {encoding!r}, which was not asked for")
        if self._announced is not None and self._announced > allowance.left:
            self._fail_size()

    # --- reading -----------------------------------------------------------------------------

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if self._head:
            block, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        else:
            block = self._decoded(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def start(self, length: int) -> bytes:
        while len(self._head) < length and (block := self._decoded(length - len(self._head))):
            self._head += block
        return self._head[:length]

    def close(self) -> None:
        if not self.closed:
            self._exchange.close()
        super().close()

    def _decoded(self, length: int) -> bytes:
        if self._ended or not length:
            return b""
        block = self._arriving(length) if self._gzip is None else self._inflated(length)
        self._passed += len(block)
        self._allowance.left -= len(block)
        if self._passed > self.limit or self._allowance.left < 0:
            self._fail_size()
        if not block:
            self._ended = True
            self._exchange.close()
        return block

    def _inflated(self, length: int) -> bytes:
        """Up to `length` bytes after gzip, so that a small body cannot become a huge one in memory."""
        while True:
            if self._gzip.eof and self._pending:
                self._gzip = zlib.decompressobj(_GZIP)  # a gzip file may have several members
            compressed = self._pending or self._arriving(_BLOCK)
            try:
                block = self._gzip.decompress(compressed, length)
            except zlib.error as error:
                self._fail(f"the answer claims Content-Encoding gzip and is not: {error}")
            self._pending = self._gzip.unconsumed_tail or self._gzip.unused_data
            if block:
                return block
            if not compressed:
                if self._arrived and not self._gzip.eof:
                    raise SourceUnavailable(
                        f"the gzip encoding ends early, after {self._passed:,} decoded bytes", url=self._where
                    )
                return b""

    def _arriving(self, length: int) -> bytes:
        """Up to `length` bytes as the connection has them; empty at the end."""
        problem = None
        try:
            block = self._exchange.answer.read1(length)
        except CONNECTION_ERRORS as error:
            block, problem = b"", error
        if self._exchange.deadline.passed:
            self._exchange.close()
            raise SourceUnavailable(
                f"no complete answer within {self._exchange.deadline.seconds:g} s; {self._arrived:,} bytes arrived",
                url=self._where,
            )
        self._arrived += len(block)
        if problem or (not block and self._announced is not None and self._arrived < self._announced):
            self._exchange.close()
            wanted = "" if self._announced is None else f" of {self._announced:,}"
            reason = f": {redaction.text(str(problem), self._exchange.withheld)}" if problem else ""
            raise SourceUnavailable(
                f"the answer ended after {self._arrived:,}{wanted} bytes{reason}", url=self._where
            ) from problem
        return block

    # --- refusing ----------------------------------------------------------------------------

    def _fail(self, message: str, next_step: str | None = None):
        self._exchange.close()
        raise SourceError(message, url=self._where, next_step=next_step)

    def _fail_size(self):
        first = max(self._passed, self._announced or 0) > self.limit
        earlier = "" if first else ", with those before it,"
        announced = "" if self._announced is None else f" ({self._announced:,} announced)"
        self._fail(
            f"the answer{earlier} is larger than the limit of {self.limit:,} bytes{announced}",
            next_step="ask for less, such as a smaller window, or raise SLUICE_FETCH_BYTES",
        )


def _content_length(headers: Mapping[str, str]) -> int | None:
    """Bytes announced for the body; None where its end is marked otherwise."""
    value = headers.get("Content-Length", "").strip()
    return int(value) if value.isdecimal() and "Transfer-Encoding" not in headers else None
