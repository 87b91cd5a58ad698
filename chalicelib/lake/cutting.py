"""Store a partition's pages in the raw layer and cut them into chunks, in one pass over the bytes."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chalicelib.contracts import Chunk, Partition, Slice, StoredObject
from chalicelib.lake import arrays, csv_header, formats, gunzip, keys
from chalicelib.lake.lines import CsvCutter, LineCutter, Piece, WholeCutter
from chalicelib.lake.listing import Listing, RawObject
from chalicelib.lake.parts import PartWriter
from chalicelib.lake.store import Lake
from chalicelib.settings import Settings

if TYPE_CHECKING:
    from chalicelib.sources.base import Page

BLOCK_BYTES = 1024 * 1024
# a chunk travels through the state machine, whose payloads end at 256 KB; a slice takes about 350 bytes
SLICES_PER_CHUNK = 100


def store(
    source_name: str,
    run_id: str,
    day: str,
    partition: Partition,
    pages: Iterator[Page],
    lake: Lake,
    settings: Settings,
    expect_header: csv_header.Expect | None = None,
) -> Listing:
    """Write every page to the raw layer byte for byte, and list the chunks that cover their records.

    Pages are streamed: memory does not grow with their size. What cannot be cut by byte range (gzip,
    a JSON array) is also written as plain lines, the working copy, and its slices point there. `expect_header`
    raises where a CSV's names are not those of the source.

    Raises RawError for a page that is not what its format says, naming the page, the line or byte
    and the remedy; that page is then not in the lake.
    """
    objects = []
    chunks = _Chunks(partition, settings)
    for part, page in enumerate(pages):
        suffix = formats.SUFFIX[page.format] + (".gz" if page.compression else "")
        raw_key = keys.raw(source_name, day, run_id, partition.index, part, suffix)
        copy_key = _copy_key(page, run_id, partition.index, part)
        raw, key, cutter, pieces = _store_page(page, part, raw_key, copy_key, lake, settings, expect_header)
        objects.append(raw)
        for piece in pieces:
            chunks.add(page.format, cutter, piece, Slice(part, key, raw.key, **vars(piece)))
    return Listing(tuple(objects), chunks.finish())


def cut_again(stored: StoredObject, page: Page, run_id: str, lake: Lake, settings: Settings) -> tuple[Chunk, ...]:
    """The chunks of a raw object that hold some of the lines `stored.lines`; `page` is the object itself.

    A working copy that it needs is one of the run's own: those of the original run may be gone.
    """
    copy_key = _copy_key(page, run_id, 0, stored.part)
    cutter = cutter_of(page, stored.key, settings)
    with contextlib.ExitStack() as open_objects:
        open_objects.callback(page.body.close)
        copy = open_objects.enter_context(PartWriter(lake, copy_key)) if copy_key else None
        pieces = _cut(plain_text(page, blocks(page), stored.key), copy, cutter)
    chunks = _Chunks(Partition(0, stored.request or {}), settings)
    for piece in pieces:
        if _holds(piece, stored.lines):
            chunks.add(
                page.format, cutter, piece, Slice(stored.part, copy_key or stored.key, stored.key, **vars(piece))
            )
    return chunks.finish()


def _holds(piece: Piece, lines: tuple[int, ...]) -> bool:
    """Whether one of the `lines`, in their order, is in the piece; a document without lines may hold any."""
    if piece.lines is None:
        return True
    place = bisect.bisect_left(lines, piece.first_line)
    return place < len(lines) and lines[place] < piece.first_line + piece.lines


def _copy_key(page: Page, run_id: str, partition: int, part: int) -> str | None:
    """Where the working copy of a page goes; None where its slices can be those of the page itself."""
    if not page.compression and page.format != formats.JSON:
        return None
    suffix = formats.SUFFIX[formats.NDJSON if page.format == formats.JSON else page.format]
    return keys.working_copy(run_id, partition, part, suffix)


def _cut(text: Iterator[bytes], copy: PartWriter | None, cutter: LineCutter | WholeCutter) -> tuple[Piece, ...]:
    for block in text:
        if copy:
            copy.write(block)
        cutter.feed(block)
    return cutter.finish()


def _store_page(
    page: Page,
    part: int,
    raw_key: str,
    copy_key: str | None,
    lake: Lake,
    settings: Settings,
    expect_header: csv_header.Expect | None,
) -> tuple[RawObject, str, LineCutter | WholeCutter, tuple[Piece, ...]]:
    """The raw object, where its plain text is, and the pieces of that.

    Another attempt may have stored something else before, or may be at it still: what that stored stays.
    """
    name = page.name or raw_key
    digest, size = hashlib.sha256(), 0
    cutter = cutter_of(page, name, settings, expect_header)
    with contextlib.ExitStack() as open_objects:
        if hasattr(page.body, "close"):
            open_objects.callback(page.body.close)
        raw = open_objects.enter_context(PartWriter(lake, raw_key, anew=True))
        copy = open_objects.enter_context(PartWriter(lake, copy_key, anew=True)) if copy_key else None

        def stored() -> Iterator[bytes]:
            nonlocal size
            for block in blocks(page):
                digest.update(block)
                size += len(block)
                raw.write(block)
                yield block

        pieces = _cut(plain_text(page, stored(), name), copy, cutter)
    stored_as = RawObject(part, raw.key, size, digest.hexdigest(), cutter.lines)
    return stored_as, copy.key if copy else raw.key, cutter, pieces


def blocks(page: Page) -> Iterator[bytes]:
    """The page's bytes as they come, at most BLOCK_BYTES at a time."""
    while block := page.body.read(BLOCK_BYTES):
        yield block


def plain_text(page: Page, stored: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The text of a page from its `stored` bytes: unpacked, known to be its format, an array as lines."""
    text = gunzip.decompress(stored, name) if page.compression else stored
    text = formats.checked(text, page.format, name)
    return arrays.lines(text, name) if page.format == formats.JSON else text


def cutter_of(
    page: Page, name: str, settings: Settings, expect_header: csv_header.Expect | None = None
) -> LineCutter | WholeCutter:
    """What cuts the plain text of a page; `expect_header` as in `store`."""
    match page.format:
        case formats.RESPONSE:
            return WholeCutter(name)
        case formats.CSV:
            return CsvCutter(
                name,
                settings.chunk_bytes,
                settings.record_bytes,
                page.delimiter,
                chunk_rows=settings.chunk_rows,
                expect_header=expect_header,
            )
        case _:
            return LineCutter(name, settings.chunk_bytes, settings.record_bytes, chunk_rows=settings.chunk_rows)


class _Chunks:
    """Puts consecutive small pieces together into one chunk, up to `chunk_bytes` and `chunk_rows`."""

    def __init__(self, partition: Partition, settings: Settings):
        self.partition, self.settings = partition, settings
        self._done: list[Chunk] = []
        self._alike: tuple | None = None  # what the slices of one chunk have in common
        self._slices: list[Slice] = []
        self._bytes = self._lines = 0

    def add(self, format: str, cutter: LineCutter | WholeCutter, piece: Piece, slice: Slice) -> None:
        alike = (format, getattr(cutter, "header", None), getattr(cutter, "delimiter", None))
        # of a record that is too long only the beginning is ever read
        size = 0 if too_long(slice, self.settings) else piece.end - piece.start
        lines = piece.lines or 0  # a document that is parsed whole has none, and is limited in size
        full = (
            self._bytes + size > self.settings.chunk_bytes
            or self._lines + lines > self.settings.chunk_rows
            or len(self._slices) >= SLICES_PER_CHUNK
        )
        if self._slices and (full or alike != self._alike):
            self._close()
        self._alike = alike
        self._slices.append(slice)
        self._bytes += size
        self._lines += lines

    def finish(self) -> tuple[Chunk, ...]:
        if self._slices:
            self._close()
        return tuple(self._done)

    def _close(self) -> None:
        format, header, delimiter = self._alike
        partition = self.partition
        self._done.append(
            Chunk(
                chunk=len(self._done),
                partition=partition.index,
                request=partition.request,
                format=format,
                slices=tuple(self._slices),
                header=header,
                delimiter=delimiter,
            )
        )
        self._slices, self._bytes, self._lines = [], 0, 0


def too_long(slice: Slice, settings: Settings) -> bool:
    """Whether the slice is one record longer than `record_bytes`, which the cutter put alone."""
    return slice.lines == 1 and slice.end - slice.start - 1 > settings.record_bytes
