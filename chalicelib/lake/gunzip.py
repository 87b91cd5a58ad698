"""Decompress gzip (RFC 1952) as it streams by, and say exactly where it breaks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from chalicelib.errors import RawError

_GZIP_WINDOW = 31  # zlib's code for "gzip header and trailer"
# what one call may put out, so that a small block that expands a thousandfold stays small in memory
BLOCK_BYTES = 1024 * 1024


def decompress(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The text of all members, in blocks of at most BLOCK_BYTES.

    Raises RawError for a damaged or truncated object, with the number of readable bytes.
    """
    member = zlib.decompressobj(_GZIP_WINDOW)
    read = written = 0
    for block in blocks:
        while block:
            if member.eof:
                block = block.lstrip(b"\0")  # padding between or after members
                if not block:
                    break
                member = zlib.decompressobj(_GZIP_WINDOW)
            try:
                text = member.decompress(block, BLOCK_BYTES)
            except zlib.error as error:
                raise RawError(
                    f"the gzip data is damaged ({error}); {written} decompressed bytes could be read before it",
                    file=name,
                    byte=read,
                    next_step="fetch or compress the file again",
                ) from None
            left = member.unused_data if member.eof else member.unconsumed_tail
            read += len(block) - len(left)
            block = left
            written += len(text)
            if text:
                yield text
    while not member.eof and (text := member.decompress(b"", BLOCK_BYTES)):
        written += len(text)
        yield text
    if not member.eof and read:
        raise RawError(
            f"the gzip data ends early: {written} decompressed bytes could be read from {read} bytes",
            file=name,
            byte=read,
            next_step="the file was not transferred or written completely; fetch it again",
        )
